//! The Merkle base at open: read from its files, or rebuilt from the runs if those are damaged.

use std::path::Path;
use std::sync::Arc;

use super::report::RecoveryReport;
use crate::error::{Error, Result};
use crate::index::{Levels, MergeCursor};
use crate::manifest::{Change, State};
use crate::merkle::{self, Base, BucketBuilder};
use crate::store::{Measure, Prefix, default_prefix, parse_catalogue_key, replicated, user_key};
use crate::types::KeyRange;
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
    levels: &mut Levels,
    measure: &Measure,
    report: &mut RecoveryReport,
) -> Result<Base> {
    if !measure.index {
        return Ok(Base::default());
    }
    if state.merkle.is_empty() {
        return rebuild_known(state, levels, measure);
    }
    match merkle::load(&**vfs, dir, &state.merkle, state.flushed) {
        Ok(base) => Ok(base),
        Err(error @ Error::UnsupportedVersion { .. }) => Err(error),
        Err(_) => {
            report.merkle_rebuilt = true;
            state.apply(&Change::Merkle(Vec::new()));
            rebuild_known(state, levels, measure)
        }
    }
}

/// A base from scratch. Where a block of a run is damaged the keys become unknown, with the manifest that the opening writes.
///
/// # Errors
/// `Corruption` of other kinds, `Io`.
fn rebuild_known(state: &mut State, levels: &mut Levels, measure: &Measure) -> Result<Base> {
    loop {
        let error = match rebuild(levels, measure) {
            Err(error @ Error::Corruption { .. }) => error,
            rebuilt => return rebuilt,
        };
        let Some((run, span)) = levels.damaged_by(&error) else { return Err(error) };
        *levels = levels.with_hole(&span, |other| other.id() == run.id());
        let mut table = state.table.clone();
        table.lost(state.node);
        state.apply(&Change::Table(table));
        state.apply(&Change::Unknown { span: span.clone(), floor: run.properties().clock_max });
        state.apply(&Change::Hole { run: run.id(), range: span });
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
    let mut builder = BucketBuilder::new(measure.bucket_bits, decreed);
    for found in entries(&replicated()) {
        let (key, head) = found?;
        let hash = measure.hasher.key(&key);
        builder.push(&key, hash, measure.entry(&key, hash, &head));
    }
    Ok(builder.into_base())
}

fn bounds_of(range: &KeyRange) -> Vec<Vec<u8>> {
    std::iter::once(range.start.clone()).chain(range.end.clone()).collect()
}
