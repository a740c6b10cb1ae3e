//! Between the engine's words and the protocol's: for users, `From` both ways between the types of one name.
//!
//! Easy to get wrong: what comes from a peer is to be checked on the way in.

use sync_proto::{Entry, Fingerprint, Head, KeyRange, Kind, RangeSum, Stamp};

use crate::error::{Error, Result};
use crate::hash::PREFIX_LEN;
use crate::store::{Prepared, Write, is_merged, replicated};
use crate::types::{self, EntryHash, Key, Slice};

impl From<types::Stamp> for Stamp {
    fn from(stamp: types::Stamp) -> Stamp {
        Stamp { hlc: stamp.hlc, node: stamp.node }
    }
}

impl From<Stamp> for types::Stamp {
    fn from(stamp: Stamp) -> types::Stamp {
        types::Stamp { hlc: stamp.hlc, node: stamp.node }
    }
}

impl From<types::Kind> for Kind {
    fn from(kind: types::Kind) -> Kind {
        match kind {
            types::Kind::Put => Kind::Put,
            types::Kind::Tombstone => Kind::Tombstone,
        }
    }
}

impl From<Kind> for types::Kind {
    fn from(kind: Kind) -> types::Kind {
        match kind {
            Kind::Put => types::Kind::Put,
            Kind::Tombstone => types::Kind::Tombstone,
        }
    }
}

impl From<types::KeyRange> for KeyRange {
    fn from(range: types::KeyRange) -> KeyRange {
        KeyRange { start: range.start, end: range.end }
    }
}

impl From<KeyRange> for types::KeyRange {
    fn from(range: KeyRange) -> types::KeyRange {
        types::KeyRange { start: range.start, end: range.end }
    }
}

impl From<types::Fingerprint> for Fingerprint {
    fn from(fingerprint: types::Fingerprint) -> Fingerprint {
        Fingerprint(fingerprint.0)
    }
}

impl From<Fingerprint> for types::Fingerprint {
    fn from(fingerprint: Fingerprint) -> types::Fingerprint {
        types::Fingerprint(fingerprint.0)
    }
}

pub(super) fn to_range(range: &KeyRange) -> types::KeyRange {
    range.clone().into()
}

pub(super) fn to_sum(sum: types::RangeSum) -> RangeSum {
    RangeSum {
        fingerprint: sum.fingerprint.into(),
        live: sum.counts.live,
        tombstones: sum.counts.tombstones,
        bytes: sum.counts.bytes,
    }
}

pub(super) fn to_head(key: Vec<u8>, head: &types::Head, hash: EntryHash) -> Head {
    Head {
        is_merged: is_merged(&key),
        key,
        stamp: head.stamp.into(),
        kind: head.kind.into(),
        expires_at: head.expires_at,
        hash: hash.0,
        value_len: head.value.len(),
    }
}

pub(super) fn to_entry(key: Vec<u8>, head: &types::Head, value: Vec<u8>) -> Entry {
    Entry {
        key,
        stamp: head.stamp.into(),
        kind: head.kind.into(),
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
    let is_put = entry.kind == Kind::Put;
    Ok(Write {
        key: Slice::from(entry.key),
        kind: entry.kind.into(),
        stamp: Some(entry.stamp.into()),
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
