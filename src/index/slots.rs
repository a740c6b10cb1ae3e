//! [`Slots`]: a hash table from key hashes to numbers, with one writer and readers that never wait.
//!
//! Linear probing over words of (tag, number + 1), at most half of them taken. A table that grows is copied into one twice
//! as long, and the old one stays until the end, so that whoever reads it is not disturbed: all of them together are less
//! than twice as long as the last.
//!
//! Easy to get wrong: a tag is a part of the key's hash, so the caller still compares keys. And a number may be found only
//! after what it stands for is there: the caller puts that in place before it calls [`Slots::insert`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::hash::KeyHash;

/// Words of the first table.
const FIRST_LEN: usize = 1024;

/// Enough to fill the numbers of 32 bits.
const TABLES_MAX: usize = 24;

/// A lock-free hash table that only grows.
#[derive(Debug)]
pub(super) struct Slots {
    tables: [OnceLock<Box<[AtomicU64]>>; TABLES_MAX],
    current: AtomicUsize,
    taken: AtomicUsize,
}

impl Slots {
    pub(super) fn new() -> Slots {
        let slots = Slots {
            tables: [const { OnceLock::new() }; TABLES_MAX],
            current: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        };
        slots.tables[0].get_or_init(|| empty_table(0));
        slots
    }

    /// The numbers stored under the hash's tag, wherever `is_wanted` says that the search is over.
    pub(super) fn find(&self, hash: KeyHash, is_wanted: impl Fn(u32) -> bool) -> Option<u32> {
        let table = self.table(self.current.load(Ordering::Acquire))?;
        let tag = tag(hash);
        for at in probes(tag, table.len()) {
            let word = table.get(at)?.load(Ordering::Acquire);
            // The number of an empty word would be one below zero.
            let number = (word as u32).checked_sub(1)?;
            if (word >> 32) as u32 == tag && is_wanted(number) {
                return Some(number);
            }
        }
        None
    }

    /// The word where a search for the hash begins.
    pub(super) fn touch(&self, hash: KeyHash) -> u64 {
        let table = self.table(self.current.load(Ordering::Acquire)).unwrap_or_default();
        let first = probes(tag(hash), table.len()).next().and_then(|at| table.get(at));
        first.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Stores a number under the hash. Only one thread inserts at a time.
    pub(super) fn insert(&self, hash: KeyHash, number: u32) {
        let mut current = self.current.load(Ordering::Relaxed);
        let taken = self.taken.load(Ordering::Relaxed) + 1;
        if taken * 2 > FIRST_LEN << current {
            current += 1;
            self.grow_to(current);
        }
        if let Some(table) = self.table(current) {
            put(table, u64::from(tag(hash)) << 32 | (u64::from(number) + 1));
            self.taken.store(taken, Ordering::Relaxed);
        }
    }

    fn grow_to(&self, current: usize) {
        let old = self.table(current - 1).unwrap_or_default();
        let table = empty_table(current);
        for word in old.iter().map(|word| word.load(Ordering::Relaxed)).filter(|&word| word != 0) {
            put(&table, word);
        }
        if let Some(slot) = self.tables.get(current) {
            slot.get_or_init(|| table);
            self.current.store(current, Ordering::Release);
        }
    }

    fn table(&self, number: usize) -> Option<&[AtomicU64]> {
        self.tables.get(number)?.get().map(|table| &**table)
    }
}

fn empty_table(number: usize) -> Box<[AtomicU64]> {
    (0..FIRST_LEN << number).map(|_| AtomicU64::new(0)).collect()
}

/// Takes the first free word for `word`.
fn put(table: &[AtomicU64], word: u64) {
    let free = probes((word >> 32) as u32, table.len())
        .filter_map(|at| table.get(at))
        .find(|slot| slot.load(Ordering::Relaxed) == 0);
    if let Some(free) = free {
        free.store(word, Ordering::Release);
    }
}

fn tag(hash: KeyHash) -> u32 {
    hash.0 as u32
}

/// The places of a tag in a table of `len` words, a power of two.
fn probes(tag: u32, len: usize) -> impl Iterator<Item = usize> {
    (0..len).map(move |step| (tag as usize + step) & (len - 1))
}
