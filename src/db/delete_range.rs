//! Deleting many keys at once: `delete_range` and `delete_prefix` of a keyspace.
//!
//! One tombstone for each key that has a value, as if every one had been deleted by itself: other replicas learn of each,
//! and the Merkle index needs no notion of ranges.
//!
//! Easy to get wrong: the range is deleted in chunks, each an atomic commit, so that neither memory nor the commit lock is
//! held for the length of the range; the range as a whole is therefore not atomic.

use std::ops::RangeBounds;

use super::iter::key_range;
use super::{Db, Keyspace};
use crate::error::{Error, Result};
use crate::store::{Durability, Writes};
use crate::types::{Key, KeyRange};

/// Keys that one chunk deletes: their heads are looked up under the commit lock, a millisecond or two in all.
const CHUNK_KEYS: usize = 1024;

/// Bytes of keys in a chunk beyond which no more are added.
const CHUNK_BYTES: usize = 1 << 20;

const _: () = assert!(Key::LEN_MAX < CHUNK_BYTES, "a chunk holds more than one key");

/// How far deleting a range has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteProgress {
    /// Keys deleted so far.
    pub keys: u64,
    /// Keys with a value in the range when the work began, expired ones included.
    pub keys_total: u64,
}

impl Keyspace {
    /// Deletes every key in `range` that has a value as of the call, and returns how many there were. Each gets a tombstone,
    /// as by [`Keyspace::delete`], so it costs a walk over the range and a small record for each key.
    ///
    /// Up to 1,024 keys at a time go in one atomic commit; the range as a whole is not atomic: others see it shrink, and a
    /// crash leaves a part of it deleted, from its least key on. Take a [snapshot](Keyspace::snapshot) first where readers
    /// need all or nothing. A key that another thread puts meanwhile may be deleted or stay. The whole is as durable as the
    /// store's default says when the call returns.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let db = syncline::Db::builder(dir.path().join("store")).create()?;
    /// for key in ["log/1", "log/2", "user/ann"] {
    ///     db.put(key, "")?;
    /// }
    /// assert_eq!(db.delete_prefix("log/")?, 2);
    /// assert_eq!(db.delete_range("a".."z")?, 1);
    /// assert!(db.is_empty()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Keyspace::range`] and [`Keyspace::put`]; what was deleted before stays deleted.
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64> {
        self.delete_range_with(range, |_| true)
    }

    /// Deletes every key that begins with `prefix`, as [`Keyspace::delete_range`] does.
    ///
    /// # Errors
    /// As there.
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<u64> {
        self.delete_prefix_with(prefix, |_| true)
    }

    /// [`Keyspace::delete_prefix`] that calls `progress` as [`Keyspace::delete_range_with`] does.
    ///
    /// # Errors
    /// As there.
    pub fn delete_prefix_with(
        &self,
        prefix: impl AsRef<[u8]>,
        progress: impl FnMut(DeleteProgress) -> bool,
    ) -> Result<u64> {
        self.delete_in(&KeyRange::prefix(prefix.as_ref()), progress)
    }

    /// [`Keyspace::delete_range`] that calls `progress` after every chunk and stops when that returns `false`.
    ///
    /// # Errors
    /// `Aborted` if it was stopped, else as there; what was deleted before stays deleted.
    pub fn delete_range_with<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        progress: impl FnMut(DeleteProgress) -> bool,
    ) -> Result<u64> {
        self.delete_in(&key_range(&range), progress)
    }

    fn delete_in(&self, range: &KeyRange, mut progress: impl FnMut(DeleteProgress) -> bool) -> Result<u64> {
        self.prefix().check_plain("a deletion")?;
        let snapshot = self.snapshot();
        let keys_total = self.db().store().fingerprint(&self.prefix().range(range))?.counts.live;
        let mut keys = snapshot.walk(self, range).keys();
        let mut so_far = DeleteProgress { keys: 0, keys_total };
        let outcome = loop {
            let chunk = self.next_chunk(&mut keys)?;
            if chunk.is_empty() {
                break Ok(so_far.keys);
            }
            so_far.keys += chunk.len() as u64;
            self.db().commit(chunk, Durability::Buffered)?;
            if !progress(so_far) {
                break Err(Error::Aborted);
            }
        };
        // One fsync covers all chunks.
        self.db().persist(self.db().default_durability())?;
        outcome
    }

    fn next_chunk(&self, keys: &mut impl Iterator<Item = Result<Vec<u8>>>) -> Result<Writes> {
        let mut chunk = Writes::new();
        let mut bytes = 0;
        while chunk.len() < CHUNK_KEYS && bytes < CHUNK_BYTES {
            let Some(key) = keys.next().transpose()? else { break };
            bytes += key.len();
            chunk.push(self.prefix().delete(&key)?);
        }
        Ok(chunk)
    }
}

/// The default keyspace's.
impl Db {
    /// [`Keyspace::delete_range`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64> {
        self.default_keyspace().delete_range(range)
    }

    /// [`Keyspace::delete_prefix`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<u64> {
        self.default_keyspace().delete_prefix(prefix)
    }
}
