//! What a store should hold: a map from keys to entries, merged as the protocol says, every sum added up from scratch.
//!
//! Easy to get wrong: it is as slow as it looks, so that it cannot be wrong in the ways in which an index of sums can.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::types::{Entry, Head, KeyRange, Kind, RangeSum};

/// An entry and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) hash: u128,
}

impl Held {
    pub(super) fn head(&self) -> Head {
        let Entry { key, stamp, kind, expires_at, value, .. } = &self.entry;
        Head {
            key: key.clone(),
            stamp: *stamp,
            kind: *kind,
            expires_at: *expires_at,
            hash: self.hash,
            value_len: value.len() as u64,
            is_merged: false,
        }
    }

    /// Whether merging leaves `other` rather than this: the order is stamp, kind, hash.
    pub(super) fn is_older_than(&self, other: &Held) -> bool {
        let rank = |held: &Held| (held.entry.stamp, held.entry.kind, held.hash);
        rank(self) < rank(other)
    }

    /// The clock at which the entry ended or will end, if it does: by it go the horizon and its cuts.
    fn end(&self) -> Option<u64> {
        let Entry { stamp, kind, expires_at, .. } = &self.entry;
        match (kind, expires_at) {
            (Kind::Tombstone, _) => Some(stamp.hlc),
            (Kind::Put, 0) => None,
            (Kind::Put, ms) => Some(stamp.hlc.max(ms.saturating_mul(1 << 16))),
        }
    }
}

/// The entries of one store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    entries: BTreeMap<Vec<u8>, Held>,
}

impl Expected {
    /// Merges an entry in; whether it is the newest of its key now and was not held before.
    pub(super) fn merge(&mut self, held: Held) -> bool {
        let is_newer = self.get(&held.entry.key).is_none_or(|old| old.is_older_than(&held));
        if is_newer {
            self.set(held);
        }
        is_newer
    }

    /// Puts an entry in, whatever was there.
    pub(super) fn set(&mut self, held: Held) {
        self.entries.insert(held.entry.key.clone(), held);
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Held> {
        self.entries.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.entries.values()
    }

    /// The entries of a range, in key order.
    pub(super) fn within(&self, range: &KeyRange) -> impl Iterator<Item = &Held> + use<'_> {
        let end = match &range.end {
            Some(end) if *end <= range.start => Bound::Excluded(range.start.clone()),
            Some(end) => Bound::Excluded(end.clone()),
            None => Bound::Unbounded,
        };
        self.entries.range((Bound::Included(range.start.clone()), end)).map(|(_, held)| held)
    }

    /// What is left of it when all that lies in `spans` is left out.
    pub(super) fn without(&self, spans: &[KeyRange]) -> Expected {
        let mut left = self.clone();
        left.entries.retain(|key, _| !spans.iter().any(|span| span.contains(key)));
        left
    }

    pub(super) fn sum(&self, range: &KeyRange) -> RangeSum {
        self.within(range).map(|held| held.head().sum()).sum()
    }

    /// Keys and values as a user sees them.
    pub(super) fn visible(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let puts = self.iter().filter(|held| held.entry.kind == Kind::Put);
        puts.map(|held| (held.entry.key.as_slice(), held.entry.value.as_slice()))
    }

    /// What is left when everything that ended at or before `cut` is left out.
    pub(super) fn at_cut(&self, cut: u64) -> Expected {
        let mut left = self.clone();
        left.entries.retain(|_, held| held.end().is_none_or(|end| end > cut));
        left
    }

    /// Both merged.
    pub(super) fn merged_with(&self, other: &Expected) -> Expected {
        let mut merged = self.clone();
        for held in other.iter() {
            merged.merge(held.clone());
        }
        merged
    }

    /// How many entries a session between two such stores must send: each that differs once, and of two with one clock
    /// both, for it does not tell which is newer.
    pub(super) fn entries_to_send(&self, other: &Expected) -> u64 {
        let differs = |held: &&Held| other.get(&held.entry.key).is_none_or(|theirs| theirs.hash != held.hash);
        let mine = self.iter().filter(differs).map(|held| match other.get(&held.entry.key) {
            Some(theirs) if theirs.entry.stamp.hlc == held.entry.stamp.hlc => 2,
            _ => 1,
        });
        let only_theirs = other.iter().filter(|theirs| self.get(&theirs.entry.key).is_none()).count();
        mine.sum::<u64>() + only_theirs as u64
    }
}
