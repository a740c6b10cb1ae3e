//! The store: where log, index, Merkle index and manifest meet.
//!
//! [`Store`] offers what the layers above build on: committing and applying, read points, fingerprints, sealing, and the
//! installation of what flush, compaction and gc made. It starts no work by itself.
//!
//! Locks, in the order in which they may be taken: `applying`, `making_segment`, `structure` (the manifest), then `writer`
//! (the commit lock), under which no file is made, cut, removed or fsynced but in an ingest and at the end.
//! Readers take none.

mod admission;
mod below;
mod commit;
mod conditional;
mod durable;
mod feed;
mod fingerprint;
mod horizon;
mod ingest;
mod install;
mod keyspace;
mod layers;
mod measure;
mod meeting;
mod options;
mod poison;
mod quarantine;
mod resolve;
mod retention;
mod seal;
mod view;
mod walk;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

use arc_swap::Guard;
use parking_lot::{Mutex, RwLock};

use admission::Admitted;
pub(crate) use admission::{Admission, merge_healed, one_of_each, rank};
pub(crate) use below::settle;
pub(crate) use commit::{Front, Prepared, VALUE_LEN_MAX, Write, Writer, Writes};
use commit::{check_len, keep_last};
pub(crate) use conditional::VisibleEntry;
pub(crate) use feed::{Feed, LoggedChange, LoggedCommit};
pub(crate) use ingest::{IngestJob, Ingested};
pub(crate) use install::{FlushJob, Flushed};
pub(crate) use keyspace::{
    DEFAULT_KEYSPACE, Prefix, catalogue_key, check_name, default_prefix, is_merged, parse_catalogue_key,
    replicated, user_key,
};
pub(crate) use layers::{MerkleLayers, MerklePoint};
pub(crate) use measure::Measure;
pub(crate) use options::Options;
pub use options::{Durability, Environment};
pub(crate) use resolve::Resolving;
pub(crate) use view::{View, Views};
pub(crate) use walk::{AtUnknown, Walk};
pub(crate) use watch::{WatchQueue, Watched, Watchers};

use crate::error::{Error, Result};
use crate::horizon::rule::Source;
use crate::manifest::{Manifest, State};
use crate::types::{KeyRange, SeqNo};
use crate::vfs::LockGuard;
use durable::Durable;
use poison::Poison;

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) measure: Measure,
    views: Views,
    writer: Mutex<Writer>,
    structure: Mutex<Manifest>,
    /// Shared by whoever merges foreign entries; an ingest keeps them all out.
    applying: RwLock<()>,
    /// Held by whoever makes the next log segment.
    making_segment: Mutex<()>,
    /// Whether the writer has its next segment.
    has_segment_ahead: AtomicBool,
    durable: Durable,
    poison: Poison,
    /// Why clients are not answered, if they are not (`horizon`).
    silence: AtomicU8,
    next_file: AtomicU64,
    /// Held for life.
    _lock: Box<dyn LockGuard>,
}

/// What waits for background work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    /// Bytes in the active memtable.
    pub(crate) active: usize,
    /// Number of memtables that wait for their flush.
    pub(crate) sealed: usize,
    /// Number of runs.
    pub(crate) runs: usize,
    /// Whether it is time to make the next log segment.
    pub(crate) wants_segment: bool,
}

/// What recovery hands over to make a [`Store`] of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) measure: Measure,
    pub(crate) view: View,
    pub(crate) writer: Writer,
    pub(crate) manifest: Manifest,
    pub(crate) durable: SeqNo,
    pub(crate) lock: Box<dyn LockGuard>,
}

impl Store {
    pub(crate) fn new(parts: Parts) -> Store {
        let last = parts.writer.front.last;
        let next_file = parts.manifest.state().next_file.0;
        let silence = horizon::silence(parts.manifest.state());
        Store {
            dir: parts.dir,
            options: parts.options,
            measure: parts.measure,
            views: Views::new(parts.view, last),
            writer: Mutex::new(parts.writer),
            structure: Mutex::new(parts.manifest),
            applying: RwLock::new(()),
            making_segment: Mutex::new(()),
            has_segment_ahead: AtomicBool::new(false),
            durable: Durable::new(parts.durable),
            poison: Poison::default(),
            silence: AtomicU8::new(silence),
            next_file: AtomicU64::new(next_file),
            _lock: parts.lock,
        }
    }

    /// Commits local changes as one record: whole or not at all, and visible when it returns.
    ///
    /// # Errors
    /// `CommitTooLarge`: nothing changed. `Poisoned`, or `Io` of the log, after which
    /// the store is poisoned and the commit is there whole or not at all after the next open.
    pub(crate) fn commit(&self, mut writes: Writes, durability: Durability) -> Result<()> {
        check_len(&writes)?;
        writes.iter_mut().for_each(|write| write.prepared = Prepared::unread(&write.key, &self.measure));
        keep_last(&mut writes);
        let mut writer = self.lock_with_room()?;
        let view = self.views.peek();
        let seqno = self.append(&mut writer, &view, writes)?;
        drop(writer);
        match durability {
            Durability::Buffered => Ok(()),
            Durability::Sync => self.persist_through(seqno),
        }
    }

