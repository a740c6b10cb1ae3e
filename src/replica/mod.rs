//! The store as a peer of the repair protocol: `impl sync_proto::Replica for` [`DbReplica`]. The only module of the engine
//! that names the protocol.
//!
//! The protocol speaks of inner keys, keyspace prefix included, so one session repairs all keyspaces; class 1 is what it
//! may touch. Ranges, bounds and entries come from a peer and are checked here before the store sees them.
//!
//! Easy to get wrong: what is read need not be durable yet, and `persist` comes before the peer is told of it; and
//! heads and their sum must be of one snapshot.

mod convert;
mod heal;
mod horizon;
mod names;
mod staged;

use std::cell::Cell;
use std::sync::Arc;

use parking_lot::Mutex;

use sync_proto::{
    Applied, Children, Cut, Entries, Entry, Fetched, Heads, KeyRange, Meeting, Origin, Piece, RangeEntries,
    RangeSum, ReadLimit, Replica, ReplicaError, ReplicaErrorKind, ReplicaInfo, Stamp, ValueWriter,
};

use crate::db::Db;
use crate::error::{Error, Result};
use crate::store::{Prefix, replicated};
use crate::types::{self, Epoch, NodeId, ValueDigest};
use convert::{
    check_key, from_range, from_stamp, to_entry, to_head, to_kind, to_range, to_stamp, to_sum, to_write,
};
pub use names::{KeyName, KeyNames, catalogue, inner_prefix, inner_range};
use staged::StagedValue;

/// Unflushed versions beyond which a session begins with a flush: only flushed entries have fences, and a walk without
/// fences has to read entries instead of sums.
const UNFENCED_MAX: usize = 1024;

/// A [`Db`] as a replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DbReplica {
    db: Db,
    /// What ends at or before this (clock units) is in no answer, nor what ends at or before the store's own horizon.
    cut: u64,
    /// The version of the value that was last begun to be read in parts: key, stamp, and digest, for where a resolver merges the
    /// stamp may stay when the value changes. A session reads one at a time, and has a replica of its own.
    begun: Arc<Mutex<Option<Begun>>>,
}

type Begun = (Vec<u8>, types::Stamp, ValueDigest);

impl DbReplica {
    /// The whole store as a replica, all keyspaces.
    pub fn new(db: &Db) -> DbReplica {
        DbReplica { db: db.clone(), cut: 0, begun: Arc::default() }
    }

    /// The hash that this store and all others of its set give to `entry`. A test of another peer of the set needs it; sessions
    /// learn hashes from heads.
    pub fn entry_hash(&self, entry: &Entry) -> u128 {
        let hasher = &self.db.store().measure.hasher;
        let (key, value) = (hasher.key(&entry.key), hasher.value(&entry.value));
        let (stamp, kind) = (to_stamp(entry.stamp), to_kind(entry.kind));
        hasher.entry(key, stamp, kind, entry.expires_at, &entry.meta, value).0
    }

    /// Runs a read, and notes damage that it met.
    fn noting<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T, ReplicaError> {
        read().map_err(|error| replica_error(self.db.store().met(error)))
    }

    /// The entry of `key` on its way out; large ones without their value.
    fn fetch(&self, key: Vec<u8>, head: &crate::types::Head, large: u64) -> Result<Fetched> {
        let value_len = head.value.len();
        if value_len > large {
            return Ok(Fetched::Large { entry: to_entry(key, head, Vec::new()), value_len });
        }
        let (view, _) = self.db.store().read_point();
        let value = view.value(head, &self.db.store().measure.hasher);
        let lost = |error| self.db.store().met_value(&key, (head.stamp, head.digest), error);
        let value = value.map_err(lost)?.to_vec();
        Ok(Fetched::Whole(to_entry(key, head, value)))
    }

    /// The sum of a range at the higher of `cut` and the cut of this replica.
    fn sum_of(&self, range: crate::types::KeyRange, cut: u64) -> Result<crate::types::RangeSum> {
        let sums = self.db.store().fingerprints_at(&[range], cut.max(self.cut))?;
        Ok(sums.into_iter().sum())
    }

    /// Where answers cut that read entries themselves.
    fn ended(&self) -> Option<Epoch> {
        let store = self.db.store();
        store.measure.ended(self.cut.max(store.horizon()))
    }

