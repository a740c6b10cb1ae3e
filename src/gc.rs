//! Removal of files that nothing needs: what an interrupted flush, merge or creation left behind, log segments whose
//! commits are in the runs, and segments of large values that no run points into any more.
//!
//! Easy to get wrong: a file may go only after the manifest edit that forgets it is durable (invariant 13), and a view
//! that was taken before may still follow a location into it, so its bytes are opened before its name is removed.

use crate::error::{Error, Result};
use crate::format::{FileKind, segment_in, segment_name};
use crate::manifest::State;
use crate::store::Store;
use crate::types::FileId;

/// Removes every file of the store's folder that the manifest does not name. Called once after opening, when nothing is
/// being written yet: a run that is being written looks like an orphan.
///
/// # Errors
/// `Io`: the store is poisoned.
pub(crate) fn remove_orphans(store: &Store) -> Result<()> {
    let state = store.identity();
    remove(store, |name| {
        let is_unnamed_run = FileKind::Run.id_in(name).is_some_and(|id| !state.runs.contains(&FileId(id)));
        let is_unnamed = |id| !state.value_segments.contains_key(&id);
        let is_unnamed_moved = segment_in(name).filter(|id| id.is_moved()).is_some_and(is_unnamed);
        is_unnamed_run || is_unnamed_moved || name.ends_with(".tmp") || is_superseded(&state, name)
    })
}

/// Removes what the last flush made superfluous: log segments whose commits are in the runs, and older Merkle files.
///
/// # Errors
/// `Io`: the store is poisoned.
pub(crate) fn remove_superseded(store: &Store) -> Result<()> {
    let state = store.identity();
    remove(store, |name| is_superseded(&state, name))
}

fn is_superseded(state: &State, name: &str) -> bool {
    if let Some(id) = FileKind::Merkle.id_in(name) {
        return !state.merkle.contains(&FileId(id));
    }
    let segment = segment_in(name).filter(|id| !id.is_moved());
    segment.is_some_and(|id| {
        id < state.log_start && !state.value_segments.contains_key(&id) && !state.retained.contains_key(&id)
    })
}

fn remove(store: &Store, is_unneeded: impl Fn(&str) -> bool) -> Result<()> {
    let vfs = &store.options.environment.vfs;
    let names = vfs.list(&store.dir).map_err(|source| Error::io("list", &store.dir, source))?;
    let unneeded = names.iter().filter(|name| is_unneeded(name)).map(|name| store.dir.join(name));
    store.remove_files(&unneeded.collect::<Vec<_>>())
}

/// Removes the segments below the log's start that no run points into.
///
/// # Errors
/// `Io`, `Poisoned`: the store is poisoned.
pub(crate) fn remove_dead_segments(store: &Store) -> Result<()> {
    let dead = store.dead_value_segments();
    if dead.is_empty() {
        return Ok(());
    }
    store.forget_value_segments(&dead)?;
    // A segment may have to stay for the change feed.
    let retained = store.identity().retained;
    let removable = dead.iter().filter(|id| !retained.contains_key(id));
    let paths: Vec<_> = removable.map(|id| store.dir.join(segment_name(*id))).collect();
    store.remove_files(&paths)
}
