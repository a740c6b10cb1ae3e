//! [`LogWriter`]: appends commits to the active segment through the staging ring.
//!
//! The ring holds the bytes of one segment from a base offset on. A commit is a store into it, so it needs no system call
//! and survives the process; when the ring is full, one positioned write takes it all to the file, and only then does
//! the base move. The ring's word is `segment << 32 | base`.
//!
//! The writer makes no files and waits for no fsync, for it works under the commit lock.
//!
//! Easy to get wrong: the base moves after the write returned whole, never before; a failed write leaves the ring as it
//! is, and the writer refuses everything from then on. The ring turns to the next segment when the one before is written
//! whole, though perhaps not durable.

use std::sync::Arc;

use smallvec::SmallVec;

use super::frame::{FRAME_LEN, FrameHead, SEGMENT_LEN_MAX};
use super::record::{self, Commit, Link};
use super::segment::FreshSegment;
use super::sync::{Progress, SegmentFile, SyncHandle};
use crate::error::{Error, Result};
use crate::types::{Location, SegmentId};
use crate::vfs::Staging;

/// Bytes that the ring stages.
pub(crate) const RING_LEN: usize = 64 << 10;

/// A buffer that one large commit has blown up beyond this many bytes is given back.
const FRAME_BUFFER_MAX: usize = 1 << 20;

/// Bytes of a segment after which the medium is asked to take them, so that the fsync at its end is short.
const CARRIED: u64 = 1 << 20;

/// A drain that wrote less is taken for one of many small ones.
const SMALL_DRAIN: u64 = 4 << 10;

/// Bytes of zeros that are written behind the records of small drains.
const FILLED_AHEAD: u64 = 64 << 10;

/// They are written a page at a time, so that later fsyncs find single pages to write and not all of them as one.
const ZEROS: &[u8; 4 << 10] = &[0; 4 << 10];

/// The end of the log. One owner, behind the commit lock.
#[derive(Debug)]
pub(crate) struct LogWriter {
    ring: Box<dyn Staging>,
    segment: FreshSegment,
    /// Bytes in the ring, which follow the segment's first `segment.len` bytes.
    pending: usize,
    /// Where the last drain ended, and up to where the segment was filled with zeros.
    drained: u64,
    filled: u64,
    /// Sealed segments that may not be durable, oldest first.
    sealed: Vec<SegmentFile>,
    frame: Vec<u8>,
    progress: Arc<Progress>,
}

impl LogWriter {
    /// Goes on at the end of `segment`. From here on the ring's former content is gone.
    pub(crate) fn new(mut ring: Box<dyn Staging>, segment: FreshSegment) -> LogWriter {
        ring.set_word(word(segment.id, segment.len));
        let (sealed, frame, progress) = (Vec::new(), Vec::new(), Arc::default());
        LogWriter { ring, segment, pending: 0, drained: 0, filled: 0, sealed, frame, progress }
    }

    /// Appends a commit and tells where each entry's value lies. It survives the process from here on. Costs no system
    /// call unless the ring is full.
    ///
    /// # Errors
    /// `CommitTooLarge`, `Poisoned`: nothing happened. `Io`: the writer takes no more; whether the commit is found at the
    /// next open is open.
    pub(crate) fn append(&mut self, commit: &Commit<'_>) -> Result<SmallVec<[Location; 1]>> {
        self.progress.check()?;
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
        self.progress.check()?;
        self.write_pending()?;
        self.fill_ahead()?;
        let synced_before = self.progress.synced_before();
        self.sealed.retain(|segment| segment.id >= synced_before);
        let (active, progress) = (self.segment.file(), self.progress.clone());
        Ok(SyncHandle { sealed: self.sealed.clone(), active, progress })
    }

    /// Seals the active segment and goes on in `next`, which was made ahead for that and has the next number. The sealed one
    /// is written whole afterwards, and not yet durable.
    ///
    /// # Errors
    /// `Io`, `Poisoned`: the writer takes no more.
    pub(crate) fn rotate(&mut self, next: FreshSegment) -> Result<SegmentFile> {
        self.progress.check()?;
        debug_assert_eq!(next.id.0, self.segment.id.0 + 1, "segments follow without a gap");
        let FreshSegment { id, last, summary, .. } = self.segment;
        let commits_end = self.end();
        let mut footer = vec![0; FRAME_LEN];
        record::encode_footer(&mut footer, summary, last);
        seal(&mut footer, id, commits_end as u32);
        self.append_frame(&footer)?;
        self.write_pending()?;
        let sealed = SegmentFile { commits_end, ..self.segment.file() };
        self.sealed.push(sealed.clone());

        let mut link = vec![0; FRAME_LEN];
        Link { previous: last, sealed: summary }.encode(&mut link);
        seal(&mut link, next.id, next.len);
        // Staged before the ring turns: to the old segment these bytes are no record.
        self.ring.write(0, &link);
        self.pending = link.len();
        self.segment = FreshSegment { last, ..next };
        (self.drained, self.filled) = (0, 0);
        self.move_base();
        Ok(sealed)
    }

    /// Writes what the ring holds and gives back what was reserved beyond it, so that the next opening need not look there
    /// for records.
    ///
    /// # Errors
    /// `Io`, `Poisoned`: the writer takes no more.
    pub(crate) fn trim(&mut self) -> Result<()> {
        self.progress.check()?;
        self.write_pending()?;
        self.progress.note(self.segment.file().trim())
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
            self.write_at(u64::from(self.segment.len), frame)?;
            self.wrote(frame.len());
            return Ok(());
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
        self.write_at(u64::from(self.segment.len), pending)?;
        self.wrote(self.pending);
        self.pending = 0;
        Ok(())
    }

    /// Writes zeros behind the records if small drains follow each other. The space is reserved and reads as zeros, but as
    /// long as a block of it was never written, the fsync of the first record in it has to change the file system's tables,
    /// too: on ext4 a commit of its journal with every seventh record, and with every four hundredth when filled.
    fn fill_ahead(&mut self) -> Result<()> {
        let end = self.end();
        let is_small = end - self.drained < SMALL_DRAIN;
        self.drained = end;
        if !is_small || end <= self.filled {
            return Ok(());
        }
        self.filled = (end + FILLED_AHEAD).min(self.segment.reserved);
        let mut at = end;
        while at < self.filled {
            let page_end = at - at % ZEROS.len() as u64 + ZEROS.len() as u64;
            let len = page_end.min(self.filled) - at;
            self.write_at(at, ZEROS.get(..len as usize).unwrap_or_default())?;
            at += len;
        }
        Ok(())
    }

    /// Writes to the active segment, or fails for good.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = self.segment.file.write_all_at(offset, bytes);
        self.progress.note(written.map_err(|source| Error::io("write", &self.segment.path, source)))
    }

    /// Takes note of `len` more bytes that were written.
    fn wrote(&mut self, len: usize) {
        let (before, after) = (u64::from(self.segment.len), u64::from(self.segment.len) + len as u64);
        let begun = before - before % CARRIED;
        if after - begun >= CARRIED {
            self.segment.file.begin_sync(begun, after - begun);
        }
        self.segment.len += len as u32;
        self.move_base();
    }

    fn move_base(&mut self) {
        self.ring.set_word(word(self.segment.id, self.segment.len));
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
