//! [`Memtable`]: the newest entries, in memory, every version of them.
//!
//! One writer (under the commit lock) and any number of readers, who never wait. Entries order by key and then by
//! falling sequence number, so the newest version that a reader may see is the first one at or after (key, its seqno).
//!
//! Easy to get wrong: versions are never taken out, because the durable sequence number may come to rest on any commit;
//! memory is bounded by sealing the memtable when it is full.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_skiplist::SkipMap;

use crate::types::{Head, KeyRange, SeqNo, ValueRef};

type Version = (Box<[u8]>, Reverse<SeqNo>);

/// What an entry costs beside its key and value: its node, its head, and the allocations' own overhead, in bytes.
const ENTRY_OVERHEAD: usize = 200;

/// Keys that a cursor fetches at once.
const FETCH: usize = 64;

/// An ordered multi-version map of inner keys.
#[derive(Default)]
pub(crate) struct Memtable {
    versions: SkipMap<Version, Head>,
    bytes: AtomicUsize,
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable").field("versions", &self.versions.len()).finish_non_exhaustive()
    }
}

impl Memtable {
    pub(crate) fn new() -> Memtable {
        Memtable::default()
    }

    /// Adds a version. Its sequence number is greater than that of any version of the key that is there.
    pub(crate) fn insert(&self, key: &[u8], head: Head) {
        let value = match &head.value {
            ValueRef::Inline(value) | ValueRef::Staged { value, .. } => value.len(),
            ValueRef::Log(_) => 0,
        };
        self.versions.insert((key.into(), Reverse(head.seqno)), head);
        self.bytes.fetch_add(key.len() + value + ENTRY_OVERHEAD, Ordering::Relaxed);
    }

    /// The newest version of `key` among commits up to `at`.
    pub(crate) fn get(&self, key: &[u8], at: SeqNo) -> Option<Head> {
        let from = (Box::from(key), Reverse(at));
        let found = self.versions.lower_bound(Bound::Included(&from))?;
        (*found.key().0 == *key).then(|| found.value().clone())
    }

    /// Bytes of memory that it takes, roughly.
    pub(crate) fn approximate_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Number of versions.
    pub(crate) fn len(&self) -> usize {
        self.versions.len()
    }

    /// The newest visible version of the least key within the bounds.
    fn first_in(&self, start: Bound<&[u8]>, end: Option<&[u8]>, at: SeqNo) -> Option<(Box<[u8]>, Head)> {
        let from: Bound<Version> = match start {
            Bound::Included(key) => Bound::Included((key.into(), Reverse(SeqNo::MAX))),
            Bound::Excluded(key) => Bound::Excluded((key.into(), Reverse(SeqNo::ZERO))),
            Bound::Unbounded => Bound::Unbounded,
        };
        let mut entry = self.versions.lower_bound(from.as_ref())?;
        loop {
            let (key, seqno) = entry.key();
            if end.is_some_and(|end| **key >= *end) {
                return None;
            }
            if seqno.0 <= at {
                return Some((key.clone(), entry.value().clone()));
            }
            entry = entry.next()?;
        }
    }

    /// The newest visible version of the greatest key in `start..end`.
    fn last_in(&self, start: &[u8], end: Option<&[u8]>, at: SeqNo) -> Option<(Box<[u8]>, Head)> {
        let mut end = end.map(Box::<[u8]>::from);
        loop {
            // Everything below (end, newest) is of a lesser key, so the first one downwards is the key to look at.
            let to = match &end {
                Some(end) => Bound::Excluded((end.clone(), Reverse(SeqNo::MAX))),
                None => Bound::Unbounded,
            };
            let key = self.versions.upper_bound(to.as_ref())?.key().0.clone();
            if *key < *start {
                return None;
            }
            if let Some(head) = self.get(&key, at) {
                return Some((key, head));
            }
            end = Some(key);
        }
    }
}

/// A double-ended walk over the newest visible version of each key in a range. It holds the memtable, not a position in
/// it, and fetches a batch of keys at a time.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    at: SeqNo,
    /// What neither end has fetched yet; `None` when nothing is left.
    rest: Option<KeyRange>,
    front: VecDeque<(Box<[u8]>, Head)>,
    back: VecDeque<(Box<[u8]>, Head)>,
}

impl MemtableCursor {
    pub(crate) fn new(memtable: Arc<Memtable>, range: &KeyRange, at: SeqNo) -> MemtableCursor {
        let rest = (!range.is_empty()).then(|| range.clone());
        MemtableCursor { memtable, at, rest, front: VecDeque::new(), back: VecDeque::new() }
    }

    pub(crate) fn next(&mut self) -> Option<(Box<[u8]>, Head)> {
        if self.front.is_empty() {
            self.fetch_front();
        }
        // When the ends have met, what the other one fetched is all that is left.
        self.front.pop_front().or_else(|| self.back.pop_back())
    }

    pub(crate) fn next_back(&mut self) -> Option<(Box<[u8]>, Head)> {
        if self.back.is_empty() {
            self.fetch_back();
        }
        self.back.pop_front().or_else(|| self.front.pop_back())
    }

    fn fetch_front(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        for _ in 0..FETCH {
            let start = match self.front.back() {
                Some((key, _)) => Bound::Excluded(&**key),
                None => Bound::Included(rest.start.as_slice()),
            };
            match self.memtable.first_in(start, rest.end.as_deref(), self.at) {
                Some(found) => self.front.push_back(found),
                None => {
                    self.rest = None;
                    return;
                }
            }
        }
        if let Some((key, _)) = self.front.back() {
            rest.start = crate::types::successor(key);
        }
    }

    fn fetch_back(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        for _ in 0..FETCH {
            let Some((key, head)) = self.memtable.last_in(&rest.start, rest.end.as_deref(), self.at) else {
                self.rest = None;
                return;
            };
            rest.end = Some(key.to_vec());
            self.back.push_back((key, head));
        }
    }
}
