//! [`LogWriter`]: appends commits to the active segment through the staging ring.
//!
//! The ring holds the bytes of one segment from a base offset on. A commit is a store into it, so it needs no system call
//! and survives the process; when the ring is full, one positioned write takes it all to the file, and only then does
//! the base move. The ring's word is `segment << 32 | base`.
//!
//! Easy to get wrong: the base moves after the write returned whole, never before; a failed write leaves the ring as it
//! is, and the writer refuses everything from then on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use super::frame::{FRAME_LEN, FrameHead, SEGMENT_LEN_MAX};
use super::record::{self, Commit, SegmentHeader};
use super::segment::{FreshSegment, SegmentBuilder};
use crate::error::{Error, Result};
use crate::types::{Location, SegmentId};
use crate::vfs::{Staging, Vfs, WritableFile};

/// Bytes that the ring stages.
pub(crate) const RING_LEN: usize = 64 << 10;

/// A buffer that one large commit has blown up beyond this many bytes is given back.
const FRAME_BUFFER_MAX: usize = 1 << 20;

/// Bytes of a segment after which the medium is asked to take them, so that the fsync at its end is short.
const CARRIED: u64 = 1 << 20;

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
    /// Whether any write or fsync has failed, here or in a [`SyncHandle`].
    has_failed: Arc<AtomicBool>,
}

/// What an fsync of the active segment needs, without the writer.
#[derive(Debug)]
pub(crate) struct SyncHandle {
    path: PathBuf,
    file: Arc<dyn WritableFile>,
    has_failed: Arc<AtomicBool>,
}

