//! Settling memtables: looking up what the layers below count for keys that were written without a look at these.
//!
//! A flush settles its memtable; whoever asks for a sum settles what has come in until then, once for each key.
//!
//! Easy to get wrong: older memtables hide the runs, so they are asked first.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::Result;
use crate::hash::KeyHash;
use crate::index::{Levels, LookedUp, Memtable};
use crate::types::{EpochSums, SeqNo};

use super::Store;
use super::measure::Measure;
use super::view::View;

impl View {
    /// Settles the memtables, of the active one the first `active` keys. Returns what is below all those keys together.
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub(super) fn settle(&self, active: usize, measure: &Measure) -> Result<EpochSums> {
        let mut below = settle(&self.active, active, &self.sealed, &self.levels, measure)?;
        let mut older = &self.sealed[..];
        while let Some((memtable, rest)) = older.split_first() {
            below.add(&settle(memtable, memtable.key_count(), rest, &self.levels, measure)?);
            older = rest;
        }
        Ok(below)
    }
}

impl Store {
    /// Settles the newest sealed memtable while the flush of an older one is under way, so that its own has less to do.
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub(crate) fn settle_ahead(&self) -> Result<()> {
        let view = self.views.current();
        match &view.sealed[..] {
            [newest, older @ ..] if !older.is_empty() && self.measure.index => {
                settle(newest, newest.key_count(), older, &view.levels, &self.measure).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Settles the first `count` keys of `memtable`, which lies above the memtables `older`, newest first, and the runs
/// `levels`. Returns what is below them together.
///
/// # Errors
/// `Corruption`, `Io`.
pub(crate) fn settle(
    memtable: &Memtable,
    count: usize,
    older: &[Arc<Memtable>],
    levels: &Levels,
    measure: &Measure,
) -> Result<EpochSums> {
    memtable.settle(count, |keys| {
        let hashed: SmallVec<[(&[u8], KeyHash); 16]> =
            keys.iter().map(|key| (*key, measure.hasher.key(key))).collect();
        let in_memory = |&(key, hash): &(&[u8], KeyHash)| {
            let held = older.iter().find_map(|memtable| memtable.get(key, hash, SeqNo::MAX))?;
            Some(measure.entry(key, hash, held))
        };
        let mut below: LookedUp = hashed.iter().map(in_memory).collect();
        let is_missing = |at: &usize| below.get(*at).is_some_and(Option::is_none);
        let missing: SmallVec<[usize; 16]> = (0..hashed.len()).filter(is_missing).collect();
        let wanted: SmallVec<[(&[u8], KeyHash); 16]> =
            missing.iter().filter_map(|&at| hashed.get(at).copied()).collect();
        let found = levels.lend_each(&wanted, |key, hash, head| measure.stored(key, hash, head))?;
        missing.into_iter().zip(found).for_each(|(at, found)| below[at] = found);
        Ok(below)
    })
}
