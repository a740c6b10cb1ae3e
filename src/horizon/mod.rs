//! The horizon: up to which stamp every owner of a replica set is proven to hold everything, so that tombstones and
//! expired entries below may be dropped for good. Proof instead of age: a tombstone that goes by age comes back with the
//! first replica that was away for longer.
//!
//! A horizon rises to S in four steps: every owner *closes* S (refuses what clients write at or below it), every pair of
//! them has a complete *session* that began after both had closed, the results are *announced* by merging tables, and
//! every owner *purges* at its own pace. [`Table`] is what an owner knows of all that, and [`Table::horizon`] the proof;
//! [`rule`] has what follows from a horizon for an entry. Plain data without I/O: the store keeps and applies them, the
//! replica merges them, and the model checker in `tests` runs these very functions.
//!
//! Easy to get wrong: by its *end* an entry may be dropped and leaves the sums; by its *stamp* it may come in.

mod codec;
pub(crate) mod rule;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use table::{Done, Standing, Table};
