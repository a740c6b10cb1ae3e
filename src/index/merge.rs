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
use crate::types::{Head, KeyRange, Location, SeqNo, Slice, ValueDigest, ValueRef};

use super::cursor::{End, RunCursor};
use super::entry::{HeadRef, StoredHead};
use super::memtable::Memtable;
use super::memtable_cursor::MemtableCursor;
use super::run::Run;

/// A double-ended walk over the newest version of every key in a range, tombstones included. Owned: it holds memtables,
/// runs and the blocks it stands in. [`MergeCursor::advance`] lends keys and values from where they lie; as an iterator it
/// yields owned keys and heads with digests.
#[derive(Debug)]
pub(crate) struct MergeCursor {
    sources: Vec<Source>,
    /// The source whose entry the walk stands at, and at which end of it.
    current: Option<(usize, End)>,
    failed: Option<Error>,
    /// That of the runs, if there are any: memtables have their heads' digests.
    hasher: Option<Arc<SetHasher>>,
}

impl MergeCursor {
    /// A walk over `range` in memtables, each as after a commit, and runs; both newest first. Reads nothing yet.
    pub(crate) fn new<'a>(
        memtables: impl IntoIterator<Item = (Arc<Memtable>, SeqNo)>,
        runs: impl IntoIterator<Item = &'a Arc<Run>>,
        range: &KeyRange,
    ) -> MergeCursor {
        let memtables = memtables.into_iter().map(|(memtable, at)| MemtableCursor::new(memtable, range, at));
        let walk = |cursor| Walk::Memtable(MemtableWalk { cursor, front: None, back: None });
        let mut sources: Vec<Source> = memtables.map(|cursor| Source::new(walk(cursor))).collect();
        let mut hasher = None;
        let shared = Arc::new(range.clone());
        for run in runs {
            let (first, last) = &run.properties().keys;
            if range.start <= *last && range.end.as_ref().is_none_or(|end| end > first) {
                hasher = Some(run.hasher().clone());
                let mut walk =
                    |range| sources.push(Source::new(Walk::Run(RunCursor::new(run.clone(), range))));
                match run.holes().is_empty() {
                    true => walk(shared.clone()),
                    // What lies between holes is as good as a run of its own.
                    false => run.holes().between(range).into_iter().map(Arc::new).for_each(walk),
                }
            }
        }
        for source in &sources {
            if let Walk::Run(walk) = &source.walk {
                walk.touch();
            }
        }
        MergeCursor { sources, current: None, failed: None, hasher }
    }

    /// A walk that has ended with `error` before its first step.
    pub(crate) fn failed(error: Error) -> MergeCursor {
        MergeCursor { sources: Vec::new(), current: None, failed: Some(error), hasher: None }
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
    pub(crate) fn step(&mut self) -> Result<Option<(&[u8], HeadRef<'_>)>> {
        self.advance()?;
        Ok(self.current().and_then(|(source, end)| Some((source.key(end), source.head_ref(end)?))))
    }

    /// The key that the last advance moved to; empty before it and at the end.
    pub(crate) fn key(&self) -> &[u8] {
        self.current().map_or(&[], |(source, end)| source.key(end))
    }

    /// The value where the last advance moved to. Empty if it is in the log, of a tombstone, and before and at the end.
    pub(crate) fn value(&self) -> &[u8] {
        self.current().map_or(&[], |(source, end)| source.value(end))
    }

    /// Where in the log the value is, and its digest, if it is there.
    pub(crate) fn log_value(&self) -> Option<(Location, ValueDigest)> {
        self.current().and_then(|(source, end)| source.log_value(end))
    }

    /// The value as a slice that pins what it lies in. `None` if it is in the log, or nowhere.
    pub(crate) fn value_slice(&self) -> Option<Slice> {
        self.current().and_then(|(source, end)| source.value_slice(end))
    }

    /// Whether reads at wall time `now_ms` show the entry that the last advance moved to.
    pub(crate) fn is_visible(&self, now_ms: u64) -> bool {
        self.current().is_some_and(|(source, end)| source.is_visible(end, now_ms))
    }

    /// The head that the last advance moved to, owned: it pins the block or the value that it came from. `None` before it
    /// and at the end.
    pub(crate) fn head(&self) -> Option<StoredHead> {
        self.current().and_then(|(source, end)| source.head(end))
    }

    fn current(&self) -> Option<(&Source, End)> {
        let (at, end) = self.current?;
        Some((self.sources.get(at)?, end))
    }

    fn advance_from(&mut self, end: End) -> Result<bool> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        if let Some((at, end)) = self.current.take() {
            self.sources[at].slot(end).is_filled = false;
        }
        let mut best: Option<usize> = None;
        let mut at = 0;
        while at < self.sources.len() {
            let (before, rest) = self.sources.split_at_mut(at);
            let Some(source) = rest.first_mut() else { break };
            if let Err(error) = source.fill(end) {
                self.failed = Some(error.clone());
                return Err(error);
            }
            if !source.slot(end).is_filled {
                self.sources.remove(at);
                continue;
            }
            let order = best.and_then(|best| before.get(best)).map(|best| source.cmp(best, end));
            match (order, end) {
                (None, _) | (Some(Ordering::Less), End::Front) | (Some(Ordering::Greater), End::Back) => {
                    best = Some(at);
                }
                // A newer source has the key, so this version is shadowed, whichever key is taken in the end.
                (Some(Ordering::Equal), _) => source.slot(end).is_filled = false,
                _ => {}
            }
            at += 1;
        }
        self.current = best.map(|at| (at, end));
        Ok(best.is_some())
    }

    /// Key and head that the last advance moved to, owned and digested. `None` before it and at the end.
    pub(crate) fn entry(&self) -> Option<(Vec<u8>, Head)> {
        let hasher = || self.hasher.as_ref().expect("only a run leaves digests out");
        let head = self.head()?.into_head(|value| hasher().value(value));
        Some((self.key().to_vec(), head))
    }
}

