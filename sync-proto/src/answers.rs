//! What a replica answers, as plain data.
//!
//! Easy to get wrong: an answer holds at least one element where there is one, whatever the limit; or whoever asks never gets on.

use crate::types::{Entry, Head, RangeSum};

/// What a store's answers may cost. An answer stops at the first limit that the next element would exceed, but always
/// holds at least one element when there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Greatest number of elements.
    pub count: u32,
    /// Greatest number of bytes of keys, meta and values among the elements.
    pub bytes: u32,
}

/// How finely [`ReplicaReader::children`](crate::ReplicaReader::children) cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// At the level that gives about so many pieces, by the store's exact counts; at least two if the range has an
    /// inner fence at all.
    Pieces(u32),
    /// At every fence of at least this level. The level of a fence is the number of zero bits of its keyed key hash
    /// beyond those that make it a fence.
    Level(u8),
}

/// A part of a range: it starts at `start` and ends where the next piece starts, or where the range ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Least key of the piece.
    pub start: Vec<u8>,
    /// Sum of the entries in it.
    pub sum: RangeSum,
}

/// A range cut at the store's fences. The pieces cover the range whole; the first starts at the range's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Children {
    /// The level of fences that the range was cut at.
    pub level: u8,
    /// The pieces in key order; at least one.
    pub pieces: Vec<Piece>,
    /// Whether the limit was met, so that the last piece holds further fences of the level. To go on, ask for the
    /// range from the start of the last piece.
    pub more: bool,
}

/// Heads of a range, read at one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// The heads in key order.
    pub heads: Vec<Head>,
    /// The first key that the limit left out, if any.
    pub next: Option<Vec<u8>>,
}

/// An entry on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// With its value.
    Whole(Entry),
    /// The value is longer than the byte limit of the request and is fetched in parts by [`ReplicaReader::value`](crate::ReplicaReader::value).
    Large {
        /// Everything but the value, which is empty here.
        entry: Entry,
        /// Length of the value in bytes.
        value_len: u64,
    },
    /// The value is lost, as [`Lost::values`](crate::Lost::values) says of the key; everything but the value. It is not sent, so the
    /// session is not complete, but it moves all else.
    Lost(Entry),
}

impl Fetched {
    /// The entry, without its value if that is a large one.
    pub fn entry(&self) -> &Entry {
        match self {
            Fetched::Whole(entry) | Fetched::Large { entry, .. } | Fetched::Lost(entry) => entry,
        }
    }
}

/// Entries asked for by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// The current versions, in the order asked for. A key that the store does not hold is simply absent.
    pub entries: Vec<Fetched>,
    /// How many of the keys this answers: the rest is to be asked for again. At least 1 if any key was given.
    pub answered: usize,
}

/// Entries of a range in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeEntries {
    /// The current versions in key order.
    pub entries: Vec<Fetched>,
    /// The first key that the limit left out, if any.
    pub next: Option<Vec<u8>>,
}

/// Where entries come from; what a store refuses depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Id of the node that sent them, which need not be the one that wrote them.
    pub node: u64,
    /// The sender's horizon, in clock units.
    pub horizon: u64,
}

/// What became of entries that were handed to a store. The four counts add up to the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "what was refused or deferred was not taken"]
pub struct Applied {
    /// Taken: they are the newest versions of their keys now.
    pub applied: u64,
    /// Already held, or covered by a newer version of the key.
    pub covered: u64,
    /// Refused for good, because the horizon has passed them.
    pub refused: u64,
    /// Not taken now, because their stamps lie too far in the future.
    pub deferred: u64,
}

/// What a replica and its peer settled before anything is compared, when tables of members were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meeting {
    /// What ended at or before this, in clock units, is compared by neither side.
    pub cut: u64,
    /// What the session will have proven once it is complete, for [`Replica::complete`](crate::Replica::complete) and nobody else. Empty if it
    /// proves nothing.
    pub proof: Vec<u8>,
    /// The replica's table now; empty if the peer has the same.
    pub table: Vec<u8>,
}
