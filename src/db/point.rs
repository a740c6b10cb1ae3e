//! Reads of single keys, of the present and of a snapshot.
//!
//! Easy to get wrong: this is the hottest path of the crate, and most of what it costs is waiting for memory. Count no
//! shared references and compute no digests here.

use super::EntryDigest;
use crate::error::{Error, Result};
use crate::index::StoredHead;
use crate::store::{Prefix, Store, View};
use crate::types::{SeqNo, Slice};

/// Where keys are looked up: a keyspace of a view, among commits up to `at`.
pub(super) struct Point<'a> {
    pub(super) store: &'a Store,
    pub(super) view: &'a View,
    pub(super) at: SeqNo,
    pub(super) prefix: &'a Prefix,
}

impl Point<'_> {
    /// The value of `key`.
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Slice>> {
        match self.visible(key)? {
            Some(head) => {
                let value = self.view.stored_value(head, &self.store.measure.hasher).map(Some);
                value.map_err(|error| self.lost(key, error))
            }
            None => Ok(None),
        }
    }

    /// What the reader is told whom reading the value of `key` has failed with `error`.
    #[cold]
    fn lost(&self, key: &[u8], error: Error) -> Error {
        let Ok(inner) = self.prefix.lookup(key) else { return error };
        match self.view.head(&inner, self.store.measure.hasher.key(&inner), self.at) {
            Ok(Some(head)) => self.store.met_value(&inner, (head.stamp, head.digest), error),
            _ => error,
        }
    }

    /// Whether `key` has a value.
    pub(super) fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.visible(key)?.is_some())
    }

    /// Stamp, kind and digest of `key`'s entry, tombstones included.
    pub(super) fn digest(&self, key: &[u8]) -> Result<Option<EntryDigest>> {
        let (inner, hasher) = (self.prefix.lookup(key)?, &self.store.measure.hasher);
        let head = self.view.head(&inner, hasher.key(&inner), self.at);
        let head = head.map_err(|error| self.store.met(error))?;
        Ok(head.map(|head| EntryDigest { stamp: head.stamp, kind: head.kind, value: head.digest }))
    }

    fn visible(&self, key: &[u8]) -> Result<Option<StoredHead>> {
        let inner = self.prefix.lookup(key)?;
        let head = self.view.find(&inner, self.store.measure.hasher.key(&inner), self.at);
        let head = head.map_err(|error| self.store.met(error))?;
        // Few entries expire, and asking for the time takes a tenth as long as the whole read.
        let now_ms = |head: &StoredHead| if head.expires_at == 0 { 0 } else { self.store.now_ms() };
        Ok(head.filter(|head| head.is_visible(now_ms(head))))
    }
}
