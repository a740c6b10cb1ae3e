//! Random numbers from a seed (SplitMix64), and random keys, entries and ranges in many shapes.

use super::expected::Expected;
use crate::types::{Entry, KeyRange, Kind, Stamp};

/// Where clocks begin: a moment of 2020, on the hybrid clock. Any store's wall clock is later.
pub(super) const EPOCH: u64 = 1_600_000_000_000 << 16;
/// Expiry far beyond the life of any test: reads hide nothing of it.
const EXPIRES_AT: u64 = 1 << 42;

/// SplitMix64, and the shape of the keys that one seed writes.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
    shape: u64,
    key_count: u64,
    key_start: Vec<u8>,
}

impl Random {
    /// All from `seed`. Keys begin with `key_start`.
    pub(super) fn new(seed: u64, key_start: Vec<u8>) -> Random {
        let mut random = Random { state: seed, shape: 0, key_count: 0, key_start };
        random.shape = random.below(6);
        random.key_count = random.one_of([1, 4, 40, 40, 400]);
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, of which there is at least one.
    pub(super) fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N as u64) as usize]
    }

    pub(super) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    pub(super) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// About how many different keys there are.
    pub(super) fn key_count(&self) -> u64 {
        self.key_count
    }

    /// One of the seed's keys. There are few of them, so that many writes meet.
    pub(super) fn key(&mut self) -> Vec<u8> {
        let number = self.below(self.key_count);
        let rest = match self.shape {
            0 => Random { state: number, ..self.clone() }.bytes(16),
            1 => number.to_be_bytes().to_vec(),
            2 => format!("user/{number:03}").into_bytes(),
            // Each key is the beginning of the next one; the first is empty.
            3 => vec![0; number as usize],
            4 => vec![0xff; number as usize],
            _ if number.is_multiple_of(9) => [vec![b'x'; 3000], number.to_be_bytes().to_vec()].concat(),
            _ => number.to_string().into_bytes(),
        };
        [self.key_start.clone(), rest].concat()
    }

    /// An entry of any key, by one of four nodes, in a time so short that stamps are used twice.
    pub(super) fn entry(&mut self) -> Entry {
        let key = self.key();
        let kind = if self.one_in(6) { Kind::Tombstone } else { Kind::Put };
        let (value_len, meta_len) = (self.one_of([0, 5, 30, 300]), self.one_of([0, 0, 0, 7]));
        Entry {
            key,
            stamp: Stamp { hlc: EPOCH + self.below(60), node: 1 + self.below(4) },
            kind,
            expires_at: if kind == Kind::Put && self.one_in(8) { EXPIRES_AT + self.below(9) } else { 0 },
            meta: self.bytes(meta_len),
            value: if kind == Kind::Put { self.bytes(value_len) } else { Vec::new() },
        }
    }

    /// A range within `replicated`, with bounds that are keys, next to keys, or nothing like a key.
    pub(super) fn range(&mut self, expected: &Expected, replicated: &KeyRange) -> KeyRange {
        if self.one_in(4) {
            return replicated.clone();
        }
        let mut bounds = [self.bound(expected), self.bound(expected)];
        bounds.sort();
        let [start, end] = bounds;
        let range = KeyRange { start, end: Some(end).filter(|_| !self.one_in(5)) };
        let within = range.intersection(replicated);
        // No session asks for a range that can hold nothing.
        if within.is_empty() { replicated.clone() } else { within }
    }

    /// A key, or something near one.
    pub(super) fn bound(&mut self, expected: &Expected) -> Vec<u8> {
        let index = self.below(expected.len() as u64) as usize;
        let held = expected.iter().nth(index).map(|held| held.entry.key.clone());
        let mut bound = held.unwrap_or_else(|| self.key());
        match self.below(6) {
            0 => bound.push(0),
            1 => bound.truncate(bound.len().saturating_sub(1).max(self.key_start.len())),
            2 => {
                let len = self.below(4);
                bound = [self.key_start.clone(), self.bytes(len)].concat();
            }
            _ => {}
        }
        bound
    }
}
