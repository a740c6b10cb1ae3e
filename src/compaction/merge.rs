//! Merge: neighbouring runs become one, in steps of bounded length.
//!
//! Of several versions of a key the newest run's stays; tombstones stay, for only the horizon may drop them. Easy to get
//! wrong: the merged run takes the place of its inputs among the ages, wherever flushes have moved it meanwhile.

use std::sync::Arc;

use crate::error::Result;
use crate::format::FileKind;
use crate::index::{MergeCursor, Run, RunWriter};
use crate::store::Store;
use crate::types::{FileId, KeyRange};

/// A merge under way.
#[derive(Debug)]
pub(crate) struct Merge {
    inputs: Vec<FileId>,
    cursor: MergeCursor,
    id: FileId,
    writer: Option<RunWriter>,
}

impl Merge {
    /// Begins the merge that is most worth it, if any is: among the runs that have come in since `running` began, if there
    /// is such a one.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn begin(store: &Store, running: Option<&Merge>) -> Result<Option<Merge>> {
        store.check_poison()?;
        let levels = store.read_point().0.levels.clone();
        let is_newer = |run: &&Arc<Run>| running.is_none_or(|merge| !merge.inputs.contains(&run.id()));
        let newer = levels.runs().iter().take_while(is_newer).count();
        levels.pick(newer).map(|runs| Merge::of(store, runs)).transpose()
    }

    /// Begins the merge of all runs, if there are several.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn of_all(store: &Store) -> Result<Option<Merge>> {
        store.check_poison()?;
        let levels = store.read_point().0.levels.clone();
        (levels.runs().len() > 1).then(|| Merge::of(store, levels.runs())).transpose()
    }

    fn of(store: &Store, runs: &[Arc<Run>]) -> Result<Merge> {
        let id = store.next_file();
        let entries = runs.iter().map(|run| run.properties().entries).sum::<u64>() as usize;
        let writer =
            store.note(RunWriter::create(&*store.options.environment.vfs, &store.dir, id, entries))?;
        let cursor = MergeCursor::new(std::iter::empty(), runs.iter(), &KeyRange::all());
        Ok(Merge { inputs: runs.iter().map(|run| run.id()).collect(), cursor, id, writer: Some(writer) })
    }

    /// The number of the run that it makes.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Writes about `bytes` more; `true` when the merged run has taken its inputs' place.
    ///
    /// # Errors
    /// `Corruption` or `Io` of an input: nothing has changed. `Io` of a write: the store is poisoned.
    pub(crate) fn step(&mut self, store: &Store, bytes: u64) -> Result<bool> {
        let Some(writer) = &mut self.writer else { return Ok(true) };
        let until = writer.len() + bytes;
        while writer.len() < until {
            self.cursor.advance()?;
            let Some(head) = self.cursor.take_head() else { return self.finish(store).map(|()| true) };
            let key = self.cursor.key();
            store.note(writer.push(key, store.measure.hasher.key(key), head.as_ref()))?;
        }
        Ok(false)
    }

    fn finish(&mut self, store: &Store) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        store.note(writer.finish())?;
        store.sync_dir()?;
        let vfs = &store.options.environment.vfs;
        let run =
            Run::open(&**vfs, &store.dir, self.id, store.options.read_mode, store.measure.hasher.clone());
        store.install_merge(&self.inputs, Arc::new(store.note(run)?))?;
        let paths: Vec<_> = self.inputs.iter().map(|id| store.dir.join(FileKind::Run.name(id.0))).collect();
        store.remove_files(&paths)
    }

    /// Gives the merge up; its inputs stay.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn abandon(self, store: &Store) -> Result<()> {
        store.remove_files(&[store.dir.join(FileKind::Run.name(self.id.0))])
    }
}
