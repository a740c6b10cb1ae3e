//! Healing: what a store has lost is taken from a replica, exactly that and nothing else.
//!
//! Easy to get wrong: of a span the replica has to give *all* that it has, at the higher of the two horizons; and a part of a
//! span that is too much at once is healed as one that ends where the rest begins.

use super::Db;
use crate::clock::HybridClock;
use crate::compaction::Healed;
use crate::error::{Error, Result};
use crate::quarantine;
use crate::store::{Prepared, Write};
use crate::types::{KeyRange, Slice, successor};

/// Bytes of keys and values that are healed at once, or one entry.
const PART_BYTES: u64 = 16 << 20;

/// What healing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealReport {
    /// Entries of the replica that were taken.
    pub taken: u64,
    /// Entries that were left here and stay, for they are news to the replica.
    pub kept: u64,
    /// Entries that were left here and are gone, for the replica is known to have had them and has them no more.
    pub dropped: u64,
    /// Entries of the replica that were not taken, because their stamps lie too far ahead; a session brings them later.
    pub deferred: u64,
    /// Lost values that are there again.
    pub values: u64,
    /// Whether all sums are what they were before the damage. They need not be if the replica had more or less of the keys, if
    /// there were writes since, or if several spans touched one bucket.
    pub is_exact: bool,
}

impl HealReport {
    const NOTHING: HealReport =
        HealReport { taken: 0, kept: 0, dropped: 0, deferred: 0, values: 0, is_exact: true };

    fn add(&mut self, other: HealReport) {
        self.taken += other.taken;
        self.kept += other.kept;
        self.dropped += other.dropped;
        self.deferred += other.deferred;
        self.values += other.values;
        self.is_exact &= other.is_exact;
    }
}

impl Db {
    /// Takes everything that this store knows to have lost from `replica`, another store of the set: spans of unknown keys, and
    /// large values of entries that both have. Durable when it returns; what was healed before an error stays. What nobody
    /// has met yet is not healed: [`Db::scrub`] looks for it.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let db = syncline::Db::builder(dir.path().join("a")).create()?;
    /// # let replica = syncline::Db::builder(dir.path().join("b")).create_replica(&db.replica_set())?;
    /// let healed = db.heal_from(&replica)?;
    /// assert!(db.unknown_spans().is_empty());
    /// # assert_eq!((healed.taken, healed.is_exact), (0, true));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `NoSession` if `replica` is of another set or this very node; `Unknown` if it does not know the keys itself;
    /// `ReadOnly`, `Poisoned`, `Io`.
    pub fn heal_from(&self, replica: &Db) -> Result<HealReport> {
        self.check_writable()?;
        let (node, peer) = (self.node_id(), replica.node_id());
        if self.replica_set() != replica.replica_set() || node == peer {
            return Err(Error::NoSession { node, peer, why: "only another replica of the set can heal" });
        }
        let cut = self.store().horizon().max(replica.store().horizon());
        let mut report = HealReport::NOTHING;
        // Healing looks at what is left, and may so meet more.
        while let Some(unknown) = self.unknown_spans().into_iter().next() {
            let (range, entries) = replica.give(unknown.span, cut)?;
            report.add(self.heal(&range, entries, cut)?);
        }
        for (key, lost) in self.store().lost_values() {
            if let Some(value) = replica.give_value(&key, lost)? {
                report.values += u64::from(self.heal_value(&key, lost, &value)?);
            }
        }
        Ok(report)
    }

    /// All entries of `range`, or of a part from its beginning, that end after `cut`, durable.
    fn give(&self, mut range: KeyRange, cut: u64) -> Result<(KeyRange, Vec<Write>)> {
        let store = self.store();
        let (view, seqno) = store.read_point();
        let ended = store.measure.ended(cut.max(store.horizon()));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for found in view.walk(&range, seqno) {
            let (key, head) = found.map_err(|error| store.met(error))?;
            if store.measure.has_ended(&head, ended) {
                continue;
            }
            let value = view.value(&head, &store.measure.hasher);
            let value = value.map_err(|error| store.met_value(&key, (head.stamp, head.digest), error))?;
            bytes += (key.len() + head.meta.len() + value.len()) as u64;
            let end = successor(&key);
            let (kind, stamp, expires_at, prepared) =
                (head.kind, Some(head.stamp), head.expires_at, Prepared::default());
            let key = Slice::from(key);
            entries.push(Write { key, kind, stamp, expires_at, meta: head.meta, value, prepared });
            if bytes >= PART_BYTES {
                range.end = Some(end);
                break;
            }
        }
        store.persist()?;
        Ok((range, entries))
    }

    /// The value that somebody has lost, if this store has the same entry.
    fn give_value(&self, key: &[u8], lost: quarantine::LostValue) -> Result<Option<Slice>> {
        let store = self.store();
        let (view, seqno) = store.read_point();
        let head = view.head(key, store.measure.hasher.key(key), seqno).map_err(|error| store.met(error))?;
        let same = head.filter(|head| (head.stamp, head.digest) == (lost.stamp, lost.digest));
        let Some(head) = same else { return Ok(None) };
        let value = view.value(&head, &store.measure.hasher);
        let value = value.map_err(|error| store.met_value(key, (head.stamp, head.digest), error))?;
        store.persist()?;
        Ok(Some(value))
    }

    /// Replaces what is left of `range`, all of which is unknown, by `entries`, which are all that a replica has of it that
    /// ends after `cut` (clock units); then it is known.
    ///
    /// # Errors
    /// `InvalidArgument` if `range` is not unknown or an entry lies outside; `ReadOnly`, `Poisoned`, `Io`.
    pub(crate) fn heal(&self, range: &KeyRange, entries: Vec<Write>, cut: u64) -> Result<HealReport> {
        self.check_writable()?;
        let now_ms = self.now_ms();
        let is_ahead = |write: &Write| {
            write.stamp.is_some_and(|stamp| HybridClock::excess_drift_ms(stamp.hlc, now_ms).is_some())
        };
        let (ahead, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_ahead);
        let Healed { taken, kept, dropped, is_exact } = self.maintenance().heal(range, entries, cut)?;
        Ok(HealReport { taken, kept, dropped, deferred: ahead.len() as u64, values: 0, is_exact })
    }

    /// Makes `value` the one of `key`'s entry that has lost it. `false` if the key has another entry by now.
    ///
    /// # Errors
    /// `InvalidArgument` if the value has another digest; `Unknown`, `ReadOnly`, `Poisoned`, `Io`.
    pub(crate) fn heal_value(&self, key: &[u8], lost: quarantine::LostValue, value: &[u8]) -> Result<bool> {
        self.check_writable()?;
        self.maintenance().make_room(|| (key.len() + value.len()) as u64)?;
        self.store().heal_value(key, lost, value)
    }
}
