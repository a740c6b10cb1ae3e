//! The Merkle base at open: read from its files, or rebuilt from the runs if those are damaged.

use std::path::Path;
use std::sync::Arc;

use super::report::RecoveryReport;
use crate::error::{Error, Result};
use crate::index::{Levels, MergeCursor};
use crate::manifest::{Change, State};
use crate::merkle::{self, Base, Bucket, DECREED};
use crate::store::{Measure, Prefix, default_prefix, parse_catalogue_key, replicated, user_key};
use crate::types::{EpochSums, KeyRange};
use crate::vfs::Vfs;

/// The base that describes the runs. After a rebuild the state names no Merkle file, so that the next flush writes a full
/// one.
///
/// # Errors
/// `UnsupportedVersion`; errors of reading the runs.
pub(super) fn load_base(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    state: &mut State,
    levels: &Levels,
    measure: &Measure,
    report: &mut RecoveryReport,
) -> Result<Base> {
    if state.merkle.is_empty() {
        return rebuild(levels, measure);
    }
    match merkle::load(vfs, dir, &state.merkle, state.flushed) {
        Ok(base) => Ok(base),
        Err(error @ Error::UnsupportedVersion { .. }) => Err(error),
        Err(_) => {
            report.merkle_rebuilt = true;
            state.apply(&Change::Merkle(Vec::new()));
            rebuild(levels, measure)
        }
    }
}

/// A base from scratch, by one walk over all entries of the runs.
///
/// # Errors
/// `Corruption`, `Io`.
pub(crate) fn rebuild(levels: &Levels, measure: &Measure) -> Result<Base> {
    let mut decreed = bounds_of(&replicated());
    decreed.extend(bounds_of(&Prefix::CATALOGUE.whole()));
    decreed.extend(bounds_of(&default_prefix(&measure.hasher).whole()));
    let entries = |range: &KeyRange| MergeCursor::new(std::iter::empty(), levels.runs().iter(), range);
    for found in entries(&Prefix::CATALOGUE.whole()) {
        let (key, _) = found?;
        if let Some((name, resolver)) = parse_catalogue_key(user_key(&key)) {
            decreed.extend(bounds_of(&Prefix::of(&measure.hasher, name, resolver).whole()));
        }
    }
    decreed.sort_unstable();
    decreed.dedup();
    let bucket = |start: Vec<u8>, level| Bucket { start: start.into(), level, sums: EpochSums::default() };
    let mut decreed = decreed.into_iter().peekable();
    let mut buckets = vec![bucket(Vec::new(), DECREED)];
    for found in entries(&KeyRange::all()) {
        let (key, head) = found?;
        while let Some(bound) = decreed.next_if(|bound| *bound <= key) {
            buckets.push(bucket(bound, DECREED));
        }
        let hash = measure.hasher.key(&key);
        if let Some(level) = measure.fence_level(hash)
            && buckets.last().is_none_or(|last| *last.start != *key)
        {
            buckets.push(bucket(key.clone(), level));
        }
        let entry = measure.entry(&key, hash, &head);
        if let Some(last) = buckets.last_mut() {
            last.sums.add_entry(entry.sum, entry.epoch);
        }
    }
    buckets.extend(decreed.map(|bound| bucket(bound, DECREED)));
    Ok(Base::new(buckets))
}

fn bounds_of(range: &KeyRange) -> Vec<Vec<u8>> {
    std::iter::once(range.start.clone()).chain(range.end.clone()).collect()
}