    /// Merges entries of other replicas, each with a stamp of its own, as one record. What was taken is visible when it
    /// returns, and durable after [`Store::persist`].
    ///
    /// # Errors
    /// As [`Store::commit`]; `Corruption` or `Io` of reading what is held: nothing changed. A held value that is lost is no
    /// error: what it would take to merge is refused, and it is remembered.
    pub(crate) fn apply(&self, writes: Vec<Write>, source: Source) -> Result<Admission> {
        self.check_index()?;
        let resolving = self.resolving(&writes)?;
        let (mut writes, refused) = admission::one_of_each(writes, &resolving, &self.measure);
        let _applying = self.applying.read();
        loop {
            let mut writer = self.lock_with_room()?;
            let view = self.views.current();
            let held = match admission::held(&writer.front, &view, &mut writes, &self.measure) {
                Ok(held) => held,
                Err(error) => {
                    drop(writer);
                    match self.quarantine(&error)? {
                        Some(_) => continue,
                        None => return Err(error),
                    }
                }
            };
            let (writes, now_ms) = (writes.into_iter().zip(held), self.now_ms());
            let Admitted { writes, admission, lost } =
                admission::admit(&writer.front, &view, writes, &resolving, &self.measure, now_ms, source)?;
            if !writes.is_empty() {
                self.append(&mut writer, &view, writes)?;
            }
            drop(writer);
            if !lost.is_empty() {
                self.lose_values(lost)?;
            }
            return Ok(Admission { refused: admission.refused + refused, ..admission });
        }
    }

    /// Appends prepared changes as one record and enters them.
    fn append(&self, writer: &mut Writer, view: &View, writes: Writes) -> Result<SeqNo> {
        let seqno = writer.front.last.next();
        let stamp = writer.front.clock.tick(self.now_ms());
        let record = commit::record(seqno, self.durable.get(), stamp, writes.iter());
        let log_end = writer.log.end();
        let locations = self.poison.note(writer.log.append(&record))?;
        drop(record);
        writer.written.logged += writer.log.end() - log_end;
        writer.written.committed += writes.iter().map(Write::len).sum::<u64>();
        let told = (!writer.watchers.is_empty()).then(|| writes.clone());
        let writes = writes.into_iter().zip(locations);
        writer.front.enter(&view.active, seqno, stamp, writes, &self.measure);
        self.views.publish(seqno);
        if let Some(told) = told {
            writer.watchers.publish(seqno, stamp, &told);
        }
        Ok(seqno)
    }

    /// Begins to watch the inner keys in `range`; also tells the newest commit before.
    ///
    /// # Errors
    /// `Poisoned`.
    pub(crate) fn watch(&self, range: KeyRange) -> Result<(Arc<WatchQueue>, SeqNo)> {
        let mut writer = self.writer.lock();
        self.poison.check()?;
        Ok((writer.watchers.add(range), writer.front.last))
    }

    /// Returns once every commit that is visible now is durable.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(crate) fn persist(&self) -> Result<()> {
        self.persist_through(self.views.visible())
    }

    /// Returns once every commit up to `seqno` is durable.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(crate) fn persist_through(&self, seqno: SeqNo) -> Result<()> {
        self.durable.wait_for(seqno, || {
            let (segment, last) = {
                let mut writer = self.writer.lock();
                self.poison.check()?;
                (self.poison.note(writer.log.drain())?, writer.front.last)
            };
            self.poison.note(segment.sync())?;
            Ok(last)
        })
    }

    /// The current view and the newest commit that readers may see: a poisoned store shows what is durable.
    pub(crate) fn read_point(&self) -> (Arc<View>, SeqNo) {
        let (view, visible) = self.views.read_point();
        (view, self.readable(visible))
    }

    /// What one key is read at; see [`Views::newest`].
    pub(crate) fn newest(&self) -> (Guard<Arc<View>>, SeqNo) {
        let (view, visible) = self.views.newest();
        (view, self.readable(visible))
    }

    fn readable(&self, visible: SeqNo) -> SeqNo {
        if self.poison.reason().is_some() { visible.min(self.durable.get()) } else { visible }
    }

    /// Wall time in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.options.environment.wall_clock.now_ms()
    }

    /// A copy of the manifest's state.
    pub(crate) fn identity(&self) -> State {
        self.structure.lock().state().clone()
    }

    /// # Errors
    /// `InvalidArgument` if the store was opened without its Merkle index.
    fn check_index(&self) -> Result<()> {
        match self.measure.index {
            true => Ok(()),
            false => Err(Error::invalid("the store was opened without its Merkle index")),
        }
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        self.poison.check()
    }

    pub(crate) fn poison_reason(&self) -> Option<String> {
        self.poison.reason().map(str::to_owned)
    }

    /// Number of versions in memory that no run has yet.
    pub(crate) fn unflushed_count(&self) -> usize {
        let view = self.views.current();
        std::iter::once(&view.active).chain(&view.sealed).map(|memtable| memtable.len()).sum()
    }

    /// What waits for background work.
    pub(crate) fn backlog(&self) -> Backlog {
        let view = self.views.peek();
        let active = view.active.approximate_bytes();
        Backlog {
            active,
            wants_segment: self.wants_segment(active),
            sealed: view.sealed.len(),
            runs: view.levels.runs().len(),
        }
    }
}
