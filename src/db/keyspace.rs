//! [`Keyspace`]: one named ordered map of a store.

use std::borrow::Cow;
use std::ops::RangeBounds;
use std::sync::Arc;

use smallvec::smallvec;

use super::iter::key_range;
use super::{Db, Iter, Snapshot};
use crate::error::{Error, Result};
use crate::resolver::Resolver;
use crate::store::Prefix;
use crate::types::{Kind, RangeSum, Slice, Stamp, ValueDigest};

/// A named ordered map of byte strings. Cheap to clone; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Keyspace {
    db: Db,
    name: Arc<str>,
    prefix: Prefix,
    /// What merges its values, if that is not the last writer and is at hand.
    resolver: Option<Arc<dyn Resolver>>,
}

/// What a store knows of a key without touching its value: enough to tell whether two replicas hold the same entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryDigest {
    /// When and by whom it was written.
    pub stamp: Stamp,
    /// Whether it is a value or a tombstone.
    pub kind: Kind,
    /// Digest of the value.
    pub value_digest: ValueDigest,
    /// Milliseconds since the Unix epoch from which on reads hide the entry; 0 means never.
    pub expires_at_ms: u64,
}

impl Keyspace {
    pub(super) fn new(
        db: Db,
        name: Arc<str>,
        prefix: Prefix,
        resolver: Option<Arc<dyn Resolver>>,
    ) -> Keyspace {
        Keyspace { db, name, prefix, resolver }
    }

    pub(crate) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that it belongs to.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// What `key` is to become if it is to be `new`, or gone, where it was `old`: where a resolver merges, a state never goes
    /// back.
    ///
    /// # Errors
    /// `InvalidArgument` if a resolver merges and is not at hand, or the key is to go.
    pub(super) fn merged<'a>(
        &self,
        key: &[u8],
        old: Option<&[u8]>,
        new: Option<&'a [u8]>,
    ) -> Result<Option<Cow<'a, [u8]>>> {
        if !self.prefix.is_merged() {
            return Ok(new.map(Cow::Borrowed));
        }
        let Some(resolver) = &self.resolver else {
            let name = &self.name;
            return Err(Error::invalid(format!(
                "keyspace {name:?} has a resolver that is not at hand: bring it with `Builder::resolver` when opening"
            )));
        };
        match (old, new) {
            (Some(old), Some(new)) => Ok(Some(resolver.merge(key, old, new).into())),
            (None, Some(new)) => Ok(Some(new.into())),
            (_, None) => self.prefix.check_plain("a deletion").map(|()| None),
        }
    }

    /// Sets `key` to `value`, with the store's default durability. Where a resolver merges, to what it makes of `value` and
    /// what is there.
    ///
    /// # Errors
    /// `KeyTooLong`, `CommitTooLarge`: nothing changed. `Poisoned` and `Io`: reopen the store. `InvalidArgument` if the
    /// keyspace's resolver is not at hand.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        match self.prefix.is_merged() {
            false => self.db.put_in(&self.prefix, key.as_ref(), value.as_ref()),
            // The update merges what it makes with what is there.
            true => self.fetch_update(key, |_| Some(value.as_ref())).map(drop),
        }
    }

    /// Sets `key` to `value` until wall time `expires_at_ms` (milliseconds since the Unix epoch), when reads begin to
    /// hide it. The expiry is part of the entry and travels with it.
    ///
    /// # Errors
    /// As [`Keyspace::put`]; `InvalidArgument` if a resolver merges the keyspace, or for an expiry of 0.
    pub fn put_expiring(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: u64,
    ) -> Result<()> {
        self.prefix.check_plain("an expiry")?;
        let write = self.prefix.put_expiring(key.as_ref(), value.as_ref(), expires_at_ms)?;
        self.db.commit(smallvec![write], self.db.default_durability())
    }

    /// Deletes `key`, whether it is there or not. A tombstone stays, so that other replicas learn of it.
    ///
    /// # Errors
    /// As [`Keyspace::put`]; `InvalidArgument` if a resolver merges the keyspace.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.prefix.check_plain("a deletion")?;
        self.db.delete_in(&self.prefix, key.as_ref())
    }

    /// The value of `key`. The slice may pin a block or a mapped file; `to_vec` lets go of it.
    ///
    /// # Errors
    /// `KeyTooLong`. `Corruption` or `Io` if a file that may hold the key cannot be read, `Unknown` if the key lies where one is
    /// known to be damaged, `ValueLost` if its value alone is; never "not found" instead. `NotServing` while the store joins its
    /// set, and when it was expelled or restored from a backup.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        self.db.point(&self.prefix, |point| point.value(key.as_ref()))
    }

    /// Whether `key` has a value. Does not read it.
    ///
    /// # Errors
    /// As [`Keyspace::get`], but for `ValueLost`.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.db.point(&self.prefix, |point| point.contains(key.as_ref()))
    }

    /// Stamp, kind, value digest and expiry of `key`'s entry, tombstones and expired entries included. Does not read the value.
    ///
    /// # Errors
    /// As [`Keyspace::get`], but for `ValueLost`.
    pub fn digest(&self, key: impl AsRef<[u8]>) -> Result<Option<EntryDigest>> {
        self.db.point(&self.prefix, |point| point.digest(key.as_ref()))
    }

    /// Entries with keys in `range`, in order, as of now. Double-ended and owned.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        self.db.snapshot().range(self, range)
    }

    /// Entries whose keys begin with `prefix`, in order, as of now.
    pub fn prefix_iter(&self, prefix: impl AsRef<[u8]>) -> Iter {
        self.db.snapshot().prefix_iter(self, prefix)
    }

    /// All entries, in order, as of now.
    pub fn iter(&self) -> Iter {
        self.range::<&[u8]>(..)
    }

    /// A snapshot of the store, for several reads of one moment.
    pub fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    /// Exact number of keys with a value, expired ones included until they are purged. Constant time, but for what was
    /// written since the last question or flush: for those keys it is looked up, once, whether they were there before.
    ///
    /// # Errors
    /// `Poisoned`; `Unknown` if keys of the range are unknown for damage; `Corruption` or `Io` if the Merkle index has to look at
    /// a file that cannot be read.
    pub fn len(&self) -> Result<u64> {
        Ok(self.fingerprint::<&[u8]>(..)?.counts.live)
    }

    /// Whether no key has a value.
    ///
    /// # Errors
    /// As [`Keyspace::len`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fingerprint and exact counts of the entries in `range`, every write that returned before this call included.
    /// Reads at most the entries of two buckets, and what was replaced by writes since the last question or flush. Two
    /// replicas of a set have equal fingerprints if and only if (but for 2^-128) they hold the same entries there.
    ///
    /// # Errors
    /// As [`Keyspace::len`].
    pub fn fingerprint<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<RangeSum> {
        let range = key_range(&range);
        self.db.store().fingerprint(&self.prefix.range(&range))
    }
}
