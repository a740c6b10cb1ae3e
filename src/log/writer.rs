//! [`LogWriter`]: appends commits to the active segment through the staging ring.
//!
//! The ring holds the bytes of one segment from a base offset on. A commit is a store into it, so it needs no system call
//! and survives the process; when the ring is full, one positioned write takes it all to the file, and only then does
//! the base move. The ring's word is `segment << 32 | base`.
//!
//! Easy to get wrong: the base moves after the write returned whole, never before; a failed write leaves the ring as it
//! is, and the writer refuses everything from then on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, FRAME_LEN};
use super::record::{self, Commit};
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::types::{Location, SegmentId, SeqNo};
use crate::vfs::{Staging, Vfs, WritableFile};

/// Bytes that the ring stages.
pub(crate) const RING_LEN: usize = 64 << 10;

/// A new segment: durable in name and content, with room reserved.
#[derive(Debug)]
pub(crate) struct FreshSegment {
    pub(crate) id: SegmentId,
    path: PathBuf,
    file: Arc<dyn WritableFile>,
    len: u32,
    commits: u64,
}

/// What an fsync of the active segment needs, without the writer.
#[derive(Debug)]
pub(crate) struct SyncHandle {
    path: PathBuf,
    file: Arc<dyn WritableFile>,
}

impl SyncHandle {
    /// Makes what was drained durable. Must not be tried again after an error.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|source| Error::io("fsync", &self.path, source))
    }
}

impl FreshSegment {
    /// Creates segment `id`, which begins after commit `previous` with copies of the records in `payloads`; tells where
    /// each of their frames lies. By plain writes: the staging ring is not touched.
    ///
    /// # Errors
    /// `Io`; the file may be there in part.
    pub(crate) fn create(
        vfs: &dyn Vfs,
        dir: &Path,
        id: SegmentId,
        previous: SeqNo,
        allocate: u64,
        by_recovery: bool,
        payloads: &[&[u8]],
    ) -> Result<(FreshSegment, Vec<u32>)> {
        let path = dir.join(FileKind::Segment.name(u64::from(id.0)));
        let mut bytes = FileKind::Segment.header().to_vec();
        let header = record::encode_segment_header(id, previous, by_recovery);
        bytes.extend_from_slice(&frame::frame(&header, id, bytes.len() as u32));
        let mut offsets = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let offset = bytes.len() as u32;
            offsets.push(offset);
            bytes.extend_from_slice(&frame::frame(payload, id, offset));
        }
        let file = vfs.create(&path, allocate).map_err(|source| Error::io("create", &path, source))?;
        file.write_all_at(0, &bytes).map_err(|source| Error::io("write", &path, source))?;
        file.sync().map_err(|source| Error::io("fsync", &path, source))?;
        vfs.sync_dir(dir).map_err(|source| Error::io("fsync", dir, source))?;
        let (len, commits) = (bytes.len() as u32, payloads.len() as u64);
        Ok((FreshSegment { id, path, file: file.into(), len, commits }, offsets))
    }
}

/// The end of the log. One owner, behind the commit lock.
#[derive(Debug)]
pub(crate) struct LogWriter {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    ring: Box<dyn Staging>,
    segment: FreshSegment,
    /// Bytes in the ring, which follow the segment's first `segment.len` bytes.
    pending: usize,
    /// Space to reserve for a segment.
    allocate: u64,
    frame: Vec<u8>,
    has_failed: bool,
}

