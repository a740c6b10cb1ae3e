//! [`Memtable`]: the newest entries, in memory, every version of them.
//!
//! One writer (under the commit lock) and any number of readers, who never wait. A key has one *cell*, found by hash, and
//! from it a chain of versions, newest first. The order of keys is made when somebody walks: what was added since the
//! last walk is sorted then, once for all later ones (`memtable_cursor`).
//!
//! Easy to get wrong: versions are never taken out, because the durable sequence number may come to rest on any commit;
//! memory is bounded by sealing the memtable when it is full. And [`Memtable::insert`] is for one thread at a time.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};

use super::slots::Slots;
use crate::hash::KeyHash;
use crate::types::{Head, SeqNo, ValueRef};

/// What an entry costs beside its key, meta and value, in bytes: cell, version, hash slots, and what the allocator adds to
/// key and value.
const ENTRY_OVERHEAD: usize = 280;

/// An ordered multi-version map of inner keys.
pub(crate) struct Memtable {
    slots: Slots,
    cells: boxcar::Vec<Cell>,
    versions: boxcar::Vec<Version>,
    bytes: AtomicUsize,
    ordered: RwLock<Vec<u32>>,
}

/// A key, and the number of its newest version.
#[derive(Debug)]
struct Cell {
    key: Box<[u8]>,
    newest: AtomicU32,
}

/// A version of a key, and the number of the one before it; the first one names itself.
#[derive(Debug)]
struct Version {
    head: Head,
    before: u32,
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable").field("versions", &self.len()).finish_non_exhaustive()
    }
}

impl Memtable {
    /// A memtable without entries.
    pub(crate) fn new() -> Memtable {
        Memtable {
            slots: Slots::new(),
            cells: boxcar::Vec::new(),
            versions: boxcar::Vec::new(),
            bytes: AtomicUsize::new(0),
            ordered: RwLock::default(),
        }
    }

    /// Adds a version of a key, `hash` being the key's. Its sequence number is greater than that of any version of the key
    /// that is there. One thread at a time.
    pub(crate) fn insert(&self, key: &[u8], hash: KeyHash, head: Head) {
        let value = match &head.value {
            ValueRef::Inline(value) | ValueRef::Staged { value, .. } => value.len(),
            ValueRef::Log(_) => 0,
        };
        let bytes = key.len() + head.meta.len() + value + ENTRY_OVERHEAD;
        match self.cell(key, hash) {
            Some(cell) => {
                let before = cell.newest.load(Ordering::Relaxed);
                let number = self.versions.push(Version { head, before });
                cell.newest.store(number as u32, Ordering::Release);
            }
            None => {
                let first = self.versions.count() as u32;
                self.versions.push(Version { head, before: first });
                let cell = self.cells.push(Cell { key: key.into(), newest: AtomicU32::new(first) });
                self.slots.insert(hash, cell as u32);
            }
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The newest version of `key` among commits up to `at`. Costs the number of versions above `at`, of this key alone.
    pub(crate) fn get(&self, key: &[u8], hash: KeyHash, at: SeqNo) -> Option<Head> {
        self.version(self.cell(key, hash)?, at).cloned()
    }

    /// Bytes of memory that it takes, roughly.
    pub(crate) fn approximate_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether it holds no version.
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Number of versions: an upper bound of the number of keys.
    pub(crate) fn len(&self) -> usize {
        self.versions.count()
    }

    fn cell(&self, key: &[u8], hash: KeyHash) -> Option<&Cell> {
        let is_of_key = |number| self.cells.get(number as usize).is_some_and(|cell| *cell.key == *key);
        self.cells.get(self.slots.find(hash, is_of_key)? as usize)
    }

    fn version(&self, cell: &Cell, at: SeqNo) -> Option<&Head> {
        let mut number = cell.newest.load(Ordering::Acquire);
        loop {
            let Version { head, before } = self.versions.get(number as usize)?;
            if head.seqno <= at {
                return Some(head);
            }
            if *before == number {
                return None;
            }
            number = *before;
        }
    }

    /// The keys in order: all that were inserted before this call, and perhaps later ones.
    pub(super) fn in_order(&self) -> InOrder<'_> {
        let count = self.cells.count();
        let ordered = self.ordered.read();
        if ordered.len() >= count {
            return InOrder { memtable: self, cells: ordered };
        }
        drop(ordered);
        let mut ordered = self.ordered.write();
        self.order_new(&mut ordered);
        InOrder { memtable: self, cells: parking_lot::RwLockWriteGuard::downgrade(ordered) }
    }

    /// Sorts the cells that are not in `ordered` yet into it. The first `ordered.len()` cells are in it.
    fn order_new(&self, ordered: &mut Vec<u32>) {
        // A cell that is being pushed right now is counted and not there; it belongs to no commit that is visible.
        let new = (ordered.len()..self.cells.count())
            .map_while(|number| Some((self.cells.get(number)?, number as u32)));
        let mut new: Vec<(&[u8], u32)> = new.map(|(cell, number)| (&*cell.key, number)).collect();
        new.sort_unstable();
        let mut merged = Vec::with_capacity(ordered.len() + new.len());
        let mut rest = ordered.as_slice();
        for (key, number) in new {
            let (before, after) = rest.split_at(rest.partition_point(|&number| self.key(number) < key));
            merged.extend_from_slice(before);
            merged.push(number);
            rest = after;
        }
        merged.extend_from_slice(rest);
        *ordered = merged;
    }

    fn key(&self, cell: u32) -> &[u8] {
        self.cells.get(cell as usize).map_or(&[], |cell| &cell.key)
    }
}

/// The keys of a memtable in order. No further ones are sorted in while this is held.
pub(super) struct InOrder<'a> {
    memtable: &'a Memtable,
    cells: RwLockReadGuard<'a, Vec<u32>>,
}

impl InOrder<'_> {
    /// The keys from `start` to before `end`, with what [`Memtable::get`] would find of each.
    pub(super) fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        at: SeqNo,
    ) -> impl DoubleEndedIterator<Item = (&[u8], &Head)> {
        let before = |key: &[u8]| self.cells.partition_point(|&cell| self.memtable.key(cell) < key);
        let (first, last) = (before(start), end.map_or(self.cells.len(), before));
        let cells = self.cells.get(first..last).unwrap_or_default();
        cells.iter().filter_map(move |&cell| {
            let cell = self.memtable.cells.get(cell as usize)?;
            Some((&*cell.key, self.memtable.version(cell, at)?))
        })
    }
}
