//! [`Modelled`]: the model as a store with users, so that the suite can be run against it.
//!
//! The suite's own test wraps it to plant bugs; whoever writes a [`Subject`] may begin by copying it.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::model::Model;
use super::subject::{EntryHasher, Subject};
use crate::error::ReplicaError;
use crate::replica::{Replica, ReplicaInfo};
use crate::types::{Entry, KeyRange, Kind, RangeSum, Stamp};

/// The year 2500 on the hybrid clock: what is stamped later is deferred.
const LATEST: u64 = 16_725_225_600_000 << 16;

/// A replica in memory that users write to.
#[derive(Debug, Clone)]
pub struct Modelled {
    node: u64,
    model: Model,
}

impl Modelled {
    /// An empty store with this node id, which belongs to the one set that there is of its kind.
    pub fn new(node: u64) -> Modelled {
        let info = ReplicaInfo {
            set_id: [7; 16],
            hash_check: [9; 8],
            node,
            opens: 1,
            durable_seqno: 0,
            horizon: 0,
            root: RangeSum::ZERO,
            replicated: KeyRange::all(),
            members_checksum: 0,
            keyspaces_checksum: 0,
            read_only: false,
            has_unknown: false,
        };
        Modelled { node, model: Model::new(info, hasher(), LATEST) }
    }

    /// Writes by the clock alone: later than everything that is held.
    fn write(&self, key: &[u8], kind: Kind, value: &[u8]) {
        let held = self.model.held();
        let hlc = held.iter().map(|held| held.entry.stamp.hlc).max().unwrap_or_default() + 1;
        let stamp = Stamp { hlc, node: self.node };
        let (key, value) = (key.to_vec(), value.to_vec());
        let _ = self.model.merge(Entry { key, stamp, kind, expires_at: 0, meta: Vec::new(), value });
    }
}

impl Subject for Modelled {
    fn replica(&self) -> &dyn Replica {
        &self.model
    }

    fn hasher(&self) -> EntryHasher {
        hasher()
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ReplicaError> {
        self.write(key, Kind::Put, value);
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), ReplicaError> {
        self.write(key, Kind::Tombstone, &[]);
        Ok(())
    }

    fn read_all(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReplicaError> {
        let held = self.model.held();
        Ok(held.visible().map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
    }

    fn reopen(self) -> Result<Modelled, ReplicaError> {
        Ok(self)
    }
}

/// All fields jointly. Without a secret, so of no use where clients may choose keys and values.
fn hasher() -> EntryHasher {
    Arc::new(|entry: &Entry| {
        let Entry { key, stamp, kind, expires_at, meta, value } = entry;
        let mut input = Vec::new();
        for part in [key, meta, value] {
            input.extend_from_slice(&xxh3_128(part).to_le_bytes());
        }
        input.extend_from_slice(&stamp.hlc.to_le_bytes());
        input.extend_from_slice(&stamp.node.to_le_bytes());
        input.push(u8::from(*kind == Kind::Tombstone));
        input.extend_from_slice(&expires_at.to_le_bytes());
        xxh3_128(&input)
    })
}
