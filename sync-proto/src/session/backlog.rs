//! Ranges put aside: what does not fit the window of a flight waits here, in key order, until its turn comes.
//!
//! Only the initiator keeps them. The responder says what it does not answer and forgets it, so that its memory is that
//! of one flight.
//!
//! Easy to get wrong: a range put aside comes up again by its keys, while so far the two sides named it by pieces, each
//! in its own terms. If short ids misled them, entries between the two ideas of a bound would belong to no range at all.
//! Both sides therefore hash the keys that they mean, and begin again from the whole range when the hashes differ.

use std::collections::VecDeque;

use crate::hash::KeysHash;
use crate::limits::{BACKLOG_LEN_MAX, DEPTH_MAX, SPAN_COUNT_MAX};
use crate::types::KeyRange;
use crate::wire::item::{Later, Pieces};

/// A range that is neither proven equal nor being walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) range: KeyRange,
    pub(crate) depth: u32,
    /// Whether it may hold parts that are being walked or sent, so that it must wait until nothing is.
    pub(crate) overlaps: bool,
}

impl Aside {
    pub(crate) fn new(range: KeyRange, depth: u32) -> Aside {
        Aside { range, depth, overlaps: false }
    }

    /// The hull of two ranges put aside.
    fn join(self, other: Aside) -> Aside {
        let depth = self.depth.max(other.depth);
        Aside { range: hull(self.range, other.range), depth, overlaps: true }
    }
}

/// An [`Aside`] in a single allocation.
#[derive(Debug)]
struct Packed {
    /// The start and, unless the range is open, the end.
    keys: Box<[u8]>,
    start_len: u32,
    depth: u8,
    is_open: bool,
    overlaps: bool,
}

impl Packed {
    fn pack(aside: Aside) -> Packed {
        let Aside { range: KeyRange { start, end }, depth, overlaps } = aside;
        let keys = [start.as_slice(), end.as_deref().unwrap_or_default()].concat().into_boxed_slice();
        let start_len = start.len() as u32;
        Packed { keys, start_len, depth: depth.min(DEPTH_MAX) as u8, is_open: end.is_none(), overlaps }
    }

    fn unpack(&self) -> Aside {
        let (start, end) = self.keys.split_at(self.start_len as usize);
        let end = (!self.is_open).then(|| end.to_vec());
        let range = KeyRange { start: start.to_vec(), end };
        Aside { range, depth: u32::from(self.depth), overlaps: self.overlaps }
    }

    fn memory_len(&self) -> usize {
        Backlog::RANGE_LEN + self.keys.len()
    }
}

/// Ranges put aside, in key order.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    ranges: VecDeque<Packed>,
    memory_len: usize,
}

impl Backlog {
    /// What a range costs beside its keys, the allocator's part included.
    pub(crate) const RANGE_LEN: usize = size_of::<Packed>() + 16;

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.memory_len
    }

    pub(crate) fn first(&self) -> Option<Aside> {
        self.ranges.front().map(Packed::unpack)
    }

    pub(crate) fn pop(&mut self) -> Option<Aside> {
        let packed = self.ranges.pop_front()?;
        self.memory_len -= packed.memory_len();
        Some(packed.unpack())
    }

    /// Adds a range behind all others.
    pub(crate) fn push(&mut self, aside: Aside) {
        let packed = Packed::pack(aside);
        self.memory_len += packed.memory_len();
        self.ranges.push_back(packed);
        self.keep_within();
    }

    /// Puts the ranges of `first`, in any order, before those held.
    pub(crate) fn put_first(&mut self, mut first: Backlog) {
        self.memory_len += first.memory_len;
        first.ranges.make_contiguous().sort_by_cached_key(|packed| packed.unpack().range.start);
        first.ranges.append(&mut self.ranges);
        self.ranges = first.ranges;
        self.keep_within();
    }

    /// Where there are too many ranges, neighbours become one, with all that lies between them: what was equal there
    /// is found equal again. Parts of that may be in flight just now, and would be sent a second time.
    fn keep_within(&mut self) {
        while self.memory_len > BACKLOG_LEN_MAX && self.ranges.len() > 1 {
            let mut joined = Backlog::default();
            while let Some(first) = self.pop() {
                let aside = match self.pop() {
                    Some(second) => first.join(second),
                    None => first,
                };
                let packed = Packed::pack(aside);
                joined.memory_len += packed.memory_len();
                joined.ranges.push_back(packed);
            }
            *self = joined;
        }
    }
}

