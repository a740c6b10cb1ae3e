//! Healing: what a replica has of an unknown span takes the place of whatever is left of it here.
//!
//! The result is a run of its own, newer than all others, and in all others the span becomes a hole, so no version that the
//! replica lacks comes to light again. The buckets that the span touches are summed up anew. `store` takes all of it in by the
//! edit that makes the span known: before it nothing has changed, after it nothing is missing.
//!
//! Easy to get wrong: what is left here and stamped at or below the cut goes unless the replica has it, for the replica's
//! answer at that cut is complete; what is stamped above it may be news to the replica, and stays.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::value_files::ValueFiles;
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::horizon::rule;
use crate::index::{HeadRef, Levels, MergeCursor, Run, RunValue, RunWriter};
use crate::merkle::{self, Base, BucketBuilder, PendingCut};
use crate::resolver::Rank;
use crate::store::{IngestJob, Ingested, Measure, Resolving, Store, Write, is_merged, merge_healed, rank};
use crate::types::{FileId, Head, KeyRange, RangeSum};

/// What healing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Healed {
    /// Entries of the replica.
    pub(crate) taken: u64,
    /// Entries that were left here and stay.
    pub(crate) kept: u64,
    /// Entries that were left here and are gone.
    pub(crate) dropped: u64,
    /// Whether the buckets of the span count what they did before the damage.
    pub(crate) is_exact: bool,
}

/// Replaces what is left of `range` by `entries`, which are all that a replica has of it that ends after `cut` (clock units),
/// in key order and no key twice. Holds both in memory.
///
/// # Errors
/// `Io` of the runs: nothing has changed. `Io` of a write: the store is poisoned.
pub(crate) fn heal(
    store: &Store,
    job: IngestJob<'_>,
    range: &KeyRange,
    entries: &[Write],
    cut: u64,
    resolving: &Resolving,
) -> Result<Healed> {
    let values = ValueFiles::default();
    let mut heal = Heal { store, job: &job, resolving, id: store.next_file(), values };
    let mut healed = Healed::default();
    let made =
        heal.write(range, entries, cut, &mut healed).and_then(|run| heal.sum_up(range, run, &mut healed));
    let paths = heal.paths();
    let taken_in = made.and_then(|healed| store.install_heal(job, healed, range));
    // Of a poisoned store's files nothing is known.
    if taken_in.is_err() && store.check_poison().is_ok() {
        store.remove_files(&paths)?;
    }
    taken_in.map(|()| healed)
}

/// A run that is being written.
struct Heal<'a> {
    store: &'a Store,
    job: &'a IngestJob<'a>,
    resolving: &'a Resolving,
    id: FileId,
    values: ValueFiles,
}

