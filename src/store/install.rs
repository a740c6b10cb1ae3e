//! Taking in what flush, compaction and gc made: one manifest edit, then one new view.
//!
//! Easy to get wrong: the edit is durable before anybody reads from the new files, and it happens under the structure lock
//! so that two installations never build on the same state.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::{Levels, Run};
use crate::manifest::{Change, State};
use crate::merkle::Base;
use crate::types::{Epoch, FileId, SegmentId, SeqNo, Written};

use super::commit::Sealed;
use super::view::retire;
use super::{Store, View};

/// The oldest memtable that waits for its flush, and what it is to be flushed onto.
#[derive(Debug)]
pub(crate) struct FlushJob {
    pub(crate) sealed: Sealed,
    pub(crate) base: Base,
    /// What ends up to and with this epoch is not in the base.
    pub(crate) ended: Option<Epoch>,
    /// The files that the base can be a change of, if any.
    pub(crate) merkle: Vec<FileId>,
    pub(crate) levels: Levels,
    pub(crate) state: State,
}

/// What a flush made.
#[derive(Debug)]
pub(crate) struct Flushed {
    pub(crate) run: Arc<Run>,
    pub(crate) base: Base,
    /// All Merkle files of the base, the full one first.
    pub(crate) merkle: Vec<FileId>,
    /// Bytes of the newest of them.
    pub(crate) merkle_len: u64,
    /// Segments below the log's new start that have large values, with their readable lengths.
    pub(crate) value_segments: BTreeMap<SegmentId, u64>,
}

/// Sizes for statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) visible: SeqNo,
    pub(crate) durable: SeqNo,
    pub(crate) flushed: SeqNo,
    pub(crate) runs: u64,
    pub(crate) run_bytes: u64,
    pub(crate) value_segments: u64,
    pub(crate) value_segment_bytes: u64,
    pub(crate) value_live_bytes: u64,
    pub(crate) retained_segments: u64,
    pub(crate) retained_segment_bytes: u64,
    pub(crate) memtable_bytes: u64,
    /// Bytes of records that no flush has taken over.
    pub(crate) log_bytes: u64,
    pub(crate) buckets: u64,
    pub(crate) horizon: u64,
    /// Entries of all runs, and those of them that a newer run hides.
    pub(crate) run_entries: u64,
    pub(crate) shadowed_entries: u64,
    pub(crate) written: Written,
    /// Highest clock value of any stamp.
    pub(crate) clock: u64,
}

impl Store {
    /// The next memtable to flush, if one waits.
    pub(crate) fn flush_job(&self) -> Option<FlushJob> {
        let state = self.identity();
        let writer = self.writer.lock();
        let view = self.views.current();
        let merkle = &writer.front.merkle;
        Some(FlushJob {
            sealed: writer.sealed.first()?.clone(),
            base: merkle.base.clone(),
            ended: merkle.ended,
            merkle: if merkle.is_rebased { Vec::new() } else { state.merkle.clone() },
            levels: view.levels.clone(),
            state,
        })
    }

    /// A number for a new run or Merkle file. It is durable with the edit that names the file, or may be given again.
    pub(crate) fn next_file(&self) -> FileId {
        FileId(self.next_file.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// Takes in what the flush of `job` made.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn install_flush(&self, job: &FlushJob, flushed: Flushed) -> Result<()> {
        let mut manifest = self.structure.lock();
        let levels = self.views.current().levels.with_newest(flushed.run.clone());
        let Written { flushed: flushed_bytes, merged, .. } = manifest.state().written;
        let flushed_bytes = flushed_bytes + flushed.run.len() + flushed.merkle_len;
        let mut changes = vec![
            Change::Written(Written { flushed: flushed_bytes, merged, ..job.sealed.written }),
            Change::NextFile(self.peek_next_file()),
            Change::Runs(levels.ids()),
            Change::Merkle(flushed.merkle),
            Change::Flushed {
                seqno: job.sealed.last,
                clock_floor: job.sealed.clock_floor,
                log_start: job.sealed.next_segment,
            },
        ];
        let segments = flushed.value_segments.iter();
        changes.extend(segments.map(|(&segment, &len)| Change::ValueSegment { segment, len }));
        changes.extend(self.poison.note(self.retention(manifest.state(), &job.sealed))?);
        self.poison.note(manifest.commit(&changes))?;

        let old = {
            let mut writer = self.writer.lock();
            writer.front.merkle.install(flushed.base);
            writer.sealed.remove(0);
            let view = self.views.current();
            let mut sealed = view.sealed.clone();
            sealed.pop();
            let values = Arc::new(view.values.with(&flushed.value_segments));
            self.views.replace(View { sealed, levels, values, ..(*view).clone() })
        };
        retire(old);
        Ok(())
    }

    /// Replaces neighbouring runs by the one that they were merged to, which may point into the files `moved`, told by number
    /// and length.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn install_merge(
        &self,
        inputs: &[FileId],
        merged: Arc<Run>,
        moved: &BTreeMap<SegmentId, u64>,
    ) -> Result<()> {
        let mut manifest = self.structure.lock();
        let holes =
            merged.holes().iter().map(|(range, ())| Change::Hole { run: merged.id(), range: range.clone() });
        let holes: Vec<_> = holes.collect();
        let mut written = manifest.state().written;
        written.merged += merged.len() + moved.values().sum::<u64>();
        let levels = self.views.current().levels.with_merged(inputs, merged);
        let mut changes = vec![
            Change::NextFile(self.peek_next_file()),
            Change::Runs(levels.ids()),
            Change::Written(written),
        ];
        changes.extend(moved.iter().map(|(&segment, &len)| Change::ValueSegment { segment, len }));
        changes.extend(holes);
        self.poison.note(manifest.commit(&changes))?;
        let old = {
            let _writer = self.writer.lock();
            let view = self.views.current();
            let values = Arc::new(view.values.with(moved));
            self.views.replace(View { levels, values, ..(*view).clone() })
        };
        retire(old);
        Ok(())
    }

