//! [`Chunks`]: a list that only grows, whose readers and writers never wait. Memtables keep their keys and versions in it.
//!
//! Elements lie in chunks of one length, so a list takes at most a chunk more than it holds, and what a freed list leaves to
//! the allocator is just what the next one asks for. (A list that doubles takes up to twice what it holds, and leaves holes.)
//! Chunks are found through tables that do double; they hold nothing but pointers.
//!
//! Easy to get wrong: an element that is being appended right now may be counted and not there yet.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Elements of a chunk. Tests have few elements, and want them in many chunks.
const CHUNK_LEN: usize = if cfg!(test) { 4 } else { 512 };

/// Tables, of which each has twice as many chunks as the one before: enough for the numbers of 32 bits.
const TABLES: usize = 31;

type Chunk<T> = Box<[OnceLock<T>]>;

/// Chunks, made as they are needed.
type Table<T> = Box<[OnceLock<Chunk<T>>]>;

/// A list that only grows.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    tables: [OnceLock<Table<T>>; TABLES],
    count: AtomicUsize,
}

impl<T> Chunks<T> {
    /// Bytes that an element takes.
    pub(super) const ELEMENT_LEN: usize = size_of::<OnceLock<T>>();

    pub(super) fn new() -> Chunks<T> {
        Chunks { tables: [const { OnceLock::new() }; TABLES], count: AtomicUsize::new(0) }
    }

    /// Number of elements, of which some may not be there yet.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Element `index`, if there is one.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (table, chunk) = place(index / CHUNK_LEN);
        self.tables.get(table)?.get()?.get(chunk)?.get()?.get(index % CHUNK_LEN)?.get()
    }

    /// Appends an element and returns its index.
    pub(super) fn push(&self, element: T) -> usize {
        let index = self.count.fetch_add(1, Ordering::AcqRel);
        let (table, chunk) = place(index / CHUNK_LEN);
        let chunks = self.tables[table].get_or_init(|| empty(1 << table));
        let elements = chunks[chunk].get_or_init(|| empty(CHUNK_LEN));
        let is_free = elements[index % CHUNK_LEN].set(element).is_ok();
        debug_assert!(is_free, "no index is given twice");
        index
    }

    /// The elements that are there now.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.count()).filter_map(|index| self.get(index))
    }
}

/// Table and place in it of chunk `chunk`.
fn place(chunk: usize) -> (usize, usize) {
    let table = (chunk + 1).ilog2() as usize;
    (table, chunk + 1 - (1 << table))
}

fn empty<T>(len: usize) -> Box<[OnceLock<T>]> {
    (0..len).map(|_| OnceLock::new()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_stays_where_it_was_put() {
        let list = Chunks::new();
        for index in 0..1_000 {
            assert!(list.get(index).is_none());
            assert_eq!(list.push(index * 7), index);
            assert_eq!((list.count(), list.get(index)), (index + 1, Some(&(index * 7))));
        }
        assert!(list.iter().copied().eq((0..1_000).map(|index| index * 7)));
    }
}
