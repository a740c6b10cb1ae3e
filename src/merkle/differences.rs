//! [`Differences`]: what the entries of one memtable change in the sums of a base's buckets.
//!
//! They keep the bounds of the base that they were opened on. Memory is proportional to the chunks that are touched.
//!
//! Easy to get wrong: a base that was cut since has other bounds, so differences fold only into the base whose bounds
//! they have; a flush makes new ones from the memtable's entries for that.

use super::base::{Base, Place, sum_between};
use crate::types::{Epoch, EpochSums, RangeSum};

/// Sums of what was added, less what was replaced, by bucket of a base.
#[derive(Debug, Clone)]
pub(crate) struct Differences {
    bounds: Base,
    chunks: Vec<Option<Box<[EpochSums]>>>,
    totals: Vec<RangeSum>,
    total: RangeSum,
}

impl Differences {
    /// No difference, by the buckets of `base`.
    pub(crate) fn new(base: &Base) -> Differences {
        let count = base.chunk_count();
        let (chunks, totals) = (vec![None; count], vec![RangeSum::ZERO; count]);
        Differences { bounds: base.clone(), chunks, totals, total: RangeSum::ZERO }
    }

    /// Adds an entry of `key`, or takes one away when `sum` is negated. O(log buckets).
    pub(crate) fn add(&mut self, key: &[u8], sum: RangeSum, epoch: Option<Epoch>) {
        let place = self.bounds.locate(key);
        let len = self.bounds.chunk_len(place.chunk);
        let (Some(chunk), Some(total)) = (self.chunks.get_mut(place.chunk), self.totals.get_mut(place.chunk))
        else {
            return;
        };
        let chunk = chunk.get_or_insert_with(|| vec![EpochSums::default(); len].into_boxed_slice());
        if let Some(sums) = chunk.get_mut(place.index) {
            sums.add_entry(sum, epoch);
            *total += sum;
            self.total += sum;
        }
    }

    /// The base whose bounds these are.
    pub(crate) fn bounds(&self) -> &Base {
        &self.bounds
    }

    /// The difference in the sum of everything.
    pub(crate) fn total(&self) -> RangeSum {
        self.total
    }

    /// The difference between two bounds; `None` is the end of all keys.
    pub(crate) fn sum(&self, start: &[u8], end: Option<&[u8]>) -> RangeSum {
        let (from, to) = self.bounds.places(start, end);
        sum_between(
            from,
            to,
            |chunk| self.bounds.chunk_len(chunk),
            |chunk| self.totals.get(chunk).copied().unwrap_or_default(),
            |place| self.bucket(place),
        )
    }

    fn bucket(&self, place: Place) -> RangeSum {
        self.chunk(place.chunk)
            .and_then(|chunk| chunk.get(place.index))
            .map_or(RangeSum::ZERO, |sums| sums.total)
    }

    /// The differences in the buckets of one chunk of the bounds, unless there is none.
    pub(super) fn chunk(&self, chunk: usize) -> Option<&[EpochSums]> {
        self.chunks.get(chunk)?.as_deref()
    }
}
