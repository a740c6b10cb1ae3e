//! [`BucketBuilder`]: buckets from entries. A flush makes the parts of buckets that it cuts with it, recovery a whole base
//! after damage.
//!
//! Easy to get wrong: a base that lived through writes may lack fences that one from scratch has, and have some whose key
//! is gone. So two bases are compared between bounds that they share, never bucket by bucket.

use super::base::Base;
use super::bounds::{Bound, first_bound};
use super::buckets::Bucket;
use super::cut::PendingCut;
use super::{DECREED, covered};
use crate::hash::KeyHash;
use crate::types::{EntrySum, EpochSums};

/// Sums up entries that come in key order, and begins a bucket at every fence and every decreed bound.
#[derive(Debug)]
pub(crate) struct BucketBuilder {
    buckets: Vec<Bucket>,
    bucket_bits: u8,
    /// Decreed bounds that are still ahead, the next one last.
    decreed: Vec<Vec<u8>>,
}

impl BucketBuilder {
    /// Builds all buckets, with bounds at `decreed`, which is in key order, as far as it lies within the keys that count.
    pub(crate) fn new(bucket_bits: u8, decreed: impl IntoIterator<Item = Vec<u8>>) -> BucketBuilder {
        let decreed = decreed.into_iter().filter(|key| covered().contains(key));
        BucketBuilder::from(first_bound(), bucket_bits, decreed.collect())
    }

    /// Builds the parts of the bucket that `pending` cuts.
    pub(crate) fn of_cut(bucket_bits: u8, pending: &PendingCut) -> BucketBuilder {
        // Level 0, for the base knows this bound's; a decree is among the pending bounds.
        let first = Bound { key: pending.range.start.clone(), level: 0 };
        let decreed = pending.bounds.iter().filter(|bound| bound.level == DECREED);
        BucketBuilder::from(first, bucket_bits, decreed.map(|bound| bound.key.clone()).collect())
    }

    /// Builds parts of a bucket, of which the first one begins at `first`. No bound in them is decreed.
    pub(super) fn of_parts(bucket_bits: u8, first: Bound) -> BucketBuilder {
        BucketBuilder::from(first, bucket_bits, Vec::new())
    }

    fn from(first: Bound, bucket_bits: u8, mut decreed: Vec<Vec<u8>>) -> BucketBuilder {
        decreed.reverse();
        let buckets = vec![Bucket { bound: first, sums: EpochSums::default() }];
        BucketBuilder { buckets, bucket_bits, decreed }
    }

    /// Adds the entry of `key`, which has hash `hash` and comes after all that were added before.
    pub(crate) fn push(&mut self, key: &[u8], hash: KeyHash, entry: EntrySum) {
        self.pass_decreed(Some(key));
        if let Some(level) = hash.fence_bits().checked_sub(self.bucket_bits) {
            self.begin(key.to_vec(), level);
        }
        if let Some(bucket) = self.buckets.last_mut() {
            bucket.sums.add_entry(entry);
        }
    }

    /// The base of everything that was added.
    pub(crate) fn into_base(mut self) -> Base {
        self.pass_decreed(None);
        Base::new(self.buckets)
    }

    /// The buckets, or parts of one.
    pub(crate) fn into_buckets(mut self) -> Vec<Bucket> {
        self.pass_decreed(None);
        self.buckets
    }

    /// Begins the decreed buckets up to and at `key`.
    fn pass_decreed(&mut self, key: Option<&[u8]>) {
        while let Some(bound) = self.decreed.pop_if(|bound| key.is_none_or(|key| &bound[..] <= key)) {
            self.begin(bound, DECREED);
        }
    }

    fn begin(&mut self, key: Vec<u8>, level: u8) {
        match self.buckets.last_mut().filter(|bucket| bucket.bound.key == key) {
            Some(bucket) => bucket.bound.level = bucket.bound.level.max(level),
            None => self.buckets.push(Bucket { bound: Bound { key, level }, sums: EpochSums::default() }),
        }
    }
}
