//! [`MergeCursor`]: one ordered walk over memtables and runs, yielding the newest version of each key.
//!
//! Sources come newest first; of those that stand at the same key the first one's version is taken and the others' are
//! passed over. Below about eight sources looking at each of them is as fast as a tree of losers, and simpler.
//!
//! Easy to get wrong: when one end has used up a source, what the other end has already fetched from it is still left
//! (see [`Source::fill`]). And after an error the walk goes on returning it, for the source that failed has lost its place.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hash::SetHasher;
use crate::types::{Head, KeyRange, SeqNo};

use super::cursor::RunCursor;
use super::entry::StoredHead;
use super::memtable::Memtable;
use super::memtable_cursor::MemtableCursor;
use super::run::Run;

/// A double-ended walk over the newest version of every key in a range, tombstones included. Owned: it holds memtables,
/// runs and the blocks it stands in. [`MergeCursor::advance`] walks without copies; as an iterator it yields owned keys and
/// heads with digests.
#[derive(Debug)]
pub(crate) struct MergeCursor {
    sources: Vec<Source>,
    /// Where the walk stands.
    key: Vec<u8>,
    head: Option<StoredHead>,
    failed: Option<Error>,
    /// That of the runs, if there are any: memtables have their heads' digests.
    hasher: Option<Arc<SetHasher>>,
}

/// The ends of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

impl MergeCursor {
    /// A walk over `range` in memtables, each as after a commit, and runs; both newest first. Reads nothing yet.
    pub(crate) fn new<'a>(
        memtables: impl IntoIterator<Item = (Arc<Memtable>, SeqNo)>,
        runs: impl IntoIterator<Item = &'a Arc<Run>>,
        range: &KeyRange,
    ) -> MergeCursor {
        let memtables = memtables.into_iter().map(|(memtable, at)| MemtableCursor::new(memtable, range, at));
        let mut sources: Vec<Source> = memtables.map(|walk| Source::new(Walk::Memtable(walk))).collect();
        let mut hasher = None;
        for run in runs {
            hasher = Some(run.hasher().clone());
            sources.push(Source::new(Walk::Run(RunCursor::new(run.clone(), range))));
        }
        MergeCursor { sources, key: Vec::new(), head: None, failed: None, hasher }
    }

    /// Moves to the least key that is left. `false` if there is none.
    ///
    /// # Errors
    /// `Corruption` or `Io` of a run, from then on always.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        self.advance_from(End::Front)
    }

    /// Moves to the greatest key that is left. `false` if there is none.
    ///
    /// # Errors
    /// As [`MergeCursor::advance`].
    pub(crate) fn advance_back(&mut self) -> Result<bool> {
        self.advance_from(End::Back)
    }

    /// Moves to the least key that is left, and returns it with its head.
    ///
    /// # Errors
    /// As [`MergeCursor::advance`].
    pub(crate) fn step(&mut self) -> Result<Option<(&[u8], StoredHead)>> {
        self.advance()?;
        Ok(self.head.take().map(|head| (&self.key[..], head)))
    }

    /// The key that the last advance moved to; empty before.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Takes the head that the last advance moved to. `None` before it, at the end, and once it was taken.
    pub(crate) fn take_head(&mut self) -> Option<StoredHead> {
        self.head.take()
    }

    fn advance_from(&mut self, end: End) -> Result<bool> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.head = None;
        for source in &mut self.sources {
            if let Err(error) = source.fill(end) {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        let mut best: Option<&mut Slot> = None;
        for source in &mut self.sources {
            let slot = source.slot(end);
            if slot.head.is_none() {
                continue;
            }
            let order = best.as_ref().map_or(Ordering::Less, |best| match end {
                End::Front => slot.key.cmp(&best.key),
                End::Back => best.key.cmp(&slot.key),
            });
            match order {
                Ordering::Less => best = Some(slot),
                // A newer source has the key, so this version is shadowed, whichever key is taken in the end.
                Ordering::Equal => slot.head = None,
                Ordering::Greater => {}
            }
        }
        let Some(best) = best else { return Ok(false) };
        std::mem::swap(&mut self.key, &mut best.key);
        self.head = best.head.take();
        Ok(true)
    }

    fn yielded(&mut self, advanced: Result<bool>) -> Option<Result<(Vec<u8>, Head)>> {
        match advanced {
            Ok(_) => {
                let hasher = || self.hasher.as_ref().expect("only a run leaves digests out");
                let head = self.head.take()?.into_head(|value| hasher().value(value));
                Some(Ok((std::mem::take(&mut self.key), head)))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for MergeCursor {
    type Item = Result<(Vec<u8>, Head)>;

    fn next(&mut self) -> Option<Self::Item> {
        let advanced = self.advance();
        self.yielded(advanced)
    }
}

impl DoubleEndedIterator for MergeCursor {
    fn next_back(&mut self) -> Option<Self::Item> {
        let advanced = self.advance_back();
        self.yielded(advanced)
    }
}

/// One of the things that are merged, and what either end has fetched from it and not yet yielded.
#[derive(Debug)]
struct Source {
    walk: Walk,
    front: Slot,
    back: Slot,
}

#[derive(Debug)]
enum Walk {
    Memtable(MemtableCursor),
    Run(RunCursor),
}

/// An entry, or room for one.
#[derive(Debug, Default)]
struct Slot {
    key: Vec<u8>,
    head: Option<StoredHead>,
}

impl Source {
    fn new(walk: Walk) -> Source {
        Source { walk, front: Slot::default(), back: Slot::default() }
    }

    fn slot(&mut self, end: End) -> &mut Slot {
        match end {
            End::Front => &mut self.front,
            End::Back => &mut self.back,
        }
    }

    /// Makes the slot of `end` hold the source's outermost entry there, unless nothing is left.
    fn fill(&mut self, end: End) -> Result<()> {
        let (near, far) = match end {
            End::Front => (&mut self.front, &mut self.back),
            End::Back => (&mut self.back, &mut self.front),
        };
        if near.head.is_some() {
            return Ok(());
        }
        near.head = match (&mut self.walk, end) {
            (Walk::Run(walk), End::Front) => walk.next(&mut near.key)?,
            (Walk::Run(walk), End::Back) => walk.next_back(&mut near.key)?,
            (Walk::Memtable(walk), End::Front) => near.take(walk.next()),
            (Walk::Memtable(walk), End::Back) => near.take(walk.next_back()),
        };
        if near.head.is_none() {
            // What the other end has fetched is all that is left, and so the outermost entry on this side too.
            std::mem::swap(near, far);
        }
        Ok(())
    }
}

impl Slot {
    fn take(&mut self, found: Option<(Vec<u8>, Head)>) -> Option<StoredHead> {
        let (key, head) = found?;
        self.key = key;
        Some(head.into())
    }
}
