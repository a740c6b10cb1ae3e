//! The store as a peer of the repair protocol: `impl sync_proto::Replica for` [`DbReplica`]. The only module of the engine
//! that names the protocol.
//!
//! The protocol speaks of inner keys, keyspace prefix included, so one session repairs all keyspaces; class 1 is what it
//! may touch. Ranges, bounds and entries come from a peer and are checked here before the store sees them.
//!
//! Easy to get wrong: what is read need not be durable yet, and `persist` comes before the peer is told of it; and
//! heads and their sum must be of one snapshot.

mod compare;
mod convert;
mod gather;
mod heal;
mod horizon;
mod names;
mod send;
mod staged;

use sync_proto::{
    Applied, Children, Cut, Entries, Entry, EntryWriter, Heads, Healing, KeyRange, Lost, Meeting, Origin,
    Piece, RangeEntries, RangeSum, ReadLimit, Replica, ReplicaError, ReplicaErrorKind, ReplicaInfo,
    ReplicaReader, Stamp, ValueWriter,
};

use crate::db::Db;
use crate::error::{Error, Result};
use crate::store::{Prefix, Write, replicated};
use crate::types::{self, NodeId};
use compare::Moment;
use convert::{check_key, to_sum, to_write};
use gather::Gathering;
pub use sync_proto;

pub use names::{KeyName, KeyNames, catalogue, inner_prefix, inner_range};
use send::Outgoing;
use staged::StagedValue;

/// Unflushed versions beyond which a store is flushed before it is compared: only flushed entries have fences, and a walk
/// without fences has to read entries instead of sums.
const UNFENCED_MAX: usize = 1024;

/// A [`Db`] as a replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DbReplica {
    db: Db,
}

/// What one session reads of a store.
#[derive(Debug)]
struct Pinned {
    db: Db,
    moment: Moment,
    outgoing: Outgoing,
}

impl DbReplica {
    /// The whole store as a replica, all keyspaces.
    pub fn new(db: &Db) -> DbReplica {
        DbReplica { db: db.clone() }
    }

    /// The hash that this store and all others of its set give to `entry`. A test of another peer of the set needs it; sessions
    /// learn hashes from heads.
    pub fn entry_hash(&self, entry: &Entry) -> u128 {
        let hasher = &self.db.store().measure.hasher;
        let (key, value) = (hasher.key(&entry.key), hasher.value(&entry.value));
        let (stamp, kind) = (entry.stamp.into(), entry.kind.into());
        hasher.entry(key, stamp, kind, entry.expires_at, &entry.meta, value).0
    }

    fn info_now(&self, cut: u64) -> Result<ReplicaInfo> {
        let store = self.db.store();
        // What is told of the table has to be of the moment of the sums: what is closed after these is not in them.
        let (state, (root, catalogue, has_unknown)) = loop {
            let before = store.identity();
            let sums = self.known_sums(cut)?;
            store.persist()?;
            let state = store.identity();
            if before.horizon == state.horizon && before.table == state.table {
                break (state, sums);
            }
        };
        Ok(ReplicaInfo {
            set_id: state.set.id,
            hash_check: store.measure.hasher.check(state.set.bucket_bits, state.set.epoch_len),
            node: state.node.0,
            opens: state.opens,
            durable_seqno: store.sizes().durable.0,
            horizon: state.horizon,
            root: to_sum(root),
            replicated: replicated().into(),
            members_checksum: state.table.checksum(),
            keyspaces_checksum: catalogue.fingerprint.0 as u64,
            read_only: self.db.is_read_only(),
            has_unknown,
        })
    }

    /// The sums of everything replicated and of the catalogue, of one moment, and whether they leave out what is unknown.
    fn known_sums(&self, cut: u64) -> Result<(types::RangeSum, types::RangeSum, bool)> {
        let store = self.db.store();
        loop {
            let unknown = store.unknown();
            let mut parts = unknown.ranges().between(&replicated());
            let (count, has_unknown) = (parts.len(), parts.len() > 1);
            parts.extend(unknown.ranges().between(&Prefix::CATALOGUE.whole()));
            match store.fingerprints_at(&parts, cut) {
                // More has become unknown since.
                Err(Error::Unknown { .. }) => {}
                sums => {
                    let mut root = sums?;
                    let catalogue = root.split_off(count).into_iter().sum();
                    return Ok((root.into_iter().sum(), catalogue, has_unknown));
                }
            }
        }
    }

