//! [`Memtable`]: the newest entries, in memory, every version of them.
//!
//! One writer (under the commit lock) and any number of readers, who never wait. A key has one *cell*, found by hash, and
//! from it a chain of versions, newest first. The order of keys is made when somebody walks: what was added since the
//! last walk is sorted then, once for all later ones (`memtable_cursor`).
//!
//! Of each key it is also known, sooner or later, what the layers below count for it (`memtable_below`), so that the
//! memtable can say what it changes in the sum of any range (`memtable_sums`), and a flush what it changes in each bucket.
//!
//! Easy to get wrong: versions are never taken out, because the durable sequence number may come to rest on any commit;
//! memory is bounded by sealing the memtable when it is full. And [`Memtable::insert`] is for one thread at a time.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use smallvec::SmallVec;

use super::chunks::Chunks;
use super::fences::{common_len, head};
use super::memtable_below::{Below, Settled};
use super::memtable_sums::SumIndex;
use super::slots::Slots;
use crate::hash::KeyHash;
use crate::types::{EntrySum, Head, SeqNo, Slice, ValueRef};

/// What a version costs beside its key, meta and value, in bytes: its place in the list, and what the allocator and a
/// reference count add to the bytes.
const VERSION_LEN: usize = Chunks::<Version>::ELEMENT_LEN + 24;

/// What a key costs beside its first version, in bytes: its cell, its place among the keys in order, and its words in hash
/// tables, of which the last is a quarter to a half full and the earlier ones together are as long.
const KEY_LEN: usize = Chunks::<Cell>::ELEMENT_LEN + 4 + 48;

/// What is below a key costs this much, in bytes.
pub(super) const BELOW_LEN: usize = Chunks::<EntrySum>::ELEMENT_LEN;

/// Keys that a walk over everything gathers at a time.
const GATHERED: usize = 32;

/// An ordered multi-version map of inner keys.
pub(crate) struct Memtable {
    slots: Slots,
    pub(super) cells: Chunks<Cell>,
    versions: Chunks<Version>,
    bytes: AtomicUsize,
    ordered: RwLock<Vec<u32>>,
    /// What is below keys that have something below them, in no order.
    pub(super) belows: Chunks<EntrySum>,
    pub(super) settled: Mutex<Settled>,
    pub(super) sums: Mutex<SumIndex>,
}

/// A key.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) key: Slice,
    /// The number of what is below it (`memtable_below`).
    pub(super) below: AtomicU32,
    /// The number of its newest version.
    newest: AtomicU32,
}

