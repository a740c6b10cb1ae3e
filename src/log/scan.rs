//! Reading frames back, from a segment's file or from the staging ring, through a window of bounded size.
//!
//! Easy to get wrong: a frame's length is believed only as far as there are bytes, and memory for a large payload is taken
//! only after its checksum was found right.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::frame::{FRAME_LEN, FrameHead, seeded};
use super::record::{COMMIT, Commit};
use crate::error::{Error, Result};
use crate::types::{SegmentId, Slice};
use crate::vfs::ReadableFile;

/// Bytes that are read at once.
const WINDOW_LEN: usize = 256 << 10;

/// Bytes `base..end` of a segment.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) segment: SegmentId,
    /// The segment's file, which errors name even if the bytes were in the ring.
    pub(super) path: PathBuf,
    pub(super) base: u32,
    pub(super) end: u64,
    pub(super) bytes: Bytes,
}

/// Where a source's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    File(Arc<dyn ReadableFile>),
    Ring(Slice),
}

impl Source {
    pub(super) fn corruption(&self, offset: u64, what: &'static str) -> Error {
        Error::corruption(&self.path, offset, what)
    }

    /// Reads bytes that lie between `base` and `end`.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Slice> {
        let start = offset - u64::from(self.base);
        let read = match &self.bytes {
            Bytes::File(file) => file.read(start, len),
            Bytes::Ring(bytes) => {
                let range =
                    usize::try_from(start).ok().and_then(|start| Some(start..start.checked_add(len)?));
                range
                    .and_then(|range| bytes.sub(range))
                    .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
            }
        };
        read.map_err(|source| Error::io("read", &self.path, source))
    }

    /// Bytes from `offset` to the end.
    fn remaining(&self, offset: u64) -> u64 {
        self.end.saturating_sub(offset)
    }
}

/// A window that moves over a source.
#[derive(Debug)]
pub(super) struct FrameReader {
    source: Source,
    window: Slice,
    window_at: u64,
}

/// A frame whose checksum is right.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) checksum: u32,
    pub(super) payload: Slice,
    /// Where the next frame begins.
    pub(super) next: u64,
}

impl FrameReader {
    pub(super) fn new(source: &Source) -> FrameReader {
        FrameReader { source: source.clone(), window: Slice::empty(), window_at: 0 }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The frame at `offset`, or `None` if no whole and right one begins there.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn frame(&mut self, offset: u64) -> Result<Option<Frame>> {
        let Some(room) = self.source.remaining(offset).checked_sub(FRAME_LEN as u64) else { return Ok(None) };
        let Some(head) = FrameHead::decode(self.bytes(offset, FRAME_LEN)?) else { return Ok(None) };
        let Ok(at) = u32::try_from(offset) else { return Ok(None) };
        if head.len == 0 || u64::from(head.len) > room {
            return Ok(None);
        }
        let payload_at = offset + FRAME_LEN as u64;
        let next = payload_at + u64::from(head.len);
        let mut hasher = seeded(self.source.segment, at, head.len);
        let mut hashed = payload_at;
        while hashed < next {
            let chunk = self.bytes(hashed, (next - hashed).min(WINDOW_LEN as u64) as usize)?;
            hasher.update(chunk);
            hashed += chunk.len() as u64;
        }
        if hasher.finalize() != head.checksum {
            return Ok(None);
        }
        let payload = self.slice(payload_at, head.len as usize)?;
        Ok(Some(Frame { checksum: head.checksum, payload, next }))
    }

    /// Where the last byte that is not zero ends, at or behind `from`.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn written_end(&mut self, from: u64) -> Result<u64> {
        let (mut at, mut end) = (from, from);
        while at < self.source.end {
            let len = self.source.remaining(at).min(WINDOW_LEN as u64) as usize;
            let chunk = self.bytes(at, len)?;
            // Most of it is zeros, so whole blocks are told apart first.
            let mut blocks = chunk.chunks(512).enumerate();
            let written = blocks.rfind(|(_, block)| block.iter().fold(0, |all, byte| all | byte) != 0);
            if let Some((index, block)) = written {
                let last = block.iter().rposition(|&byte| byte != 0).unwrap_or_default();
                end = at + (index * 512 + last) as u64 + 1;
            }
            at += chunk.len() as u64;
        }
        Ok(end)
    }

    /// The first commit in `from..end` that `is_wanted`, wherever its frame begins.
    ///
    /// Takes time proportional to the bytes: what crafted values could make longer is cut off, and then nothing is found.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn find_commit(
        &mut self,
        from: u64,
        end: u64,
        is_wanted: impl Fn(&Commit<'_>) -> bool,
    ) -> Result<bool> {
        let mut budget = (end.saturating_sub(from)).saturating_mul(16);
        let mut at = from;
        while at + (FRAME_LEN as u64) < end {
            let chunk = self.slice(at, (end - at).min(WINDOW_LEN as u64) as usize)?;
            let mut next = at + (chunk.len() - FRAME_LEN) as u64;
            for (index, bytes) in chunk.windows(FRAME_LEN + 1).enumerate() {
                let offset = at + index as u64;
                // Length and type tell most places apart without a checksum.
                let len = FrameHead::decode(bytes).map_or(0, |head| u64::from(head.len));
                if len == 0 || bytes.last() != Some(&COMMIT) || len > self.source.remaining(offset) {
                    continue;
                }
                let Some(left) = budget.checked_sub(len) else { return Ok(false) };
                budget = left;
                if let Some(frame) = self.frame(offset)? {
                    if Commit::decode(&frame.payload).is_ok_and(|commit| is_wanted(&commit)) {
                        return Ok(true);
                    }
                    next = frame.next;
                    break;
                }
            }
            at = next;
        }
        Ok(false)
    }

    /// `len` bytes from `offset` on, at most a window of them; the caller has checked that the source has them.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let range = self.move_to(offset, len)?;
        Ok(self.window.get(range).unwrap_or_default())
    }

    /// The same to keep, of any length.
    fn slice(&mut self, offset: u64, len: usize) -> Result<Slice> {
        if len > WINDOW_LEN {
            return self.source.read(offset, len);
        }
        let range = self.move_to(offset, len)?;
        Ok(self.window.sub(range).unwrap_or_default())
    }

    /// Moves the window if need be, and tells where in it the bytes are.
    fn move_to(&mut self, offset: u64, len: usize) -> Result<Range<usize>> {
        let start = offset.checked_sub(self.window_at).map_or(usize::MAX, |start| start as usize);
        if let Some(end) = start.checked_add(len)
            && end <= self.window.len()
        {
            return Ok(start..end);
        }
        let ahead = self.source.remaining(offset).min(WINDOW_LEN as u64) as usize;
        self.window = self.source.read(offset, ahead.max(len))?;
        self.window_at = offset;
        Ok(0..len)
    }
}
