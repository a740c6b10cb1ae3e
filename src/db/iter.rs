//! Iterators over a keyspace: owned, double-ended, `Send`, each a frozen view of the moment it was made.
//!
//! Easy to get wrong: after an error an iterator goes on returning it; it never skips what it could not read, unless it is told to
//! go on behind keys that are unknown.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::Db;
use crate::error::{Error, Result};
use crate::store::{View, Walk, user_key};
use crate::types::{KeyRange, Slice, ValueDigest};

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
///
/// After an error `next` returns it again, for ever: nothing is passed over silently. So stop at the first one, as `?` and
/// `collect` do; `flatten` and `filter_map(Result::ok)` never come to an end then.
///
/// As an iterator it yields owned entries. [`Iter::advance`] walks without copying, two to three times as fast:
///
/// ```
/// # fn main() -> syncline::Result<()> {
/// # let dir = tempfile::tempdir().expect("a folder");
/// # let db = syncline::Db::builder(dir.path().join("db")).create()?;
/// # db.put("apple", "red")?;
/// let mut iter = db.iter();
/// while iter.advance()? {
///     println!("{:?} = {:?}", iter.key(), iter.value());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an iterator reads nothing until it is advanced"]
pub struct Iter {
    keys: Keys,
    /// The value where it stands, if that was read from the log.
    from_log: Option<Slice>,
}

/// One step of a cursor, from either end.
type Step = fn(&mut Walk) -> Result<bool>;

/// Keys in order, without reading values. After an error `next` returns it again, for ever, as that of [`Iter`].
#[derive(Debug)]
#[must_use = "an iterator reads nothing until it is advanced"]
pub struct Keys {
    walk: Walk,
    /// Keeps the store open.
    db: Db,
    view: Arc<View>,
    /// Entries that expired before this moment are hidden.
    now_ms: u64,
}

impl Keys {
    pub(super) fn new(walk: Walk, db: Db, view: Arc<View>) -> Keys {
        Keys { now_ms: db.now_ms(), walk, db, view }
    }

    /// Moves to the least key that is left. `false` if there is none.
    ///
    /// # Errors
    /// `Unknown` where keys are unknown for damage, and everything before them was shown, `Corruption` or `Io` of a run where
    /// damage is met for the first time; from then on always.
    pub fn advance(&mut self) -> Result<bool> {
        self.step(Walk::advance)
    }

    /// Moves to the greatest key that is left. `false` if there is none.
    ///
    /// # Errors
    /// As [`Keys::advance`].
    pub fn advance_back(&mut self) -> Result<bool> {
        self.step(Walk::advance_back)
    }

    /// The key that the last advance moved to; empty before it and at the end.
    pub fn key(&self) -> &[u8] {
        user_key(self.walk.key())
    }

    /// Moves to the next entry that is shown.
    fn step(&mut self, step: Step) -> Result<bool> {
        while step(&mut self.walk).map_err(|error| self.db.store().met(error))? {
            if self.walk.is_visible(self.now_ms) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is told of the value where the walk stands if reading it has failed with `error`.
    #[cold]
    fn lost(&self, digest: ValueDigest, error: Error) -> Error {
        match self.walk.stamp() {
            Some(stamp) => self.db.store().met_value(self.walk.key(), (stamp, digest), error),
            None => error,
        }
    }

    /// Goes on behind keys that are unknown, where the walk would otherwise end with [`Error::Unknown`]. Damage that nobody
    /// has met yet still is an error.
    pub fn skip_unknown(mut self) -> Keys {
        self.walk.skip_unknown();
        self
    }

    fn next_key(&mut self, step: Step) -> Option<Result<Vec<u8>>> {
        match self.step(step) {
            Ok(is_found) => is_found.then(|| Ok(self.key().to_vec())),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_key(Walk::advance)
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_key(Walk::advance_back)
    }
}

impl Iter {
    pub(super) fn new(keys: Keys) -> Iter {
        Iter { keys, from_log: None }
    }

    /// As [`Keys::skip_unknown`].
    pub fn skip_unknown(self) -> Iter {
        Iter { keys: self.keys.skip_unknown(), ..self }
    }

    /// The same walk over keys alone, which reads no value from the log.
    pub fn keys(self) -> Keys {
        self.keys
    }

    /// Moves to the least entry that is left. `false` if there is none.
    ///
    /// # Errors
    /// As [`Keys::advance`], and `ValueLost`.
    pub fn advance(&mut self) -> Result<bool> {
        self.step(Walk::advance)
    }

    /// Moves to the greatest entry that is left. `false` if there is none.
    ///
    /// # Errors
    /// As [`Iter::advance`].
    pub fn advance_back(&mut self) -> Result<bool> {
        self.step(Walk::advance_back)
    }

    /// The key that the last advance moved to; empty before it and at the end.
    pub fn key(&self) -> &[u8] {
        self.keys.key()
    }

    /// The value that the last advance moved to; empty before it and at the end.
    pub fn value(&self) -> &[u8] {
        // A value that is elsewhere was read when the walk moved to it.
        self.from_log.as_deref().unwrap_or_else(|| self.keys.walk.value())
    }

    fn step(&mut self, step: Step) -> Result<bool> {
        self.from_log = None;
        let is_found = self.keys.step(step)?;
        if let Some((location, digest)) = self.keys.walk.log_value() {
            let hasher = &self.keys.db.store().measure.hasher;
            let value = self.keys.view.log_value(location, digest, hasher);
            self.from_log = Some(value.map_err(|error| self.keys.lost(digest, error))?);
        }
        Ok(is_found)
    }

    fn entry(&mut self, step: Step) -> Option<Result<Entry>> {
        match self.step(step) {
            Ok(true) => {
                let value = match self.from_log.take() {
                    Some(value) => value,
                    None => self.keys.walk.value_slice()?,
                };
                Some(Ok(Entry { key: self.key().to_vec(), value }))
            }
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for Iter {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry(Walk::advance)
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entry(Walk::advance_back)
    }
}

/// A range of user keys in the engine's own form.
pub(crate) fn key_range<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> KeyRange {
    let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    let (start, end) = (bound(range.start_bound()), bound(range.end_bound()));
    KeyRange::from_bounds(start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice))
}
