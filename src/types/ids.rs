//! Numbers that name things: commits, segments, files, nodes, places in the log.

use std::fmt;

/// Place of a commit in the total order of one store's commits. The first commit is 1; 0 means "before any".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// Before every commit.
    pub const ZERO: SeqNo = SeqNo(0);
    /// After every commit.
    pub const MAX: SeqNo = SeqNo(u64::MAX);

    /// The commit after this one.
    pub(crate) fn next(self) -> SeqNo {
        SeqNo(self.0 + 1)
    }
}

/// Number of a log segment; rises within a store and is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SegmentId(pub u32);

/// Number of a run or Merkle file; rises within a store and is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct FileId(pub u64);

/// Names one live store directory among all replicas. Belongs to one directory only; a copy takes a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where a value's bytes lie in the log: only values too large to be carried in a run are reached by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The segment.
    pub segment: SegmentId,
    /// First byte of the value in the segment's file.
    pub offset: u32,
    /// Length of the value in bytes.
    pub len: u32,
}
