//! The ordered index: inner key to newest entry, as memtables and immutable sorted runs with filters.
//!
//! A memtable keeps every version; a run exactly one version per key. Of several sources the newer one's version wins.
//! Nothing here knows the log beyond a `Location`, or who is reading: snapshots pin memtables and runs by reference count.

mod block;
mod filter;
mod levels;
mod memtable;
mod merge;
mod run;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use levels::Levels;
pub(crate) use memtable::Memtable;
pub(crate) use merge::MergeCursor;
pub(crate) use run::Run;
pub(crate) use writer::{Properties, RunWriter};
