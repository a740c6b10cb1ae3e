//! [`Levels`]: the runs of one moment, newest first, as immutable data.
//!
//! Easy to get wrong: the order is the truth. A key's newest version is in the first run that holds the key, so runs may
//! only be replaced by one that stands where they stood.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hash::{KeyHash, SetHasher};
use crate::types::{FileId, Head, SegmentId};

use super::run::Run;

/// Runs, newest first. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levels {
    runs: Arc<[Arc<Run>]>,
}

impl Levels {
    /// These runs, newest first.
    pub(crate) fn new(runs: Vec<Arc<Run>>) -> Levels {
        Levels { runs: runs.into() }
    }

    /// The runs, newest first.
    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// The runs' numbers, newest first.
    pub(crate) fn ids(&self) -> Vec<FileId> {
        self.runs.iter().map(|run| run.id()).collect()
    }

    /// Bytes of all files.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// The newest entry of `key`, tombstones included. Costs one look at the filter of each run down to the one that holds
    /// the key.
    ///
    /// # Errors
    /// `Corruption`, `Io`: what is damaged might be the newest version, so no older one is looked for.
    pub(crate) fn get(&self, key: &[u8], hash: KeyHash, hasher: &SetHasher) -> Result<Option<Head>> {
        for run in &*self.runs {
            if let Some(head) = run.get(key, hash, hasher)? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// These runs with a newer one before them.
    pub(crate) fn with_newest(&self, run: Arc<Run>) -> Levels {
        Levels { runs: std::iter::once(run).chain(self.runs.iter().cloned()).collect() }
    }

    /// These runs with `output` in the place of the runs `inputs`, which are neighbours. `None` if they are not all there
    /// side by side in this order.
    pub(crate) fn with_replaced(&self, inputs: &[FileId], output: Arc<Run>) -> Option<Levels> {
        let ids = self.ids();
        let at = ids.windows(inputs.len().max(1)).position(|window| window == inputs)?;
        let mut runs = self.runs.to_vec();
        runs.splice(at..at + inputs.len(), [output]);
        Some(Levels::new(runs))
    }

    /// Bytes of values in the log that any run points to, by segment.
    pub(crate) fn log_bytes(&self) -> BTreeMap<SegmentId, u64> {
        let mut sums = BTreeMap::new();
        for (segment, bytes) in self.runs.iter().flat_map(|run| &run.properties().log_bytes) {
            let sum: &mut u64 = sums.entry(*segment).or_default();
            *sum = sum.saturating_add(*bytes);
        }
        sums
    }

    /// Reads everything and checks it. Returns what does not hold.
    pub(crate) fn verify(&self, hasher: &SetHasher) -> Vec<Error> {
        self.runs.iter().flat_map(|run| run.verify(hasher)).collect()
    }
}