    fn pin_now(&self, cut: u64) -> Result<Pinned> {
        if self.db.store().unflushed_count() > UNFENCED_MAX && !self.db.is_read_only() {
            self.db.flush()?;
        }
        let (db, moment) = (self.db.clone(), Moment::now(&self.db, cut)?);
        Ok(Pinned { outgoing: Outgoing::new(&db, cut), db, moment })
    }

    fn apply_now(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied> {
        self.merge(entries.into_iter().map(to_write).collect::<Result<_>>()?, origin)
    }

    /// Merges entries of a peer.
    fn merge(&self, writes: Vec<Write>, origin: Origin) -> Result<Applied> {
        let count = writes.len() as u64;
        let (writes, healed) = self.heal_values(writes)?;
        let source = self.db.store().session_source(NodeId(origin.node))?;
        let admission = self.db.apply(writes, source)?;
        // Of entries with one key the lesser ones were covered by the greatest.
        let told = healed + admission.applied + admission.covered + admission.deferred + admission.refused;
        Ok(Applied {
            applied: healed + admission.applied,
            covered: admission.covered + (count - told),
            refused: admission.refused,
            deferred: admission.deferred,
        })
    }
}

impl ReplicaReader for Pinned {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError> {
        noting(&self.db, || self.moment.children(range, cut, limit))
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError> {
        noting(&self.db, || self.moment.sums(range, bounds))
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError> {
        noting(&self.db, || self.moment.split(range, pieces))
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads, ReplicaError> {
        noting(&self.db, || self.moment.heads(range, limit))
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError> {
        noting(&self.db, || self.outgoing.entries(keys, limit))
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError> {
        noting(&self.db, || self.outgoing.entries_in(range, limit))
    }

    fn value(
        &self,
        key: &[u8],
        stamp: Stamp,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        noting(&self.db, || self.outgoing.value(key, stamp, offset, len))
    }
}

impl Replica for DbReplica {
    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        self.info_now(horizon.unwrap_or_default()).map_err(replica_error)
    }

    fn apply(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError> {
        self.apply_now(entries, origin).map_err(replica_error)
    }

    fn begin_entries(&self) -> Option<Box<dyn EntryWriter>> {
        Gathering::begin(self).map(|gathering| Box::new(gathering) as Box<dyn EntryWriter>)
    }

    fn begin_value(
        &self,
        entry: Entry,
        value_len: u64,
        origin: Origin,
    ) -> Result<Box<dyn ValueWriter>, ReplicaError> {
        check_key(&entry.key).map_err(replica_error)?;
        let staged = StagedValue::begin(self.clone(), entry, value_len, origin).map_err(replica_error)?;
        Ok(Box::new(staged))
    }

    fn lost(&self) -> Result<Lost, ReplicaError> {
        Ok(self.lost_now())
    }

    fn healing(&self, range: &KeyRange, cut: u64, limit: ReadLimit) -> Result<Option<Healing>, ReplicaError> {
        noting(&self.db, || self.healing_now(range, cut, limit))
    }

    fn heal(&self, healing: Healing, origin: Origin) -> Result<Applied, ReplicaError> {
        self.heal_now(healing, origin).map_err(replica_error)
    }

    fn table(&self) -> Result<Vec<u8>, ReplicaError> {
        Ok(self.db.store().table().to_bytes())
    }

    fn meet(
        &self,
        peer: Origin,
        table: Option<&[u8]>,
        closes: bool,
        as_of: u64,
    ) -> Result<Meeting, ReplicaError> {
        self.meet_now(peer, table, closes, as_of).map_err(replica_error)
    }

    fn pin(&self, cut: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError> {
        Ok(Box::new(noting(&self.db, || self.pin_now(cut))?))
    }

    fn complete(&self, node: u64, proof: &[u8]) -> Result<(), ReplicaError> {
        self.complete_now(node, proof).map_err(replica_error)
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        self.db.store().persist().map_err(replica_error)
    }
}

/// Runs a read, and notes damage that it met.
fn noting<T>(db: &Db, read: impl FnOnce() -> Result<T>) -> Result<T, ReplicaError> {
    read().map_err(|error| replica_error(db.store().met(error)))
}

/// The engine's error in the protocol's words.
fn replica_error(error: Error) -> ReplicaError {
    let kind = match &error {
        Error::Poisoned { .. } => ReplicaErrorKind::Poisoned,
        Error::Corruption { .. } | Error::Unknown { .. } | Error::ValueLost { .. } => {
            ReplicaErrorKind::Unknown
        }
        _ => ReplicaErrorKind::Storage,
    };
    ReplicaError::new(kind, error)
}
