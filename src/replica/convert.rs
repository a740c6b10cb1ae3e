//! Between the engine's words and the protocol's. What comes from a peer is checked on the way in.

use sync_proto::{Entry, Fingerprint, Head, KeyRange, Kind, RangeSum, Stamp};

use crate::error::{Error, Result};
use crate::hash::PREFIX_LEN;
use crate::store::{Prepared, Write, is_merged, replicated};
use crate::types::{self, EntryHash, Key, Slice};

pub(super) fn to_range(range: &KeyRange) -> types::KeyRange {
    types::KeyRange { start: range.start.clone(), end: range.end.clone() }
}

pub(super) fn from_range(range: &types::KeyRange) -> KeyRange {
    KeyRange { start: range.start.clone(), end: range.end.clone() }
}

pub(super) fn to_sum(sum: types::RangeSum) -> RangeSum {
    RangeSum {
        fingerprint: Fingerprint(sum.fingerprint.0),
        live: sum.counts.live,
        tombstones: sum.counts.tombstones,
        bytes: sum.counts.bytes,
    }
}

pub(super) fn from_stamp(stamp: types::Stamp) -> Stamp {
    Stamp { hlc: stamp.hlc, node: stamp.node }
}

fn from_kind(kind: types::Kind) -> Kind {
    match kind {
        types::Kind::Put => Kind::Put,
        types::Kind::Tombstone => Kind::Tombstone,
    }
}

pub(super) fn to_stamp(stamp: Stamp) -> types::Stamp {
    types::Stamp { hlc: stamp.hlc, node: stamp.node }
}

pub(super) fn to_kind(kind: Kind) -> types::Kind {
    match kind {
        Kind::Put => types::Kind::Put,
        Kind::Tombstone => types::Kind::Tombstone,
    }
}

pub(super) fn to_head(key: Vec<u8>, head: &types::Head, hash: EntryHash) -> Head {
    Head {
        is_merged: is_merged(&key),
        key,
        stamp: from_stamp(head.stamp),
        kind: from_kind(head.kind),
        expires_at: head.expires_at,
        hash: hash.0,
        value_len: head.value.len(),
    }
}

pub(super) fn to_entry(key: Vec<u8>, head: &types::Head, value: Vec<u8>) -> Entry {
    Entry {
        key,
        stamp: from_stamp(head.stamp),
        kind: from_kind(head.kind),
        expires_at: head.expires_at,
        meta: head.meta.to_vec(),
        value,
    }
}

/// A peer's entry as a change of the log.
///
/// # Errors
/// `InvalidArgument`, `KeyTooLong` for keys that no store of the set can have made.
pub(super) fn to_write(entry: Entry) -> Result<Write> {
    check_key(&entry.key)?;
    let stamp = to_stamp(entry.stamp);
    let is_put = entry.kind == Kind::Put;
    Ok(Write {
        key: Slice::from(entry.key),
        kind: to_kind(entry.kind),
        stamp: Some(stamp),
        expires_at: entry.expires_at,
        meta: Slice::from(entry.meta),
        value: if is_put { Slice::from(entry.value) } else { Slice::empty() },
        prepared: Prepared::default(),
    })
}

/// Refuses keys outside what is replicated.
///
/// # Errors
/// `InvalidArgument`, `KeyTooLong`.
pub(super) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() < PREFIX_LEN || !replicated().contains(key) {
        return Err(Error::invalid("a peer sent a key that belongs to no replicated keyspace"));
    }
    let len = key.len() - PREFIX_LEN;
    if len > Key::LEN_MAX { Err(Error::KeyTooLong { len, max: Key::LEN_MAX }) } else { Ok(()) }
}