impl Iterator for MergeCursor {
    type Item = Result<(Vec<u8>, Head)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|_| self.entry()).transpose()
    }
}

impl DoubleEndedIterator for MergeCursor {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.advance_back().map(|_| self.entry()).transpose()
    }
}

/// One of the things that are merged.
#[derive(Debug)]
struct Source {
    walk: Walk,
    front: Slot,
    back: Slot,
}

/// What is known of where an end of a source stands.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Whether the entry there was fetched and neither yielded nor shadowed yet.
    is_filled: bool,
    /// The first bytes of its key, as a number that orders as they do.
    order: u128,
}

#[derive(Debug)]
enum Walk {
    Memtable(MemtableWalk),
    Run(RunCursor),
}

/// A walk over a memtable, and what its ends stand at.
#[derive(Debug)]
struct MemtableWalk {
    cursor: MemtableCursor,
    front: Option<(Vec<u8>, Head)>,
    back: Option<(Vec<u8>, Head)>,
}

impl MemtableWalk {
    fn step(&mut self, end: End) -> bool {
        let found = match end {
            End::Front => self.cursor.next(),
            End::Back => self.cursor.next_back(),
        };
        let is_found = found.is_some();
        if is_found {
            *self.stand_mut(end) = found;
        }
        is_found
    }

    fn stand(&self, end: End) -> Option<&(Vec<u8>, Head)> {
        match end {
            End::Front => self.front.as_ref(),
            End::Back => self.back.as_ref(),
        }
    }

    fn stand_mut(&mut self, end: End) -> &mut Option<(Vec<u8>, Head)> {
        match end {
            End::Front => &mut self.front,
            End::Back => &mut self.back,
        }
    }
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