impl LogWriter {
    /// Goes on at the end of `segment`. From here on the ring's former content is gone.
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        mut ring: Box<dyn Staging>,
        segment: FreshSegment,
        allocate: u64,
    ) -> LogWriter {
        ring.set_word(word(segment.id, segment.len));
        LogWriter { vfs, dir, ring, segment, pending: 0, allocate, frame: Vec::new(), has_failed: false }
    }

    /// Appends a commit and tells where each entry's value lies. It survives the process from here on.
    ///
    /// # Errors
    /// `CommitTooLarge`: nothing happened. `Io`: the writer takes no more; whether the commit is found at the next open
    /// is open.
    pub(crate) fn append(&mut self, commit: &Commit<'_>) -> Result<Vec<Location>> {
        self.check()?;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.extend_from_slice(&[0; FRAME_LEN]);
        let values = record::encode_commit(&mut frame, commit);
        let offset = self.end();
        // Offsets have 32 bits, and the footer needs some of them.
        let max = u64::from(u32::MAX - 64).saturating_sub(offset);
        if frame.len() as u64 > max {
            return Err(Error::CommitTooLarge { len: frame.len() as u64, max });
        }
        let offset = offset as u32;
        frame::seal(&mut frame, self.segment.id, offset);
        self.append_frame(&frame)?;
        self.segment.commits += 1;
        let location = |(entry, at): (&record::LogEntry<'_>, u32)| Location {
            segment: self.segment.id,
            offset: offset + FRAME_LEN as u32 + at,
            len: entry.value.len() as u32,
        };
        let locations = commit.entries.iter().zip(values).map(location).collect();
        self.frame = frame;
        Ok(locations)
    }

    /// Where the next frame goes.
    fn end(&self) -> u64 {
        u64::from(self.segment.len) + self.pending as u64
    }

    fn append_frame(&mut self, frame: &[u8]) -> Result<()> {
        if self.pending + frame.len() > self.ring.capacity() {
            self.write_pending()?;
        }
        if frame.len() > self.ring.capacity() {
            return self.write(frame);
        }
        self.ring.write(self.pending, frame);
        self.pending += frame.len();
        Ok(())
    }

    fn write_pending(&mut self) -> Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        let pending = self.ring.bytes().get(..self.pending).unwrap_or_default();
        let written = self.segment.file.write_all_at(u64::from(self.segment.len), pending);
        self.moved(written, self.pending)?;
        self.pending = 0;
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> Result<()> {
        let written = self.segment.file.write_all_at(u64::from(self.segment.len), frame);
        self.moved(written, frame.len())
    }

    /// Moves the ring's base over `len` bytes that were written, or fails for good.
    fn moved(&mut self, written: std::io::Result<()>, len: usize) -> Result<()> {
        self.note(written, "write")?;
        self.segment.len += len as u32;
        self.ring.set_word(word(self.segment.id, self.segment.len));
        Ok(())
    }

    fn note(&mut self, outcome: std::io::Result<()>, op: &'static str) -> Result<()> {
        outcome.map_err(|source| {
            self.has_failed = true;
            Error::io(op, &self.segment.path, source)
        })
    }

    fn check(&self) -> Result<()> {
        match self.has_failed {
            true => Err(Error::Poisoned { reason: "an earlier write to the log failed".into() }),
            false => Ok(()),
        }
    }

    /// Writes what the ring holds to the file, and hands out what an fsync of it needs.
    ///
    /// # Errors
    /// `Io`, `Poisoned`.
    pub(crate) fn drain(&mut self) -> Result<SyncHandle> {
        self.check()?;
        self.write_pending()?;
        Ok(SyncHandle { path: self.segment.path.clone(), file: self.segment.file.clone() })
    }

    /// Seals the active segment, whose newest commit is `last`, and begins the next one; returns its number. Everything
    /// up to `last` is durable afterwards.
    ///
    /// # Errors
    /// `Io`, `Poisoned`: the writer takes no more.
    pub(crate) fn rotate(&mut self, last: SeqNo) -> Result<SegmentId> {
        self.check()?;
        let footer = record::encode_footer(self.segment.commits, last);
        let end = self.end();
        self.append_frame(&frame::frame(&footer, self.segment.id, end as u32))?;
        self.write_pending()?;
        let truncated = self.segment.file.truncate(u64::from(self.segment.len));
        self.note(truncated, "truncate")?;
        let synced = self.segment.file.sync();
        self.note(synced, "fsync")?;
        let next = SegmentId(self.segment.id.0 + 1);
        let fresh = FreshSegment::create(&*self.vfs, &self.dir, next, last, self.allocate, false, &[]);
        match fresh {
            Ok((segment, _)) => self.segment = segment,
            Err(error) => {
                self.has_failed = true;
                return Err(error);
            }
        }
        self.ring.set_word(word(self.segment.id, self.segment.len));
        Ok(next)
    }
}

/// The ring's word.
fn word(segment: SegmentId, base: u32) -> u64 {
    u64::from(segment.0) << 32 | u64::from(base)
}

/// Segment and base offset in the ring's word.
pub(super) fn parse_word(word: u64) -> (SegmentId, u32) {
    (SegmentId((word >> 32) as u32), word as u32)
}