impl Heal<'_> {
    /// Writes the run.
    fn write(
        &mut self,
        range: &KeyRange,
        entries: &[Write],
        cut: u64,
        healed: &mut Healed,
    ) -> Result<Arc<Run>> {
        let Heal { store, job, id, .. } = *self;
        let measure = &store.measure;
        let left = |levels: &Levels, _: &_| {
            MergeCursor::new(std::iter::empty(), levels.runs(), range).collect::<Result<Vec<_>>>()
        };
        let left = store.past_damage(&job.levels, left)?;
        let vfs = &*store.options.environment.vfs;
        let count = left.len() + entries.len();
        let mut writer = store.note(RunWriter::create(vfs, &store.dir, id, count, job.state.compression))?;
        // From a keyspace with a resolver nothing is ever dropped.
        let stays = |key: &[u8], head: &Head| is_merged(key) || rule::survives(head.stamp.hlc, cut);
        let (mut left, mut entries) = (left.iter().peekable(), entries.iter().peekable());
        loop {
            let next_left = left.peek().map(|(key, _)| &key[..]);
            let next_entry = entries.peek().map(|write| &write.key[..]);
            let is_first = |key: Option<&[u8]>, other: Option<&[u8]>| {
                key.is_some_and(|key| other.is_none_or(|other| key <= other))
            };
            let entry = entries.next_if(|_| is_first(next_entry, next_left));
            let (key, head) = match left.next_if(|_| is_first(next_left, next_entry)) {
                Some((key, head)) => (&key[..], Some(head).filter(|head| stays(key, head))),
                None if entry.is_some() => (next_entry.unwrap_or_default(), None),
                None => break,
            };
            let hash = measure.hasher.key(key);
            let pushed = match (head, entry) {
                (Some(head), Some(entry)) => match self.joined(key, head, entry)? {
                    None => {
                        healed.kept += 1;
                        writer.push(key, hash, head.into())
                    }
                    Some(entry) => {
                        healed.taken += 1;
                        self.head(&entry).and_then(|head| writer.push(key, hash, head))
                    }
                },
                (Some(head), None) => {
                    healed.kept += 1;
                    writer.push(key, hash, head.into())
                }
                (None, Some(entry)) => {
                    healed.taken += 1;
                    self.head(entry).and_then(|head| writer.push(key, hash, head))
                }
                (None, None) => {
                    healed.dropped += 1;
                    Ok(())
                }
            };
            store.note(pushed)?;
        }
        store.note(writer.finish())?;
        let run = Run::open(vfs, &store.dir, id, store.options.read_mode, measure.hasher.clone());
        store.note(run).map(Arc::new)
    }

    /// What a replica's entry and what is left of its key come to: an entry, or `None` for what is left.
    fn joined<'w>(&self, key: &[u8], head: &Head, entry: &'w Write) -> Result<Option<Cow<'w, Write>>> {
        let measure = &self.store.measure;
        if is_merged(key) {
            let (view, _) = self.store.read_point();
            let merged = merge_healed(self.resolving, &view, entry, head, measure)?;
            return Ok(merged.map(Cow::Owned));
        }
        let hash = measure.hasher.key(key);
        let held = Rank { stamp: head.stamp, kind: head.kind, hash: measure.hasher.head(hash, head) };
        // Of the same entry the replica's has its value for sure.
        Ok((held <= rank(entry, hash, measure)).then_some(Cow::Borrowed(entry)))
    }

    /// The head that a run has for a replica's entry.
    fn head<'w>(&mut self, write: &'w Write) -> Result<HeadRef<'w>> {
        let (store, value) = (self.store, &write.value[..]);
        let value = match value.len() <= store.measure.inline_value_max {
            true => RunValue::Inline(value),
            false => {
                let location = self.values.push(store, value)?;
                let location =
                    location.ok_or_else(|| Error::invalid("the store has no file numbers left"))?;
                RunValue::Log(location, store.measure.hasher.value(value))
            }
        };
        let &Write { kind, expires_at, ref meta, .. } = write;
        let (seqno, stamp) = (self.job.seqno, write.stamp.unwrap_or_default());
        Ok(HeadRef { seqno, stamp, kind, expires_at, meta, value })
    }

    /// Sums up the buckets that the span touches, with `run` in its place, and makes everything durable.
    fn sum_up(&mut self, range: &KeyRange, run: Arc<Run>, healed: &mut Healed) -> Result<Ingested> {
        let (store, job) = (self.store, self.job);
        let (vfs, dir) = (&*store.options.environment.vfs, &store.dir);
        let mut base = job.base.clone();
        if let Some(touched) = base.touched(range).filter(|_| store.measure.index) {
            base = store.past_damage(&job.levels, |levels, _| {
                let levels = levels.with_hole(range, |_| true).with_newest(run.clone());
                summed_up(&job.base, &levels, &touched, job, &store.measure)
            })?;
            let sum = |base: &Base| {
                base.sum(&touched) - job.ended.map_or(RangeSum::ZERO, |ended| base.ended(&touched, ended))
            };
            healed.is_exact = sum(&job.base) == sum(&base);
        }
        let values = store.note(std::mem::take(&mut self.values).finish())?;
        let merkle = match store.measure.index {
            true => {
                let written = merkle::write_next(
                    vfs,
                    dir,
                    &job.merkle,
                    store.next_file(),
                    job.state.flushed,
                    &job.base,
                    &base,
                );
                store.note(written)?
            }
            false => Vec::new(),
        };
        let merkle_len = store.note(merkle::file_len(vfs, dir, &merkle))?;
        store.sync_dir()?;
        Ok(Ingested { run, base, merkle, merkle_len, values, bytes: 0 })
    }

    /// The files that it has begun, but for the Merkle file, which goes with the next flush if it was for nothing.
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = self.values.paths(self.store);
        paths.push(self.store.dir.join(FileKind::Run.name(self.id.0)));
        paths
    }
}

/// `base` with the buckets of `touched` summed up from what `levels` hold.
pub(super) fn summed_up(
    base: &Base,
    levels: &Levels,
    touched: &KeyRange,
    job: &IngestJob<'_>,
    measure: &Measure,
) -> Result<Base> {
    let pending = PendingCut { range: touched.clone(), bounds: base.decreed(touched) };
    let mut builder = BucketBuilder::of_cut(measure.bucket_bits, &pending);
    let mut cursor = MergeCursor::new(std::iter::empty(), levels.runs(), touched);
    while let Some((key, head)) = cursor.step()? {
        let hash = measure.hasher.key(key);
        builder.push(key, hash, measure.stored(key, hash, &head).after(job.ended));
    }
    Ok(base.replaced(touched, builder.into_buckets()))
}