    /// Makes the slot of `end` hold the source's outermost entry there, unless nothing at all is left.
    fn fill(&mut self, end: End) -> Result<()> {
        if self.slot(end).is_filled {
            return Ok(());
        }
        if self.step(end)? {
            *self.slot(end) = Slot { is_filled: true, order: order(self.key(end)) };
        } else {
            // What the other end has fetched is all that is left, and so the outermost entry on this side too.
            self.swap_ends();
        }
        Ok(())
    }

    fn step(&mut self, end: End) -> Result<bool> {
        match &mut self.walk {
            Walk::Run(walk) => walk.step(end),
            Walk::Memtable(walk) => Ok(walk.step(end)),
        }
    }

    fn swap_ends(&mut self) {
        std::mem::swap(&mut self.front, &mut self.back);
        match &mut self.walk {
            Walk::Run(walk) => walk.swap_ends(),
            Walk::Memtable(walk) => std::mem::swap(&mut walk.front, &mut walk.back),
        }
    }

    /// How the entries of two sources order, both slots being filled.
    fn cmp(&self, other: &Source, end: End) -> Ordering {
        let (order, others) = match end {
            End::Front => (self.front.order, other.front.order),
            End::Back => (self.back.order, other.back.order),
        };
        order.cmp(&others).then_with(|| self.key(end).cmp(other.key(end)))
    }

    fn key(&self, end: End) -> &[u8] {
        match &self.walk {
            Walk::Run(walk) => walk.stand(end).key(),
            Walk::Memtable(walk) => walk.stand(end).map_or(&[], |(key, _)| key),
        }
    }

    fn value(&self, end: End) -> &[u8] {
        match &self.walk {
            Walk::Run(walk) => walk.stand(end).value(),
            Walk::Memtable(walk) => match walk.stand(end).map(|(_, head)| &head.value) {
                Some(ValueRef::Inline(value) | ValueRef::Staged { value, .. }) => value,
                Some(ValueRef::Log(_)) | None => &[],
            },
        }
    }

    fn log_value(&self, end: End) -> Option<(Location, ValueDigest)> {
        match &self.walk {
            Walk::Run(walk) => walk.stand(end).log_value(),
            Walk::Memtable(walk) => match walk.stand(end).map(|(_, head)| (&head.value, head.digest)) {
                Some((ValueRef::Log(location), digest)) => Some((*location, digest)),
                _ => None,
            },
        }
    }

    fn value_slice(&self, end: End) -> Option<Slice> {
        match &self.walk {
            Walk::Run(walk) => walk.stand(end).value_slice(),
            Walk::Memtable(walk) => match &walk.stand(end)?.1.value {
                ValueRef::Inline(value) | ValueRef::Staged { value, .. } => Some(value.clone()),
                ValueRef::Log(_) => None,
            },
        }
    }

    fn is_visible(&self, end: End, now_ms: u64) -> bool {
        match &self.walk {
            Walk::Run(walk) => walk.stand(end).is_visible(now_ms),
            Walk::Memtable(walk) => walk.stand(end).is_some_and(|(_, head)| head.is_visible(now_ms)),
        }
    }

    fn head_ref(&self, end: End) -> Option<HeadRef<'_>> {
        match &self.walk {
            Walk::Run(walk) => walk.stand(end).head_ref(),
            Walk::Memtable(walk) => walk.stand(end).map(|(_, head)| head.into()),
        }
    }

    fn head(&self, end: End) -> Option<StoredHead> {
        match &self.walk {
            Walk::Run(walk) => walk.stand(end).head(),
            Walk::Memtable(walk) => walk.stand(end).map(|(_, head)| head.clone().into()),
        }
    }
}

/// The first bytes of a key as a number that orders as they do: keys of one keyspace differ behind the ninth.
fn order(key: &[u8]) -> u128 {
    match key.first_chunk() {
        Some(first) => u128::from_be_bytes(*first),
        None => {
            let mut first = [0; 16];
            first.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
            u128::from_be_bytes(first)
        }
    }
}