impl SyncHandle {
    /// Makes what was drained durable. Must not be tried again after an error; the writer takes no more then.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|source| {
            self.has_failed.store(true, Ordering::Release);
            Error::io("fsync", &self.path, source)
        })
    }
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
        let has_failed = Arc::default();
        LogWriter { vfs, dir, ring, segment, pending: 0, allocate, frame: Vec::new(), has_failed }
    }

    /// Appends a commit and tells where each entry's value lies. It survives the process from here on. Costs no system
    /// call unless the ring is full.
    ///
    /// # Errors
    /// `CommitTooLarge`, `Poisoned`: nothing happened. `Io`: the writer takes no more; whether the commit is found at the
    /// next open is open.
    pub(crate) fn append(&mut self, commit: &Commit<'_>) -> Result<SmallVec<[Location; 1]>> {
        self.check()?;
        let (len, max) = (commit.encoded_len_max() + FRAME_LEN as u64, SEGMENT_LEN_MAX - self.end());
        if len > max {
            return Err(Error::CommitTooLarge { len, max });
        }
        let offset = self.end() as u32;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.extend_from_slice(&[0; FRAME_LEN]);
        let segment = self.segment.id;
        let mut locations = SmallVec::with_capacity(commit.entries.len());
        commit.encode(&mut frame, |at, len| {
            locations.push(Location { segment, offset: offset + FRAME_LEN as u32 + at, len });
        });
        let checksum = seal(&mut frame, segment, offset);
        self.append_frame(&frame)?;
        self.segment.summary.add(checksum);
        self.segment.last = commit.seqno;
        if frame.capacity() <= FRAME_BUFFER_MAX {
            self.frame = frame;
        }
        Ok(locations)
    }

    /// Writes what the ring holds to the file, and hands out what an fsync of it needs.
    ///
    /// # Errors
    /// `Io`, `Poisoned`: the writer takes no more.
    pub(crate) fn drain(&mut self) -> Result<SyncHandle> {
        self.check()?;
        self.write_pending()?;
        let FreshSegment { path, file, .. } = &self.segment;
        Ok(SyncHandle { path: path.clone(), file: file.clone(), has_failed: self.has_failed.clone() })
    }

    /// Seals the active segment and begins the next one; returns its number. Every commit so far is durable afterwards.
    ///
    /// # Errors
    /// `Io`, `Poisoned`: the writer takes no more.
    pub(crate) fn rotate(&mut self) -> Result<SegmentId> {
        self.check()?;
        let FreshSegment { id, last, summary, .. } = self.segment;
        let mut footer = vec![0; FRAME_LEN];
        record::encode_footer(&mut footer, summary, last);
        seal(&mut footer, id, self.end() as u32);
        self.append_frame(&footer)?;
        self.write_pending()?;
        let truncated = self.segment.file.truncate(u64::from(self.segment.len));
        self.note(truncated, "truncate")?;
        let synced = self.segment.file.sync();
        self.note(synced, "fsync")?;

        let header = SegmentHeader { segment: SegmentId(id.0 + 1), previous: last, sealed: Some(summary) };
        let fresh = SegmentBuilder::begin(&*self.vfs, &self.dir, header, self.allocate)
            .and_then(SegmentBuilder::finish)
            .inspect_err(|_| self.has_failed.store(true, Ordering::Release))?;
        self.segment = fresh;
        self.move_base();
        Ok(header.segment)
    }

    /// Writes what the ring holds and gives back what was reserved beyond it, so that the next opening need not look there
    /// for records.
    ///
    /// # Errors
    /// `Io`, `Poisoned`: the writer takes no more.
    pub(crate) fn trim(&mut self) -> Result<()> {
        self.check()?;
        self.write_pending()?;
        let truncated = self.segment.file.truncate(u64::from(self.segment.len));
        self.note(truncated, "truncate")
    }

    /// The active segment, and where its next frame goes: what lies before is in the file once it is drained.
    pub(crate) fn position(&self) -> (SegmentId, u64) {
        (self.segment.id, self.end())
    }

    /// Where in the active segment the next frame goes.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.segment.len) + self.pending as u64
    }

    fn append_frame(&mut self, frame: &[u8]) -> Result<()> {
        if self.pending + frame.len() > self.ring.capacity() {
            self.write_pending()?;
        }
        if frame.len() > self.ring.capacity() {
            let written = self.segment.file.write_all_at(u64::from(self.segment.len), frame);
            return self.wrote(written, frame.len());
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
        self.wrote(written, self.pending)?;
        self.pending = 0;
        Ok(())
    }

    /// Takes note of `len` bytes that were written, or fails for good.
    fn wrote(&mut self, written: std::io::Result<()>, len: usize) -> Result<()> {
        self.note(written, "write")?;
        let (before, after) = (u64::from(self.segment.len), u64::from(self.segment.len) + len as u64);
        let begun = before - before % CARRIED;
        if after - begun >= CARRIED {
            self.segment.file.begin_sync(begun, after - begun);
        }
        self.segment.len += len as u32;
        self.move_base();
        Ok(())
    }

    fn move_base(&mut self) {
        self.ring.set_word(word(self.segment.id, self.segment.len));
    }

    fn note(&self, outcome: std::io::Result<()>, op: &'static str) -> Result<()> {
        outcome.map_err(|source| {
            self.has_failed.store(true, Ordering::Release);
            Error::io(op, &self.segment.path, source)
        })
    }

    fn check(&self) -> Result<()> {
        match self.has_failed.load(Ordering::Acquire) {
            true => Err(Error::Poisoned { reason: "an earlier write to the log failed".into() }),
            false => Ok(()),
        }
    }
}

/// Fills in the head of `frame`, whose payload stands behind the room for it, and returns the checksum.
fn seal(frame: &mut [u8], segment: SegmentId, offset: u32) -> u32 {
    let (room, payload) = frame.split_at_mut(FRAME_LEN);
    let head = FrameHead::of(segment, offset, payload);
    room.copy_from_slice(&head.encode());
    head.checksum
}

/// The ring's word.
fn word(segment: SegmentId, base: u32) -> u64 {
    u64::from(segment.0) << 32 | u64::from(base)
}

/// Segment and base offset in the ring's word.
pub(super) fn parse_word(word: u64) -> (SegmentId, u32) {
    (SegmentId((word >> 32) as u32), word as u32)
}