    /// Segments kept for large values that no run points into.
    pub(crate) fn dead_value_segments(&self) -> Vec<SegmentId> {
        let view = self.views.current();
        let referenced = view.levels.referenced();
        view.values.lens().map(|(id, _)| id).filter(|id| !referenced.contains_key(id)).collect()
    }

    /// Forgets segments that nothing needs, durably. Their files may be removed afterwards.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn forget_value_segments(&self, dead: &[SegmentId]) -> Result<()> {
        let mut manifest = self.structure.lock();
        let values = Arc::new(self.views.current().values.without(dead)?);
        let changes: Vec<_> = dead.iter().map(|&id| Change::RemoveValueSegment(id)).collect();
        self.poison.note(manifest.commit(&changes))?;
        let old = {
            let _writer = self.writer.lock();
            let view = self.views.current();
            self.views.replace(View { values, ..(*view).clone() })
        };
        retire(old);
        Ok(())
    }

    /// Shows what `newer` does, a later opening of the same folder. For stores that are open for reading.
    pub(crate) fn show(&self, newer: Store) {
        let Store { views, writer: newer_writer, structure: newer_manifest, durable, .. } = newer;
        let (mut manifest, mut writer) = (self.structure.lock(), self.writer.lock());
        *manifest = newer_manifest.into_inner();
        *writer = newer_writer.into_inner();
        self.durable.raise(durable.get());
        // The number first: the view that readers have now holds nothing beyond its own, while the runs of the newer one
        // must not be read at an older number.
        self.views.publish(views.visible());
        drop(self.views.replace((*views.current()).clone()));
    }

    /// Calls `work` with the manifest's state while no edit can be made, so that every file that it names is there: a file
    /// goes only after an edit has forgotten it. Flushes wait meanwhile.
    pub(crate) fn while_files_stay<T>(&self, work: impl FnOnce(&State) -> T) -> T {
        work(self.structure.lock().state())
    }

    /// Removes files that the manifest does not name any more. What a power cut brings back of them, the next opening
    /// removes, so nobody waits for an fsync here.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn remove_files(&self, paths: &[PathBuf]) -> Result<()> {
        let vfs = &self.options.environment.vfs;
        for path in paths {
            self.poison.note(vfs.remove(path).map_err(|source| Error::io("remove", path, source)))?;
        }
        Ok(())
    }

    /// Makes the names of new files durable.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn sync_dir(&self) -> Result<()> {
        let vfs = &self.options.environment.vfs;
        self.poison.note(vfs.sync_dir(&self.dir).map_err(|source| Error::io("fsync", &self.dir, source)))
    }

    /// Passes on what a piece of background work came to; an error poisons the store, for files may have changed.
    ///
    /// # Errors
    /// The one that `result` is.
    pub(crate) fn note<T>(&self, result: Result<T>) -> Result<T> {
        self.poison.note(result)
    }

    pub(super) fn peek_next_file(&self) -> FileId {
        FileId(self.next_file.load(std::sync::atomic::Ordering::Relaxed))
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let state = self.identity();
        let view = self.views.current();
        let (buckets, in_runs, written, clock) = {
            let writer = self.writer.lock();
            let base = &writer.front.merkle.base;
            (base.bounds().len() as u64, base.total().counts, writer.written, writer.front.clock_floor)
        };
        let run_entries = view.levels.runs().iter().map(|run| run.properties().entries).sum::<u64>();
        let Written { flushed, merged, .. } = state.written;
        let memtables = std::iter::once(&view.active).chain(&view.sealed);
        Sizes {
            visible: self.views.visible(),
            durable: self.durable.get(),
            flushed: state.flushed,
            runs: view.levels.runs().len() as u64,
            run_bytes: view.levels.runs().iter().map(|run| run.len()).sum(),
            value_segments: view.values.lens().count() as u64,
            value_segment_bytes: view.values.lens().map(|(_, len)| len).sum(),
            retained_segments: state.retained.len() as u64,
            retained_segment_bytes: state.retained.values().map(|retained| retained.file_len).sum(),
            value_live_bytes: view.levels.referenced().values().sum(),
            memtable_bytes: memtables.map(|memtable| memtable.approximate_bytes() as u64).sum(),
            log_bytes: written.logged.saturating_sub(state.written.logged),
            buckets,
            horizon: state.horizon,
            run_entries,
            shadowed_entries: run_entries.saturating_sub(in_runs.live.saturating_add(in_runs.tombstones)),
            written: Written { flushed, merged, ..written },
            clock,
        }
    }
}
