//! [`Layout`]: what a store consists of, piece by piece, for whoever shows or diagnoses it. [`super::Stats`] has the totals.
//!
//! Easy to get wrong: live bytes are those that any run points to, whether or not a newer run hides the entry; what is hidden is
//! known in number only (`Stats::shadowed_entries`).

use super::Db;
use crate::error::Result;
use crate::merkle::{Base, DECREED, covered};
use crate::types::{FileId, RangeSum, SeqNo};

/// What a store consists of at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// The runs, newest first: reads go through them in this order.
    pub runs: Vec<RunLayout>,
    /// Flushed log segments that are kept, oldest first.
    pub segments: Vec<SegmentLayout>,
    /// Bytes in each memtable, newest first; all but the first wait for their flush.
    pub memtables: Vec<u64>,
    /// The levels of the Merkle index over what is in runs, leaves first.
    pub merkle: Vec<MerkleLevel>,
    /// The highest clock part of any stamp, in units of 2^-16 ms since the Unix epoch: by how much it lies ahead of the wall
    /// clock, somebody's clock was wrong.
    pub clock: u64,
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunLayout {
    /// Number of its file.
    pub id: u64,
    /// Length of its file.
    pub bytes: u64,
    /// Entries, tombstones included.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// Blocks, the units of reading.
    pub blocks: u64,
    /// Bytes of the filter, which is held in memory.
    pub filter_bytes: u64,
    /// The oldest commit in it.
    pub oldest: SeqNo,
    /// The newest commit in it.
    pub newest: SeqNo,
}

/// A flushed log segment that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentLayout {
    /// Its number.
    pub id: u32,
    /// Bytes of it that can be read.
    pub bytes: u64,
    /// Bytes of values in it that a run points to.
    pub live_bytes: u64,
    /// Whether it is kept for the change feed as well.
    pub is_retained: bool,
}

/// The nodes of the Merkle index whose fences are of one level or higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MerkleLevel {
    /// The level: 0 are the buckets.
    pub level: u8,
    /// Nodes of the level.
    pub nodes: u64,
    /// Bytes of their bounds and sums. Only those of level 0 are in memory; other nodes are sums of them.
    pub bytes: u64,
}

impl Layout {
    pub(super) fn of(db: &Db) -> Result<Layout> {
        let store = db.store();
        let point = store.merkle_point()?;
        let state = store.identity();
        let live = point.view.levels.referenced();
        let runs = point.view.levels.runs().iter().map(|run| {
            let properties = run.properties();
            let FileId(id) = run.id();
            RunLayout {
                id,
                bytes: run.len(),
                entries: properties.entries,
                tombstones: properties.tombstones,
                blocks: properties.blocks,
                filter_bytes: run.filter_len() as u64,
                oldest: properties.seqnos.0,
                newest: properties.seqnos.1,
            }
        });
        let segments = point.view.values.lens().map(|(id, bytes)| SegmentLayout {
            id: id.0,
            bytes,
            live_bytes: live.get(&id).copied().unwrap_or(0).min(bytes),
            is_retained: state.retained.contains_key(&id),
        });
        let memtables = std::iter::once(&point.view.active).chain(&point.view.sealed);
        Ok(Layout {
            runs: runs.collect(),
            segments: segments.collect(),
            memtables: memtables.map(|memtable| memtable.approximate_bytes() as u64).collect(),
            merkle: merkle_levels(&point.base),
            clock: store.sizes().clock,
        })
    }
}

fn merkle_levels(base: &Base) -> Vec<MerkleLevel> {
    const SUM_LEN: u64 = size_of::<RangeSum>() as u64;
    let node = |level| MerkleLevel { level, nodes: 0, bytes: 0 };
    // Nodes by the highest level that they are of; those before the first key and where keyspaces begin are of all.
    let mut highest = vec![node(0)];
    let mut all = MerkleLevel { level: 0, nodes: 1, bytes: SUM_LEN };
    let covered = covered();
    for (key, level) in base.bounds().fences(&covered, 0) {
        while level != DECREED && highest.len() <= usize::from(level) {
            highest.push(node(highest.len() as u8));
        }
        let counted = highest.get_mut(usize::from(level)).unwrap_or(&mut all);
        counted.nodes += 1;
        counted.bytes += key.len() as u64 + SUM_LEN;
    }
    let mut above = all;
    for level in highest.iter_mut().rev() {
        above.nodes += level.nodes;
        above.bytes += level.bytes;
        *level = MerkleLevel { level: level.level, ..above };
    }
    highest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Bound, Bucket};
    use crate::types::EpochSums;

    #[test]
    fn a_fence_is_a_node_of_its_level_and_all_below_and_a_decreed_bound_of_every_level() {
        let bound = |key: &[u8], level| Bound { key: [&covered().start[..], key].concat(), level };
        let bounds = [bound(b"a", 0), bound(b"b", 2), bound(b"c", DECREED), bound(b"d", 0), bound(b"e", 1)];
        let buckets = bounds.map(|bound| Bucket { bound, sums: EpochSums::default() });
        let levels = merkle_levels(&Base::new(buckets.to_vec()));
        let nodes: Vec<_> = levels.iter().map(|level| (level.level, level.nodes)).collect();
        assert_eq!(nodes, [(0, 6), (1, 4), (2, 3)]);
        assert_eq!(merkle_levels(&Base::default()).len(), 1);
    }
}
