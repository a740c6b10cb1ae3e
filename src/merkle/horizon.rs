//! What a horizon takes out of sums: everything that ends in an epoch at or before it, without a look at any entry.
//!
//! Easy to get wrong: an entry that a sum no longer counts must not be subtracted when it is overwritten or dropped later.

use super::base::Base;
use super::bounds::Place;
use super::buckets::Buckets;
use crate::types::{EntrySum, Epoch, KeyRange, RangeSum};

impl Base {
    /// What of [`Base::sum`] ends in epoch `through` or before: what leaves the sum when the horizon is that epoch's end.
    /// O(parts that end).
    pub(crate) fn ended(&self, range: &KeyRange, through: Epoch) -> RangeSum {
        self.buckets.ended(range, through)
    }

    /// Whether anything in it ends in epoch `through` or before.
    pub(crate) fn has_ended(&self, through: Epoch) -> bool {
        self.buckets.parts_ended(through).next().is_some()
    }

    /// This base without what ends in epoch `through` or before.
    pub(crate) fn expire(&self, through: Epoch) -> Base {
        let mut buckets = (*self.buckets).clone();
        buckets.expire(through);
        Base::of(buckets)
    }
}

impl Buckets {
    fn parts_ended(&self, through: Epoch) -> impl Iterator<Item = (Place, EntrySum)> {
        let chunks = self.chunks().iter().enumerate().filter_map(|(at, sums)| Some((at, sums.as_deref()?)));
        let parts = chunks.flat_map(|(chunk, sums)| {
            sums.ending.iter().map(move |(&(index, epoch), &sum)| (Place { chunk, index }, epoch, sum))
        });
        parts
            .filter(move |&(_, epoch, _)| epoch <= through)
            .map(|(place, epoch, sum)| (place, EntrySum { sum, epoch: Some(epoch) }))
    }

    fn ended(&self, range: &KeyRange, through: Epoch) -> RangeSum {
        let is_inside = |place| range.contains(self.bounds().key(place));
        self.parts_ended(through).filter(|(place, _)| is_inside(*place)).map(|(_, part)| part.sum).sum()
    }

    fn expire(&mut self, through: Epoch) {
        for (place, part) in self.parts_ended(through).collect::<Vec<_>>() {
            self.add_entry(place, -part);
        }
    }
}
