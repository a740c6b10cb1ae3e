//! Healing: what a store has lost is taken from a replica, exactly that and nothing else.
//!
//! Easy to get wrong: of a span the replica has to give *all* that it has, at the higher of the two horizons; and a part of a
//! span that is too much at once is healed as one that ends where the rest begins.

use super::Db;
use crate::clock::HybridClock;
use crate::compaction::Healed;
use crate::error::{Error, Result};
use crate::quarantine;
use crate::store::{Measure, Prepared, Write, is_merged, replicated};
use crate::types::{Head, KeyRange, RangeSum, Ranges, Slice, successor};

/// Bytes of keys and values that are healed at once, or one entry.
const PART_BYTES: u64 = 16 << 20;

/// What healing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "what was deferred is still lost"]
pub struct HealReport {
    /// Entries of the replica that were taken.
    pub taken: u64,
    /// Entries that were left here and stay, for they are news to the replica.
    pub kept: u64,
    /// Entries that were left here and are gone, for the replica is known to have had them and has them no more.
    pub dropped: u64,
    /// Entries of the replica that were not taken, because their stamps lie too far ahead. Their keys stay unknown until they are
    /// healed later.
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
    /// large values of entries that both have, or, of a key that a resolver merges, of which the replica has any entry. Durable
    /// when it returns; what was healed before an error stays. What nobody has met yet is not healed: [`Db::scrub`] looks
    /// for it.
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
    /// `NoSession` if `replica` is of another set or this very node, never held anything, or is no owner of a set that has
    /// members; `Unknown` if it does not know the keys itself; `ReadOnly`, `Poisoned`, `Io`.
    pub fn heal_from(&self, replica: &Db) -> Result<HealReport> {
        self.check_writable()?;
        let (node, peer) = (self.node_id(), replica.node_id());
        if self.replica_set() != replica.replica_set() || node == peer {
            return Err(Error::NoSession { node, peer, why: "only another replica of the set can heal" });
        }
        let cut = self.store().horizon().max(replica.store().horizon());
        let is_lost = !self.store().unknown().is_empty();
        // Without a horizon nothing is dropped, so whoever holds nothing then never held anything.
        let is_new =
            replica.store().horizon() == 0 && replica.store().known_sum(&replicated())? == RangeSum::ZERO;
        if is_lost && (is_new || !self.store().may_heal(peer, cut)?) {
            return Err(Error::NoSession {
                node,
                peer,
                why: "only an owner of the set that has held its data can heal",
            });
        }
        let mut report = HealReport::NOTHING;
        let mut deferred = Ranges::default();
        let next = |deferred: &Ranges<()>| {
            let unknown = self.store().unknown();
            unknown.ranges().iter().map(|(span, _)| span).find(|span| !deferred.covers(span)).cloned()
        };
        // Healing looks at what is left, and may so meet more.
        while let Some(span) = next(&deferred) {
            let (range, entries, cut) = replica.give(span, cut)?;
            let (healed, ahead) = self.heal(&range, entries, cut)?;
            report.add(healed);
            ahead.iter().for_each(|(key, ())| deferred.insert(key.clone(), ()));
        }
        for (key, lost) in self.store().lost_values() {
            match replica.give_value(&key, lost)? {
                Some(entry) if self.heal_lost(lost, &entry)? => report.values += 1,
                Some(entry) => report.deferred += u64::from(self.is_ahead(&entry)),
                None => {}
            }
        }
        Ok(report)
    }

