//! Making a segment: durable in content, then in name, before anything refers to it. By a recovery, for what it copies, or
//! ahead of its use, so that no commit waits for the file system.
//!
//! Easy to get wrong: the file is written under a temporary name and renamed only after its fsync. So a segment that bears
//! its name had a whole header once, and one without is damaged, never unfinished.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{FRAME_LEN, FrameHead, SEGMENT_LEN_MAX};
use super::record::{Origin, SegmentHeader, Summary};
use super::sync::SegmentFile;
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::types::{SegmentId, SeqNo};
use crate::vfs::{Vfs, WritableFile};

/// Bytes that are gathered for one write while commits are copied.
const BUFFER_LEN: usize = 1 << 20;

/// A new segment, at whose end commits can be appended.
#[derive(Debug)]
pub(crate) struct FreshSegment {
    pub(super) id: SegmentId,
    pub(super) path: Arc<Path>,
    pub(super) file: Arc<dyn WritableFile>,
    /// Bytes written.
    pub(super) len: u32,
    /// Bytes for which there is space.
    pub(super) reserved: u64,
    /// The newest commit in it, or before it; not known of one that was made ahead.
    pub(super) last: SeqNo,
    pub(super) summary: Summary,
}

impl FreshSegment {
    /// Its number.
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its file, as far as it is written by now.
    pub(super) fn file(&self) -> SegmentFile {
        let FreshSegment { id, ref path, ref file, len, .. } = *self;
        let len = u64::from(len);
        SegmentFile { id, path: path.clone(), file: file.clone(), commits_end: len, len }
    }
}

/// Makes segment `id` ahead of its use, with `allocate` bytes reserved. Commits up to `durable` are durable.
///
/// # Errors
/// `Io`.
pub(crate) fn make_ahead(
    vfs: &dyn Vfs,
    dir: &Path,
    id: SegmentId,
    durable: SeqNo,
    allocate: u64,
) -> Result<FreshSegment> {
    let header = SegmentHeader { segment: id, origin: Origin::Ahead { durable } };
    SegmentBuilder::begin(vfs, dir, header, allocate)?.finish()
}

/// Makes the first segment of a folder that holds commits up to `previous` in its runs and none in its log.
///
/// # Errors
/// `Io`.
pub(crate) fn begin_log(vfs: &dyn Vfs, dir: &Path, segment: SegmentId, previous: SeqNo) -> Result<()> {
    let header = SegmentHeader { segment, origin: Origin::Recovery { previous } };
    SegmentBuilder::begin(vfs, dir, header, 0)?.finish()?;
    Ok(())
}

/// A segment while it is made, by plain writes: the staging ring is not touched. Dropped unfinished, it leaves a file that
/// nothing refers to.
#[derive(Debug)]
pub(super) struct SegmentBuilder<'a> {
    vfs: &'a dyn Vfs,
    dir: &'a Path,
    temporary: PathBuf,
    segment: FreshSegment,
    /// What follows the segment's first `segment.len` bytes.
    buffer: Vec<u8>,
}

impl<'a> SegmentBuilder<'a> {
    /// Begins the segment that `header` describes, with `allocate` bytes reserved.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn begin(
        vfs: &'a dyn Vfs,
        dir: &'a Path,
        header: SegmentHeader,
        allocate: u64,
    ) -> Result<SegmentBuilder<'a>> {
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
        let mut buffer = FileKind::Segment.header().to_vec();
        let payload = header.encode();
        let head = FrameHead::of(id, buffer.len() as u32, &payload);
        buffer.extend_from_slice(&head.encode());
        buffer.extend_from_slice(&payload);
        let (Origin::Recovery { previous: last } | Origin::Ahead { durable: last }) = header.origin;
        let summary = Summary::default();
        let segment = FreshSegment {
            id,
            path: path.into(),
            file: file.into(),
            len: 0,
            reserved: allocate,
            last,
            summary,
        };
        Ok(SegmentBuilder { vfs, dir, temporary, segment, buffer })
    }

    /// Copies a commit, and tells where its payload begins.
    ///
    /// # Errors
    /// `Io`, `CommitTooLarge`.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<u32> {
        if self.buffer.len() >= BUFFER_LEN {
            self.write()?;
        }
        let offset = u64::from(self.segment.len) + self.buffer.len() as u64;
        let len = (FRAME_LEN + payload.len()) as u64;
        if offset + len > SEGMENT_LEN_MAX {
            return Err(Error::CommitTooLarge { len, max: SEGMENT_LEN_MAX - offset });
        }
        let offset = offset as u32;
        let head = FrameHead::of(self.segment.id, offset, payload);
        self.buffer.extend_from_slice(&head.encode());
        self.buffer.extend_from_slice(payload);
        self.segment.summary.add(head.checksum);
        self.segment.last = self.segment.last.next();
        Ok(offset + FRAME_LEN as u32)
    }

    /// Makes the segment durable, then its name.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn finish(mut self) -> Result<FreshSegment> {
        self.write()?;
        let SegmentBuilder { vfs, dir, temporary, segment, .. } = self;
        segment.file.sync().map_err(|source| Error::io("fsync", &temporary, source))?;
        vfs.rename(&temporary, &segment.path).map_err(|source| Error::io("rename", &segment.path, source))?;
        vfs.sync_dir(dir).map_err(|source| Error::io("fsync", dir, source))?;
        Ok(segment)
    }

    fn write(&mut self) -> Result<()> {
        let written = self.segment.file.write_all_at(u64::from(self.segment.len), &self.buffer);
        written.map_err(|source| Error::io("write", &self.temporary, source))?;
        self.segment.len += self.buffer.len() as u32;
        self.buffer.clear();
        Ok(())
    }
}
