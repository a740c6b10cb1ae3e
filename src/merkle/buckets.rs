//! [`Buckets`]: a sum for each bucket of some bounds. A base is made of this.
//!
//! Sums lie in chunks like the bounds, with a total for each chunk, so that the sum of a range costs the chunks in it
//! and the buckets of two. A chunk that holds nothing takes no memory; generations share those that did not change.
//!
//! Easy to get wrong: a chunk's total, its buckets and their ending parts change together or not at all.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::COVERED_END;
use super::bounds::{Bound, Bounds, ChunkBounds, Place, chunk_lens};
use crate::types::{EntrySum, Epoch, EpochSums, KeyRange, RangeSum};

/// The entries from its bound to before the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Where it begins.
    pub(crate) bound: Bound,
    /// What its entries sum up to.
    pub(crate) sums: EpochSums,
}

/// The sums of neighbouring buckets.
#[derive(Debug, Clone)]
pub(super) struct ChunkSums {
    totals: Box<[RangeSum]>,
    /// The parts that end, by bucket and epoch: most buckets have none. No part is zero.
    pub(super) ending: BTreeMap<(usize, Epoch), RangeSum>,
}

impl ChunkSums {
    fn zero(len: usize) -> ChunkSums {
        ChunkSums { totals: vec![RangeSum::ZERO; len].into(), ending: BTreeMap::new() }
    }

    fn new(buckets: &[Bucket]) -> ChunkSums {
        let mut sums = ChunkSums::zero(buckets.len());
        for (index, bucket) in buckets.iter().enumerate() {
            sums.add(index, &bucket.sums);
        }
        sums
    }

    pub(super) fn bucket(&self, index: usize) -> EpochSums {
        let total = self.totals.get(index).copied().unwrap_or_default();
        let ending = self.ending.range((index, Epoch(0))..=(index, Epoch(u64::MAX)));
        EpochSums { total, ending: ending.map(|(&(_, epoch), &sum)| (epoch, sum)).collect() }
    }

    fn total(&self) -> RangeSum {
        self.totals.iter().copied().sum()
    }

    fn add(&mut self, index: usize, sums: &EpochSums) {
        self.add_total(index, sums.total);
        sums.ending.iter().for_each(|(&epoch, &sum)| self.add_ending(index, epoch, sum));
    }

    fn add_entry(&mut self, index: usize, entry: EntrySum) {
        self.add_total(index, entry.sum);
        if let Some(epoch) = entry.epoch {
            self.add_ending(index, epoch, entry.sum);
        }
    }

    fn add_total(&mut self, index: usize, sum: RangeSum) {
        if let Some(total) = self.totals.get_mut(index) {
            *total += sum;
        }
    }

    fn add_ending(&mut self, index: usize, epoch: Epoch, sum: RangeSum) {
        let part = self.ending.entry((index, epoch)).or_default();
        *part += sum;
        if *part == RangeSum::ZERO {
            self.ending.remove(&(index, epoch));
        }
    }
}

/// Bounds and the sum of each bucket.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    bounds: Bounds,
    chunks: Vec<Option<Arc<ChunkSums>>>,
    /// Of each chunk.
    totals: Vec<RangeSum>,
    total: RangeSum,
}

impl Buckets {
    fn of_chunks(chunks: Vec<(Arc<ChunkBounds>, Option<Arc<ChunkSums>>)>) -> Buckets {
        let (bounds, chunks): (_, Vec<Option<Arc<ChunkSums>>>) = chunks.into_iter().unzip();
        let total =
            |chunk: &Option<Arc<ChunkSums>>| chunk.as_ref().map_or(RangeSum::ZERO, |sums| sums.total());
        let totals: Vec<_> = chunks.iter().map(total).collect();
        let total = totals.iter().copied().sum();
        Buckets { bounds: Bounds::of_chunks(bounds), chunks, totals, total }
    }

