//! What the suite needs of a store beside its [`Replica`].
//!
//! Easy to get wrong: all keys here are those of the protocol, as heads and entries show them. A store that puts something
//! before its users' keys says so by [`Subject::key_start`], and takes it off again in `put`, `delete` and `read_all`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::ReplicaError;
use crate::replica::Replica;
use crate::types::{Entry, KeyRange};

/// Hashes an entry as every store of one replica set does; the summand of a range's fingerprint.
pub type EntryHasher = Arc<dyn Fn(&Entry) -> u128 + Send + Sync>;

/// A store under test. Dropped when a check is over; its data may go with it.
pub trait Subject {
    /// The store as the protocol sees it.
    fn replica(&self) -> &dyn Replica;

    /// The hash that the store gives to entries.
    fn hasher(&self) -> EntryHasher;

    /// What all keys begin with that the suite writes. They lie in [`ReplicaInfo::replicated`](crate::ReplicaInfo::replicated).
    fn key_start(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Sets `key` to `value`, as a user of the store would.
    ///
    /// # Errors
    /// What the store fails with; the check fails with it.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ReplicaError>;

    /// Deletes `key`, as a user of the store would, whether it is there or not.
    ///
    /// # Errors
    /// As [`Subject::put`].
    fn delete(&self, key: &[u8]) -> Result<(), ReplicaError>;

    /// All keys that have a value and their values, as a user of the store sees them.
    ///
    /// # Errors
    /// As [`Subject::put`].
    fn read_all(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReplicaError>;

    /// Loses keys of `range`, or others, or values, as damage would, so that [`Replica::lost`] tells of them. Everything is
    /// durable before; the store may be given up and opened again. One that does not go on after damage returns itself.
    ///
    /// # Errors
    /// As [`Subject::put`].
    fn lose(self, range: &KeyRange) -> Result<Self, ReplicaError>
    where
        Self: Sized,
    {
        let _ = range;
        Ok(self)
    }

    /// Makes everything durable, gives the store up and opens it again. A store without files returns itself.
    ///
    /// # Errors
    /// As [`Subject::put`].
    fn reopen(self) -> Result<Self, ReplicaError>
    where
        Self: Sized;
}