/// A version of a key.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) head: Head,
    /// The number of its key's cell.
    pub(super) cell: u32,
    /// The number of the version before it; the first one names itself.
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
            cells: Chunks::new(),
            versions: Chunks::new(),
            bytes: AtomicUsize::new(0),
            ordered: RwLock::default(),
            belows: Chunks::new(),
            settled: Mutex::default(),
            sums: Mutex::default(),
        }
    }

    /// Adds a version of a key, `hash` being the key's. Its sequence number is greater than that of any version that is
    /// there. `below` is what the layers below count for the key; it is looked at if the key is new here. Otherwise returns
    /// the version before. One thread at a time.
    pub(crate) fn insert(
        &self,
        key: Slice,
        hash: KeyHash,
        head: Head,
        below: Below,
    ) -> Option<(&[u8], &Head)> {
        self.take(key.len() + head.meta.len() + value(&head).len() + VERSION_LEN);
        match self.find(&key, hash) {
            Some((number, cell)) => {
                let before = cell.newest.load(Ordering::Relaxed);
                let version = self.versions.push(Version { head, cell: number, before });
                cell.newest.store(version as u32, Ordering::Release);
                self.versions.get(before as usize).map(|before| (&cell.key[..], &before.head))
            }
            None => {
                self.take(KEY_LEN);
                let (first, number) = (self.versions.count() as u32, self.cells.count() as u32);
                self.versions.push(Version { head, cell: number, before: first });
                let below = AtomicU32::new(self.number_of(below));
                self.cells.push(Cell { key, below, newest: AtomicU32::new(first) });
                self.slots.insert(hash, number);
                None
            }
        }
    }

    /// The same versions over layers that count what `below` says for some keys, and for the others what they counted before.
    pub(crate) fn over(
        &self,
        below: impl Fn(&[u8]) -> Option<Below>,
        hash: impl Fn(&[u8]) -> KeyHash,
    ) -> Memtable {
        self.copied(self.versions.count(), below, hash)
    }

    /// The versions of commits up to `at` alone: what whoever looks at that moment holds on to, while this one grows.
    /// O(versions up to `at`); their bytes are shared.
    pub(crate) fn as_of(&self, at: SeqNo, hash: impl Fn(&[u8]) -> KeyHash) -> Memtable {
        self.copied(self.count_through(at), |_| None, hash)
    }

    fn copied(
        &self,
        version_count: usize,
        below: impl Fn(&[u8]) -> Option<Below>,
        hash: impl Fn(&[u8]) -> KeyHash,
    ) -> Memtable {
        let memtable = Memtable::new();
        for Version { head, cell, .. } in self.versions.iter().take(version_count) {
            if let Some(cell) = self.cell(*cell) {
                let key = &cell.key;
                let below = below(key).unwrap_or_else(|| self.known_below(cell));
                memtable.insert(key.clone(), hash(key), head.clone(), below);
            }
        }
        memtable
    }

    /// The newest version of `key` among commits up to `at`. Costs the number of versions above `at`, of this key alone.
    pub(crate) fn get(&self, key: &[u8], hash: KeyHash, at: SeqNo) -> Option<&Head> {
        let (_, cell) = self.find(key, hash)?;
        self.newest(cell, |_, head| head.seqno <= at)
    }

    /// Reads the word where the key's search begins, so that it is in the processor's cache when the search comes.
    pub(crate) fn touch(&self, hash: KeyHash) -> u64 {
        self.slots.touch(hash)
    }

    /// Bytes of memory that it takes, roughly.
    pub(crate) fn approximate_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes that it takes so many bytes more.
    pub(super) fn take(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether it holds no version.
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.count() == 0
    }

    /// Number of versions: an upper bound of the number of keys.
    pub(crate) fn len(&self) -> usize {
        self.versions.count()
    }

    fn find(&self, key: &[u8], hash: KeyHash) -> Option<(u32, &Cell)> {
        let cell = |number: u32| self.cells.get(number as usize);
        let number = self.slots.find(hash, |number| cell(number).is_some_and(|cell| *cell.key == *key))?;
        Some((number, cell(number)?))
    }

    /// The newest version of a key for whose number and head `is_wanted` holds.
    pub(super) fn newest(&self, cell: &Cell, is_wanted: impl Fn(u32, &Head) -> bool) -> Option<&Head> {
        let mut number = cell.newest.load(Ordering::Acquire);
        loop {
            let Version { head, before, .. } = self.versions.get(number as usize)?;
            if is_wanted(number, head) {
                return Some(head);
            }
            if *before == number {
                return None;
            }
            number = *before;
        }
    }

    pub(super) fn cell(&self, number: u32) -> Option<&Cell> {
        self.cells.get(number as usize)
    }

    pub(super) fn version(&self, number: usize) -> Option<&Version> {
        self.versions.get(number)
    }

    /// The head of the version before `version`, of the same key.
    pub(super) fn before(&self, number: usize, version: &Version) -> Option<&Head> {
        (version.before as usize != number)
            .then(|| self.versions.get(version.before as usize))?
            .map(|before| &before.head)
    }

    /// Number of versions of commits up to `at`: versions are numbered in the order of commits.
    pub(super) fn count_through(&self, at: SeqNo) -> usize {
        let (mut low, mut high) = (0, self.versions.count());
        while low < high {
            let middle = low + (high - low) / 2;
            // A version that is counted and not there yet is of a commit that nobody can name.
            if self.versions.get(middle).is_some_and(|version| version.head.seqno <= at) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The keys in order: all that were inserted before this call, and perhaps later ones.
    pub(crate) fn in_order(&self) -> InOrder<'_> {
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
        // A cell that is being pushed right now is counted and not there; it belongs to no commit that is visible. It may be there
        // a moment later, so which cells these are is asked once.
        let (start, count) = (ordered.len(), self.cells.count());
        let new: Vec<&[u8]> =
            (start..count).map_while(|number| Some(&self.cells.get(number)?.key[..])).collect();
        // Keys of one keyspace begin alike, so what is compared as a number begins where they differ.
        let first = new.first().copied().unwrap_or_default();
        let shared = new.iter().fold(first.len(), |shared, key| common_len(&first[..shared], key));
        let numbered = new.into_iter().zip(start as u32..);
        let mut new: Vec<(u64, u32)> = numbered.map(|(key, number)| (head(&key[shared..]), number)).collect();
        new.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.key(a.1).cmp(self.key(b.1))));
        let mut merged = Vec::with_capacity(ordered.len() + new.len());
        let mut rest = ordered.as_slice();
        for (_, number) in new {
            let before = match rest {
                [] => 0,
                rest => rest.partition_point(|&other| self.key(other) < self.key(number)),
            };
            let (before, after) = rest.split_at(before);
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
pub(crate) struct InOrder<'a> {
    memtable: &'a Memtable,
    cells: RwLockReadGuard<'a, Vec<u32>>,
}

