//! [`Stats`] and [`Health`]: what a store tells about itself.

use super::Db;
use crate::error::Result;
use crate::store::AtUnknown;
use crate::types::{Compression, Fingerprint, SeqNo, Written};

/// Whether a store takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It does.
    Good,
    /// It does, but what it held of some keys is lost until it is healed from a replica.
    Damaged {
        /// Number of spans whose keys are unknown; [`Db::unknown_spans`] names them.
        unknown_spans: u64,
        /// Number of large values that are lost while their entries are intact; [`Db::lost_values`] names them.
        lost_values: u64,
    },
    /// It was opened for reading.
    ReadOnly,
    /// A write failed; the store reads at its durable state until it is reopened.
    Poisoned {
        /// The first failure.
        reason: String,
    },
}

/// Sizes and counts of a store. While keys are unknown for damage, what is counted is the rest. Everything is as of the call
/// and costs no walk over entries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys with a value, over all keyspaces, the catalogue not counted.
    pub entries: u64,
    /// Tombstones, over all keyspaces.
    pub tombstones: u64,
    /// Bytes of keys and values of both.
    pub live_bytes: u64,
    /// Fingerprint of everything replicated. While keys are unknown it is good for nothing; [`Db::root`] refuses it then.
    pub root_fingerprint: Fingerprint,
    /// Number of keyspaces.
    pub keyspaces: u64,
    /// The newest visible commit.
    pub visible: SeqNo,
    /// The newest durable commit.
    pub durable: SeqNo,
    /// The newest commit that is in the runs.
    pub flushed: SeqNo,
    /// Number of runs.
    pub runs: u64,
    /// Bytes of runs.
    pub run_bytes: u64,
    /// How blocks of new runs are stored.
    pub compression: Compression,
    /// Log segments that are kept for their large values.
    pub value_segments: u64,
    /// Bytes of those segments.
    pub value_segment_bytes: u64,
    /// Bytes of large values in them that a run still points to; the rest is garbage.
    pub value_live_bytes: u64,
    /// Flushed segments that are kept for the change feed; some of them may be kept for their large values as well.
    pub retained_segments: u64,
    /// Bytes of those segments on disk.
    pub retained_segment_bytes: u64,
    /// Bytes in memtables.
    pub memtable_bytes: u64,
    /// Bytes of log records that no flush has taken over yet.
    pub log_bytes: u64,
    /// Entries of all runs, tombstones included.
    pub run_entries: u64,
    /// Those of them that a newer run's version of the same key hides.
    pub shadowed_entries: u64,
    /// Bytes written since the store was created.
    pub written: Written,
    /// Buckets of the Merkle index.
    pub buckets: u64,
    /// What ended at or before this may go: a clock value, as in [`HorizonStatus`](super::HorizonStatus).
    pub horizon: u64,
    /// Spans whose keys are unknown for damage; [`Db::unknown_spans`] names them.
    pub unknown_spans: u64,
    /// Large values that are lost while their entries are intact; [`Db::lost_values`] names them.
    pub lost_values: u64,
    /// Whether writes are taken.
    pub health: Health,
}

impl Stats {
    /// Bytes written to files for each byte committed, since the store was created; zero before the first commit.
    pub fn write_amplification(&self) -> f64 {
        self.written.amplification()
    }

    /// Bytes of runs, log and segments kept for large values for each byte of keys and values in the store; zero if it is empty.
    pub fn space_amplification(&self) -> f64 {
        let bytes = self.run_bytes + self.value_segment_bytes + self.log_bytes;
        if self.live_bytes == 0 { 0.0 } else { bytes as f64 / self.live_bytes as f64 }
    }

    /// Bytes that compaction can give back: values that no run points to, and, as if all entries were of one length,
    /// entries that newer ones hide.
    pub fn garbage_bytes(&self) -> u64 {
        let hidden = u128::from(self.run_bytes) * u128::from(self.shadowed_entries);
        let hidden = hidden / u128::from(self.run_entries.max(1));
        self.value_segment_bytes.saturating_sub(self.value_live_bytes) + hidden as u64
    }

    pub(super) fn of(db: &Db) -> Result<Stats> {
        let store = db.store();
        let root = store.known_sum(&crate::store::replicated())?;
        let catalogue = store.known_sum(&crate::store::Prefix::CATALOGUE.whole())?;
        let user = root - catalogue;
        let sizes = store.sizes();
        let (unknown_spans, lost_values) = store.damage_counts();
        Ok(Stats {
            entries: user.counts.live,
            tombstones: user.counts.tombstones,
            live_bytes: user.counts.bytes,
            root_fingerprint: root.fingerprint,
            keyspaces: db.keyspaces_by(AtUnknown::Skip)?.len() as u64,
            visible: sizes.visible,
            durable: sizes.durable,
            flushed: sizes.flushed,
            runs: sizes.runs,
            run_bytes: sizes.run_bytes,
            compression: store.identity().compression,
            value_segments: sizes.value_segments,
            value_segment_bytes: sizes.value_segment_bytes,
            value_live_bytes: sizes.value_live_bytes,
            retained_segments: sizes.retained_segments,
            retained_segment_bytes: sizes.retained_segment_bytes,
            memtable_bytes: sizes.memtable_bytes,
            log_bytes: sizes.log_bytes,
            run_entries: sizes.run_entries,
            shadowed_entries: sizes.shadowed_entries,
            written: sizes.written,
            buckets: sizes.buckets,
            horizon: sizes.horizon,
            unknown_spans,
            lost_values,
            health: db.health(),
        })
    }
}
