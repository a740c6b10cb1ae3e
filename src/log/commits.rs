//! [`SegmentCommits`]: the commits of one segment in order, for the change feed.
//!
//! Unlike replay it does not look for the log's end: it is told where the segment's records end, and everything before has
//! to be whole.
//!
//! Easy to get wrong: the active segment's file grows and is cut, so it is never mapped here; what lies before the given
//! end does not change.

use std::path::Path;

use super::record::{COMMIT, FOOTER, Origin};
use super::scan::{Bytes, FrameReader, Source};
use super::walk::{header, link};
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::types::{SegmentId, SeqNo, Slice};
use crate::vfs::{ReadMode, Vfs};

/// A position between two commits of a segment. Holds the segment's file open.
#[derive(Debug)]
pub(crate) struct SegmentCommits {
    reader: FrameReader,
    previous: Option<SeqNo>,
    at: u64,
    end: u64,
}

impl SegmentCommits {
    /// Opens segment `id`, whose records end at `end`, before its first commit.
    ///
    /// # Errors
    /// `Corruption` of its header, `Io`.
    pub(crate) fn open(vfs: &dyn Vfs, dir: &Path, id: SegmentId, end: u64) -> Result<SegmentCommits> {
        let path = dir.join(FileKind::Segment.name(u64::from(id.0)));
        let file = vfs.open(&path, ReadMode::Plain).map_err(|source| Error::io("open", &path, source))?;
        let file_end = file.len().min(end);
        let source = Source { segment: id, path, base: 0, end: file_end, bytes: Bytes::File(file) };
        let (header, header_end) = header(&source)?;
        let (previous, at) = match header.origin {
            Origin::Recovery { previous } => (Some(previous), header_end),
            Origin::Ahead { .. } if header_end >= end => (None, header_end),
            Origin::Ahead { .. } => {
                let missing = || source.corruption(header_end, "a record that was whole is damaged");
                let (link, link_end) = link(&source, header_end)?.ok_or_else(missing)?;
                (Some(link.previous), link_end)
            }
        };
        Ok(SegmentCommits { reader: FrameReader::new(&source), previous, at, end })
    }

    /// The newest commit before the segment's first; `None` of a segment without commits that never came into use.
    pub(crate) fn previous(&self) -> Option<SeqNo> {
        self.previous
    }

    /// The segment, and where the next record begins.
    pub(crate) fn position(&self) -> (SegmentId, u64) {
        (self.reader.source().segment, self.at)
    }

    /// Goes on at a position that [`SegmentCommits::position`] told of this segment.
    pub(crate) fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// The payload of the next commit, and `None` after the last.
    ///
    /// # Errors
    /// `Corruption` where the next record is not whole, `Io`; the position stays.
    pub(crate) fn next(&mut self) -> Result<Option<Slice>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let Some(frame) = self.reader.frame(self.at)? else {
            return Err(self.corruption("a record that was whole is damaged"));
        };
        match frame.payload.first() {
            Some(&COMMIT) => {
                self.at = frame.next;
                Ok(Some(frame.payload))
            }
            Some(&FOOTER) => Ok(None),
            _ => Err(self.corruption("a record with a right checksum makes no sense")),
        }
    }

    /// Damage at the present position, or in the record that ends there.
    pub(crate) fn corruption(&self, what: &'static str) -> Error {
        self.reader.source().corruption(self.at, what)
    }
}
