//! Opening a store: the order of things, with the work in `log`, `index` and `merkle`.

use std::path::Path;
use std::sync::Arc;

use super::create::{LOCK, RING, new_node_id};
use super::merkle::load_base;
use super::report::RecoveryReport;
use crate::clock::HybridClock;
use crate::error::{Error, Result};
use crate::hash::SetHasher;
use crate::index::{Levels, Memtable, Run};
use crate::log::{self, Commit, LogEntry, LogWriter, Plan, RING_LEN, ValueSegments};
use crate::manifest::{self, Change, Manifest};
use crate::store::{
    Front, Measure, MerkleLayers, Options, Parts, Prepared, Store, View, Watchers, Write, Writer,
};
use crate::types::{Location, SegmentId, Slice};
use crate::vfs::ReadMode;

/// A store that was just opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) report: RecoveryReport,
}

/// What is known of another process that writes to the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing: there may be one, or one may have been stopped by anything.
    Unknown,
    /// It is at work.
    Writer,
}

/// Opens the store in `dir` for writing.
///
/// # Errors
/// `NotFound`, `Locked`, `UnsupportedVersion`, `Corruption`, `Io`. Nothing acknowledged is lost by a failed attempt.
pub(crate) fn open(dir: &Path, options: Options) -> Result<Opened> {
    open_beside(dir, options, Beside::Unknown)
}