/// The least range that covers both.
fn hull(a: KeyRange, b: KeyRange) -> KeyRange {
    KeyRange { start: a.start.min(b.start), end: a.end.zip(b.end).map(|(a, b)| a.max(b)) }
}

/// What this side does not answer of the peer's flight.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    spans: Vec<Pieces>,
    hash: KeysHash,
    /// The last span, which may still grow.
    last: Option<(Pieces, Aside)>,
    later: Vec<Later>,
}

impl Deferred {
    /// Adds a span of the peer's pieces and the same range in this side's keys. Where it follows in the same item, it
    /// is joined to the span before, with what lies between. A span that cannot grow any more goes to `backlog`, if
    /// this side keeps one.
    pub(crate) fn push(&mut self, pieces: Pieces, aside: Aside, backlog: Option<&mut Backlog>) {
        match &mut self.last {
            Some((last, before)) if last.item == pieces.item => {
                last.hi = pieces.hi;
                before.range.end = aside.range.end;
            }
            _ => {
                self.close_last(backlog);
                self.last = Some((pieces, aside));
            }
        }
    }

    /// The messages that say all of this. Begins anew.
    pub(crate) fn take(&mut self, backlog: Option<&mut Backlog>) -> Vec<Later> {
        self.close_last(backlog);
        self.close_message();
        std::mem::take(&mut self.later)
    }

    fn close_last(&mut self, backlog: Option<&mut Backlog>) {
        let Some((pieces, aside)) = self.last.take() else { return };
        add_range(&mut self.hash, &aside.range);
        self.spans.push(pieces);
        if let Some(backlog) = backlog {
            backlog.push(aside);
        }
        if self.spans.len() == SPAN_COUNT_MAX {
            self.close_message();
        }
    }

    fn close_message(&mut self) {
        if !self.spans.is_empty() {
            let check = std::mem::take(&mut self.hash).finish();
            self.later.push(Later { spans: std::mem::take(&mut self.spans), check });
        }
    }
}

/// Adds one range put aside to the hash by which both sides check that they mean the same keys.
pub(crate) fn add_range(hash: &mut KeysHash, range: &KeyRange) {
    hash.add(Some(&range.start));
    hash.add(range.end.as_deref());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aside(start: u32, end: u32) -> Aside {
        let key = |n: u32| n.to_be_bytes().to_vec();
        Aside::new(KeyRange { start: key(start), end: Some(key(end)) }, 1)
    }

    #[test]
    fn a_full_backlog_joins_neighbours_and_still_covers_everything() {
        let ranges: Vec<Aside> = (0..30_000).map(|n| aside(10 * n, 10 * n + 5)).collect();
        let (first, second) = ranges.split_at(10_000);
        let mut backlog = Backlog::default();
        second.iter().for_each(|range| backlog.push(range.clone()));
        let mut before = Backlog::default();
        first.iter().for_each(|range| before.push(range.clone()));
        backlog.put_first(before);
        assert!(backlog.memory_len() <= BACKLOG_LEN_MAX);
        let mut held = Vec::new();
        while let Some(aside) = backlog.pop() {
            held.push(aside);
        }
        assert_eq!(backlog.memory_len(), 0);
        assert!(held.is_sorted_by(|a, b| a.range.end.as_ref() <= Some(&b.range.start)));
        assert!(ranges.iter().all(|range| held.iter().any(|held| held.range.covers(&range.range))));
    }

    #[test]
    fn spans_of_one_item_become_one_and_both_sides_hash_the_same_keys() {
        let mut deferred = Deferred::default();
        let mut backlog = Backlog::default();
        let span = |item, lo, hi| Pieces { item, lo, hi };
        deferred.push(span(0, 1, 2), aside(10, 20), Some(&mut backlog));
        deferred.push(span(0, 5, 6), aside(50, 60), Some(&mut backlog));
        deferred.push(span(3, 0, 1), aside(90, 95), Some(&mut backlog));
        let later = deferred.take(Some(&mut backlog));
        let mut hash = KeysHash::default();
        add_range(&mut hash, &aside(10, 60).range);
        add_range(&mut hash, &aside(90, 95).range);
        assert_eq!(later, [Later { spans: vec![span(0, 1, 6), span(3, 0, 1)], check: hash.finish() }]);
        assert_eq!(backlog.pop(), Some(aside(10, 60)));
        assert_eq!(backlog.pop(), Some(aside(90, 95)));
        assert!(deferred.take(None).is_empty());
    }
}
