//! Iterators over a keyspace: owned, double-ended, `Send`, each a frozen view of the moment it was made.
//!
//! Easy to get wrong: after an error an iterator goes on returning it; it never skips what it could not read.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::Db;
use crate::error::Result;
use crate::index::MergeCursor;
use crate::store::{View, user_key};
use crate::types::{Head, KeyRange, Slice};

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
type Step = fn(&mut MergeCursor) -> Option<Result<(Vec<u8>, Head)>>;

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

    fn visible(&mut self, step: Step) -> Option<Result<(Vec<u8>, Head)>> {
        loop {
            match step(&mut self.cursor)? {
                Ok((_, head)) if !head.is_visible(self.now_ms) => {}
                found => return Some(found),
            }
        }
    }
}

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.visible(MergeCursor::next)?;
        Some(found.map(|(key, _)| user_key(&key).to_vec()))
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        let found = self.visible(MergeCursor::next_back)?;
        Some(found.map(|(key, _)| user_key(&key).to_vec()))
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

    fn entry(&self, found: Result<(Vec<u8>, Head)>) -> Result<Entry> {
        let (key, head) = found?;
        let value = self.keys.view.value(&head, &self.keys.db.store().measure.hasher)?;
        Ok(Entry { key: user_key(&key).to_vec(), value })
    }
}

impl Iterator for Iter {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.keys.visible(MergeCursor::next)?;
        Some(self.entry(found))
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        let found = self.keys.visible(MergeCursor::next_back)?;
        Some(self.entry(found))
    }
}

/// A range of user keys in the engine's own form.
pub(super) fn key_range<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> KeyRange {
    let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    let (start, end) = (bound(range.start_bound()), bound(range.end_bound()));
    KeyRange::from_bounds(start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice))
}
