//! Merge: neighbouring runs become one, in steps of bounded length.
//!
//! Of several versions of a key the newest run's stays. A merge down to the oldest run drops what ended at or before the
//! horizon as well, for then no older version is left that it hides. Easy to get
//! wrong: the merged run takes the place of its inputs among the ages, wherever flushes have moved it meanwhile.
//!
//! A damaged block of an input is left out, and its span is unknown from then on; of what is unknown nothing is dropped.
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
use crate::types::{FileId, KeyRange, successor};

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
    /// What was healed since it began: there a newer run holds what its inputs held.
    healed: Vec<KeyRange>,
}

/// A walk over the present runs among `inputs`, behind the key `after`.
fn cursor(store: &Store, inputs: &[FileId], after: Option<&[u8]>) -> MergeCursor {
    let (view, _) = store.read_point();
    let runs = view.levels.runs().iter().filter(|run| inputs.contains(&run.id()));
    let start = after.map(successor).unwrap_or_default();
    MergeCursor::new(std::iter::empty(), runs, &KeyRange::new(start, None))
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
        let inputs: Vec<FileId> = runs.iter().map(|run| run.id()).collect();
        let cursor = cursor(store, &inputs, None);
        let input_bytes = runs.iter().map(|run| run.len()).sum();
        let count = Count::begin(view.clone(), runs);
        let reaches_oldest = runs.last().map(|run| run.id()) == view.levels.runs().last().map(|run| run.id());
        let horizon = if reaches_oldest { store.horizon() } else { 0 };
        Ok(Merge {
            inputs,
            input_bytes,
            cursor,
            id,
            writer: Some(writer),
            count,
            horizon,
            relocation: None,
            healed: Vec::new(),
        })
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
    /// `Io` of an input: nothing has changed. `Io` of a write: the store is poisoned.
    pub(crate) fn step(&mut self, store: &Store, bytes: u64) -> Result<bool> {
        span!("merge", run = self.id.0, inputs = self.inputs.len());
        if let Some(count) = &mut self.count {
            match count.step((bytes / 1024 * COUNTED_PER_KIB).max(1)) {
                Ok(true) => {}
                Ok(false) => self.relocation = self.count.take().and_then(Count::finish),
                // What cannot be counted stays where it is.
                Err(error) if store.quarantine(&error)?.is_some() => self.count = None,
                Err(error) => return Err(error),
            }
            return Ok(false);
        }
        let Some(writer) = &mut self.writer else { return Ok(true) };
        let moved = |relocation: &Option<Relocation>| relocation.as_ref().map_or(0, Relocation::len);
        let until = writer.len() + moved(&self.relocation) + bytes;
        let unknown = store.unknown();
        while writer.len() + moved(&self.relocation) < until {
            let (key, mut head) = match self.cursor.step() {
                Ok(Some(next)) => next,
                Ok(None) => return self.finish(store).map(|()| true),
                Err(error) => {
                    if store.quarantine(&error)?.is_none() {
                        return Err(error);
                    }
                    // The next step goes on with what is left.
                    self.cursor = cursor(store, &self.inputs, Some(writer.last_key()));
                    return Ok(false);
                }
            };
            let is_unknown = || !unknown.is_empty() && unknown.contains(key);
            let end = head.kind.end(head.stamp, head.expires_at);
            if rule::may_drop(end, self.horizon, false, false) && !is_unknown() {
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
        let run = store.note(run)?.with_holes(&self.healed);
        store.install_merge(&self.inputs, Arc::new(run), &moved)?;
        let paths: Vec<_> = self.inputs.iter().map(|id| store.dir.join(FileKind::Run.name(id.0))).collect();
        store.remove_files(&paths)
    }

    /// Notes that `range` was healed, so that whatever the merged run has of it is passed over.
    pub(crate) fn healed(&mut self, range: &KeyRange) {
        self.healed.push(range.clone());
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