/// A key, what [`Memtable::get`] would find of it, and what the layers below count for it, if that is settled.
pub(crate) type Change<'a> = (&'a [u8], &'a Head, Option<&'a EntrySum>);

impl InOrder<'_> {
    /// The numbers of the cells from `start` to before `end`.
    pub(super) fn cells(&self, start: &[u8], end: Option<&[u8]>) -> &[u32] {
        let before = |key: &[u8]| self.cells.partition_point(|&cell| self.memtable.key(cell) < key);
        let (first, last) = (before(start), end.map_or(self.cells.len(), before));
        self.cells.get(first..last).unwrap_or_default()
    }

    /// The keys from `start` to before `end`, with what [`Memtable::get`] would find of each.
    pub(super) fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        at: SeqNo,
    ) -> impl DoubleEndedIterator<Item = (&[u8], &Head)> {
        self.changes_of(self.cells(start, end), at).map(|(key, head, _)| (key, head))
    }

    /// Every key with what the memtable changes of it.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        // Neighbours in key order lie anywhere in memory. Gathered before they are worked on, their cache misses overlap.
        let gathered = self.cells.chunks(GATHERED).map(|cells| {
            let changes: SmallVec<[Change<'_>; GATHERED]> = self.changes_of(cells, SeqNo::MAX).collect();
            for (key, head, _) in &changes {
                let Head { stamp, digest, .. } = head;
                std::hint::black_box((
                    key.first().copied(),
                    value(head).first().copied(),
                    stamp.hlc,
                    digest.0,
                ));
            }
            changes
        });
        gathered.flatten()
    }

    fn changes_of<'a>(&'a self, cells: &'a [u32], at: SeqNo) -> impl DoubleEndedIterator<Item = Change<'a>> {
        cells.iter().filter_map(move |&number| {
            let cell = self.memtable.cell(number)?;
            let head = self.memtable.newest(cell, |_, head| head.seqno <= at)?;
            Some((&cell.key[..], head, self.memtable.below(cell)))
        })
    }
}

/// The bytes of a value that a memtable holds.
fn value(head: &Head) -> &[u8] {
    match &head.value {
        ValueRef::Inline(value) | ValueRef::Staged { value, .. } => value,
        ValueRef::Log(_) => &[],
    }
}
