//! Entries that come from outside: merged, checked against the clock and the horizon, then committed like any other.
//!
//! Easy to get wrong: an entry that is not taken is never lost silently. It is covered (something as new is held),
//! deferred (its stamp lies too far ahead), or refused (the horizon has passed it), and the sender is told which.

use crate::clock::HybridClock;
use crate::error::Result;
use crate::hash::KeyHash;
use crate::horizon::rule::{self, Source};
use crate::resolver::{Merge, Rank, last_writer_wins};

use super::commit::{Front, Write, Writes};
use super::measure::Measure;
use super::view::View;

/// What became of the entries of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Admission {
    /// Taken, and visible now.
    pub(crate) applied: u64,
    /// Nothing changed, for the same entry or a newer one of the key is held.
    pub(crate) covered: u64,
    /// Not taken because the stamp lies beyond the drift that is allowed; to be sent again later.
    pub(crate) deferred: u64,
    /// Not taken because the horizon has passed the stamp: the set agreed that everything below is known.
    pub(crate) refused: u64,
}

/// The verdict over one foreign entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Apply,
    Covered,
    Deferred,
    Refused,
}

/// How what is held of the keys of `writes` ranks, one for one; and prepares them. Where keys are unknown that is what is
/// left there.
///
/// # Errors
/// As reading the held heads. Nothing else has changed.
pub(super) fn held(
    front: &Front,
    view: &View,
    writes: &mut [Write],
    measure: &Measure,
) -> Result<Vec<Option<Rank>>> {
    writes.iter_mut().map(|write| front.prepare(view, write, measure)).collect()
}

/// Decides which of `writes` (each with a stamp of its own, no key twice, and what is held of it) are to be committed.
pub(super) fn admit(
    front: &Front,
    view: &View,
    writes: impl Iterator<Item = (Write, Option<Rank>)>,
    measure: &Measure,
    now_ms: u64,
    source: Source,
) -> (Writes, Admission) {
    let mut admission = Admission::default();
    let mut admitted = Writes::new();
    for (write, held) in writes {
        let source = source.of_key(view.unknown.contains(&write.key));
        match verdict(front, &write, held, measure, now_ms, source) {
            Verdict::Apply => {
                admission.applied += 1;
                admitted.push(write);
            }
            Verdict::Covered => admission.covered += 1,
            Verdict::Deferred => admission.deferred += 1,
            Verdict::Refused => admission.refused += 1,
        }
    }
    (admitted, admission)
}

fn verdict(
    front: &Front,
    write: &Write,
    held: Option<Rank>,
    measure: &Measure,
    now_ms: u64,
    source: Source,
) -> Verdict {
    let foreign = rank(write, write.prepared.hash, measure);
    if HybridClock::excess_drift_ms(foreign.stamp.hlc, now_ms).is_some() {
        return Verdict::Deferred;
    }
    match last_writer_wins(held, foreign) {
        Merge::Covered => Verdict::Covered,
        Merge::Take if rule::refuses(foreign.stamp.hlc, front.horizon, front.closed, source) => {
            Verdict::Refused
        }
        Merge::Take => Verdict::Apply,
    }
}

/// How a foreign entry ranks among others of its key.
pub(crate) fn rank(write: &Write, key: KeyHash, measure: &Measure) -> Rank {
    let stamp = write.stamp.unwrap_or_default();
    let digest = measure.hasher.value(&write.value);
    let hash = measure.hasher.entry(key, stamp, write.kind, write.expires_at, &write.meta, digest);
    Rank { stamp, kind: write.kind, hash }
}

/// Of several foreign entries of one key, the greatest in merge order is what merging them all would leave.
pub(crate) fn keep_greatest(mut writes: Vec<Write>, measure: &Measure) -> Vec<Write> {
    let rank = |write: &Write| rank(write, measure.hasher.key(&write.key), measure);
    writes.sort_by(|a, b| a.key[..].cmp(&b.key));
    writes.dedup_by(|next, kept| {
        let is_same_key = next.key == kept.key;
        if is_same_key && rank(next) > rank(kept) {
            std::mem::swap(next, kept);
        }
        is_same_key
    });
    writes
}
