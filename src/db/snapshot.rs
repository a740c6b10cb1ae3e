//! [`Snapshot`]: the store as of one moment.

use std::ops::RangeBounds;
use std::sync::Arc;

use super::iter::{Keys, key_range};
use super::point::Point;
use super::{Db, EntryDigest, Iter, Keyspace};
use crate::error::{Error, Result};
use crate::store::{View, Walk};
use crate::types::{KeyRange, SeqNo, Slice};

/// A read view of every keyspace at one sequence number. Owned and cheap; it pins memtables in memory and replaced runs on
/// disk until it is dropped.
#[derive(Debug, Clone)]
#[must_use = "a snapshot is good for nothing but reading"]
pub struct Snapshot {
    db: Db,
    view: Arc<View>,
    seqno: SeqNo,
}

impl Snapshot {
    pub(super) fn new(db: Db, view: Arc<View>, seqno: SeqNo) -> Snapshot {
        Snapshot { db, view, seqno }
    }

    /// The newest commit that it shows.
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// The value that `key` had.
    ///
    /// # Errors
    /// As [`Keyspace::get`]; `InvalidArgument` if the keyspace is another store's.
    pub fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        self.point(keyspace)?.value(key.as_ref())
    }

    /// Whether `key` had a value.
    ///
    /// # Errors
    /// As [`Keyspace::get`]; `InvalidArgument` if the keyspace is another store's.
    pub fn contains_key(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool> {
        self.point(keyspace)?.contains(key.as_ref())
    }

    /// What was known of `key` without its value, tombstones included.
    ///
    /// # Errors
    /// As [`Keyspace::get`]; `InvalidArgument` if the keyspace is another store's.
    pub fn digest(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<EntryDigest>> {
        self.point(keyspace)?.digest(key.as_ref())
    }

    /// Entries with keys in `range`, in order. Of another store's keyspace, an error (`InvalidArgument`).
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, range: impl RangeBounds<K>) -> Iter {
        self.walk(keyspace, &key_range(&range))
    }

    /// Entries whose keys begin with `prefix`, in order. Of another store's keyspace, an error (`InvalidArgument`).
    pub fn prefix_iter(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> Iter {
        self.walk(keyspace, &KeyRange::prefix(prefix.as_ref()))
    }

    /// All entries, in order. Of another store's keyspace, an error (`InvalidArgument`).
    pub fn iter(&self, keyspace: &Keyspace) -> Iter {
        self.walk(keyspace, &KeyRange::all())
    }

    pub(super) fn walk(&self, keyspace: &Keyspace, range: &KeyRange) -> Iter {
        let walk = match self.check_own(keyspace).and_then(|()| self.db.store().check_serves()) {
            Ok(()) => self.view.walk(&keyspace.prefix().range(range), self.seqno),
            Err(error) => Walk::failed(error),
        };
        Iter::new(Keys::new(walk, self.db.clone(), self.view.clone()))
    }

    fn point<'a>(&'a self, keyspace: &'a Keyspace) -> Result<Point<'a>> {
        self.check_own(keyspace)?;
        Ok(Point { store: self.db.store(), view: &self.view, at: self.seqno, prefix: keyspace.prefix() })
    }

    fn check_own(&self, keyspace: &Keyspace) -> Result<()> {
        match keyspace.db().opened_as() == self.db.opened_as() {
            true => Ok(()),
            false => Err(Error::invalid("the keyspace is another store's")),
        }
    }
}