/// Opens the store in `dir` as its options say: for writing, or for reading beside a writer.
pub(super) fn open_beside(dir: &Path, options: Options, beside: Beside) -> Result<Opened> {
    span!("recovery", dir = %dir.display(), read_only = options.read_only);
    let environment = options.environment.clone();
    let vfs = &environment.vfs;
    // Before the lock file is made: a folder that holds no store must stay as it is.
    let not_found = || Error::NotFound { path: dir.to_owned() };
    match vfs.list(dir) {
        Ok(names) if names.iter().any(|name| name.ends_with(".manifest")) => {}
        Ok(_) => return Err(not_found()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Err(not_found()),
        Err(source) => return Err(Error::io("list", dir, source)),
    }
    let path = dir.join(LOCK);
    let lock = vfs.lock(&path).map_err(|source| Error::io("lock", &path, source))?;
    let lock = lock.ok_or_else(|| Error::Locked { path: dir.to_owned() })?;

    let loaded = manifest::load(&**vfs, dir)?.ok_or_else(not_found)?;
    let mut state = loaded.state;
    if let Some(compression) = options.compression {
        state.apply(&Change::Compression(compression));
    }
    if !options.read_only && !state.compression.is_supported() {
        return Err(Error::UnsupportedCodec { path: dir.to_owned() });
    }
    let mut report = RecoveryReport {
        flushed: state.flushed,
        torn_manifest_bytes: loaded.torn_bytes,
        ..Default::default()
    };
    let hasher = Arc::new(SetHasher::new(&state.set.hash_key));
    let measure = Measure {
        hasher: hasher.clone(),
        epoch_len: state.set.epoch_len,
        bucket_bits: state.set.bucket_bits,
        index: options.index,
        inline_value_max: options.inline_value_max,
    };
    let run = |id| {
        let run = Run::open(&**vfs, dir, id, options.read_mode, hasher.clone())?;
        let holes = state.holes.get(&id).map(|holes| holes.iter().map(|(range, ())| range));
        Ok(Arc::new(if let Some(holes) = holes { run.with_holes(holes) } else { run }))
    };
    let mut levels = Levels::new(state.runs.iter().map(|&id| run(id)).collect::<Result<_>>()?);
    let base = load_base(vfs, dir, &mut state, &mut levels, &measure, &mut report)?;
    let values = ValueSegments::new(vfs.clone(), dir.to_owned(), options.read_mode, &state.value_segments);
    if options.read_only {
        values.open_all()?;
    }
    let view = View {
        active: Arc::new(Memtable::new()),
        sealed: Vec::new(),
        levels,
        values: Arc::new(values),
        unknown: Arc::new(state.quarantine.spans.clone()),
    };

    let path = dir.join(RING);
    let ring = vfs.staging(&path, RING_LEN).map_err(|source| Error::io("open", &path, source))?;
    let plan = Plan {
        log_start: state.log_start,
        log_ends: &state.log_ends,
        flushed: state.flushed,
        is_being_written: beside == Beside::Writer,
    };
    // The writer cuts a segment when it seals it, and no map would survive that.
    let log_mode = if options.read_only { ReadMode::Plain } else { options.read_mode };
    let contents = log::read(&**vfs, dir, &plan, &*ring, log_mode)?;
    let allocate = options.memtable_bytes as u64;
    let (fresh, copies) = contents.rewrite(&**vfs, dir, allocate)?;

    if state.is_copy {
        state.apply(&Change::Opened { node: new_node_id(dir, &options)?, opens: 0 });
        report.took_new_node_id = true;
    }
    let clock = HybridClock::new(
        state.node.0,
        state.clock_floor.max(state.horizon).max(state.table.row(state.node).closed),
    );
    let (last, clock_floor) = (state.flushed, state.clock_floor);
    let merkle = MerkleLayers::new(base, measure.ended(state.horizon));
    let (horizon, closed) = (state.horizon, state.table.row(state.node).closed);
    let mut front = Front { clock, last, merkle, clock_floor, horizon, closed };
    let mut written = state.written;
    written.logged += contents.len();
    contents.replay(&copies, |segment, payload_at, commit| {
        written.committed += commit.entries.iter().map(LogEntry::len).sum::<u64>();
        replay(&mut front, &view.active, &measure, segment, payload_at, commit);
        Ok(())
    })?;
    if front.last != contents.last {
        return Err(Error::corruption(dir, 0, "replay ended before the log's last commit"));
    }
    report.last = contents.last;
    report.replayed_commits = contents.last.0 - state.flushed.0;
    report.ring_commits = contents.ring_commits;
    report.torn_bytes = contents.torn_bytes;

    // The edit that makes the fresh segment the log's end. Before it, the next open would find all sources as they were.
    if front.last == state.flushed {
        // Older segments hold no commit that is needed, so the log begins anew; gc removes them.
        let (seqno, clock_floor) = (state.flushed, state.clock_floor);
        state.apply(&Change::Flushed { seqno, clock_floor, log_start: fresh.id() });
    } else {
        for &(segment, end) in &contents.ends {
            state.apply(&Change::LogEnd { segment, end });
        }
    }
    if let Some(bytes) = options.retain_log_bytes {
        state.apply(&Change::RetainLog(bytes));
    }
    if !options.read_only {
        let (node, opens) = (state.node, state.opens + 1);
        state.apply(&Change::Opened { node, opens });
    }
    let manifest = Manifest::begin(vfs.clone(), dir, state, loaded.number)?;

    let log = LogWriter::new(ring, fresh);
    let durable = front.last;
    let (sealed, watchers) = (Vec::new(), Watchers::default());
    let writer = Writer { log, next_segment: None, front, sealed, written, watchers };
    let dir = dir.to_owned();
    let parts = Parts { dir, options, measure, view, writer, manifest, durable, lock };
    Ok(Opened { store: Store::new(parts), report })
}

/// Enters one commit of the log as a live one is entered. `payload_at` is where its payload lies in `segment`.
fn replay(
    front: &mut Front,
    memtable: &Memtable,
    measure: &Measure,
    segment: SegmentId,
    payload_at: u32,
    commit: &Commit<'_>,
) {
    let entry = |entry: &LogEntry<'_>| {
        let (key, value) = Slice::joined(&[], entry.key, entry.value);
        let (meta, &LogEntry { kind, stamp, expires_at, .. }) = (Slice::from(entry.meta), entry);
        let prepared = Prepared::unread(&key, measure);
        let write = Write { key, kind, stamp, expires_at, meta, value, prepared };
        let location =
            Location { segment, offset: payload_at + entry.value_at, len: entry.value.len() as u32 };
        (write, location)
    };
    let writes = commit.entries.iter().map(entry);
    front.enter(memtable, commit.seqno, commit.stamp, writes, measure);
}
