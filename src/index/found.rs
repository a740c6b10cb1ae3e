//! [`Found`]: an entry that a lookup found, lent where it lies in its [`Frame`], the bytes of a block.
//!
//! A lookup is done in less time than it takes to copy a whole head out of each of its calls, so nothing is copied:
//! whoever looked up is lent the entry and takes what it wants of it. Levels lend it to the read path of `store`.
//!
//! Easy to get wrong: what is kept beyond the lending is a slice, which pins the whole mapped file or the decoded block.

use std::ops::Range;

use crate::hash::SetHasher;
use crate::types::{Head, Location, Slice, ValueDigest};
use crate::vfs::ReadableFile;

use super::block::PlacedHead;
use super::entry::HeadRef;

/// The bytes of a plain block without its checksum: borrowed from the map, or read or decoded.
pub(super) enum Frame<'a> {
    Mapped {
        bytes: &'a [u8],
        file: &'a dyn ReadableFile,
        /// Where `bytes` begin in the file.
        offset: u64,
    },
    Read(Slice),
}

impl Frame<'_> {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Frame::Mapped { bytes, .. } => bytes,
            Frame::Read(slice) => slice,
        }
    }

    /// A part of the block that can be held on to; `None` if there is no such part.
    #[inline]
    pub(super) fn slice(&self, range: Range<usize>) -> Option<Slice> {
        match self {
            Frame::Mapped { file, offset, .. } => {
                file.read(offset.checked_add(range.start as u64)?, range.len()).ok()
            }
            Frame::Read(slice) => slice.sub(range),
        }
    }
}

/// An entry where it lies in a run. What makes slices of it answers `None` if the block has no such bytes.
pub(crate) struct Found<'a> {
    pub(super) head: PlacedHead,
    pub(super) frame: &'a Frame<'a>,
    pub(super) hasher: &'a SetHasher,
}

impl Found<'_> {
    /// The head, borrowed.
    pub(crate) fn borrowed(&self) -> HeadRef<'_> {
        self.head.borrowed(self.frame.bytes())
    }

    /// The head with the value's digest.
    pub(crate) fn head(&self) -> Option<Head> {
        let stored = self.head.stored(|range| self.frame.slice(range))?;
        Some(stored.into_head(|value| self.hasher.value(value)))
    }

    /// As [`Head::is_visible`], at the time that `now_ms` tells. It is asked only about an entry that expires, for asking for
    /// the time takes a tenth as long as the whole read.
    #[inline]
    pub(crate) fn is_visible(&self, now_ms: impl FnOnce() -> u64) -> bool {
        self.head.is_visible(if self.head.expires_at() == 0 { 0 } else { now_ms() })
    }

    /// The value's bytes, or their place in the log and their digest.
    #[inline]
    pub(crate) fn value(&self) -> Option<Result<Slice, (Location, ValueDigest)>> {
        match self.head.value() {
            Ok(range) if range.is_empty() => Some(Ok(Slice::empty())),
            Ok(range) => self.frame.slice(range).map(Ok),
            Err(in_log) => Some(Err(in_log)),
        }
    }
}
