//! [`WriteBatch`]: changes that become visible and durable together.

use super::{Db, Keyspace};
use crate::error::{Error, Result};
use crate::store::Writes;
use crate::types::NodeId;

/// Changes of one or several keyspaces of one store that [`Db::write`] applies whole or not at all. Of several changes of
/// one key, the last one counts. At most 64 MiB of keys and values.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    writes: Writes,
    /// Whose keyspaces they are of; `None` as long as there is none.
    node: Option<NodeId>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets `key` of `keyspace` to `value`.
    ///
    /// # Errors
    /// `KeyTooLong`, or `InvalidArgument` if a resolver merges the keyspace or it is of another store than those before; the
    /// batch is unchanged.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let node = self.check(keyspace)?;
        self.writes.push(keyspace.prefix().put(key.as_ref(), value.as_ref())?);
        self.node = Some(node);
        Ok(())
    }

    /// Sets `key` of `keyspace` to `value` until wall time `expires_at_ms`, as [`Keyspace::put_expiring`].
    ///
    /// # Errors
    /// As [`WriteBatch::put`]; `InvalidArgument` for an expiry of 0.
    pub fn put_expiring(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: u64,
    ) -> Result<()> {
        let node = self.check(keyspace)?;
        self.writes.push(keyspace.prefix().put_expiring(key.as_ref(), value.as_ref(), expires_at_ms)?);
        self.node = Some(node);
        Ok(())
    }

    /// Deletes `key` from `keyspace`.
    ///
    /// # Errors
    /// As [`WriteBatch::put`].
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<()> {
        let node = self.check(keyspace)?;
        self.writes.push(keyspace.prefix().delete(key.as_ref())?);
        self.node = Some(node);
        Ok(())
    }

    /// Whose the keyspace is. To be asked before a change is made: one that is handed over to be checked is moved about, which
    /// costs more than all of the check.
    ///
    /// # Errors
    /// `InvalidArgument` if changes of it have no place in this batch.
    fn check(&self, keyspace: &Keyspace) -> Result<NodeId> {
        keyspace.prefix().check_plain("a batch")?;
        let node = keyspace.db().opened_as();
        match self.node.is_none_or(|held| held == node) {
            true => Ok(node),
            false => Err(Error::invalid("a batch holds changes of one store alone")),
        }
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it holds no change.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The changes, which are of keyspaces of `db`.
    ///
    /// # Errors
    /// `InvalidArgument` if they are not.
    pub(super) fn into_writes_of(self, db: &Db) -> Result<Writes> {
        match self.node.is_none_or(|node| node == db.opened_as()) {
            true => Ok(self.writes),
            false => Err(Error::invalid("the batch holds changes of another store's keyspaces")),
        }
    }
}
