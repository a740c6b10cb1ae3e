//! Merge: neighbouring runs become one, in steps of bounded length.
//!
//! Of several versions of a key the newest run's stays. A merge down to the oldest run drops what ended at or before the
//! horizon as well, for then no older version is left that it hides. Easy to get
//! wrong: the merged run takes the place of its inputs among the ages, wherever flushes have moved it meanwhile.
//!
//! Where its inputs point into segments that may be mostly garbage, a merge first walks all heads to count what is left of
//! each, and then moves what is left of some (`relocate`).

use std::sync::Arc;

use super::relocate::{Count, Relocation};
use crate::error::Result;
use crate::format::FileKind;
use crate::horizon::rule;
use crate::index::{MergeCursor, Run, RunValue, RunWriter};
use crate::store::{Store, View};
use crate::types::{FileId, KeyRange};

/// A merge under way.
#[derive(Debug)]
pub(crate) struct Merge {
    inputs: Vec<FileId>,
    /// Bytes of all of them.
    input_bytes: u64,
    cursor: MergeCursor,
    id: FileId,
    writer: Option<RunWriter>,
    /// Until everything is counted.
    count: Option<Count>,
    /// What ended at or before this goes.
    horizon: u64,
    relocation: Option<Relocation>,
}

/// Entries that a step counts for each KiB that it might write instead; that takes about as long.
const COUNTED_PER_KIB: u64 = 16;

impl Merge {
    /// Begins the merge that is most worth it, if any is: among the runs that have come in since `running` began, if there
    /// is such a one.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn begin(store: &Store, running: Option<&Merge>) -> Result<Option<Merge>> {
        store.check_poison()?;
        let (view, _) = store.read_point();
        let levels = &view.levels;
        let is_newer = |run: &&Arc<Run>| running.is_none_or(|merge| !merge.inputs.contains(&run.id()));
        let newer = levels.runs().iter().take_while(is_newer).count();
        levels.pick(newer).map(|runs| Merge::of(store, &view, runs)).transpose()
    }

    /// Begins the merge of all runs, if there are several or the only one holds what the horizon has passed.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn of_all(store: &Store) -> Result<Option<Merge>> {
        store.check_poison()?;
        let (view, _) = store.read_point();
        let runs = view.levels.runs();
        let may_purge = || store.horizon() > 0 && store.sizes().shadowed_entries > 0;
        let is_worth_it = runs.len() > 1 || !runs.is_empty() && may_purge();
        is_worth_it.then(|| Merge::of(store, &view, runs)).transpose()
    }

    fn of(store: &Store, view: &Arc<View>, runs: &[Arc<Run>]) -> Result<Merge> {
        let id = store.next_file();
        let entries = runs.iter().map(|run| run.properties().entries).sum::<u64>() as usize;
        let vfs = &*store.options.environment.vfs;
        let compression = store.identity().compression;
        let writer = store.note(RunWriter::create(vfs, &store.dir, id, entries, compression))?;
        let cursor = MergeCursor::new(std::iter::empty(), runs.iter(), &KeyRange::all());
        let inputs = runs.iter().map(|run| run.id()).collect();
        let input_bytes = runs.iter().map(|run| run.len()).sum();
        let count = Count::begin(view.clone(), runs);
        let reaches_oldest = runs.last().map(|run| run.id()) == view.levels.runs().last().map(|run| run.id());
        let horizon = if reaches_oldest { store.horizon() } else { 0 };
        Ok(Merge { inputs, input_bytes, cursor, id, writer: Some(writer), count, horizon, relocation: None })
    }

    /// The number of the run that it makes.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Bytes of the run so far, and of those that go into it.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.writer.as_ref().map_or(0, RunWriter::len), self.input_bytes)
    }

    /// Writes about `bytes` more; `true` when the merged run has taken its inputs' place.
    ///
    /// # Errors
    /// `Corruption` or `Io` of an input: nothing has changed. `Io` of a write: the store is poisoned.
    pub(crate) fn step(&mut self, store: &Store, bytes: u64) -> Result<bool> {
        span!("merge", run = self.id.0, inputs = self.inputs.len());
        if let Some(count) = &mut self.count {
            let is_counted = !count.step((bytes / 1024 * COUNTED_PER_KIB).max(1))?;
            if is_counted {
                self.relocation = self.count.take().and_then(Count::finish);
            }
            return Ok(false);
        }
        let Some(writer) = &mut self.writer else { return Ok(true) };
        let moved = |relocation: &Option<Relocation>| relocation.as_ref().map_or(0, Relocation::len);
        let until = writer.len() + moved(&self.relocation) + bytes;
        while writer.len() + moved(&self.relocation) < until {
            let Some((key, mut head)) = self.cursor.step()? else { return self.finish(store).map(|()| true) };
            if rule::may_drop(head.kind.end(head.stamp, head.expires_at), self.horizon, false, false) {
                continue;
            }
            if let (Some(relocation), RunValue::Log(location, digest)) = (&mut self.relocation, head.value) {
                let location = store.note(relocation.relocate(store, location, digest))?;
                head.value = RunValue::Log(location, digest);
            }
            store.note(writer.push(key, store.measure.hasher.key(key), head))?;
        }
        Ok(false)
    }

    fn finish(&mut self, store: &Store) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        store.note(writer.finish())?;
        let moved = self.relocation.take().map(Relocation::finish).transpose();
        let moved = store.note(moved)?.unwrap_or_default();
        store.sync_dir()?;
        let vfs = &store.options.environment.vfs;
        let run =
            Run::open(&**vfs, &store.dir, self.id, store.options.read_mode, store.measure.hasher.clone());
        store.install_merge(&self.inputs, Arc::new(store.note(run)?), &moved)?;
        let paths: Vec<_> = self.inputs.iter().map(|id| store.dir.join(FileKind::Run.name(id.0))).collect();
        store.remove_files(&paths)
    }

    /// Gives the merge up; its inputs stay.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn abandon(self, store: &Store) -> Result<()> {
        let mut paths = vec![store.dir.join(FileKind::Run.name(self.id.0))];
        paths.extend(self.relocation.iter().flat_map(|relocation| relocation.paths(store)));
        store.remove_files(&paths)
    }
}
