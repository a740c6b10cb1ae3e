//! Iterators over a keyspace: owned, double-ended, `Send`, each a frozen view of the moment it was made.
//!
//! Easy to get wrong: after an error an iterator goes on returning it; it never skips what it could not read.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::Db;
use crate::error::Result;
use crate::index::{MergeCursor, StoredHead};
use crate::store::{View, user_key};
use crate::types::{KeyRange, Slice};

/// One entry: a key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key, without the keyspace's prefix.
    pub key: Vec<u8>,
    /// The value.
    pub value: Slice,
}

/// Entries in key order; `rev()` walks them backwards. Holds what it needs of the store's files and memtables until it
/// is dropped.
#[derive(Debug)]
pub struct Iter {
    keys: Keys,
}

/// One step of a cursor, from either end.
type Step = fn(&mut MergeCursor) -> Result<bool>;

/// Keys in order, without reading values.
#[derive(Debug)]
pub struct Keys {
    cursor: MergeCursor,
    /// Keeps the store open.
    db: Db,
    view: Arc<View>,
    /// Entries that expired before this moment are hidden.
    now_ms: u64,
}

impl Keys {
    pub(super) fn new(cursor: MergeCursor, db: Db, view: Arc<View>) -> Keys {
        Keys { now_ms: db.now_ms(), cursor, db, view }
    }

    /// Moves to the next entry that is shown.
    fn advance(&mut self, step: Step) -> Option<Result<StoredHead>> {
        loop {
            if let Err(error) = step(&mut self.cursor) {
                return Some(Err(error));
            }
            let head = self.cursor.take_head()?;
            if head.is_visible(self.now_ms) {
                return Some(Ok(head));
            }
        }
    }

    /// The key that the last advance moved to.
    fn key(&self) -> Vec<u8> {
        user_key(self.cursor.key()).to_vec()
    }
}

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.advance(MergeCursor::advance)?;
        Some(found.map(|_| self.key()))
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        let found = self.advance(MergeCursor::advance_back)?;
        Some(found.map(|_| self.key()))
    }
}

impl Iter {
    pub(super) fn new(keys: Keys) -> Iter {
        Iter { keys }
    }

    /// The same walk over keys alone, which reads no value from the log.
    pub fn keys(self) -> Keys {
        self.keys
    }

    fn entry(&mut self, step: Step) -> Option<Result<Entry>> {
        let found = self.keys.advance(step)?;
        Some(found.and_then(|head| {
            let hasher = &self.keys.db.store().measure.hasher;
            let value = head
                .into_value()
                .or_else(|(location, digest)| self.keys.view.log_value(location, digest, hasher))?;
            Ok(Entry { key: self.keys.key(), value })
        }))
    }
}

impl Iterator for Iter {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry(MergeCursor::advance)
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entry(MergeCursor::advance_back)
    }
}

/// A range of user keys in the engine's own form.
pub(super) fn key_range<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> KeyRange {
    let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    let (start, end) = (bound(range.start_bound()), bound(range.end_bound()));
    KeyRange::from_bounds(start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice))
}
