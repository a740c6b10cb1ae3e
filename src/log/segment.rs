//! Making a segment: durable in content, then in name, before anything refers to it.
//!
//! Easy to get wrong: the file is written under a temporary name and renamed only after its fsync. So a segment that bears
//! its name had a whole header once, and one without is damaged, never unfinished.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, SEGMENT_LEN_MAX};
use super::record::{SegmentHeader, Summary};
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::types::{SegmentId, SeqNo, Slice};
use crate::vfs::{Vfs, WritableFile};

/// Bytes that are gathered for one write while commits are copied.
const BUFFER_LEN: usize = 1 << 20;

/// A new segment, at whose end commits can be appended.
#[derive(Debug)]
pub(crate) struct FreshSegment {
    pub(super) id: SegmentId,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn WritableFile>,
    /// Bytes written.
    pub(super) len: u32,
    /// The newest commit in it, or before it.
    pub(super) last: SeqNo,
    pub(super) summary: Summary,
}

impl FreshSegment {
    /// Creates the segment that `header` describes, with `allocate` bytes reserved, and copies the commits in `payloads`
    /// into it. Tells where each of their payloads begins. By plain writes: the staging ring is not touched.
    ///
    /// # Errors
    /// `Io`, `CommitTooLarge`; what was made has no name that counts.
    pub(super) fn create(
        vfs: &dyn Vfs,
        dir: &Path,
        header: SegmentHeader,
        allocate: u64,
        payloads: impl Iterator<Item = Result<Slice>>,
    ) -> Result<(FreshSegment, Vec<u32>)> {
        let id = header.segment;
        let path = dir.join(FileKind::Segment.name(u64::from(id.0)));
        let temporary = path.with_extension("log.tmp");
        match vfs.remove(&temporary) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", &temporary, source));
            }
            _ => {}
        }
        let file =
            vfs.create(&temporary, allocate).map_err(|source| Error::io("create", &temporary, source))?;
        let mut segment = FreshSegment {
            id,
            path,
            file: file.into(),
            len: 0,
            last: header.previous,
            summary: Summary::default(),
        };

        let mut buffer = FileKind::Segment.header().to_vec();
        let offset = buffer.len() as u32;
        buffer.extend_from_slice(&frame::frame(&header.encode(), id, offset));
        let mut copies = Vec::new();
        for payload in payloads {
            let payload = payload?;
            if buffer.len() >= BUFFER_LEN {
                segment.write(&temporary, &mut buffer)?;
            }
            let offset = segment.end_of(&buffer, payload.len())?;
            copies.push(offset + frame::FRAME_LEN as u32);
            let start = buffer.len();
            buffer.extend_from_slice(&[0; frame::FRAME_LEN]);
            buffer.extend_from_slice(&payload);
            let frame = buffer.get_mut(start..).unwrap_or_default();
            segment.summary.add(frame::seal(frame, id, offset));
            segment.last = segment.last.next();
        }
        segment.write(&temporary, &mut buffer)?;
        segment.file.sync().map_err(|source| Error::io("fsync", &temporary, source))?;
        vfs.rename(&temporary, &segment.path).map_err(|source| Error::io("rename", &segment.path, source))?;
        vfs.sync_dir(dir).map_err(|source| Error::io("fsync", dir, source))?;
        Ok((segment, copies))
    }

    /// Where a frame behind `buffer` goes, if its payload of `len` bytes still fits.
    fn end_of(&self, buffer: &[u8], len: usize) -> Result<u32> {
        let offset = u64::from(self.len) + buffer.len() as u64;
        let end = offset + (frame::FRAME_LEN + len) as u64;
        if end > SEGMENT_LEN_MAX {
            return Err(Error::CommitTooLarge { len: end, max: SEGMENT_LEN_MAX });
        }
        Ok(offset as u32)
    }

    fn write(&mut self, path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
        let written = self.file.write_all_at(u64::from(self.len), buffer);
        written.map_err(|source| Error::io("write", path, source))?;
        self.len += buffer.len() as u32;
        buffer.clear();
        Ok(())
    }
}
