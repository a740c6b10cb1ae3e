//! The words of the protocol: stamps, fingerprints, sums of ranges, entries. Every other module speaks in them, and so
//! does whoever implements [`crate::Replica`].
//!
//! Easy to get wrong: sums are modulo 2^128 (and counts modulo 2^64) and are added or subtracted, never xor-ed.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// When and by whom an entry was written. Totally ordered: the clock first, the node's id between equal clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Hybrid logical clock: milliseconds since the Unix epoch in the upper 48 bits, a counter in the lower 16.
    pub hlc: u64,
    /// Id of the node that wrote the entry.
    pub node: u64,
}

/// What an entry says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The key has a value.
    Put,
    /// The key was deleted.
    Tombstone,
}

/// Fingerprint of a set of entries: the sum of their 128-bit entry hashes modulo 2^128. The empty set has 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint(pub u128);

/// All 32 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::LowerHex for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl Add for Fingerprint {
    type Output = Fingerprint;

    fn add(self, other: Fingerprint) -> Fingerprint {
        Fingerprint(self.0.wrapping_add(other.0))
    }
}

impl Sub for Fingerprint {
    type Output = Fingerprint;

    fn sub(self, other: Fingerprint) -> Fingerprint {
        Fingerprint(self.0.wrapping_sub(other.0))
    }
}

/// Fingerprint and exact counts of the entries of a key range. Sums of disjoint ranges add up; everything wraps
/// around, so that a difference of two sums is a sum as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RangeSum {
    /// Sum of the entry hashes.
    pub fingerprint: Fingerprint,
    /// Entries with a value, expired ones included.
    pub live: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Bytes of keys and values of all of them. Shown to people, never compared: it is not part of a wire hash.
    pub bytes: u64,
}

impl RangeSum {
    /// The sum of no entries.
    pub const ZERO: RangeSum = RangeSum { fingerprint: Fingerprint(0), live: 0, tombstones: 0, bytes: 0 };

    /// Number of entries, tombstones included.
    pub fn count(&self) -> u64 {
        self.live.wrapping_add(self.tombstones)
    }

    /// Whether both are sums of the same entries: fingerprint and counts agree.
    pub fn is_same_set(&self, other: &RangeSum) -> bool {
        self.fingerprint == other.fingerprint
            && self.live == other.live
            && self.tombstones == other.tombstones
    }
}

impl Add for RangeSum {
    type Output = RangeSum;

    fn add(self, other: RangeSum) -> RangeSum {
        RangeSum {
            fingerprint: self.fingerprint + other.fingerprint,
            live: self.live.wrapping_add(other.live),
            tombstones: self.tombstones.wrapping_add(other.tombstones),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

impl Sub for RangeSum {
    type Output = RangeSum;

    fn sub(self, other: RangeSum) -> RangeSum {
        RangeSum {
            fingerprint: self.fingerprint - other.fingerprint,
            live: self.live.wrapping_sub(other.live),
            tombstones: self.tombstones.wrapping_sub(other.tombstones),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }
}

impl AddAssign for RangeSum {
    fn add_assign(&mut self, other: RangeSum) {
        *self = *self + other;
    }
}

impl SubAssign for RangeSum {
    fn sub_assign(&mut self, other: RangeSum) {
        *self = *self - other;
    }
}

impl std::iter::Sum for RangeSum {
    fn sum<I: Iterator<Item = RangeSum>>(sums: I) -> RangeSum {
        sums.fold(RangeSum::ZERO, Add::add)
    }
}

/// The keys from `start` (included) to `end` (excluded; `None` means no upper bound).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyRange {
    /// Least key of the range.
    pub start: Vec<u8>,
    /// First key beyond the range, if it has an upper bound.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange::default()
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.is_below_end(key)
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        !self.is_below_end(&self.start)
    }

    /// Whether every key of `other` lies in this range.
    pub fn covers(&self, other: &KeyRange) -> bool {
        let ends_within = match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs <= mine,
        };
        self.start <= other.start && ends_within
    }

    /// The keys that lie in both ranges.
    pub fn intersection(&self, other: &KeyRange) -> KeyRange {
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.min(b).clone()),
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        KeyRange { start: self.start.clone().max(other.start.clone()), end }
    }

    fn is_below_end(&self, key: &[u8]) -> bool {
        self.end.as_deref().is_none_or(|end| key < end)
    }
}

/// What a replica holds of one key, without meta and value: enough to compare, to decide who is newer, and to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The key.
    pub key: Vec<u8>,
    /// When and by whom it was written.
    pub stamp: Stamp,
    /// Value or tombstone.
    pub kind: Kind,
    /// Milliseconds since the Unix epoch from which on reads hide the entry; 0 means never.
    pub expires_at: u64,
    /// Keyed 128-bit hash of everything that makes the entry what it is; the summand of a [`Fingerprint`].
    pub hash: u128,
    /// Length of the value in bytes.
    pub value_len: u64,
    /// Whether versions of this key are merged, so that a newer one does not cover an older one: both travel.
    pub is_merged: bool,
}

/// One whole entry, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// When and by whom it was written.
    pub stamp: Stamp,
    /// Value or tombstone.
    pub kind: Kind,
    /// Milliseconds since the Unix epoch from which on reads hide the entry; 0 means never.
    pub expires_at: u64,
    /// Opaque bytes that are hashed and travel with the entry.
    pub meta: Vec<u8>,
    /// The value; empty for a tombstone.
    pub value: Vec<u8>,
}

/// What would move in one direction, by a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moves {
    /// Entries. Those that the sender would leave out (see [`crate::Options::weighs`]) are not among them.
    pub entries: u64,
    /// Bytes of their values, if that was asked for.
    pub value_bytes: u64,
    /// Differing keys of the sender's that are not among the names, because no more were asked for.
    pub unnamed: u64,
}

impl AddAssign for Moves {
    /// Saturates, for a peer may claim any number of entries.
    fn add_assign(&mut self, other: Moves) {
        self.entries = self.entries.saturating_add(other.entries);
        self.value_bytes = self.value_bytes.saturating_add(other.value_bytes);
        self.unnamed = self.unnamed.saturating_add(other.unnamed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &[u8], end: Option<&[u8]>) -> KeyRange {
        KeyRange { start: start.to_vec(), end: end.map(<[u8]>::to_vec) }
    }

    #[test]
    fn an_open_end_covers_a_closed_one_and_not_the_other_way_round() {
        let open = range(b"b", None);
        let closed = range(b"c", Some(b"e"));
        assert!(open.covers(&closed) && !closed.covers(&open));
        assert_eq!(open.intersection(&closed), closed);
        assert!(range(b"a", Some(b"b")).intersection(&closed).is_empty());
        assert!(!closed.contains(b"e") && closed.contains(b"d\xff"));
    }
}
