//! [`Differences`]: what the commits in one memtable changed in the sums of the buckets below it. The store keeps one
//! beside each memtable and folds it into the base when the memtable is flushed.
//!
//! Memory is proportional to the chunks of buckets that were touched.
//!
//! Easy to get wrong: they keep the bounds that the base had when they were opened, whatever is cut meanwhile.

use super::base::Base;
use super::bounds::Bounds;
use super::buckets::Buckets;
use crate::types::{EntrySum, KeyRange, RangeSum};

/// Sums of what was added, less what was replaced, by the buckets of a base.
#[derive(Debug, Clone)]
pub(crate) struct Differences {
    pub(super) buckets: Buckets,
}

impl Differences {
    /// No difference, by the buckets of `base`. O(chunks).
    pub(crate) fn new(base: &Base) -> Differences {
        Differences { buckets: Buckets::new(base.bounds().clone()) }
    }

    /// Notes that `key`, a replicated inner key, got the entry `added` in place of `removed`. O(log buckets).
    pub(crate) fn add(&mut self, key: &[u8], added: Option<EntrySum>, removed: Option<EntrySum>) {
        debug_assert!(super::covered().contains(key), "local keys are in no sum");
        let place = self.bounds().locate(key);
        let changes = added.into_iter().chain(removed.map(|entry| -entry));
        changes.for_each(|entry| self.buckets.add_entry(place, entry));
    }

    /// Where the buckets begin.
    pub(crate) fn bounds(&self) -> &Bounds {
        self.buckets.bounds()
    }

    /// The difference in the sum of everything.
    pub(crate) fn total(&self) -> RangeSum {
        self.buckets.total()
    }

    /// The difference in `range`, whose ends must be bounds. O(chunks in the range).
    pub(crate) fn sum(&self, range: &KeyRange) -> RangeSum {
        self.buckets.sum(range)
    }
}
