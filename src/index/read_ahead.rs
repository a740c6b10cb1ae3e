//! [`ReadAhead`]: what one end of a walk over a run has asked the system to bring into memory.
//!
//! A mapped file is read by page faults, and after a fault the system brings in that one page: right for look-ups, slow
//! for walks over what is not in memory. So a walk that goes on from block to block asks for what comes next, the farther
//! the longer it has been going, and a short one asks for nothing.
//!
//! Easy to get wrong: asking costs a system call even where everything is in memory, so it is done for many blocks at once.

use std::ops::Range;

/// Bytes that a walk goes before it asks for any.
const BEGIN: u64 = 32 << 10;

/// Bytes that it asks for at most, ahead of where it stands.
const MAX: u64 = 512 << 10;

/// How far a walk has gone and asked, in bytes from where it began.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    passed: u64,
    asked: u64,
}

impl ReadAhead {
    /// Notes that the walk comes to the block at `place`, right after the one before. Returns what is to be fetched, if
    /// anything.
    pub(super) fn forward(&mut self, place: &Range<u64>) -> Option<Range<u64>> {
        let ahead = self.pass(place)?;
        Some(place.end.saturating_add(ahead.start)..place.end.saturating_add(ahead.end))
    }

    /// As [`ReadAhead::forward`], of a walk backwards.
    pub(super) fn backward(&mut self, place: &Range<u64>) -> Option<Range<u64>> {
        let ahead = self.pass(place)?;
        Some(place.start.saturating_sub(ahead.end)..place.start.saturating_sub(ahead.start))
    }

    /// What is to be fetched, as distances from the far end of the block.
    fn pass(&mut self, place: &Range<u64>) -> Option<Range<u64>> {
        self.passed = self.passed.saturating_add(place.end.saturating_sub(place.start));
        let wanted = self.passed.min(MAX);
        let asked = self.asked.saturating_sub(self.passed);
        // Half of what was asked for is still ahead.
        if self.passed < BEGIN || asked > wanted / 2 {
            return None;
        }
        self.asked = self.passed.saturating_add(wanted);
        Some(asked..wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks over blocks of `len` bytes; returns the ranges asked for.
    fn walk(blocks: u64, len: u64, forward: bool) -> Vec<Range<u64>> {
        let mut ahead = ReadAhead::default();
        let all = (0..blocks).map(|at| at * len..(at + 1) * len);
        let all: Vec<_> = if forward { all.collect() } else { all.rev().collect() };
        all.iter()
            .filter_map(|place| if forward { ahead.forward(place) } else { ahead.backward(place) })
            .collect()
    }

    #[test]
    fn a_short_walk_asks_for_nothing() {
        assert_eq!(walk(3, 8 << 10, true), []);
        assert_eq!(walk(3, 8 << 10, false), []);
    }

    #[test]
    fn a_long_walk_asks_for_every_byte_once_and_rarely() {
        for forward in [true, false] {
            let mut asked = walk(1000, 8 << 10, forward);
            if !forward {
                asked.reverse();
            }
            // The walk backwards asks for nothing before the file's first byte.
            assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "{asked:?}");
            assert!(asked.len() < 40, "{} system calls for 1,000 blocks", asked.len());
            let covered: u64 = asked.iter().map(|range| range.end - range.start).sum();
            assert!(covered >= (1000 - 8) * (8 << 10), "{covered}");
        }
    }
}
