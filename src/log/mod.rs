//! The log: segments of framed, checksummed records, one record per commit; write-ahead log and store of large values in
//! one.
//!
//! `record` is what a commit looks like in bytes, `frame` how records lie in a segment, `segment` makes new ones, `writer`
//! appends through the staging ring, `sync` makes durable what it appended, `scan` reads frames, `walk` finds where the log
//! ended at a stop, `replay` gives what it held, `values` large values out of sealed segments, `moved` writes those that a
//! merge moves, `commits` reads whole commits of one segment for the change feed.
//!
//! Easy to get wrong: a segment takes commits before the one before it is durable, so whoever reads the log goes on to a
//! segment only if the one before is whole; and an opening never appends to an old file. Both together make "what is there
//! is a prefix" true.

mod commits;
mod frame;
mod moved;
mod record;
mod replay;
mod scan;
mod segment;
mod sync;
mod values;
mod walk;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use commits::SegmentCommits;
pub(crate) use moved::MovedValuesWriter;
pub(crate) use record::{Commit, LogEntry};
pub(crate) use replay::{Plan, read};
pub(crate) use segment::{FreshSegment, begin_log, make_ahead};
pub(crate) use sync::SegmentFile;
pub(crate) use values::ValueSegments;
pub(crate) use writer::{LogWriter, RING_LEN};