    /// All entries of `range`, or of a part from its beginning, that end after `cut` or after the store's own horizon, durable;
    /// the part, and the higher of the two. The horizon may have risen since `cut` was settled, and merges may have dropped
    /// what has ended by it: what the answer lacks must not be taken for what was never there.
    fn give(&self, mut range: KeyRange, cut: u64) -> Result<(KeyRange, Vec<Write>, u64)> {
        let store = self.store();
        let (view, seqno) = store.read_point();
        let cut = cut.max(store.horizon());
        let ended = store.measure.ended(cut);
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
            entries.push(given(key, head, value));
            if bytes >= PART_BYTES {
                range.end = Some(end);
                break;
            }
        }
        store.persist()?;
        Ok((range, entries, cut))
    }

    /// The entry whose value somebody has lost, durable, if this store has it. Of a key that a resolver merges, whatever entry
    /// it has: a session would have to merge it into the lost one.
    fn give_value(&self, key: &[u8], lost: quarantine::LostValue) -> Result<Option<Write>> {
        let store = self.store();
        let (view, seqno) = store.read_point();
        let head = view.head(key, store.measure.hasher.key(key), seqno).map_err(|error| store.met(error))?;
        let is_same = |head: &Head| (head.stamp, head.digest) == (lost.stamp, lost.digest);
        let Some(head) = head.filter(|head| is_merged(key) || is_same(head)) else { return Ok(None) };
        let value = view.value(&head, &store.measure.hasher);
        let value = value.map_err(|error| store.met_value(key, (head.stamp, head.digest), error))?;
        store.persist()?;
        Ok(Some(given(key.to_vec(), head, value)))
    }

    /// Replaces what is left of `range`, all of which is unknown, by `entries`, which are all that a replica has of it that
    /// ends after `cut` (clock units); then it is known, but for the keys of entries that lie too far ahead, which are returned:
    /// what else would show there is older than what the replica has.
    ///
    /// # Errors
    /// `InvalidArgument` if `range` is not unknown or an entry lies outside; `ReadOnly`, `Poisoned`, `Io`.
    pub(crate) fn heal(
        &self,
        range: &KeyRange,
        entries: Vec<Write>,
        cut: u64,
    ) -> Result<(HealReport, Ranges<()>)> {
        self.check_writable()?;
        if entries.iter().any(|entry| !range.contains(&entry.key)) {
            return Err(Error::invalid("an entry lies outside of what it should heal"));
        }
        let (ahead, mut entries): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| self.is_ahead(entry));
        let mut deferred = Ranges::default();
        ahead.iter().for_each(|entry| {
            deferred.insert(KeyRange::new(&entry.key[..], Some(successor(&entry.key))), ())
        });
        let mut report =
            HealReport { deferred: ahead.len() as u64, is_exact: ahead.is_empty(), ..HealReport::NOTHING };
        entries.retain(|entry| deferred.find(&entry.key).is_none());
        for part in deferred.between(range) {
            if part.is_empty() {
                continue;
            }
            let within;
            (within, entries) = entries.into_iter().partition(|entry| part.contains(&entry.key));
            let Healed { taken, kept, dropped, is_exact } = self.maintenance().heal(&part, within, cut)?;
            report.add(HealReport { taken, kept, dropped, is_exact, ..HealReport::NOTHING });
        }
        Ok((report, deferred))
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

    /// Gives the entry that has lost its value that of `entry`, a replica's of the same key, if it is the same entry; of a key that
    /// a resolver merges, puts `entry` in its place. `false` if it is another one, lies too far ahead, or the key has another
    /// entry by now.
    ///
    /// # Errors
    /// `Unknown`, `ReadOnly`, `Poisoned`, `Io`.
    pub(crate) fn heal_lost(&self, lost: quarantine::LostValue, entry: &Write) -> Result<bool> {
        if is_same(entry, lost, &self.store().measure) {
            return self.heal_value(&entry.key, lost, &entry.value);
        }
        Ok(is_merged(&entry.key) && !self.is_ahead(entry) && self.heal_merged(lost, entry)?)
    }

    /// As [`Db::heal_value`], of a key that a resolver merges: `entry`, another one, takes the place of the one that has lost its
    /// value.
    fn heal_merged(&self, lost: quarantine::LostValue, entry: &Write) -> Result<bool> {
        self.maintenance().make_room(|| entry.len())?;
        self.store().heal_merged(lost, entry)
    }

    /// Whether an entry's stamp lies beyond the drift that is allowed.
    fn is_ahead(&self, entry: &Write) -> bool {
        entry.stamp.is_some_and(|stamp| HybridClock::excess_drift_ms(stamp.hlc, self.now_ms()).is_some())
    }
}

