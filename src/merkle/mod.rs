//! The Merkle index: sums of all entries by key range, cut into buckets at content-defined fences.
//!
//! [`Base`] is immutable and describes the runs as of one flush; [`Differences`] are what one memtable changed since.
//! `store` keeps both and adds them up; `file` persists a base with the flush that made it. Nothing here reads an entry:
//! whoever can (the store) hands the sums of parts over.
//!
//! A key is a *fence* if its keyed hash ends in `bucket_bits` zero bits or more; the further zero bits are its level, so
//! about one key in 2^(bucket_bits + level) is a fence of that level or above, and replicas with the same keys cut at
//! the same places whatever their history. A bound of level [`DECREED`] stands without a key: keyspace prefixes.
//!
//! Easy to get wrong: any bound is legal and a missing one costs reads, not truth; so nothing may assume that two sets
//! of buckets have the same bounds.

mod base;
mod differences;
mod file;

pub(crate) use base::{Base, Bucket, Cut, DECREED};
pub(crate) use differences::Differences;
pub(crate) use file::{load, write_delta, write_full};
