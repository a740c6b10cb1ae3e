//! What a peer streams in key order becomes a run while it comes in, without going through log and memtable. `replica` gathers
//! it where the store holds nothing; here the run is written ([`Receiving`]) and taken in ([`take_in`]).
//!
//! Easy to get wrong: the run is written without any lock, so whether there is still nothing where it belongs, and whether the
//! horizon still lets it in, is looked at again once it has its place among the commits. If not, its entries are read from it
//! and merged one by one.

use std::path::Path;
use std::sync::Arc;

use super::heal::summed_up;
use crate::error::{Error, Result};
use crate::index::{HeadRef, MergeCursor, Run, RunValue, RunWriter};
use crate::merkle;
use crate::store::{IngestJob, Ingested, Prepared, Store, Write};
use crate::types::{FileId, KeyRange, SeqNo, Slice, Stamp, successor};

/// A run of a peer's entries that is being written. Dropped, it leaves a file that the next opening removes.
#[derive(Debug)]
pub(crate) struct Receiving {
    id: FileId,
    seqno: SeqNo,
    writer: RunWriter,
    entries: u64,
    /// Bytes of keys and values.
    bytes: u64,
    /// Clock values of the stamps.
    clocks: (u64, u64),
}

/// A run of a peer's entries, whole and durable but for its name.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) run: Arc<Run>,
    bytes: u64,
    /// Lowest and highest clock value of any stamp.
    pub(crate) oldest: u64,
    pub(crate) newest: u64,
}

impl Receiving {
    /// Begins a run for at most about `entries_max` entries.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn begin(store: &Store, entries_max: usize) -> Result<Receiving> {
        let (id, compression) = (store.next_file(), store.identity().compression);
        let (_, seqno) = store.read_point();
        let vfs = &*store.options.environment.vfs;
        let writer = store.note(RunWriter::create(vfs, &store.dir, id, entries_max, compression))?;
        Ok(Receiving { id, seqno, writer, entries: 0, bytes: 0, clocks: (u64::MAX, 0) })
    }

    /// Adds the next entry, whose key is above all before and whose value `head` has inline. Its sequence number is the
    /// run's.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn push(&mut self, store: &Store, key: &[u8], head: HeadRef<'_>) -> Result<()> {
        let HeadRef { stamp: Stamp { hlc, .. }, meta, value, .. } = head;
        self.entries += 1;
        self.bytes += (key.len() + meta.len() + value.inline().len()) as u64;
        self.clocks = (self.clocks.0.min(hlc), self.clocks.1.max(hlc));
        let head = HeadRef { seqno: self.seqno, ..head };
        store.note(self.writer.push(key, store.measure.hasher.key(key), head))
    }

    /// How many entries were added, and their bytes.
    pub(crate) fn len(&self) -> (u64, u64) {
        (self.entries, self.bytes)
    }

    /// Makes the file durable.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn finish(self, store: &Store) -> Result<Received> {
        let Receiving { id, writer, bytes, clocks: (oldest, newest), .. } = self;
        store.note(writer.finish())?;
        let vfs = &*store.options.environment.vfs;
        let run = Run::open(vfs, &store.dir, id, store.options.read_mode, store.measure.hasher.clone());
        Ok(Received { run: Arc::new(store.note(run)?), bytes, oldest, newest })
    }
}

impl Received {
    /// The keys from the first one to the last.
    fn range(&self) -> KeyRange {
        let (first, last) = &self.run.properties().keys;
        KeyRange::new(&first[..], Some(successor(last)))
    }

    /// The entries again, for whoever has to merge them one by one.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<Write>> {
        let mut cursor = MergeCursor::new(std::iter::empty(), [&self.run], &self.range());
        let path = self.run.path().to_owned();
        std::iter::from_fn(move || match cursor.step() {
            Ok(found) => found.map(|(key, head)| write_of(key, &head, &path)),
            Err(error) => Some(Err(error)),
        })
    }

    /// Removes the file, which was not taken in.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn abandon(self, store: &Store) -> Result<()> {
        store.remove_files(&[self.run.path().to_owned()])
    }
}

fn write_of(key: &[u8], head: &HeadRef<'_>, path: &Path) -> Result<Write> {
    let &HeadRef { stamp, kind, expires_at, meta, value, .. } = head;
    let RunValue::Inline(value) = value else {
        return Err(Error::corruption(path, 0, "a value that was written inline is not"));
    };
    let (key, stamp, meta, value) = (Slice::from(key), Some(stamp), Slice::from(meta), Slice::from(value));
    Ok(Write { key, kind, stamp, expires_at, meta, value, prepared: Prepared::default() })
}

/// Takes the run in, if the runs of `job` have nothing where its keys are and the horizon has passed none of its stamps. `false`
/// if not: nothing has changed then.
///
/// # Errors
/// `Corruption`, `Io` of the runs: nothing has changed. `Io` of a write: the store is poisoned.
pub(crate) fn take_in(store: &Store, job: IngestJob<'_>, received: &Received) -> Result<bool> {
    let (range, run) = (received.range(), &received.run);
    let Some(touched) = job.base.touched(&range) else { return Ok(false) };
    let base = store.past_damage(&job.levels, |levels, unknown| {
        let is_known = unknown.check_range(&touched).is_ok();
        if !is_known || MergeCursor::new(std::iter::empty(), levels.runs(), &range).step()?.is_some() {
            return Ok(None);
        }
        let levels = levels.with_newest(run.clone());
        summed_up(&job.base, &levels, &touched, &job, &store.measure).map(Some)
    })?;
    let Some(base) = base else { return Ok(false) };
    let (vfs, dir, id) = (&*store.options.environment.vfs, &store.dir, store.next_file());
    let merkle = merkle::write_next(vfs, dir, &job.merkle, id, job.state.flushed, &job.base, &base);
    let merkle = store.note(merkle)?;
    let merkle_len = store.note(merkle::file_len(vfs, dir, &merkle))?;
    store.sync_dir()?;
    let (run, values, bytes) = (run.clone(), Default::default(), received.bytes);
    store.install_received(job, Ingested { run, base, merkle, merkle_len, values, bytes }, received.oldest)
}
