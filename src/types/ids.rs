//! Numbers that name things: commits, segments, files, nodes, places in the log.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

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

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a log segment; rises within a store and is never used twice. With the upper bit: of a file of large values that
/// were moved out of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct SegmentId(pub(crate) u32);

impl SegmentId {
    /// Bit of the numbers of files with moved values; the other bits are a [`FileId`], and not a number of the log.
    pub(crate) const MOVED: u32 = 1 << 31;

    /// The number by which heads name the file of moved values `file`; `None` if that number is too great.
    pub(crate) fn of_moved(file: FileId) -> Option<SegmentId> {
        let number = u32::try_from(file.0).ok().filter(|number| number & SegmentId::MOVED == 0)?;
        Some(SegmentId(number | SegmentId::MOVED))
    }

    /// Whether it names a file of moved values and not a segment of the log.
    pub(crate) fn is_moved(self) -> bool {
        self.0 & SegmentId::MOVED != 0
    }
}

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

/// Reads what is displayed; leading zeros may be left out.
impl FromStr for NodeId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<NodeId, ParseIntError> {
        u64::from_str_radix(text, 16).map(NodeId)
    }
}

/// Where a value's bytes lie in the log: only values too large to be carried in a run are reached by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    /// The segment.
    pub(crate) segment: SegmentId,
    /// First byte of the value in the segment's file.
    pub(crate) offset: u32,
    /// Length of the value in bytes.
    pub(crate) len: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_as_it_is_shown() {
        for node in [NodeId(0), NodeId(0x12_3456), NodeId(u64::MAX)] {
            assert_eq!(node.to_string().parse(), Ok(node));
        }
        assert_eq!("ab".parse(), Ok(NodeId(0xab)));
        for text in ["", "g", "12345678123456789"] {
            assert!(text.parse::<NodeId>().is_err(), "{text:?}");
        }
    }
}
