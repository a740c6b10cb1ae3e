//! Commits that depend on what they replace: the head is read and judged under the same lock that commits.
//!
//! Compare-and-swap and `fetch_update` of `db` are made of [`Store::commit_if`].
//!
//! Easy to get wrong: an expired entry is absent to readers, so it is absent to conditions too; and what a refusal tells
//! the caller is read outside the lock, through the view that pins it.

use std::sync::Arc;

use smallvec::smallvec;

use crate::error::Result;
use crate::types::{Head, Kind, Slice, Stamp, ValueDigest};

use super::commit::{Prepared, Write, Writes, check_len};
use super::{Durability, Store, View};

/// What a reader sees of a key: an entry that is neither a tombstone nor expired, and the view that it was found in.
#[derive(Debug, Clone)]
pub(crate) struct VisibleEntry {
    key: Vec<u8>,
    head: Head,
    view: Arc<View>,
}

impl VisibleEntry {
    /// Its stamp and its value's digest: no two versions of a key have both the same. (The seqno says less, for all of an
    /// ingest has one, and the stamp alone may stay when a resolver merges.)
    pub(crate) fn version(&self) -> (Stamp, ValueDigest) {
        (self.head.stamp, self.head.digest)
    }

    /// Its value.
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub(crate) fn value(&self, store: &Store) -> Result<Slice> {
        let value = self.view.value(&self.head, &store.measure.hasher);
        value.map_err(|error| store.met_value(&self.key, (self.head.stamp, self.head.digest), error))
    }
}

impl Store {
    /// What readers see of `key` now.
    ///
    /// # Errors
    /// As reading a head.
    pub(crate) fn visible_entry(&self, key: &[u8]) -> Result<Option<VisibleEntry>> {
        let (view, seqno) = self.read_point();
        let head = view.head(key, self.measure.hasher.key(key), seqno).map_err(|error| self.met(error))?;
        let visible = head.filter(|head| head.is_visible(self.now_ms()));
        Ok(visible.map(|head| VisibleEntry { key: key.to_vec(), head, view }))
    }

    /// Commits the local change `write` if `condition` holds for the entry that readers see at that moment, else returns
    /// that entry. `condition` runs under the commit lock, so it must be quick and must not call the store. Deleting what
    /// is not there is done already, and adds no tombstone.
    ///
    /// # Errors
    /// As [`Store::commit`]; `Unknown` or `Io` of reading the head: nothing changed.
    pub(crate) fn commit_if(
        &self,
        write: Write,
        durability: Durability,
        condition: impl FnOnce(Option<&Head>) -> bool,
    ) -> Result<Result<(), Option<VisibleEntry>>> {
        let (kind, mut writes): (_, Writes) = (write.kind, smallvec![write]);
        check_len(&writes)?;
        let mut writer = self.lock_with_room()?;
        let view = self.views.current();
        let write = writes.first_mut().expect("one change stays one");
        let hash = self.measure.hasher.key(&write.key);
        let head = match view.head(&write.key, hash, writer.front.last) {
            Ok(head) => head,
            Err(error) => {
                drop(writer);
                return Err(self.met(error));
            }
        };
        write.prepared = Prepared::over(&write.key, hash, head.as_ref(), &self.measure);
        let visible = head.filter(|head| head.is_visible(self.now_ms()));
        if !condition(visible.as_ref()) {
            drop(writer);
            let key = write.key.to_vec();
            return Ok(Err(visible.map(|head| VisibleEntry { key, head, view })));
        }
        let is_change = kind == Kind::Put || visible.is_some();
        let seqno = match is_change {
            true => self.append(&mut writer, &view, writes)?,
            // What was found absent may have been deleted a moment ago, and that has to be durable too.
            false => writer.front.last,
        };
        drop(writer);
        match durability {
            Durability::Buffered => Ok(Ok(())),
            Durability::Sync => self.persist_through(seqno).map(Ok),
        }
    }
}
