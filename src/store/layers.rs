//! The Merkle index as a store holds it: a base as of the last flush, and the differences made by each memtable since.
//!
//! Base plus differences always equals the visible entries (invariant 9). Behind the commit lock.
//!
//! Easy to get wrong: the base may be cut finer than the bounds that older differences know, so a range is summed where
//! *all* layers have bounds, and what sticks out on either side is scanned (invariant 11).

use std::sync::Arc;

use crate::merkle::{Base, Bounds, Differences, align, cut_level, fences, surrounding};
use crate::types::{EntrySum, KeyRange, RangeSum};

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
        self.active.add(key, Some(added), replaced);
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
        let aligned = align(range, &self.bounds());
        let whole = aligned.whole.map_or(RangeSum::ZERO, |whole| {
            let sealed: RangeSum = self.sealed.iter().map(|differences| differences.sum(&whole)).sum();
            self.base.sum(&whole) + sealed + self.active.sum(&whole)
        });
        PartialSum { whole, rest: aligned.rest }
    }

    /// The smallest range around `key` that begins and ends at bounds of all layers.
    pub(crate) fn whole_range(&self, key: &[u8]) -> KeyRange {
        surrounding(key, &self.bounds())
    }

    /// The level at which `range` falls into about `pieces` at its fences.
    pub(crate) fn cut_level(&self, range: &KeyRange, pieces: u64, bucket_bits: u8) -> u8 {
        let counts = self.sum(range).whole.counts;
        let count = counts.live.saturating_add(counts.tombstones);
        cut_level(range, count, pieces, bucket_bits, &self.bounds())
    }

    /// The first `limit` fences of level `cut` and above inside `range`, which all layers know.
    pub(crate) fn fences(&self, range: &KeyRange, cut: u8, limit: usize) -> Vec<Vec<u8>> {
        fences(range, cut, &self.bounds()).take(limit).map(|(key, _)| key.to_vec()).collect()
    }

    fn bounds(&self) -> Vec<&Bounds> {
        let sealed = self.sealed.iter().map(|differences| differences.bounds());
        [self.base.bounds(), self.active.bounds()].into_iter().chain(sealed).collect()
    }
}
