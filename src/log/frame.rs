//! Frames: how records lie in a segment.
//!
//! ```text
//! segment  0   16  file header, kind "LOGS"
//!          16      frame of the segment header, frames of commits, at last the footer's; zeros where nothing was written
//! frame    0   4   length of the payload; 0 where nothing was written
//!          4   4   CRC-32 over (segment number u32, offset of the frame u32, length u32, payload)
//!          8       payload
//! ```
//!
//! Easy to get wrong: segment and offset are part of the checksum, so that bytes left over from another place (an earlier
//! round of the staging ring, a misdirected write) are never taken for a record of this one.

use crate::types::SegmentId;

/// Bytes before a frame's payload.
pub(super) const FRAME_LEN: usize = 8;

/// Greatest length of a segment's file in bytes: what an offset can name, and [`FOOTER_ROOM`] less.
pub(super) const SEGMENT_LEN_MAX: u64 = u32::MAX as u64 - FOOTER_ROOM;

/// Bytes that every segment leaves free for its footer.
const FOOTER_ROOM: u64 = 64;

/// A frame's first bytes: what they say of its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHead {
    pub(super) len: u32,
    pub(super) checksum: u32,
}

impl FrameHead {
    /// The head that `bytes` begin with, if they are long enough.
    pub(super) fn decode(bytes: &[u8]) -> Option<FrameHead> {
        let (len, rest) = bytes.split_first_chunk()?;
        let checksum = rest.first_chunk()?;
        Some(FrameHead { len: u32::from_le_bytes(*len), checksum: u32::from_le_bytes(*checksum) })
    }

    /// The head of the frame at `offset` of `segment` with this payload.
    pub(super) fn of(segment: SegmentId, offset: u32, payload: &[u8]) -> FrameHead {
        let len = payload.len() as u32;
        let mut hasher = seeded(segment, offset, len);
        hasher.update(payload);
        FrameHead { len, checksum: hasher.finalize() }
    }

    pub(super) fn encode(self) -> [u8; FRAME_LEN] {
        (u64::from(self.checksum) << 32 | u64::from(self.len)).to_le_bytes()
    }
}

/// A hasher that waits for the payload of a frame at this place and of this length.
pub(super) fn seeded(segment: SegmentId, offset: u32, len: u32) -> crc32fast::Hasher {
    let mut seed = [0; 12];
    for (place, number) in seed.chunks_mut(4).zip([segment.0, offset, len]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed);
    hasher
}
