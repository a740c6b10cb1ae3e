//! Healing what a store has lost with what a replica has: spans of unknown keys, and large values.
//!
//! Easy to get wrong: the entries must be *all* that the replica has of the keys, read at one cut, and the replica must
//! know all of them itself.

use sync_proto::{Entry, KeyRange};

use super::DbReplica;
use super::convert::{to_range, to_write};
use crate::db::{HealReport, LostValue};
use crate::error::Result;
use crate::quarantine;

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
}
