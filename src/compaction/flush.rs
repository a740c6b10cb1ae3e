//! Flush: a sealed memtable becomes a run, and the Merkle base takes in what its commits changed.
//!
//! The memtable is walked once, in key order: every newest version goes to the run, what it changes to the base, and its
//! key, if it is a fence, to the list of cuts. The cuts are made afterwards by scanning the runs, the new one included, over
//! just the buckets concerned.
//!
//! Easy to get wrong: no run may hold a commit that a power cut takes back, so the log is made durable first; and nothing may be
//! installed before everything is durable; until then the job's base and runs go on
//! describing each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::index::{Levels, MergeCursor, Properties, Run, RunWriter};
use crate::merkle::{self, Base, Bound, Cut, DECREED, PendingCut};
use crate::store::{FlushJob, Flushed, Measure, Prefix, Store, parse_catalogue_key, settle, user_key};
use crate::types::{Epoch, FileId, SegmentId};
use crate::vfs::ReadMode;

/// Flushes the oldest sealed memtable. Nothing happens if none waits.
///
/// # Errors
/// `Io` of the runs: nothing has changed. `Io` of a write: the store is poisoned.
pub(crate) fn flush_oldest(store: &Store) -> Result<()> {
    let Some(job) = store.flush_job() else { return Ok(()) };
    span!("flush", through = job.sealed.last.0);
    store.persist_through(job.sealed.last)?;
    let (vfs, dir) = (&store.options.environment.vfs, &store.dir);
    let memtable = &job.sealed.memtable;
    if store.measure.index {
        // It is the oldest one, so below it are the runs alone.
        let settle = |levels: &Levels| settle(memtable, memtable.key_count(), &[], levels, &store.measure);
        store.past_damage(&job.levels, |levels, _| settle(levels))?;
    }
    let id = store.next_file();
    let (base, bounds, properties) = store.note(write_run(store, &job, id))?;
    let run = Run::open(&**vfs, dir, id, store.options.read_mode, store.measure.hasher.clone());
    let run = Arc::new(store.note(run)?);
    let base = cut(store, &base, &job.levels.with_newest(run.clone()), bounds, job.ended)?;
    let merkle = store.note(write_merkle(store, &job, &base))?;
    let merkle_len = store.note(merkle::file_len(&**vfs, dir, &merkle))?;
    if !properties.referenced.is_empty() || job.state.retain_log_bytes > 0 {
        // The segment stays, so what it has not used of its space goes.
        store.note(job.sealed.segment.trim())?;
    }
    let value_segments = store.note(value_segments(store, &job, &properties))?;
    store.sync_dir()?;
    store.install_flush(&job, Flushed { run, base, merkle, merkle_len, value_segments })
}

/// Writes the memtable's newest versions to run `id`. Returns the base that counts them, where new bounds are in it, and
/// what the run says of itself.
fn write_run(store: &Store, job: &FlushJob, id: FileId) -> Result<(Base, Vec<Bound>, Properties)> {
    let measure = &store.measure;
    let (mut bounds, mut fold) = (Vec::new(), job.base.fold());
    let memtable = &job.sealed.memtable;
    let vfs = &*store.options.environment.vfs;
    let mut writer = RunWriter::create(vfs, &store.dir, id, memtable.len(), job.state.compression)?;
    for (key, head, below) in memtable.in_order().changes() {
        let hash = measure.hasher.key(key);
        writer.push(key, hash, head.into())?;
        if !measure.index {
            continue;
        }
        let below = below.map(|below| below.after(job.ended));
        fold.add(key, Some(measure.entry(key, hash, head).after(job.ended)), below);
        if let Some(level) = measure.fence_level(hash) {
            bounds.push(Bound { key: key.to_vec(), level });
        }
        bounds.extend(decreed_by(key, measure));
    }
    bounds.sort_unstable();
    Ok((fold.finish(), bounds, writer.finish()?))
}

/// The bounds that stand because of a catalogue entry: where its keyspace begins and ends.
fn decreed_by(key: &[u8], measure: &Measure) -> Vec<Bound> {
    if !key.starts_with(&Prefix::CATALOGUE.0) {
        return Vec::new();
    }
    let Some((name, resolver)) = parse_catalogue_key(user_key(key)) else { return Vec::new() };
    let keyspace = Prefix::of(&measure.hasher, name, resolver).whole();
    [Some(keyspace.start), keyspace.end]
        .into_iter()
        .flatten()
        .map(|key| Bound { key, level: DECREED })
        .collect()
}

/// Cuts `base`, which describes what `levels` hold and has not ended, at what are no bounds of it yet. Buckets with unknown
/// keys stay whole, for their sums are wrong.
pub(super) fn cut(
    store: &Store,
    base: &Base,
    levels: &Levels,
    bounds: Vec<Bound>,
    ended: Option<Epoch>,
) -> Result<Base> {
    let pending = base.pending_cuts(bounds);
    let cuts = store.past_damage(levels, |levels, unknown| {
        let is_known = |pending: &&PendingCut| unknown.check_range(&pending.range).is_ok();
        let cuts =
            pending.iter().filter(is_known).map(|pending| parts(levels, pending, ended, &store.measure));
        cuts.collect::<Result<Vec<_>>>()
    })?;
    base.cut(cuts).map_err(|_| {
        let file = levels.runs().first().map(|run| run.path().to_owned()).unwrap_or_default();
        Error::corruption(&file, 0, "the entries of a bucket do not add up to its sum; run `verify`")
    })
}

/// The sums of one bucket's parts, by scans in its range.
fn parts(levels: &Levels, pending: &PendingCut, ended: Option<Epoch>, measure: &Measure) -> Result<Cut> {
    pending.parts(measure.bucket_bits, |builder, range| {
        let mut cursor = MergeCursor::new(std::iter::empty(), levels.runs().iter(), range);
        while let Some((key, head)) = cursor.step()? {
            let hash = measure.hasher.key(key);
            builder.push(key, hash, measure.stored(key, hash, &head).after(ended));
        }
        Ok(())
    })
}

/// Persists `base` as of the flushed memtable. All its files, in order.
fn write_merkle(store: &Store, job: &FlushJob, base: &Base) -> Result<Vec<FileId>> {
    if !store.measure.index {
        // Without a file the next opening makes a new one.
        return Ok(Vec::new());
    }
    let vfs = &*store.options.environment.vfs;
    let id = store.next_file();
    merkle::write_next(vfs, &store.dir, &job.merkle, id, job.sealed.last, &job.base, base)
}

/// The flushed memtable's segments that the new run points into, and how far each may be read.
fn value_segments(
    store: &Store,
    job: &FlushJob,
    properties: &Properties,
) -> Result<BTreeMap<SegmentId, u64>> {
    let len = |segment: &SegmentId| {
        if let Some(&end) = job.state.log_ends.get(segment) {
            return Ok((*segment, end));
        }
        let path = store.dir.join(FileKind::Segment.name(u64::from(segment.0)));
        let file = store.options.environment.vfs.open(&path, ReadMode::Plain);
        file.map(|file| (*segment, file.len())).map_err(|source| Error::io("open", &path, source))
    };
    properties.referenced.keys().map(len).collect()
}
