//! [`Levels`]: the runs of one moment, newest first, and which of them to merge.
//!
//! Plain data: installing a run makes another `Levels`. Easy to get wrong: only runs of neighbouring ages may be merged,
//! for of two versions of a key the newer run's wins.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::run::Run;
use crate::error::Result;
use crate::hash::KeyHash;
use crate::types::{FileId, Head, SegmentId};

/// Neighbouring runs of similar size that are worth a merge.
const MERGE_MIN: usize = 4;

/// Runs beyond which some are merged whatever their sizes: every run costs each miss a probe.
const RUNS_MAX: usize = 10;

/// Runs, newest first. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levels {
    runs: Arc<[Arc<Run>]>,
}

impl Levels {
    pub(crate) fn new(runs: Vec<Arc<Run>>) -> Levels {
        Levels { runs: runs.into() }
    }

    /// The runs, newest first.
    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Their file numbers, newest first.
    pub(crate) fn ids(&self) -> Vec<FileId> {
        self.runs.iter().map(|run| run.id()).collect()
    }

    /// The newest entry of `key`.
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub(crate) fn get(&self, key: &[u8], hash: KeyHash) -> Result<Option<Head>> {
        for run in &*self.runs {
            if let Some(head) = run.get(key, hash)? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// These runs with a new one in front.
    pub(crate) fn with_newest(&self, run: Arc<Run>) -> Levels {
        Levels { runs: std::iter::once(run).chain(self.runs.iter().cloned()).collect() }
    }

    /// These runs with `inputs`, neighbours of each other, replaced by what they were merged to.
    pub(crate) fn with_merged(&self, inputs: &[FileId], merged: Arc<Run>) -> Levels {
        let mut runs: Vec<Arc<Run>> = Vec::with_capacity(self.runs.len());
        let mut merged = Some(merged);
        for run in &*self.runs {
            if inputs.contains(&run.id()) {
                runs.extend(merged.take());
            } else {
                runs.push(run.clone());
            }
        }
        Levels::new(runs)
    }

    /// Bytes of large values that some run points to, by segment.
    pub(crate) fn referenced(&self) -> BTreeMap<SegmentId, u64> {
        let mut referenced = BTreeMap::new();
        for (segment, bytes) in self.runs.iter().flat_map(|run| &run.properties().referenced) {
            *referenced.entry(*segment).or_default() += bytes;
        }
        referenced
    }

    /// The neighbouring runs that should be merged next, if any.
    pub(crate) fn pick(&self) -> Option<Vec<Arc<Run>>> {
        let lens: Vec<u64> = self.runs.iter().map(|run| run.len()).collect();
        let picked = pick(&lens)?;
        self.runs.get(picked).map(<[_]>::to_vec)
    }
}

/// Size-tiered choice: of the runs from some age on, as many as are no longer than all newer ones chosen together, if
/// that makes at least [`MERGE_MIN`]. Every byte is then rewritten about log_{MERGE_MIN}(n) times.
fn pick(lens: &[u64]) -> Option<Range<usize>> {
    for start in 0..lens.len() {
        let mut sum = 0;
        let similar = lens.iter().skip(start).take_while(|&&len| {
            let is_similar = sum == 0 || len <= sum;
            sum += len;
            is_similar
        });
        let count = similar.count();
        if count >= MERGE_MIN {
            return Some(start..start + count);
        }
    }
    (lens.len() > RUNS_MAX).then(|| {
        // The neighbours that cost least to merge.
        let starts = 0..lens.len() + 1 - MERGE_MIN;
        let cost = |start: &usize| lens.iter().skip(*start).take(MERGE_MIN).sum::<u64>();
        let start = starts.min_by_key(cost).unwrap_or(0);
        start..start + MERGE_MIN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_few_and_bytes_are_rewritten_few_times() {
        for seed in 0..50u64 {
            let (mut lens, mut written, mut state) = (Vec::<u64>::new(), 0u64, seed);
            for _ in 0..1_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                lens.insert(0, 500 + (state >> 54));
                while let Some(range) = pick(&lens) {
                    let merged: u64 = lens[range.clone()].iter().sum();
                    written += merged;
                    lens.splice(range, [merged]);
                }
                assert!(lens.len() <= RUNS_MAX, "seed {seed}: {lens:?}");
            }
            let total: u64 = lens.iter().sum();
            assert!(written < 8 * total, "seed {seed}: {written} bytes merged for {total}");
        }
    }
}
