//! What a store consists of at one moment, as the manifest tells it.

use std::collections::BTreeMap;

use super::edit::Change;
use crate::horizon::Table;
use crate::quarantine::Quarantine;
use crate::types::{Compression, FileId, NodeId, Ranges, SegmentId, SeqNo, Written};

/// Length of a replica set's hash key in bytes.
pub const SET_KEY_LEN: usize = 32;

/// Greatest [`ReplicaSet::bucket_bits`].
const BUCKET_BITS_MAX: u8 = 32;

/// What all replicas of one set share and never change: without it two stores could not compare fingerprints.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaSet {
    /// Names the set.
    pub id: [u8; 16],
    /// Secret of the keyed hashes. Whoever knows it can craft collisions: treat it like a password.
    pub hash_key: [u8; SET_KEY_LEN],
    /// A key is a fence if its hash has this many trailing zero bits: one bucket holds about 2^bucket_bits keys. At
    /// most 32.
    pub bucket_bits: u8,
    /// Length of a horizon epoch in units of the hybrid clock (2^-16 ms). Not zero.
    pub epoch_len: u64,
}

impl ReplicaSet {
    /// A set of default parameters: buckets of about 128 keys, epochs of an hour.
    pub fn new(id: [u8; 16], hash_key: [u8; SET_KEY_LEN]) -> ReplicaSet {
        ReplicaSet { id, hash_key, bucket_bits: 7, epoch_len: 3_600_000 << 16 }
    }

    /// Whether a store can be of a set with these parameters.
    pub(crate) fn is_possible(&self) -> bool {
        self.bucket_bits <= BUCKET_BITS_MAX && self.epoch_len > 0
    }
}

impl std::fmt::Debug for ReplicaSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The hash key is a secret, so it stays out of logs.
        f.debug_struct("ReplicaSet")
            .field("id", &self.id)
            .field("bucket_bits", &self.bucket_bits)
            .finish_non_exhaustive()
    }
}

/// A flushed segment that is kept for the change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retained {
    /// Where its records end.
    pub(crate) end: u64,
    /// Bytes that it takes on disk: more than `end` if a recovery closed it.
    pub(crate) file_len: u64,
}

/// One state of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) set: ReplicaSet,
    /// This directory's node id.
    pub(crate) node: NodeId,
    /// How often the store was opened for writing.
    pub(crate) opens: u64,
    /// A copy of another directory, which must take a node id of its own before its first write.
    pub(crate) is_copy: bool,
    /// Stamp (clock part) up to which every owner is proven to hold everything.
    pub(crate) horizon: u64,
    /// Who belongs to the set and what is proven of whom, as far as this store knows.
    pub(crate) table: Table,
    /// Every commit up to here is in the runs.
    pub(crate) flushed: SeqNo,
    /// Highest clock value of any flushed entry.
    pub(crate) clock_floor: u64,
    /// First segment that may hold commits above `flushed`; later ones are found by their names.
    pub(crate) log_start: SegmentId,
    /// Where segments from `log_start` on end that were closed by a recovery instead of a footer.
    pub(crate) log_ends: BTreeMap<SegmentId, u64>,
    /// Segments below `log_start` that are kept for the large values in them, with their readable length in bytes.
    pub(crate) value_segments: BTreeMap<SegmentId, u64>,
    /// Flushed segments are kept for the change feed up to this many bytes.
    pub(crate) retain_log_bytes: u64,
    /// Segments below `log_start` that are kept for the change feed; together they hold every commit from the first of
    /// them on.
    pub(crate) retained: BTreeMap<SegmentId, Retained>,
    /// The change feed does not begin before this commit: the newest ingest, which is not in the log, came with it.
    pub(crate) feed_from: SeqNo,
    /// Runs, newest first.
    pub(crate) runs: Vec<FileId>,
    /// What of them is passed over.
    pub(crate) holes: BTreeMap<FileId, Ranges<()>>,
    /// What is unknown for damage.
    pub(crate) quarantine: Quarantine,
    /// Merkle files as of `flushed`: one full file, then deltas, oldest first.
    pub(crate) merkle: Vec<FileId>,
    /// The least number not yet given to a run or Merkle file.
    pub(crate) next_file: FileId,
    /// How blocks of new runs are stored.
    pub(crate) compression: Compression,
    /// Bytes written: committed and logged as of `flushed`.
    pub(crate) written: Written,
}

