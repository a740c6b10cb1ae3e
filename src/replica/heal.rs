//! Healing what a store has lost with what a replica has: spans of unknown keys, and large values. Both sides of it, for
//! sessions.
//!
//! Easy to get wrong: the entries must be *all* that the replica has of the keys, read at one cut, and the replica must
//! know all of them itself. What it cannot give (unknown keys of its own, values of its own that are lost, long ones that
//! a resolver merges) it leaves out of the range.

use sync_proto::{Applied, Entry, Healing, KeyRange, Lost, Origin, ReadLimit};

use super::DbReplica;
use super::convert::{to_entry, to_range, to_write};
use crate::db::{HealReport, LostValue};
use crate::error::{Error, Result};
use crate::quarantine;
use crate::store::{View, Write, is_merged, replicated};
use crate::types::{NodeId, SeqNo, successor};

/// What one moment of a store gives to a peer that asks for a range.
enum Given {
    Healing(Option<Healing>),
    /// Damage was met that is known from here on: another moment gives another answer.
    Damage,
}

impl DbReplica {
    /// The ranges of unknown keys, in order: what [`DbReplica::heal`] can be asked for.
    pub fn unknown_ranges(&self) -> Vec<KeyRange> {
        self.db.store().unknown().ranges().iter().map(|(span, _)| span.clone().into()).collect()
    }

    /// Makes `range`, all of which is unknown, known again, durably, when it returns: it holds `entries` from then on, which
    /// are all that a replica has of it that ends after `cut`, the higher of the two stores' horizons (clock part), and what
    /// was left of it and is news to the replica. The store takes `cut` for its own horizon. What is large can be healed in
    /// parts, each at a cut of its own: the replica's horizon may rise meanwhile, so it has to be read after the entries (or
    /// after the snapshot that they are read from was taken, which [`Replica::pin`](sync_proto::Replica::pin) is not: what it
    /// sends is current), never before, or what was deleted comes back. The
    /// keys of entries whose stamps lie too far ahead stay unknown.
    ///
    /// # Errors
    /// `InvalidArgument` if a key is not unknown or an entry lies outside; `ReadOnly`, `Poisoned`, `Io`.
    pub fn heal(&self, range: &KeyRange, entries: Vec<Entry>, cut: u64) -> Result<HealReport> {
        let writes = entries.into_iter().map(to_write).collect::<Result<Vec<_>>>()?;
        Ok(self.db.heal(&to_range(range), writes, cut)?.0)
    }

    /// Makes `value` the one of the entry that has lost it, durably. `false` if the key has another entry by now.
    ///
    /// # Errors
    /// `InvalidArgument` if the value has another digest; `ReadOnly`, `Poisoned`, `Unknown`, `Io`.
    pub fn heal_value(&self, lost: &LostValue, value: &[u8]) -> Result<bool> {
        let entry = quarantine::LostValue { stamp: lost.stamp, digest: lost.value_digest };
        self.db.heal_value(&lost.stored_key, entry, value)
    }

    /// What of the replicated keys is lost.
    pub(super) fn lost_now(&self) -> Lost {
        let (store, all) = (self.db.store(), KeyRange::from(replicated()));
        let unknown = store.unknown();
        let spans = unknown.ranges().iter().map(|(span, _)| KeyRange::from(span.clone()).intersection(&all));
        Lost {
            spans: spans.filter(|span| !span.is_empty()).collect(),
            values: store.lost_values().into_iter().map(|(key, _)| key).collect(),
        }
    }

    /// All that the store holds of the first part of `range` that it knows wholly.
    pub(super) fn healing_now(
        &self,
        range: &KeyRange,
        cut: u64,
        limit: ReadLimit,
    ) -> Result<Option<Healing>> {
        loop {
            let (view, seqno) = self.db.store().read_point();
            // After the moment is pinned: what the horizon has passed by then may be missing from it, and is left out.
            let cut = cut.max(self.db.store().horizon());
            if let Given::Healing(healing) = self.given((&view, seqno), range.clone(), cut, limit)? {
                return Ok(healing);
            }
        }
    }

