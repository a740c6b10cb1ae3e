//! The items of one of this side's flights, kept until the peer has answered them.
//!
//! Easy to get wrong: this is what a session holds in memory, and what a peer could make it hold. Everything in it is
//! counted; when a table is full, further ranges are put aside instead of answered.

use std::sync::Arc;

use super::backlog::Backlog;
use super::keys::KeyList;
use super::narrow::Outline;
use super::parts::Parts;
use super::seen::Seen;
use crate::types::{Fingerprint, KeyRange};

/// One item as its sender remembers it.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where its pieces start; the first is the start of the item's range. Never empty.
    starts: KeyList,
    /// Where the range ends.
    end: Option<Box<[u8]>>,
    /// How often the range was cut to get here.
    pub(crate) depth: u32,
    /// The parts of the range that it speaks of, if it was narrowed.
    pub(crate) area: Option<Arc<Parts>>,
    /// What the peer may answer.
    body: Body,
}

/// What an item said, as far as its answer needs it.
#[derive(Debug)]
pub(crate) enum Body {
    /// Pieces of a range. A piece without an answer is equal.
    Pieces,
    /// A list without entries. Without an answer the peer holds nothing either.
    EmptyList,
    /// A list of short fingerprints. Must be answered.
    List(Listing),
    /// A sketch. Must be answered.
    Sketch(Sketching),
    /// A sketch of pieces. Must be answered.
    SketchedPieces(Outline),
    /// A list in full width: its keys. Must be answered.
    FullList(KeyList),
    /// Own entries that the peer's list lacked. Must be answered if anything did not match.
    Unmatched {
        /// The keys of the entries.
        extra: KeyList,
        /// Whether anything did not match.
        must_answer: bool,
    },
    /// Answered.
    Answered,
}

/// What is kept of a sketch: what it was made of, by which the range is closed.
#[derive(Debug)]
pub(crate) struct Sketching {
    /// Number of the entries, and sum of their hashes.
    pub(crate) count: u64,
    pub(crate) fingerprint: Fingerprint,
    /// Length of the short fingerprints.
    pub(crate) fingerprint_len: u8,
    /// The fingerprints, rising, if they were told one by one.
    pub(crate) plain: Vec<u64>,
    /// Where they lie.
    pub(crate) seen: Seen,
    /// How often the range was sketched before, by either side.
    pub(crate) tries: u8,
}

/// What the lister keeps of a list: its hashes and sum, by which the range is closed.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Hashes of the entries, in the order listed.
    pub(crate) hashes: Vec<u128>,
    /// Their sum, which is also the range's.
    pub(crate) fingerprint: Fingerprint,
    /// How often the range was listed before.
    pub(crate) attempt: u8,
}

impl Sketching {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.seen.memory_len() + size_of_val(self.plain.as_slice())
    }
}

impl Body {
    fn seen_len(&self) -> usize {
        match self {
            Body::Sketch(sketching) => sketching.memory_len(),
            Body::SketchedPieces(outline) => outline.memory_len(),
            _ => 0,
        }
    }
}

impl Item {
    /// An item whose pieces start at `starts`, the first of which is the start of the range.
    pub(crate) fn pieces(starts: KeyList, end: Option<Vec<u8>>, depth: u32) -> Item {
        Item { starts, end: end.map(Vec::into_boxed_slice), depth, area: None, body: Body::Pieces }
    }

    /// An item of one piece.
    pub(crate) fn whole(range: &KeyRange, depth: u32, body: Body) -> Item {
        let starts = KeyList::from_iter([&range.start]);
        Item { starts, end: range.end.as_deref().map(Box::from), depth, area: None, body }
    }

    /// Of these parts of the range.
    pub(crate) fn within(self, area: Option<Arc<Parts>>) -> Item {
        Item { area, ..self }
    }

    /// The range of pieces `lo..hi`, if there are such.
    pub(crate) fn range(&self, lo: u32, hi: u32) -> Option<KeyRange> {
        let (lo, hi) = (lo as usize, hi as usize);
        if lo >= hi || hi > self.starts.len() {
            return None;
        }
        let end = self.starts.get(hi).or(self.end.as_deref()).map(<[u8]>::to_vec);
        Some(KeyRange { start: self.starts.get(lo)?.to_vec(), end })
    }

    /// What the pieces would cost if all of them were put aside.
    fn aside_len(&self) -> usize {
        let keys_len: usize =
            (0..self.starts.len()).filter_map(|at| self.starts.get(at)).map(<[u8]>::len).sum();
        2 * keys_len + self.end.as_ref().map_or(0, |end| end.len()) + self.starts.len() * Backlog::RANGE_LEN
    }

    fn must_answer(&self) -> bool {
        match &self.body {
            Body::List(_) | Body::Sketch(_) | Body::SketchedPieces(_) | Body::FullList(_) => true,
            Body::Unmatched { must_answer, .. } => *must_answer,
            Body::Pieces | Body::EmptyList | Body::Answered => false,
        }
    }

    fn memory_len(&self) -> usize {
        let body = match &self.body {
            Body::List(listing) => listing.hashes.capacity() * size_of::<u128>(),
            Body::FullList(keys) | Body::Unmatched { extra: keys, .. } => keys.memory_len(),
            Body::Pieces | Body::EmptyList | Body::Answered => 0,
            Body::Sketch(_) | Body::SketchedPieces(_) => 0,
        };
        let area = self.area.as_ref().map_or(0, |parts| parts.memory_len());
        size_of::<Item>()
            + area
            + self.starts.memory_len()
            + self.end.as_ref().map_or(0, |end| end.len())
            + body
    }
}

/// The items of one flight.
#[derive(Debug, Default)]
pub(crate) struct Table {
    items: Vec<Item>,
    memory_len: usize,
    /// Of the [`Seen`] of its sketches, which come on top.
    seen_len: usize,
    aside_len: usize,
}

impl Table {
    pub(crate) fn push(&mut self, item: Item) {
        self.memory_len += item.memory_len();
        self.seen_len += item.body.seen_len();
        self.aside_len += item.aside_len();
        self.items.push(item);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes held, those of [`Table::seen_len`] apart.
    pub(crate) fn memory_len(&self) -> usize {
        self.memory_len
    }

    /// Bytes held to find the entries of unanswered sketches again.
    pub(crate) fn seen_len(&self) -> usize {
        self.seen_len
    }

    /// What the backlog would grow by if all of this were put aside.
    pub(crate) fn aside_len(&self) -> usize {
        self.aside_len
    }

    pub(crate) fn get(&self, item: u32) -> Option<&Item> {
        self.items.get(item as usize)
    }

    /// Takes what the item said; from then on it counts as answered. Pieces are answered piece by piece and stay.
    pub(crate) fn answer(&mut self, item: u32) -> Option<Body> {
        let item = self.items.get_mut(item as usize)?;
        self.seen_len -= item.body.seen_len();
        Some(match item.body {
            Body::Pieces => Body::Pieces,
            _ => std::mem::replace(&mut item.body, Body::Answered),
        })
    }

    /// Whether every item that must be answered was.
    pub(crate) fn is_answered(&self) -> bool {
        !self.items.iter().any(Item::must_answer)
    }
}
