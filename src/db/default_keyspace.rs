//! The default keyspace's methods on [`Db`] itself, for stores that need no other.
//!
//! Easy to get wrong: single puts, deletes and reads go without a [`Keyspace`], which counts references.

use std::ops::RangeBounds;

#[cfg(doc)]
use super::Keyspace;
use super::{Db, EntryDigest, Iter};
use crate::error::Result;
use crate::types::{RangeSum, Slice};

impl Db {
    /// [`Keyspace::put`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_in(self.default_prefix(), key.as_ref(), value.as_ref())
    }

    /// [`Keyspace::put_expiring`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn put_expiring(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: u64,
    ) -> Result<()> {
        self.default_keyspace().put_expiring(key, value, expires_at_ms)
    }

    /// [`Keyspace::delete`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.delete_in(self.default_prefix(), key.as_ref())
    }

    /// [`Keyspace::get`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        self.point(self.default_prefix(), |point| point.value(key.as_ref()))
    }

    /// [`Keyspace::contains_key`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.point(self.default_prefix(), |point| point.contains(key.as_ref()))
    }

    /// [`Keyspace::digest`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn digest(&self, key: impl AsRef<[u8]>) -> Result<Option<EntryDigest>> {
        self.default_keyspace().digest(key)
    }

    /// [`Keyspace::range`] on the default keyspace.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        self.default_keyspace().range(range)
    }

    /// [`Keyspace::prefix_iter`] on the default keyspace.
    pub fn prefix_iter(&self, prefix: impl AsRef<[u8]>) -> Iter {
        self.default_keyspace().prefix_iter(prefix)
    }

    /// [`Keyspace::iter`] on the default keyspace.
    pub fn iter(&self) -> Iter {
        self.default_keyspace().iter()
    }

    /// [`Keyspace::len`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn len(&self) -> Result<u64> {
        self.default_keyspace().len()
    }

    /// [`Keyspace::is_empty`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn is_empty(&self) -> Result<bool> {
        self.default_keyspace().is_empty()
    }

    /// [`Keyspace::fingerprint`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn fingerprint<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<RangeSum> {
        self.default_keyspace().fingerprint(range)
    }
}
