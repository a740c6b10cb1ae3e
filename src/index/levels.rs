//! [`Levels`]: the runs of one moment, newest first, as immutable data.
//!
//! Easy to get wrong: the order is the truth. A key's newest version is in the first run that holds the key, so runs may
//! only be replaced by one that stands where they stood.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::types::{FileId, Head, KeyRange, SegmentId};

use super::entry::HeadRef;
use super::found::Found;
use super::pick::pick;
use super::run::Run;

/// Keys whose entries are lent without an allocation.
const LENT: usize = 16;

/// Where a key is if the first run that may hold it does, as that nearly always does: the run's place among the runs, and
/// its block.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: usize,
    block: Option<usize>,
}

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

    /// What `use_it` makes of the newest entry of `key`, tombstones included; it answers `None` if the entry has not the bytes
    /// that it should have. Costs one look at the filter of each run, and a search in the runs whose filters let the key pass,
    /// down to the one that holds it.
    ///
    /// # Errors
    /// `Corruption`, `Io`: what is damaged might be the newest version, so no older one is looked for.
    #[inline]
    pub(crate) fn find<T>(
        &self,
        key: &[u8],
        hash: KeyHash,
        use_it: impl Fn(&Found<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        // All filters are asked before any run is searched: each answer is a miss of the processor's caches, and waiting
        // for them one by one would take as long as all of them together.
        for runs in self.runs.chunks(64) {
            let passes = |(at, run): (usize, &Arc<Run>)| u64::from(run.may_contain(hash)) << at;
            let mut passed = runs.iter().enumerate().map(passes).fold(0, |all, bit| all | bit);
            while let Some(run) = runs.get(passed.trailing_zeros() as usize) {
                if let Some(found) = run.find(key, hash, &use_it)? {
                    return Ok(Some(found));
                }
                passed &= passed - 1;
            }
        }
        Ok(None)
    }

    /// The newest entry of `key`, tombstones included, with the value's digest.
    ///
    /// # Errors
    /// As [`Levels::find`].
    pub(crate) fn get(&self, key: &[u8], hash: KeyHash) -> Result<Option<Head>> {
        self.find(key, hash, |found| found.head())
    }

    /// The newest entries of several keys, tombstones included; `use_it` makes of each what is wanted. Filters and blocks of
    /// all keys are fetched before the first is searched, so that their cache misses overlap.
    ///
    /// # Errors
    /// As [`Levels::find`].
    pub(crate) fn lend_each<T>(
        &self,
        keys: &[(&[u8], KeyHash)],
        use_it: impl Fn(&[u8], KeyHash, &HeadRef<'_>) -> T,
    ) -> Result<SmallVec<[Option<T>; LENT]>> {
        let touched = keys.iter().flat_map(|(_, hash)| self.runs.iter().map(|run| run.touch_filter(*hash)));
        std::hint::black_box(touched.fold(0, |all, one| all ^ one));
        let place = |(key, hash): &(&[u8], KeyHash)| {
            let may_contain = |run: &Arc<Run>| run.may_contain(*hash);
            let first = self.runs.iter().position(may_contain).unwrap_or(self.runs.len());
            let block = self.runs.get(first).and_then(|run| {
                let block = run.find_block(key)?;
                run.touch(block);
                Some(block)
            });
            Place { first, block }
        };
        let places: SmallVec<[Place; LENT]> = keys.iter().map(place).collect();
        let lend = |(&(key, hash), place): (&(&[u8], KeyHash), Place)| {
            self.find_from(place, key, hash, |found| Some(use_it(key, hash, &found.borrowed())))
        };
        keys.iter().zip(places).map(lend).collect()
    }

    /// As [`Levels::find`], of a key whose place is known.
    fn find_from<T>(
        &self,
        place: Place,
        key: &[u8],
        hash: KeyHash,
        use_it: impl Fn(&Found<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        for (index, run) in self.runs.iter().enumerate().skip(place.first) {
            let block = match index == place.first {
                true => place.block,
                false if run.may_contain(hash) => run.find_block(key),
                false => None,
            };
            if let Some(block) = block
                && let Some(found) = run.find_in(block, key, hash, &use_it)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// These runs with a newer one before them.
    pub(crate) fn with_newest(&self, run: Arc<Run>) -> Levels {
        Levels { runs: std::iter::once(run).chain(self.runs.iter().cloned()).collect() }
    }

    /// These runs with `merged` in the place of `inputs`, which are neighbours here.
    pub(crate) fn with_merged(&self, inputs: &[FileId], merged: Arc<Run>) -> Levels {
        let mut merged = Some(merged);
        let replace =
            |run: &Arc<Run>| if inputs.contains(&run.id()) { merged.take() } else { Some(run.clone()) };
        Levels { runs: self.runs.iter().filter_map(replace).collect() }
    }

    /// The run that `error` tells a damaged block of, and the keys that are lost with it.
    pub(crate) fn damaged_by(&self, error: &Error) -> Option<(Arc<Run>, KeyRange)> {
        let Error::Corruption { file, offset, .. } = error else { return None };
        let run = self.runs.iter().find(|run| run.path() == file)?;
        Some((run.clone(), run.damaged_at(*offset)?))
    }

    /// The runs whose keys reach into `range`.
    pub(crate) fn reaching_into<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Arc<Run>> {
        self.runs.iter().filter(|run| {
            let (first, last) = &run.properties().keys;
            range.start <= *last && range.end.as_ref().is_none_or(|end| end > first)
        })
    }

    /// These runs, of each of which a hole in `range` is passed over if `is_meant`.
    pub(crate) fn with_hole(&self, range: &KeyRange, is_meant: impl Fn(&Run) -> bool) -> Levels {
        let holed = |run: &Arc<Run>| match is_meant(run) {
            true => Arc::new(run.with_holes([range])),
            false => run.clone(),
        };
        Levels { runs: self.runs.iter().map(holed).collect() }
    }

    /// These runs with the holes that they have in `newer`, as far as they are there.
    pub(crate) fn refreshed(&self, newer: &Levels) -> Levels {
        let same =
            |run: &Arc<Run>| newer.runs.iter().find(|other| other.id() == run.id()).unwrap_or(run).clone();
        Levels { runs: self.runs.iter().map(same).collect() }
    }

    /// Bytes of values in the log that any run points to, by segment.
    pub(crate) fn referenced(&self) -> BTreeMap<SegmentId, u64> {
        let mut sums = BTreeMap::new();
        for (segment, bytes) in self.runs.iter().flat_map(|run| &run.properties().referenced) {
            let sum: &mut u64 = sums.entry(*segment).or_default();
            *sum = sum.saturating_add(*bytes);
        }
        sums
    }

    /// The neighbours to merge next among the newest `count` runs; `None` if these are good as they are.
    pub(crate) fn pick(&self, count: usize) -> Option<&[Arc<Run>]> {
        let lens: Vec<u64> = self.runs.iter().take(count).map(|run| run.len()).collect();
        self.runs.get(pick(&lens)?)
    }
}