/// An entry as another store takes it.
fn given(key: Vec<u8>, head: Head, value: Slice) -> Write {
    let Head { kind, stamp, expires_at, meta, .. } = head;
    let (key, stamp, prepared) = (Slice::from(key), Some(stamp), Prepared::default());
    Write { key, kind, stamp, expires_at, meta, value, prepared }
}

/// Whether `entry` is the one that has lost its value.
fn is_same(entry: &Write, lost: quarantine::LostValue, measure: &Measure) -> bool {
    entry.stamp == Some(lost.stamp) && measure.hasher.value(&entry.value) == lost.digest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{ManualClock, SeededEntropy};
    use crate::vfs::{MemoryVfs, Vfs};
    use crate::{Builder, Environment};

    const HOUR_MS: u64 = 3_600_000;

    fn builder(vfs: &MemoryVfs, clock: &Arc<ManualClock>, seed: u64) -> Builder {
        let (vfs, wall_clock): (Arc<dyn Vfs>, _) = (Arc::new(vfs.clone()), clock.clone());
        let environment = Environment { vfs, wall_clock, entropy: Arc::new(SeededEntropy::new(seed)) };
        Db::builder("/db").environment(environment).background(false)
    }

    #[test]
    fn what_was_deleted_stays_so_if_the_horizon_rises_before_the_replica_answers() {
        let (vfs, clock) = (MemoryVfs::new(), Arc::new(ManualClock::new(1_700_000_000_000)));
        let db = builder(&vfs, &clock, 1).create().expect("a new store");
        db.put("key", "an older version").expect("put");
        db.flush().expect("flush");
        db.delete("key").expect("delete");
        db.put("kez", "lost").expect("put");
        db.flush().expect("flush");
        let replica =
            builder(&MemoryVfs::new(), &clock, 2).create_replica(&db.replica_set()).expect("a twin");
        let mut stream = Vec::new();
        db.export(&mut stream, |_| true).expect("export");
        let _ = replica.import(&stream[..], |_| true).expect("import");
        db.close().expect("closed");
        let run_with_loss = || {
            let names = vfs.list("/db".as_ref()).expect("list").into_iter();
            let paths = names.map(|name| std::path::Path::new("/db").join(name));
            paths.filter_map(|path| {
                let bytes =
                    vfs.bytes(&path).ok().filter(|_| path.extension().is_some_and(|kind| kind == "run"))?;
                Some((bytes.windows(4).position(|window| window == b"lost")?, path))
            })
        };
        let (at, path) = run_with_loss().next().expect("a run has it");
        vfs.flip(&path, at, 4).expect("flip");
        let db = builder(&vfs, &clock, 1).open().expect("opened");
        assert!(matches!(db.get("key"), Err(Error::Unknown { .. })));

        let cut = db.store().horizon().max(replica.store().horizon());
        clock.advance(10 * HOUR_MS);
        let through = (replica.now_ms() - HOUR_MS) << 16;
        assert_eq!(replica.close_through(through).expect("closed"), replica.raise_horizon().expect("proven"));
        let (range, entries, cut) =
            replica.give(db.unknown_spans().remove(0).stored_span, cut).expect("given");
        assert_eq!(entries.len(), 1, "the tombstone has ended by the horizon");
        let _ = db.heal(&range, entries, cut).expect("healed");
        assert_eq!(db.get("key").expect("known"), None);
        assert_eq!(db.get("kez").expect("known").as_deref(), Some(&b"lost"[..]));
        assert_eq!(db.store().horizon(), replica.store().horizon());
    }
}
