//! [`Written`]: how much was written, and for whom.

/// Bytes written since the store was created. Each only rises; of what a killed process wrote after its last flush, the log's
/// share is counted again at the next opening and a merge that was given up is not counted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Written {
    /// Keys, values and meta of all commits, those of sessions and ingests included.
    pub committed: u64,
    /// Records of the log.
    pub logged: u64,
    /// Runs and Merkle files of flushes and ingests, with the large values of ingests.
    pub flushed: u64,
    /// Runs of merges, and large values that merges moved.
    pub merged: u64,
}

impl Written {
    /// All bytes written for each byte committed; zero before the first commit.
    pub fn amplification(&self) -> f64 {
        let written = self.logged.saturating_add(self.flushed).saturating_add(self.merged);
        if self.committed == 0 { 0.0 } else { written as f64 / self.committed as f64 }
    }
}
