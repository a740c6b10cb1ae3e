//! What one entry counts for in sums: its hash, its counts, and the epoch of its end.
//!
//! Commits, scans, rebuilds and `verify` all count through [`Measure`], so that an entry counts the same wherever it is
//! met. Easy to get wrong: bytes are those of the *user's* key and the value, without keyspace prefix or overhead.

use std::sync::Arc;

use crate::hash::{KeyHash, PREFIX_LEN, SetHasher};
use crate::index::{HeadRef, RunValue};
use crate::types::{EntryHash, EntrySum, Epoch, Head, Kind, RangeSum};

/// How entries are hashed and counted in one store.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    pub(crate) hasher: Arc<SetHasher>,
    /// Length of an epoch in units of the hybrid clock.
    pub(crate) epoch_len: u64,
    pub(crate) bucket_bits: u8,
    /// Whether the Merkle index is kept.
    pub(crate) index: bool,
    /// Values longer than this stay in the log.
    pub(crate) inline_value_max: usize,
}

impl Measure {
    /// What `head`, the entry of inner key `key` with hash `hash`, counts for.
    pub(crate) fn entry(&self, key: &[u8], hash: KeyHash, head: &Head) -> EntrySum {
        self.count(key, head.value.len(), self.hasher.head(hash, head), head.kind, head.end())
    }

    /// As [`Measure::entry`], of a head whose value may not be digested yet.
    pub(crate) fn stored(&self, key: &[u8], hash: KeyHash, head: &HeadRef<'_>) -> EntrySum {
        let &HeadRef { stamp, kind, expires_at, meta, value, .. } = head;
        let (len, digest) = match value {
            RunValue::Inline(value) => (value.len() as u64, self.hasher.value(value)),
            RunValue::Log(location, digest) => (u64::from(location.len), digest),
        };
        let hash = self.hasher.entry(hash, stamp, kind, expires_at, meta, digest);
        self.count(key, len, hash, kind, kind.end(stamp, expires_at))
    }

    fn count(&self, key: &[u8], value_len: u64, hash: EntryHash, kind: Kind, end: Option<u64>) -> EntrySum {
        let bytes = key.len().saturating_sub(PREFIX_LEN) as u64 + value_len;
        let sum = RangeSum::of_entry(hash, kind == Kind::Put, bytes);
        EntrySum { sum, epoch: end.map(|end| Epoch(end / self.epoch_len.max(1))) }
    }

    /// The last epoch that has ended by `horizon`, in clock units; `None` if none has.
    pub(crate) fn ended(&self, horizon: u64) -> Option<Epoch> {
        let ended = horizon.checked_add(1)? / self.epoch_len.max(1);
        ended.checked_sub(1).map(Epoch).filter(|_| horizon > 0)
    }

    /// Whether `head` counts in no sum once every epoch up to and with `ended` has ended.
    pub(crate) fn has_ended(&self, head: &Head, ended: Option<Epoch>) -> bool {
        let epoch = head.end().map(|end| Epoch(end / self.epoch_len.max(1)));
        epoch.is_some() && epoch <= ended
    }

    /// The end of the last epoch that has ended by `hlc`, in clock units; 0 if none has.
    pub(crate) fn epoch_end(&self, hlc: u64) -> u64 {
        // What ends in it is at most the clock's value just before the next one begins.
        self.ended(hlc).map_or(0, |Epoch(ended)| (ended + 1).saturating_mul(self.epoch_len.max(1)) - 1)
    }

    /// The level of the fence that `key` is, if it is one.
    pub(crate) fn fence_level(&self, hash: KeyHash) -> Option<u8> {
        hash.fence_bits().checked_sub(self.bucket_bits)
    }
}