    fn given(
        &self,
        (view, seqno): (&View, SeqNo),
        mut range: KeyRange,
        cut: u64,
        limit: ReadLimit,
    ) -> Result<Given> {
        let (store, ended) = (self.db.store(), self.db.store().measure.ended(cut));
        'parts: loop {
            let known = view.unknown.ranges().between(&to_range(&range));
            let Some(known) = known.into_iter().find(|part| !part.is_empty()) else {
                return Ok(Given::Healing(None));
            };
            let mut healing =
                Healing { range: known.clone().into(), cut, entries: Vec::new(), value_len: None };
            let mut bytes = 0;
            for found in view.walk(&known, seqno) {
                let (key, head) = match found {
                    Err(error) if store.quarantine(&error)?.is_some() => return Ok(Given::Damage),
                    found => found?,
                };
                if store.measure.has_ended(&head, ended) {
                    continue;
                }
                let is_long = head.value.len() > u64::from(limit.bytes);
                // What a resolver merges may change under its stamp, so its parts need not be of one value.
                let entry = match is_long {
                    true if is_merged(&key) || store.has_lost_value(&key) => None,
                    true => Some(to_entry(key.clone(), &head, Vec::new())),
                    false => {
                        let value = store.value_unless_lost(view, &key, &head)?;
                        value.map(|value| to_entry(key.clone(), &head, value.to_vec()))
                    }
                };
                let is_first = healing.range.start == key;
                bytes +=
                    entry.as_ref().map_or(0, |entry| entry.key.len() + entry.meta.len() + entry.value.len());
                let count = healing.entries.len();
                let is_full = count > 0 && (count >= limit.count as usize || bytes > limit.bytes as usize);
                match entry {
                    None if is_first => {
                        range.start = successor(&key);
                        continue 'parts;
                    }
                    Some(entry) if is_long && is_first => {
                        healing.range.end = Some(successor(&key));
                        (healing.entries, healing.value_len) = (vec![entry], Some(head.value.len()));
                        break;
                    }
                    Some(entry) if !is_long && !is_full => healing.entries.push(entry),
                    _ => {
                        healing.range.end = Some(key);
                        break;
                    }
                }
            }
            return Ok(Given::Healing(Some(healing)));
        }
    }

    /// Takes what a peer sent to heal a range, as far as it is unknown.
    pub(super) fn heal_now(&self, healing: Healing, origin: Origin) -> Result<Applied> {
        let (store, Healing { mut range, cut, entries, .. }) = (self.db.store(), healing);
        let count = entries.len() as u64;
        if !store.may_heal(NodeId(origin.node), cut)? {
            return Ok(Applied { refused: count, ..Applied::default() });
        }
        let mut writes = entries.into_iter().map(to_write).collect::<Result<Vec<_>>>()?;
        // No keys are beside those that are replicated, so a span that reaches there is healed with them.
        let all = KeyRange::from(replicated());
        if range.start == all.start {
            range.start = Vec::new();
        }
        if range.end == all.end {
            range.end = None;
        }
        let mut applied = Applied::default();
        let unknown = store.unknown();
        for (span, _) in unknown.ranges().overlapping(&to_range(&range)) {
            let part = to_range(&KeyRange::from(span.clone()).intersection(&range));
            let within;
            (within, writes) = writes.into_iter().partition(|write: &Write| part.contains(&write.key));
            let part_count = within.len() as u64;
            match self.db.heal(&part, within, cut) {
                Ok((report, _)) => {
                    applied.applied += report.taken;
                    applied.deferred += report.deferred;
                }
                // Somebody else has healed it since, or a resolver is not at hand.
                Err(Error::InvalidArgument { .. }) => applied.refused += part_count,
                Err(error) => return Err(error),
            }
        }
        applied.covered = count - applied.applied - applied.deferred - applied.refused;
        Ok(applied)
    }

    /// Gives back their values to entries that have lost them. Returns the writes that do something else, and how many did this.
    pub(super) fn heal_values(&self, mut writes: Vec<Write>) -> Result<(Vec<Write>, u64)> {
        let lost = self.db.store().lost_values_of(writes.iter().map(|write| &write.key[..]));
        let before = writes.len();
        for (key, lost) in lost {
            let same_key = writes.extract_if(.., |write| write.key[..] == key).collect::<Vec<_>>();
            for write in same_key {
                if !self.db.heal_lost(lost, &write)? {
                    writes.push(write);
                }
            }
        }
        let healed = (before - writes.len()) as u64;
        Ok((writes, healed))
    }
}
