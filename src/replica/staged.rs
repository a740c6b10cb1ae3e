//! A long value on its way in: its parts are collected in a file beside the store and merged when it is whole, so that
//! slow peers with large values cost no memory.
//!
//! Easy to get wrong: the file is nothing until `commit`. It is removed when the writer is dropped, and whatever a
//! killed process left is swept away at the next open by its name, `*.tmp`.

use std::path::PathBuf;

use sync_proto::{Applied, Entry, Healing, KeyRange, Origin, ReplicaError, ValueWriter};

use super::{DbReplica, replica_error};
use crate::error::{Error, Result};
use crate::vfs::{ReadMode, WritableFile};

/// The greatest value that is taken from a peer, in bytes.
const VALUE_LEN_MAX: u64 = 1 << 30;

/// A value being received.
#[derive(Debug)]
pub(super) struct StagedValue {
    replica: DbReplica,
    entry: Entry,
    value_len: u64,
    origin: Origin,
    path: PathBuf,
    file: Box<dyn WritableFile>,
    len: u64,
}

impl StagedValue {
    pub(super) fn begin(
        replica: DbReplica,
        entry: Entry,
        value_len: u64,
        origin: Origin,
    ) -> Result<StagedValue> {
        if value_len > VALUE_LEN_MAX {
            return Err(Error::CommitTooLarge { len: value_len, max: VALUE_LEN_MAX });
        }
        let store = replica.db.store();
        let path = store.dir.join(format!("{:012}.tmp", store.next_file().0));
        let file = store.options.environment.vfs.create(&path, 0);
        let file = file.map_err(|source| Error::io("create", &path, source))?;
        Ok(StagedValue { replica, entry, value_len, origin, path, file, len: 0 })
    }

    fn append_now(&mut self, bytes: &[u8]) -> Result<()> {
        if self.len + bytes.len() as u64 > self.value_len {
            return Err(Error::invalid("a peer sent more of a value than it had announced"));
        }
        let written = self.file.write_all_at(self.len, bytes);
        written.map_err(|source| Error::io("write", &self.path, source))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The entry with the value that came.
    fn whole(&self) -> Result<Entry> {
        if self.len != self.value_len {
            return Err(Error::invalid("a value ended before its announced length"));
        }
        let vfs = &self.replica.db.store().options.environment.vfs;
        let file =
            vfs.open(&self.path, ReadMode::Plain).map_err(|source| Error::io("open", &self.path, source))?;
        let value =
            file.read(0, self.len as usize).map_err(|source| Error::io("read", &self.path, source))?;
        Ok(Entry { value: value.to_vec(), ..self.entry.clone() })
    }
}

impl ValueWriter for StagedValue {
    fn append(&mut self, bytes: &[u8]) -> Result<(), ReplicaError> {
        self.append_now(bytes).map_err(replica_error)
    }

    fn commit(self: Box<Self>) -> Result<Applied, ReplicaError> {
        let entry = self.whole().map_err(replica_error)?;
        self.replica.apply_now(vec![entry], self.origin).map_err(replica_error)
    }

    fn heal(self: Box<Self>, range: KeyRange, cut: u64) -> Result<Applied, ReplicaError> {
        let entry = self.whole().map_err(replica_error)?;
        let healing = Healing { range, cut, entries: vec![entry], value_len: None };
        self.replica.heal_now(healing, self.origin).map_err(replica_error)
    }
}

impl Drop for StagedValue {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next open.
        let _ = self.replica.db.store().options.environment.vfs.remove(&self.path);
    }
}