impl State {
    /// A store of `set` without any commit.
    pub(crate) fn new(set: ReplicaSet, node: NodeId) -> State {
        State {
            set,
            node,
            opens: 0,
            is_copy: false,
            horizon: 0,
            table: Table::default(),
            flushed: SeqNo::ZERO,
            clock_floor: 0,
            log_start: SegmentId(1),
            log_ends: BTreeMap::new(),
            value_segments: BTreeMap::new(),
            retain_log_bytes: 0,
            retained: BTreeMap::new(),
            feed_from: SeqNo::ZERO,
            runs: Vec::new(),
            holes: BTreeMap::new(),
            quarantine: Quarantine::default(),
            merkle: Vec::new(),
            next_file: FileId(1),
            compression: Compression::None,
            written: Written::default(),
        }
    }

    /// This state after `change`.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Opened { node, opens } => {
                if self.node != *node {
                    // A copy is no member of the set until it is admitted.
                    self.table = Table::default();
                }
                self.table.opened(*node, *opens);
                self.node = *node;
                self.opens = *opens;
                self.is_copy = false;
            }
            Change::MarkedAsCopy => self.is_copy = true,
            Change::Table(table) => self.table.merge(table),
            Change::Horizon(horizon) => self.horizon = self.horizon.max(*horizon),
            Change::Flushed { seqno, clock_floor, log_start } => {
                self.flushed = *seqno;
                self.clock_floor = self.clock_floor.max(*clock_floor);
                self.log_start = *log_start;
                self.log_ends.retain(|id, _| id >= log_start);
            }
            Change::LogEnd { segment, end } => {
                self.log_ends.insert(*segment, *end);
            }
            Change::ValueSegment { segment, len } => {
                self.value_segments.insert(*segment, *len);
            }
            Change::RemoveValueSegment(segment) => {
                self.value_segments.remove(segment);
            }
            Change::Runs(runs) => {
                self.runs.clone_from(runs);
                self.holes.retain(|run, _| runs.contains(run));
            }
            Change::Hole { run, range } => self.holes.entry(*run).or_default().insert(range.clone(), ()),
            Change::Unknown { span, floor } => self.quarantine.spans.add(span.clone(), *floor),
            Change::Known(range) => self.quarantine.spans.heal(range),
            Change::LostValue { key, value } => self.quarantine.lose(key.clone(), *value),
            Change::FoundValue(key) => {
                self.quarantine.lost.remove(key);
            }
            Change::Merkle(files) => self.merkle.clone_from(files),
            Change::NextFile(next) => self.next_file = self.next_file.max(*next),
            Change::RetainLog(bytes) => self.retain_log_bytes = *bytes,
            Change::Retained { segment, retained } => {
                self.retained.insert(*segment, *retained);
            }
            Change::RetainedFrom(segment) => self.retained = self.retained.split_off(segment),
            Change::FeedFrom(seqno) => self.feed_from = *seqno,
            Change::Compression(compression) => self.compression = *compression,
            Change::Written(written) => self.written = *written,
        }
    }

    /// The changes that lead from [`State::new`] of the same set and node to this state.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            Change::Opened { node: self.node, opens: self.opens },
            Change::Horizon(self.horizon),
            Change::Table(self.table.clone()),
            Change::Flushed { seqno: self.flushed, clock_floor: self.clock_floor, log_start: self.log_start },
            Change::Runs(self.runs.clone()),
            Change::Merkle(self.merkle.clone()),
            Change::NextFile(self.next_file),
            Change::Written(self.written),
        ];
        if self.retain_log_bytes != 0 {
            changes.push(Change::RetainLog(self.retain_log_bytes));
        }
        if self.feed_from != SeqNo::ZERO {
            changes.push(Change::FeedFrom(self.feed_from));
        }
        if self.compression != Compression::None {
            changes.push(Change::Compression(self.compression));
        }
        if self.is_copy {
            changes.push(Change::MarkedAsCopy);
        }
        changes.extend(self.log_ends.iter().map(|(&segment, &end)| Change::LogEnd { segment, end }));
        changes
            .extend(self.value_segments.iter().map(|(&segment, &len)| Change::ValueSegment { segment, len }));
        for (&run, holes) in &self.holes {
            changes.extend(holes.iter().map(|(range, ())| Change::Hole { run, range: range.clone() }));
        }
        let spans = self.quarantine.spans.ranges().iter();
        changes.extend(spans.map(|(span, floor)| Change::Unknown { span: span.clone(), floor: *floor }));
        let lost = self.quarantine.lost.iter();
        changes.extend(lost.map(|(key, &value)| Change::LostValue { key: key.clone(), value }));
        let retained = self.retained.iter();
        changes.extend(retained.map(|(&segment, &retained)| Change::Retained { segment, retained }));
        changes
    }
}
