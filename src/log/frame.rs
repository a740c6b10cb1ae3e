//! Frames: how records lie in a segment.
//!
//! ```text
//! segment  0   16  file header, kind "LOGS"
//!          16      frame of the segment header, then frames of commits, at last the footer's; zeros where nothing was written
//! frame    0   4   length of the payload; 0 where nothing was written
//!          4   4   CRC-32 over (segment number u32, offset of the frame u32, length u32, payload)
//!          8       payload
//! ```
//!
//! Segment and offset are part of the checksum, so that bytes left over from another place (an earlier round of the
//! staging ring, a misdirected write) are never taken for a record of this one.

use crate::codec::Reader;
use crate::types::SegmentId;

/// Bytes before a frame's payload.
pub(super) const FRAME_LEN: usize = 8;

/// The checksum of a frame.
pub(super) fn checksum(segment: SegmentId, offset: u32, payload: &[u8]) -> u32 {
    let mut seed = [0; 12];
    seed[..4].copy_from_slice(&segment.0.to_le_bytes());
    seed[4..8].copy_from_slice(&offset.to_le_bytes());
    seed[8..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed);
    hasher.update(payload);
    hasher.finalize()
}

/// Fills in the first [`FRAME_LEN`] bytes of `frame`, whose payload stands behind them.
pub(super) fn seal(frame: &mut [u8], segment: SegmentId, offset: u32) {
    let (head, payload) = frame.split_at_mut(FRAME_LEN);
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&checksum(segment, offset, payload).to_le_bytes());
}

/// A whole frame with this payload.
pub(super) fn frame(payload: &[u8], segment: SegmentId, offset: u32) -> Vec<u8> {
    let mut frame = [&[0; FRAME_LEN], payload].concat();
    seal(&mut frame, segment, offset);
    frame
}

/// The payload of the frame that begins `bytes`, if there is a whole and right one. `offset` is where in the segment the
/// bytes begin.
pub(super) fn payload_at(bytes: &[u8], segment: SegmentId, offset: u32) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let (len, found) = (reader.u32().ok()?, reader.u32().ok()?);
    let payload = reader.bytes(len as usize).ok()?;
    (len > 0 && checksum(segment, offset, payload) == found).then_some(payload)
}