    fn info_now(&self, cut: u64) -> Result<ReplicaInfo> {
        let store = self.db.store();
        if store.unflushed_count() > UNFENCED_MAX && !self.db.is_read_only() {
            self.db.flush()?;
        }
        let root = self.sum_of(replicated(), cut)?;
        let catalogue = self.sum_of(Prefix::CATALOGUE.whole(), cut)?;
        store.persist()?;
        let state = store.identity();
        Ok(ReplicaInfo {
            set_id: state.set.id,
            hash_check: store.measure.hasher.check(state.set.bucket_bits, state.set.epoch_len),
            node: state.node.0,
            opens: state.opens,
            durable_seqno: store.sizes().durable.0,
            horizon: state.horizon,
            root: to_sum(root),
            replicated: from_range(&replicated()),
            members_checksum: horizon::checksum(&state.table),
            keyspaces_checksum: catalogue.fingerprint.0 as u64,
            read_only: self.db.is_read_only(),
        })
    }

    fn children_now(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children> {
        let store = self.db.store();
        let range = to_range(range);
        let (level, pieces) = match cut {
            Cut::Level(level) => (Some(level), 0),
            Cut::Pieces(pieces) => (None, u64::from(pieces)),
        };
        // One more than may be told, to know whether there are more.
        let (cut, mut fences) = store.fences(&range, level, pieces, limit.count as usize)?;
        let bytes = Cell::new(0u64);
        let fits = |fence: &Vec<u8>| {
            bytes.set(bytes.get() + fence.len() as u64);
            bytes.get() <= u64::from(limit.bytes)
        };
        let count = fences
            .iter()
            .take(limit.count.saturating_sub(1) as usize)
            .take_while(|fence| fits(fence))
            .count();
        let more = fences.len() > count;
        fences.truncate(count);
        let pieces = self.pieces(&range, &fences)?;
        Ok(Children { cut, pieces, more })
    }

    /// The pieces of `range` between these bounds, which rise strictly inside it.
    fn pieces(&self, range: &crate::types::KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<Piece>> {
        let starts: Vec<Vec<u8>> =
            std::iter::once(range.start.clone()).chain(bounds.iter().cloned()).collect();
        let ends = bounds.iter().cloned().map(Some).chain([range.end.clone()]);
        let ranges =
            starts.iter().cloned().zip(ends).map(|(start, end)| crate::types::KeyRange { start, end });
        let sums = self.db.store().fingerprints_at(&ranges.collect::<Vec<_>>(), self.cut)?;
        Ok(starts.into_iter().zip(sums).map(|(start, sum)| Piece { start, sum: to_sum(sum) }).collect())
    }

    fn split_now(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>> {
        let store = self.db.store();
        let range = to_range(range);
        let (view, seqno) = store.read_point();
        let (ended, measure) = (self.ended(), &store.measure);
        let counted = view.walk(&range, seqno).try_fold(0u64, |count, found| found.map(|_| count + 1))?;
        let per_piece = counted.div_ceil(u64::from(pieces.max(1))).max(1);
        let mut split = vec![Piece { start: range.start.clone(), sum: RangeSum::ZERO }];
        for (index, found) in (0u64..).zip(view.walk(&range, seqno)) {
            let (key, head) = found?;
            if index > 0 && index.is_multiple_of(per_piece) {
                split.push(Piece { start: key.clone(), sum: RangeSum::ZERO });
            }
            let entry = measure.entry(&key, measure.hasher.key(&key), &head).after(ended);
            if let Some(piece) = split.last_mut() {
                piece.sum += to_sum(entry.sum);
            }
        }
        Ok(split)
    }

    fn heads_now(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads> {
        let store = self.db.store();
        let (view, seqno) = store.read_point();
        let ended = self.ended();
        let mut answer = Heads { heads: Vec::new(), next: None };
        let mut bytes = 0;
        for found in view.walk(&to_range(range), seqno) {
            let (key, head) = found?;
            if store.measure.has_ended(&head, ended) {
                continue;
            }
            bytes += (key.len() + head.meta.len()) as u64;
            let is_full = answer.heads.len() >= limit.count as usize || bytes > u64::from(limit.bytes);
            if is_full && !answer.heads.is_empty() {
                answer.next = Some(key);
                break;
            }
            let hash = store.measure.hasher.head(store.measure.hasher.key(&key), &head);
            answer.heads.push(to_head(key, &head, hash));
        }
        Ok(answer)
    }

    fn entries_now(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries> {
        let store = self.db.store();
        let (view, seqno) = store.read_point();
        let mut answer = Entries { entries: Vec::new(), answered: 0 };
        let (ended, measure) = (self.ended(), &store.measure);
        let mut room = Room::new(limit);
        for key in keys {
            let head = view.head(key, measure.hasher.key(key), seqno)?;
            if let Some(head) = head.filter(|head| !measure.has_ended(head, ended)) {
                let fetched = self.fetch(key.clone(), &head, u64::from(limit.bytes))?;
                if !room.take(&fetched) {
                    break;
                }
                answer.entries.push(fetched);
            }
            answer.answered += 1;
        }
        Ok(answer)
    }

    fn entries_in_now(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries> {
        let store = self.db.store();
        let (view, seqno) = store.read_point();
        let ended = self.ended();
        let mut answer = RangeEntries { entries: Vec::new(), next: None };
        let mut room = Room::new(limit);
        for found in view.walk(&to_range(range), seqno) {
            let (key, head) = found?;
            if store.measure.has_ended(&head, ended) {
                continue;
            }
            let fetched = self.fetch(key, &head, u64::from(limit.bytes))?;
            if !room.take(&fetched) {
                answer.next = Some(fetched.entry().key.clone());
                break;
            }
            answer.entries.push(fetched);
        }
        Ok(answer)
    }

    fn value_now(&self, key: &[u8], stamp: Stamp, offset: u64, len: u32) -> Result<Option<Vec<u8>>> {
        let store = self.db.store();
        let (view, seqno) = store.read_point();
        let head = view.head(key, store.measure.hasher.key(key), seqno)?;
        let Some(head) = head.filter(|head| from_stamp(head.stamp) == stamp) else { return Ok(None) };
        if !self.goes_on(key, &head, offset) {
            return Ok(None);
        }
        let value = view.value(&head, &store.measure.hasher);
        let value = value.map_err(|error| store.met_value(key, (head.stamp, head.digest), error))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(value.len());
        let end = start.saturating_add(len as usize).min(value.len());
        Ok(Some(value.get(start..end).unwrap_or_default().to_vec()))
    }

    /// Whether `head` is still what a read of its value that is at `offset` began with, as far as is known.
    fn goes_on(&self, key: &[u8], head: &types::Head, offset: u64) -> bool {
        let mut begun = self.begun.lock();
        if offset == 0 {
            *begun = Some((key.to_vec(), head.stamp, head.digest));
        }
        let is_other =
            |(begun, stamp, digest): &Begun| begun == key && *stamp == head.stamp && *digest != head.digest;
        !begun.as_ref().is_some_and(is_other)
    }

    fn apply_now(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied> {
        let writes = entries.into_iter().map(to_write).collect::<Result<Vec<_>>>()?;
        let count = writes.len() as u64;
        let source = self.db.store().session_source(NodeId(origin.node))?;
        let admission = self.db.apply(writes, source)?;
        // Of entries with one key the lesser ones were covered by the greatest.
        let told = admission.applied + admission.covered + admission.deferred + admission.refused;
        Ok(Applied {
            applied: admission.applied,
            covered: admission.covered + (count - told),
            refused: admission.refused,
            deferred: admission.deferred,
        })
    }
}

/// What of a limit is left. The first element always fits.
struct Room {
    limit: ReadLimit,
    count: u32,
    bytes: u64,
}

impl Room {
    fn new(limit: ReadLimit) -> Room {
        Room { limit, count: 0, bytes: 0 }
    }

    fn take(&mut self, fetched: &Fetched) -> bool {
        let entry = fetched.entry();
        self.bytes += (entry.key.len() + entry.meta.len() + entry.value.len()) as u64;
        self.count += 1;
        self.count == 1 || (self.count <= self.limit.count && self.bytes <= u64::from(self.limit.bytes))
    }
}

impl Replica for DbReplica {
    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        self.info_now(horizon.unwrap_or_default()).map_err(replica_error)
    }

    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError> {
        self.noting(|| self.children_now(range, cut, limit))
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError> {
        let pieces = self.noting(|| self.pieces(&to_range(range), bounds))?;
        Ok(pieces.into_iter().map(|piece| piece.sum).collect())
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError> {
        self.noting(|| self.split_now(range, pieces))
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads, ReplicaError> {
        self.noting(|| self.heads_now(range, limit))
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError> {
        self.noting(|| self.entries_now(keys, limit))
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError> {
        self.noting(|| self.entries_in_now(range, limit))
    }

    fn value(
        &self,
        key: &[u8],
        stamp: Stamp,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        self.noting(|| self.value_now(key, stamp, offset, len))
    }

    fn apply(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError> {
        self.apply_now(entries, origin).map_err(replica_error)
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

    fn table(&self) -> Result<Vec<u8>, ReplicaError> {
        Ok(self.db.store().table().to_bytes())
    }

    fn meet(&self, peer: Origin, table: Option<&[u8]>, closes: bool) -> Result<Meeting, ReplicaError> {
        self.meet_now(peer, table, closes).map_err(replica_error)
    }

    fn at_cut(&self, cut: u64) -> Option<Box<dyn Replica>> {
        Some(Box::new(DbReplica { db: self.db.clone(), cut, begun: Arc::default() }))
    }

    fn complete(&self, node: u64, proof: &[u8]) -> Result<(), ReplicaError> {
        self.complete_now(node, proof).map_err(replica_error)
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        self.db.store().persist().map_err(replica_error)
    }
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
