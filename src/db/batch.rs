//! [`WriteBatch`]: changes that become visible and durable together.

use super::Keyspace;
use crate::error::Result;
use crate::store::Writes;

/// Changes of one or several keyspaces that [`Db::write`](super::Db::write) applies whole or not at all. Of several
/// changes of one key, the last one counts. At most 64 MiB of keys and values.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    writes: Writes,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets `key` of `keyspace` to `value`.
    ///
    /// # Errors
    /// `KeyTooLong`, or `InvalidArgument` if a resolver merges the keyspace; the batch is unchanged.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        keyspace.prefix().check_plain("a batch")?;
        self.writes.push(keyspace.prefix().put(key.as_ref(), value.as_ref())?);
        Ok(())
    }

    /// Deletes `key` from `keyspace`.
    ///
    /// # Errors
    /// As [`WriteBatch::put`].
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<()> {
        keyspace.prefix().check_plain("a batch")?;
        self.writes.push(keyspace.prefix().delete(key.as_ref())?);
        Ok(())
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it holds no change.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }
}
