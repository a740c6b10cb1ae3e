//! The Merkle index as a store holds it: a base as of the last flush, and the differences made by each memtable since.
//!
//! Base plus differences always equals the visible entries (invariant 9). Behind the commit lock.
//!
//! Easy to get wrong: the base may be cut finer than the bounds that older differences know, so a range is summed where
//! *all* layers have bounds, and what sticks out on either side is scanned (invariant 11).

use std::sync::Arc;

use crate::merkle::{Base, Differences};
use crate::types::{KeyRange, RangeSum, successor};

use super::measure::EntrySum;

/// Base and differences.
#[derive(Debug, Clone)]
pub(crate) struct MerkleLayers {
    pub(crate) base: Base,
    /// Of the sealed memtables, oldest first.
    pub(crate) sealed: Vec<Arc<Differences>>,
    /// Of the active memtable.
    pub(crate) active: Differences,
}

/// A range's sum, as far as it is known without reading entries.
#[derive(Debug, Clone)]
pub(crate) struct PartialSum {
    /// The sum of the whole buckets.
    pub(crate) whole: RangeSum,
    /// What has to be scanned: at most one range on either side.
    pub(crate) rest: Vec<KeyRange>,
}

impl MerkleLayers {
    pub(crate) fn new(base: Base) -> MerkleLayers {
        let active = Differences::new(&base);
        MerkleLayers { base, sealed: Vec::new(), active }
    }

    /// Notes that an entry was added, and another one of the same key replaced.
    pub(crate) fn enter(&mut self, key: &[u8], added: EntrySum, replaced: Option<EntrySum>) {
        self.active.add(key, added.sum, added.epoch);
        if let Some(replaced) = replaced {
            self.active.add(key, -replaced.sum, replaced.epoch);
        }
    }

    /// Begins new differences, together with a new active memtable.
    pub(crate) fn seal(&mut self) {
        let active = Differences::new(&self.base);
        self.sealed.push(Arc::new(std::mem::replace(&mut self.active, active)));
    }

    /// Takes in the base that a flush of the oldest sealed memtable made.
    pub(crate) fn install(&mut self, base: Base) {
        self.base = base;
        self.sealed.remove(0);
    }

    /// The sum of everything.
    pub(crate) fn total(&self) -> RangeSum {
        self.sealed.iter().map(|differences| differences.total()).sum::<RangeSum>()
            + self.base.total()
            + self.active.total()
    }

    /// The sum of `range`, but for the parts of it that do not fall on common bounds.
    pub(crate) fn sum(&self, range: &KeyRange) -> PartialSum {
        let none = PartialSum { whole: RangeSum::ZERO, rest: vec![range.clone()] };
        if range.is_empty() {
            return PartialSum { rest: Vec::new(), ..none };
        }
        let Some(start) = self.common_bound_at_or_after(&range.start) else { return none };
        let end = range.end.as_deref().map(|end| self.common_bound_at_or_before(end));
        if end.as_ref().is_some_and(|end| *end <= start) {
            return none;
        }
        let mut whole = self.base.sum(&start, end.as_deref()) + self.active.sum(&start, end.as_deref());
        whole += self.sealed.iter().map(|differences| differences.sum(&start, end.as_deref())).sum();
        let mut rest = vec![KeyRange::new(range.start.clone(), Some(start))];
        if let Some(end) = end {
            rest.push(KeyRange::new(end, range.end.clone()));
        }
        rest.retain(|range| !range.is_empty());
        PartialSum { whole, rest }
    }

    /// The smallest range around `key` that begins and ends at bounds of all layers.
    pub(crate) fn whole_range(&self, key: &[u8]) -> KeyRange {
        let end = self.common_bound_at_or_after(&successor(key));
        KeyRange::new(self.common_bound_at_or_before(key), end)
    }

    fn bounds(&self) -> impl Iterator<Item = &Base> {
        let sealed = self.sealed.iter().map(|differences| differences.bounds());
        sealed.chain([self.active.bounds(), &self.base])
    }

    /// The least bound of all layers at or after `key`.
    fn common_bound_at_or_after(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut bound = key.to_vec();
        loop {
            let before = bound.clone();
            for bounds in self.bounds() {
                bound = bounds.bound_at_or_after(&bound)?.to_vec();
            }
            if bound == before {
                return Some(bound);
            }
        }
    }

    /// The greatest bound of all layers at or before `key`. The empty key is a bound of every layer.
    fn common_bound_at_or_before(&self, key: &[u8]) -> Vec<u8> {
        let mut bound = key.to_vec();
        loop {
            let before = bound.clone();
            for bounds in self.bounds() {
                bound = bounds.bound_at_or_before(&bound).to_vec();
            }
            if bound == before {
                return bound;
            }
        }
    }
}
