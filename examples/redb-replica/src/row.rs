//! Rows of the two tables as bytes.
//!
//! ```text
//! entry  hash 16 | clock 8 | node 8 | kind 1 (1 value, 2 tombstone) | expiry 8 | length of meta 4 | meta | value
//! sum    fingerprint 16 | live 8 | tombstones 8 | bytes 8
//! ```
//!
//! All little-endian. Easy to get wrong: rows come from a file, so what is read may be anything.

use sync_proto::{Entry, Fingerprint, Head, Kind, RangeSum, Stamp};

/// Whether a resolver merges the versions of this key, so that none of them covers another.
pub(crate) fn is_merged(key: &[u8]) -> bool {
    key.first() == Some(&2)
}

/// An entry and its hash, which is stored so that no list has to hash values.
pub(crate) struct Row {
    pub(crate) entry: Entry,
    pub(crate) hash: u128,
}

impl Row {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Row { entry: Entry { stamp, kind, expires_at, meta, value, .. }, hash } = self;
        let kind = if *kind == Kind::Put { 1 } else { 2 };
        [
            &hash.to_le_bytes()[..],
            &stamp.hlc.to_le_bytes(),
            &stamp.node.to_le_bytes(),
            &[kind],
            &expires_at.to_le_bytes(),
            &(meta.len() as u32).to_le_bytes(),
            meta,
            value,
        ]
        .concat()
    }

    /// `None` if the bytes are no row.
    pub(crate) fn from_bytes(key: &[u8], bytes: &[u8]) -> Option<Row> {
        let mut rest = bytes;
        let hash = u128::from_le_bytes(take(&mut rest)?);
        let (hlc, node) = (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?));
        let kind = match take(&mut rest)? {
            [1] => Kind::Put,
            [2] => Kind::Tombstone,
            _ => return None,
        };
        let expires_at = u64::from_le_bytes(take(&mut rest)?);
        let meta_len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (meta, value) = rest.split_at_checked(meta_len)?;
        let (key, meta, value) = (key.to_vec(), meta.to_vec(), value.to_vec());
        let stamp = Stamp { hlc, node };
        Some(Row { entry: Entry { key, stamp, kind, expires_at, meta, value }, hash })
    }

    pub(crate) fn head(&self) -> Head {
        let Entry { key, stamp, kind, expires_at, value, .. } = &self.entry;
        Head {
            key: key.clone(),
            stamp: *stamp,
            kind: *kind,
            expires_at: *expires_at,
            hash: self.hash,
            value_len: value.len() as u64,
            is_merged: is_merged(key),
        }
    }

    pub(crate) fn sum(&self) -> RangeSum {
        self.head().sum()
    }
}

pub(crate) fn sum_to_bytes(sum: &RangeSum) -> Vec<u8> {
    let counts = [sum.live, sum.tombstones, sum.bytes].map(u64::to_le_bytes).concat();
    [&sum.fingerprint.0.to_le_bytes()[..], &counts].concat()
}

/// `None` if the bytes are no sum.
pub(crate) fn sum_from_bytes(bytes: &[u8]) -> Option<RangeSum> {
    let mut rest = bytes;
    Some(RangeSum {
        fingerprint: Fingerprint(u128::from_le_bytes(take(&mut rest)?)),
        live: u64::from_le_bytes(take(&mut rest)?),
        tombstones: u64::from_le_bytes(take(&mut rest)?),
        bytes: u64::from_le_bytes(take(&mut rest)?),
    })
}

/// Takes the first bytes off.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
