//! Frames: what the transport carries. A frame is a checksummed run of messages; the last one of a flight says so. Its checksum
//! is also of its number among the sender's frames in the session, so that one that is missing, doubled or out of order is noticed.
//!
//! Used by the session to send and read, and by drivers to find where a frame ends.
//!
//! ```text
//! offset  bytes  field
//! 0       3      length of the payload, little-endian, at most 1 MiB
//! 3       1      flags: bit 0 = last frame of its flight; the others are 0
//! 4       4      low half of xxh3-64 of the payload, seeded with the flags + 256 * the number of the frame, from 0 on
//! 8       n      payload: messages, one after the other
//! ```
//!
//! Easy to get wrong: the checksum finds damage on the way (a flipped bit in a value would otherwise be merged and
//! spread), it does not authenticate. That is the transport's job. A frame that could not be sent has had its number, so an abort, which comes
//! in the place of anything, always has number 0.

use super::codec::{Decoded, Malformed};
use super::message::Message;
use crate::hash::frame_checksum;
use crate::limits::FRAME_LEN_MAX;

/// Length of a frame's header in bytes.
pub const FRAME_HEADER_LEN: usize = 8;

const LAST: u8 = 1;

/// Length of the payload that follows `header`, or `None` if no frame begins like this.
pub fn payload_len(header: &[u8; FRAME_HEADER_LEN]) -> Option<usize> {
    let [a, b, c, flags, ..] = *header;
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    (len <= FRAME_LEN_MAX && flags & !LAST == 0).then_some(len)
}

/// An empty frame to append messages to.
pub(crate) fn begin() -> Vec<u8> {
    vec![0; FRAME_HEADER_LEN]
}

/// Makes it the last frame of its flight.
pub(crate) fn set_last(frame: &mut [u8]) {
    if let Some(flags) = frame.get_mut(3) {
        *flags = LAST;
    }
}

/// Completes the header of a frame that was begun by [`begin`] and is not longer than a frame may be.
pub(crate) fn seal(frame: &mut [u8], number: u64) {
    let (header, payload) =
        frame.split_first_chunk_mut::<FRAME_HEADER_LEN>().expect("begun with room for the header");
    debug_assert!(payload.len() <= FRAME_LEN_MAX, "a frame of {} bytes", payload.len());
    let flags = header[3];
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    let [d, e, f, g] = checksum(payload, flags, number).to_le_bytes();
    *header = [a, b, c, flags, d, e, f, g];
}

/// Checks a whole frame, the sender's `number`th: whether it is the last of its flight. The payload begins at
/// [`FRAME_HEADER_LEN`].
pub(crate) fn check(frame: &[u8], number: u64) -> Decoded<bool> {
    let (header, payload) =
        frame.split_first_chunk::<FRAME_HEADER_LEN>().ok_or(Malformed("frame cut short"))?;
    if payload_len(header) != Some(payload.len()) {
        return Err(Malformed("frame header"));
    }
    let [.., flags, a, b, c, d] = *header;
    if checksum(payload, flags, number) != u32::from_le_bytes([a, b, c, d]) {
        return Err(Malformed("frame checksum"));
    }
    Ok(flags & LAST != 0)
}

fn checksum(payload: &[u8], flags: u8, number: u64) -> u32 {
    frame_checksum(payload, flags, if Message::is_abort(payload) { 0 } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_and_any_missing_byte_or_frame_is_noticed() {
        let mut frame = begin();
        frame.extend_from_slice(b"some messages");
        set_last(&mut frame);
        seal(&mut frame, 7);
        assert_eq!(check(&frame, 7), Ok(true));
        assert!(check(&frame, 6).is_err() && check(&frame, 8).is_err());
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&damaged, 7).is_err(), "bit {bit}");
        }
        for len in 0..frame.len() {
            assert!(check(&frame[..len], 7).is_err(), "cut at {len}");
        }
    }
}
