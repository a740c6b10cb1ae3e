//! Moving large values out of segments that are mostly garbage, beside a merge that rewrites their heads anyway.
//!
//! A segment is kept whole as long as one head points into it. A merge first counts what its output will point to, and the
//! values of segments of which less than half is left go to a new file, in key order; the heads that it writes point there.
//! So no record of the move is needed: run and file come in with one edit. Stamps, seqnos, digests and sums stay. All heads
//! that point into one segment are in one run, for they came from one memtable, or from one merge; so the merge that moves
//! some of a segment's values moves all, and the segment can go.
//!
//! Easy to get wrong: a value that cannot be read, or has another digest than its head says, stays where it is. Moved, it
//! would look whole; given up, it would stop merges for good.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::value_files::ValueFiles;
use crate::error::Result;
use crate::index::{MergeCursor, Run, RunValue};
use crate::store::{Store, View};
use crate::types::{KeyRange, Location, SegmentId, ValueDigest};

/// Segments are not looked into if they are less than this part of the runs that are merged.
const WORTH_COUNTING: u64 = 4;

/// What a merge will leave of each segment that its inputs point into.
#[derive(Debug)]
pub(super) struct Count {
    cursor: MergeCursor,
    view: Arc<View>,
    live: BTreeMap<SegmentId, u64>,
}

impl Count {
    /// Begins to count for a merge of `runs`, if there is enough that could be gained.
    pub(super) fn begin(view: Arc<View>, runs: &[Arc<Run>]) -> Option<Count> {
        let lens: BTreeMap<SegmentId, u64> = view.values.lens().collect();
        let segments = runs.iter().flat_map(|run| run.properties().referenced.keys());
        let live: BTreeMap<SegmentId, u64> = segments.map(|&segment| (segment, 0)).collect();
        let bytes: u64 = live.keys().filter_map(|segment| lens.get(segment)).sum();
        if bytes == 0 || bytes < runs.iter().map(|run| run.len()).sum::<u64>() / WORTH_COUNTING {
            return None;
        }
        let cursor = MergeCursor::new(std::iter::empty(), runs.iter(), &KeyRange::all());
        Some(Count { cursor, view, live })
    }

    /// Counts so many more entries; `false` when there is none left.
    ///
    /// # Errors
    /// `Corruption`, `Io` of a run.
    pub(super) fn step(&mut self, entries: u64) -> Result<bool> {
        for _ in 0..entries {
            let Some((_, head)) = self.cursor.step()? else { return Ok(false) };
            if let RunValue::Log(location, _) = head.value {
                *self.live.entry(location.segment).or_default() += u64::from(location.len);
            }
        }
        Ok(true)
    }

    /// The move of what is left of the segments that are mostly garbage; `None` if none is, or if nothing is left of them.
    pub(super) fn finish(self) -> Option<Relocation> {
        let lens = self.view.values.lens();
        let is_mostly_garbage = |(segment, len): (SegmentId, u64)| {
            let live = *self.live.get(&segment)?;
            (live > 0 && live < len / 2).then_some(segment)
        };
        let from: BTreeSet<SegmentId> = lens.filter_map(is_mostly_garbage).collect();
        let view = self.view.clone();
        (!from.is_empty()).then(|| Relocation { from, view, to: ValueFiles::default() })
    }
}

/// Values on their way out of segments that are mostly garbage.
#[derive(Debug)]
pub(super) struct Relocation {
    from: BTreeSet<SegmentId>,
    /// What the values are read from; it keeps the segments.
    view: Arc<View>,
    to: ValueFiles,
}

impl Relocation {
    /// Moves the value at `location` if that is in one of the segments, and tells where it lies then.
    ///
    /// # Errors
    /// `Io` of a write.
    pub(super) fn relocate(
        &mut self,
        store: &Store,
        location: Location,
        digest: ValueDigest,
    ) -> Result<Location> {
        if !self.from.contains(&location.segment) {
            return Ok(location);
        }
        let value = self.view.log_value(location, digest, &store.measure.hasher);
        let Ok(value) = value else { return Ok(location) };
        // Without a number for another file, values stay where they are.
        Ok(self.to.push(store, &value)?.unwrap_or(location))
    }

    /// Bytes written.
    pub(super) fn len(&self) -> u64 {
        self.to.len()
    }

    /// Makes the files durable, not their names. Returns their lengths.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn finish(self) -> Result<BTreeMap<SegmentId, u64>> {
        self.to.finish()
    }

    /// The files that it has begun.
    pub(super) fn paths(&self, store: &Store) -> Vec<PathBuf> {
        self.to.paths(store)
    }
}
