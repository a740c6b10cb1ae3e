//! The ordered index: inner key -> head, as memtables and immutable sorted runs, and the cursors that merge them.
//!
//! A memtable keeps every version, a run exactly one per key; of two sources the newer one's version wins. `store` reads
//! through [`Memtable::get`], [`Levels::find`] and [`MergeCursor`]; a flush or compaction feeds a merging cursor into a
//! [`RunWriter`]. Nothing here knows the log beyond a location, nor which runs are current: that is the manifest's.
//!
//! Easy to get wrong: sources are ordered by age, newest first, everywhere. Only runs that are neighbours in age may be
//! merged, or an old version would shadow a newer one.

mod block;
mod chunks;
mod cursor;
mod decoded;
mod entry;
mod fences;
mod filter;
mod found;
mod holes;
mod layout;
mod levels;
mod memtable;
mod memtable_below;
mod memtable_cursor;
mod memtable_sums;
mod merge;
mod pick;
mod read_ahead;
mod run;
mod slots;
mod verify;
mod writer;

pub(crate) use entry::{HeadRef, RunValue};
pub(crate) use found::Found;
pub(crate) use layout::Properties;
pub(crate) use levels::Levels;
pub(crate) use memtable::Memtable;
pub(crate) use memtable_below::{Below, LookedUp};
pub(crate) use merge::MergeCursor;
pub(crate) use pick::RUNS_MAX;
pub(crate) use run::Run;
pub(crate) use writer::RunWriter;

#[cfg(test)]
mod tests;
