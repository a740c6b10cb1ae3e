//! [`Compaction`]: writes what a merging cursor yields into one run, a slice at a time. A flush is the same with a
//! memtable as its only source.
//!
//! The caller decides when to go on, so it can throttle and stop; what is unfinished is a file that nobody names.
//!
//! Easy to get wrong: a tombstone shadows versions in older runs, and the horizon rules protect other replicas, so it is
//! for the caller to say what may be dropped. And the cursor must cover every key and neighbouring sources.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::hash::SetHasher;
use crate::types::SegmentId;

use super::entry::StoredHead;
use super::layout::Properties;
use super::merge::MergeCursor;
use super::run::Run;
use super::writer::RunWriter;

/// Says of an entry whether it may be left out of the output.
pub(crate) type MayDrop = fn(&[u8], &StoredHead) -> bool;

/// A merge under way.
pub(crate) struct Compaction {
    cursor: MergeCursor,
    writer: RunWriter,
    hasher: Arc<SetHasher>,
    may_drop: MayDrop,
}

impl fmt::Debug for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compaction").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl Compaction {
    /// Will write to `writer` every entry of `cursor` but those that `may_drop` lets go.
    pub(crate) fn new(
        cursor: MergeCursor,
        writer: RunWriter,
        hasher: Arc<SetHasher>,
        may_drop: MayDrop,
    ) -> Compaction {
        Compaction { cursor, writer, hasher, may_drop }
    }

    /// Merges entries of about `budget` bytes. `false` once there are none left and [`Compaction::finish`] is due.
    ///
    /// # Errors
    /// `Corruption` of an input, `Io`; the merge cannot go on.
    pub(crate) fn step(&mut self, budget: u64) -> Result<bool> {
        let mut spent = 0;
        while spent < budget {
            if !self.cursor.advance()? {
                return Ok(false);
            }
            let Some(head) = self.cursor.take_head() else { return Ok(false) };
            let key = self.cursor.key();
            spent += key.len() as u64 + head.inline_len() as u64 + HEAD_COST;
            if !(self.may_drop)(key, &head) {
                self.writer.push(key, self.hasher.key(key), head)?;
            }
        }
        Ok(true)
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.writer.len()
    }

    /// Completes the run, as [`RunWriter::finish`].
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn finish(self) -> Result<(Properties, u64)> {
        self.writer.finish()
    }
}

/// What an entry counts for beside its key and value, in bytes.
const HEAD_COST: u64 = 24;

/// Bytes of values in the log, by segment, that `inputs` pointed to and their merge, `output`, does not.
pub(crate) fn stale_bytes(inputs: &[Arc<Run>], output: &Properties) -> BTreeMap<SegmentId, u64> {
    let mut stale = super::levels::Levels::new(inputs.to_vec()).log_bytes();
    for (segment, bytes) in &output.log_bytes {
        if let Some(sum) = stale.get_mut(segment) {
            *sum = sum.saturating_sub(*bytes);
        }
    }
    stale.retain(|_, bytes| *bytes > 0);
    stale
}
