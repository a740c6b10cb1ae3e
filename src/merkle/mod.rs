//! The Merkle index: sums of entries by key range, cut into buckets at content-defined fences. The store keeps a [`Base`]
//! as of the last flush, which describes the runs; what memtables change since then they sum up themselves.
//!
//! A key is a *fence* if its keyed hash has `bucket_bits` trailing zero bits or more; the further ones are the fence's
//! level. So one key in 2^(bucket_bits + level) is a fence of that level or above, and replicas with the same keys cut at
//! the same places, whatever their history. A bound of level [`DECREED`] stands without a key: keyspaces begin and end there.
//!
//! Nothing here reads an entry. Where partial sums are needed, the caller reads the entries and hands the sums over.
//!
//! Easy to get wrong: any bound is legal and a missing one costs reads, not truth. Bounds lag behind fences, so a range is
//! summed where there are bounds ([`align`]), and what sticks out is read.

mod align;
mod base;
mod bounds;
mod buckets;
mod build;
mod cut;
mod file;
mod horizon;
mod keys;
#[cfg(test)]
mod tests;

pub(crate) use align::{align, cut_level};
pub(crate) use base::{Base, Fold};
pub(crate) use bounds::Bound;
#[cfg(test)]
pub(crate) use buckets::Bucket;
pub(crate) use build::BucketBuilder;
pub(crate) use cut::{Cut, PendingCut};
pub(crate) use file::{file_len, load, write_next};

use crate::types::KeyRange;

/// Level of a bound that stands by decree and not because a key is a fence.
pub(crate) const DECREED: u8 = u8::MAX;

/// The first inner key that counts in sums: replicated keys are those of the classes 1 and 2.
const COVERED_START: &[u8] = &[1];

/// The first inner key beyond those that count.
const COVERED_END: &[u8] = &[3];

/// The inner keys that count in sums.
pub(crate) fn covered() -> KeyRange {
    KeyRange::new(COVERED_START, Some(COVERED_END.to_vec()))
}
