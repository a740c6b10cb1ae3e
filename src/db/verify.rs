//! `verify`: everything is read and checked. Nothing is changed, but that the store knows from then on what it has lost.
//!
//! Easy to get wrong: a bucket that an unknown span touches has no sum, so there is nothing to compare.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::Run;
use crate::store::{Measure, MerklePoint, Store, View};
use crate::types::{KeyRange, RangeSum, ValueRef};

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Entries checked so far: first those of every run by itself, then, over all runs and memory, every key's newest once
    /// more.
    pub entries: u64,
    /// Entries to check, tombstones included.
    pub entries_total: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use = "damage is told here alone"]
pub struct VerifyReport {
    /// Entries that were read, tombstones included.
    pub entries: u64,
    /// Bytes of values in the log that were read and agree with their digests.
    pub value_bytes: u64,
    /// One sentence for each thing that does not hold, with file and offset where there is one.
    pub problems: Vec<String>,
}

impl VerifyReport {
    /// Whether everything holds.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// After this many entries progress is told.
const PROGRESS_EVERY: u64 = 4096;

pub(super) fn verify(
    store: &Store,
    progress: &mut dyn FnMut(VerifyProgress) -> bool,
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let (view, _) = store.read_point();
    let entries_in_all =
        view.levels.runs().iter().map(|run| run.properties().entries).fold(0, u64::saturating_add);
    let entries_in_all = entries_in_all.saturating_add(store.unflushed_count() as u64);
    let in_runs = verify_runs(store, &view, entries_in_all, &mut report, progress)?;
    let entries_total = in_runs.saturating_add(entries_in_all);

    // What was found damaged just now is unknown to this point already.
    let merkle = store.merkle_point()?;
    let (view, claimed) = (&merkle.view, merkle.total);
    let unknown = view.unknown.ranges();
    report
        .problems
        .extend(unknown.iter().map(|(span, _)| Error::Unknown { spans: vec![span.clone()] }.to_string()));
    let measure = &store.measure;
    let mut total = RangeSum::ZERO;
    let mut bucket: Option<(KeyRange, RangeSum)> = None;
    for found in view.cursor(&KeyRange::all(), merkle.seqno) {
        let (key, head) = match found {
            Ok(found) => found,
            Err(error) => {
                // The walk cannot go on past damage, so no sum can be compared.
                report.problems.push(error.to_string());
                return Ok(report);
            }
        };
        if bucket.as_ref().is_none_or(|(range, _)| !range.contains(&key)) {
            report.problems.extend(bucket.take().and_then(|bucket| disagreement(&merkle, bucket, measure)));
            bucket = Some((merkle.base.bounds().bucket_range(&key), RangeSum::ZERO));
        }
        let entry = measure.entry(&key, measure.hasher.key(&key), &head).after(merkle.ended).sum;
        total += entry;
        if let Some((_, sum)) = &mut bucket {
            *sum += entry;
        }
        if matches!(head.value, ValueRef::Log(_)) && !measure.has_ended(&head, merkle.ended) {
            match view.value(&head, &measure.hasher) {
                Ok(value) => report.value_bytes += value.len() as u64,
                Err(error) => {
                    let lost = store.met_value(&key, (head.stamp, head.digest), error);
                    report.problems.push(lost.to_string());
                }
            }
        }
        report.entries += 1;
        let so_far = VerifyProgress { entries: in_runs + report.entries, entries_total };
        if report.entries.is_multiple_of(PROGRESS_EVERY) && !progress(so_far) {
            return Err(Error::Aborted);
        }
    }
    report.problems.extend(bucket.take().and_then(|bucket| disagreement(&merkle, bucket, measure)));
    if unknown.is_empty() && total != claimed {
        report
            .problems
            .push(format!("the Merkle index sums all entries to {claimed:?}, but they are {total:?}"));
    }
    Ok(report)
}

/// Checks each run by itself, before `later` entries that are checked afterwards, and returns how many entries there were.
fn verify_runs(
    store: &Store,
    view: &View,
    later: u64,
    report: &mut VerifyReport,
    progress: &mut dyn FnMut(VerifyProgress) -> bool,
) -> Result<u64> {
    let entries_of = |run: &Arc<Run>| run.properties().entries;
    let in_runs = view.levels.runs().iter().map(entries_of).fold(0, u64::saturating_add);
    let entries_total = in_runs.saturating_add(later);
    let mut before = 0;
    for run in view.levels.runs() {
        let problems =
            run.verify(|entries| progress(VerifyProgress { entries: before + entries, entries_total }))?;
        for problem in problems {
            store.quarantine(&problem)?;
            report.problems.push(problem.to_string());
        }
        before = in_runs.min(before + entries_of(run));
    }
    Ok(in_runs)
}

/// What is wrong with the Merkle index's sum of a bucket, no key of which is unknown, whose entries sum up to `counted`, if anything is.
fn disagreement(
    merkle: &MerklePoint,
    (range, counted): (KeyRange, RangeSum),
    measure: &Measure,
) -> Option<String> {
    if merkle.view.unknown.ranges().overlapping(&range).next().is_some() {
        return None;
    }
    let claimed = merkle.base_sum(&range) + merkle.changes(&range, measure);
    let message =
        || format!("the Merkle index sums {range:?} to {claimed:?}, but its entries are {counted:?}");
    (claimed != counted).then(message)
}
