//! Reads of single keys, of the present and of a snapshot.
//!
//! Easy to get wrong: this is the hottest path of the crate, and most of what it costs is waiting for memory. Count no
//! shared references and compute no digests here.

use super::EntryDigest;
use crate::error::{Error, Result};
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
        self.store.check_serves()?;
        let (inner, hasher) = (self.prefix.lookup(key)?, &self.store.measure.hasher);
        let hash = hasher.key(&inner);
        let value = self.view.visible_value(&inner, hash, self.at, || self.store.now_ms(), hasher);
        value.map_err(|error| self.told(&inner, error))
    }

    /// What the reader is told whom reading the value of the inner key `key` has failed with `error`.
    #[cold]
    fn told(&self, key: &[u8], error: Error) -> Error {
        let error = self.store.met(error);
        match self.view.head(key, self.store.measure.hasher.key(key), self.at) {
            Ok(Some(head)) => self.store.met_value(key, (head.stamp, head.digest), error),
            _ => error,
        }
    }

    /// Whether `key` has a value.
    pub(super) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.store.check_serves()?;
        let (inner, hasher) = (self.prefix.lookup(key)?, &self.store.measure.hasher);
        let is_visible = self.view.is_visible(&inner, hasher.key(&inner), self.at, || self.store.now_ms());
        is_visible.map_err(|error| self.store.met(error))
    }

    /// Stamp, kind and digest of `key`'s entry, tombstones included.
    pub(super) fn digest(&self, key: &[u8]) -> Result<Option<EntryDigest>> {
        self.store.check_serves()?;
        let (inner, hasher) = (self.prefix.lookup(key)?, &self.store.measure.hasher);
        let head = self.view.head(&inner, hasher.key(&inner), self.at);
        let head = head.map_err(|error| self.store.met(error))?;
        Ok(head.map(|head| EntryDigest {
            stamp: head.stamp,
            kind: head.kind,
            value_digest: head.digest,
            expires_at_ms: head.expires_at,
        }))
    }
}