    /// These buckets, in key order; the first one begins where the covered keys do.
    pub(super) fn of_buckets(buckets: &[Bucket]) -> Buckets {
        let mut chunks = Vec::new();
        push_chunks(&mut chunks, buckets);
        Buckets::of_chunks(chunks)
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn total(&self) -> RangeSum {
        self.total
    }

    /// The chunks' sums; `None` where all are zero.
    pub(super) fn chunks(&self) -> &[Option<Arc<ChunkSums>>] {
        &self.chunks
    }

    pub(super) fn sums(&self, place: Place) -> EpochSums {
        self.chunk(place.chunk).map_or_else(EpochSums::default, |chunk| chunk.bucket(place.index))
    }

    pub(super) fn bucket(&self, place: Place) -> Bucket {
        let bounds = self.bounds.chunks().get(place.chunk);
        let level = bounds.map_or(0, |chunk| chunk.level(place.index));
        Bucket { bound: Bound { key: self.bounds.key(place).to_vec(), level }, sums: self.sums(place) }
    }

    /// Whether chunk `chunk` is one in memory with chunk `other_chunk` of `other`.
    pub(super) fn shares(&self, chunk: usize, other: &Buckets, other_chunk: usize) -> bool {
        let pointers = |buckets: &Buckets, chunk: usize| {
            let bounds = buckets.bounds.chunks().get(chunk).map(Arc::as_ptr);
            Some((bounds?, buckets.chunks.get(chunk)?.as_ref().map(Arc::as_ptr)))
        };
        pointers(self, chunk) == pointers(other, other_chunk)
    }

    fn chunk(&self, chunk: usize) -> Option<&ChunkSums> {
        self.chunks.get(chunk)?.as_deref()
    }

    /// The sum of the buckets in `range`, whose ends must be bounds.
    pub(super) fn sum(&self, range: &KeyRange) -> RangeSum {
        let from = self.bounds.locate(&range.start);
        let to = range.end.as_deref().map_or(self.bounds.end(), |end| self.bounds.locate(end));
        debug_assert_eq!(self.bounds.key(from), range.start, "a range is summed between bounds");
        debug_assert_eq!(range.end.as_deref().unwrap_or(COVERED_END), self.bounds.key(to));
        let buckets = |chunk: usize, from: usize, to: usize| -> RangeSum {
            let totals = self.chunk(chunk).map_or(&[][..], |chunk| &chunk.totals);
            totals.get(from..to.min(totals.len())).unwrap_or_default().iter().copied().sum()
        };
        match from.chunk.cmp(&to.chunk) {
            Ordering::Equal => buckets(from.chunk, from.index, to.index),
            Ordering::Greater => RangeSum::ZERO,
            Ordering::Less => {
                let whole = self.totals.get(from.chunk + 1..to.chunk).unwrap_or_default();
                buckets(from.chunk, from.index, usize::MAX)
                    + whole.iter().copied().sum()
                    + buckets(to.chunk, 0, to.index)
            }
        }
    }

    /// Adds one entry to the bucket at `place`, or takes it away when negated.
    pub(super) fn add_entry(&mut self, place: Place, entry: EntrySum) {
        self.add_to_chunk(place.chunk, entry.sum, |chunk| chunk.add_entry(place.index, entry));
    }

    /// Changes a chunk by `add`, which adds `sum` to it in all.
    fn add_to_chunk(&mut self, chunk: usize, sum: RangeSum, add: impl FnOnce(&mut ChunkSums)) {
        let (Some(sums), Some(total)) = (self.chunks.get_mut(chunk), self.totals.get_mut(chunk)) else {
            return;
        };
        let len = || self.bounds.chunks().get(chunk).map_or(0, |bounds| bounds.len());
        add(Arc::make_mut(sums.get_or_insert_with(|| Arc::new(ChunkSums::zero(len())))));
        *total += sum;
        self.total += sum;
    }

    /// These buckets with those at some places replaced by others; chunks without such a place are shared.
    pub(super) fn replace(&self, mut replacements: BTreeMap<Place, Vec<Bucket>>) -> Buckets {
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for (at, (bounds, sums)) in self.bounds.chunks().iter().zip(&self.chunks).enumerate() {
            let later = replacements.split_off(&Place { chunk: at + 1, index: 0 });
            let mut here = std::mem::replace(&mut replacements, later);
            if here.is_empty() {
                chunks.push((bounds.clone(), sums.clone()));
                continue;
            }
            let places = (0..bounds.len()).map(|index| Place { chunk: at, index });
            let buckets = places.flat_map(|place| match here.remove(&place) {
                Some(replacement) => replacement,
                None => vec![self.bucket(place)],
            });
            push_chunks(&mut chunks, &buckets.collect::<Vec<_>>());
        }
        Buckets::of_chunks(chunks)
    }
}

fn push_chunks(chunks: &mut Vec<(Arc<ChunkBounds>, Option<Arc<ChunkSums>>)>, mut buckets: &[Bucket]) {
    for len in chunk_lens(buckets.len()) {
        let (chunk, rest) = buckets.split_at(len);
        let bounds = ChunkBounds::new(chunk.iter().map(|bucket| &bucket.bound));
        chunks.push((Arc::new(bounds), Some(Arc::new(ChunkSums::new(chunk)))));
        buckets = rest;
    }
}
