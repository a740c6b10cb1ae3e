//! The frames of the flight that this side is about to send, or is sending.
//!
//! Easy to get wrong: only the last frame of a flight says that it is the last, so one frame is always held back until
//! it is known whether anything follows.

use std::collections::VecDeque;

use crate::limits::CHUNK_LEN;
use crate::wire::frame::{self, FRAME_HEADER_LEN};
use crate::wire::message::Message;

/// Messages on their way out, packed into frames.
#[derive(Debug)]
pub(crate) struct Outbox {
    full: VecDeque<Vec<u8>>,
    open: Vec<u8>,
    payload_len: usize,
}

impl Outbox {
    pub(crate) fn new() -> Outbox {
        Outbox { full: VecDeque::new(), open: frame::begin(), payload_len: 0 }
    }

    /// Appends a message. Frames hold about [`CHUNK_LEN`] bytes, and a longer message is alone in its frame.
    pub(crate) fn push(&mut self, message: &Message) {
        let start = self.open.len();
        message.encode(&mut self.open);
        self.payload_len += self.open.len() - start;
        if start > FRAME_HEADER_LEN && self.open.len() > FRAME_HEADER_LEN + CHUNK_LEN {
            let mut next = frame::begin();
            next.extend(self.open.drain(start..));
            self.full.push_back(std::mem::replace(&mut self.open, next));
        }
    }

    /// Whether nothing was appended since the flight began.
    pub(crate) fn is_empty(&self) -> bool {
        self.payload_len == 0
    }

    /// Bytes of messages appended since the flight began.
    pub(crate) fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.full.iter().map(Vec::len).sum::<usize>() + self.open.len()
    }

    /// A frame that is known not to be the last.
    pub(crate) fn pop_full(&mut self) -> Option<Vec<u8>> {
        self.full.pop_front()
    }

    /// The last frame of the flight, once the full ones are popped. Begins the next flight.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        debug_assert!(self.full.is_empty(), "full frames go first");
        let mut frame = std::mem::replace(&mut self.open, frame::begin());
        frame::set_last(&mut frame);
        self.payload_len = 0;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_frame_of_a_flight_says_so() {
        let mut outbox = Outbox::new();
        for _ in 0..3 {
            outbox.push(&Message::ValuePart(vec![7; CHUNK_LEN]));
        }
        let is_last = |mut frame: Vec<u8>| {
            frame::seal(&mut frame, 0);
            frame::check(&frame, 0).expect("sealed")
        };
        let mut last = Vec::new();
        while let Some(frame) = outbox.pop_full() {
            last.push(is_last(frame));
        }
        last.push(is_last(outbox.finish()));
        assert_eq!(last, [false, false, true]);
        assert!(outbox.is_empty());
        assert!(is_last(outbox.finish()), "a flight without messages is one empty frame");
    }
}
