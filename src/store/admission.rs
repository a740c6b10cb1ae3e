//! Entries that come from outside: merged, checked against the clock and the horizon, then committed like any other.
//!
//! Easy to get wrong: an entry that is not taken is never lost silently. It is covered (something as new is held),
//! deferred (its stamp lies too far ahead), or refused (the horizon has passed it, or it cannot be merged, for its resolver
//! is missing or the value that is held is lost), and the sender is told which.

use crate::clock::HybridClock;
use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::horizon::rule::{self, Source};
use crate::quarantine::LostValue;
use crate::resolver::{Merge, Rank, last_writer_wins};
use crate::types::Head;

use super::commit::{Front, Write, Writes};
use super::keyspace::is_merged;
use super::measure::Measure;
use super::resolve::{Resolving, Version, join};
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
    /// Not taken because the horizon has passed the stamp (the set agreed that everything below is known), or because it would
    /// have to be merged by a resolver that is not at hand, or into a value that is lost.
    pub(crate) refused: u64,
}

/// Verdicts over the entries of one call.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// What is to be committed.
    pub(super) writes: Writes,
    pub(super) admission: Admission,
    /// Held values that were found lost: what would have to be merged into them was refused.
    pub(super) lost: Vec<(Vec<u8>, LostValue)>,
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
) -> Result<Vec<Option<(Rank, Head)>>> {
    writes.iter_mut().map(|write| front.prepare(view, write, measure)).collect()
}

/// Decides which of `writes` (each with a stamp of its own, no key twice, and what is held of it) are to be committed.
///
/// # Errors
/// `Io` of reading the values that a resolver merges. Nothing has changed.
pub(super) fn admit(
    front: &Front,
    view: &View,
    writes: impl Iterator<Item = (Write, Option<(Rank, Head)>)>,
    resolving: &Resolving,
    measure: &Measure,
    now_ms: u64,
    source: Source,
) -> Result<Admitted> {
    let mut admitted = Admitted::default();
    for (mut write, held) in writes {
        let source = source.of_key(view.unknown.contains(&write.key));
        let foreign = rank(&write, write.prepared.hash, measure);
        let verdict = if HybridClock::excess_drift_ms(foreign.stamp.hlc, now_ms).is_some() {
            Verdict::Deferred
        } else if is_merged(&write.key) {
            let lost = held.as_ref().map(|(_, head)| LostValue { stamp: head.stamp, digest: head.digest });
            match merge(resolving, view, &mut write, foreign, held, measure) {
                // Others of the call need not wait for it to be healed.
                Err(Error::Corruption { .. }) => {
                    admitted.lost.extend(lost.map(|lost| (write.key.to_vec(), lost)));
                    Verdict::Refused
                }
                merged => merged?,
            }
        } else {
            match last_writer_wins(held.map(|(rank, _)| rank), foreign) {
                Merge::Covered => Verdict::Covered,
                Merge::Take if rule::refuses(foreign.stamp.hlc, front.horizon, front.closed, source) => {
                    Verdict::Refused
                }
                Merge::Take => Verdict::Apply,
            }
        };
        let admission = &mut admitted.admission;
        match verdict {
            Verdict::Apply => {
                admission.applied += 1;
                admitted.writes.push(write);
            }
            Verdict::Covered => admission.covered += 1,
            Verdict::Deferred => admission.deferred += 1,
            Verdict::Refused => admission.refused += 1,
        }
    }
    Ok(admitted)
}

/// What `entry`, a replica's, and `head`, which is left of its key where that is unknown, come to in a keyspace with a resolver:
/// an entry, or `None` for what is left.
///
/// # Errors
/// `InvalidArgument` if the resolver is not at hand; `Io`.
pub(crate) fn merge_healed(
    resolving: &Resolving,
    view: &View,
    entry: &Write,
    head: &Head,
    measure: &Measure,
) -> Result<Option<Write>> {
    let (mut write, hash) = (entry.clone(), measure.hasher.key(&entry.key));
    let held = Rank { stamp: head.stamp, kind: head.kind, hash: measure.hasher.head(hash, head) };
    let foreign = rank(entry, hash, measure);
    if held == foreign {
        // The same entry, and the replica's has its value for sure.
        return Ok(Some(write));
    }
    match merge(resolving, view, &mut write, foreign, Some((held, head.clone())), measure) {
        Ok(Verdict::Covered) => Ok(None),
        Ok(Verdict::Refused) => Err(Error::invalid("a resolver is not at hand that healing has to merge by")),
        // What is left has lost its value.
        Err(Error::Corruption { .. }) => Ok(Some(entry.clone())),
        merged => merged.map(|_| Some(write)),
    }
}

/// Merges `write`, which ranks as `foreign`, into what is held. Nothing is ever dropped from such a keyspace, so the horizon
/// has no say: what it does not know cannot be something that it has forgotten.
///
/// # Errors
/// `Corruption` or `Io` of reading the value that is held.
fn merge(
    resolving: &Resolving,
    view: &View,
    write: &mut Write,
    foreign: Rank,
    held: Option<(Rank, Head)>,
    measure: &Measure,
) -> Result<Verdict> {
    let Some((rank, head)) = held else {
        return Ok(Verdict::Apply);
    };
    if rank == foreign {
        return Ok(Verdict::Covered);
    }
    let Some(resolver) = resolving.of(&write.key) else {
        return Ok(Verdict::Refused);
    };
    let value = view.value(&head, &measure.hasher)?;
    let held = Version { rank, expires_at: head.expires_at, meta: head.meta, value };
    let joined = join(resolver, &write.key, &held, &version(write, foreign));
    if joined.rank == held.rank && joined.value == held.value {
        return Ok(Verdict::Covered);
    }
    put(write, joined);
    Ok(Verdict::Apply)
}

fn version(write: &Write, rank: Rank) -> Version {
    Version { rank, expires_at: write.expires_at, meta: write.meta.clone(), value: write.value.clone() }
}

/// Makes `write` one of `version`.
fn put(write: &mut Write, version: Version) {
    let Version { rank, expires_at, meta, value } = version;
    (write.stamp, write.kind) = (Some(rank.stamp), rank.kind);
    (write.expires_at, write.meta, write.value) = (expires_at, meta, value);
}

/// How a foreign entry ranks among others of its key.
pub(crate) fn rank(write: &Write, key: KeyHash, measure: &Measure) -> Rank {
    let stamp = write.stamp.unwrap_or_default();
    let digest = measure.hasher.value(&write.value);
    let hash = measure.hasher.entry(key, stamp, write.kind, write.expires_at, &write.meta, digest);
    Rank { stamp, kind: write.kind, hash }
}

/// Of several foreign entries of one key, what merging them all would leave: the greatest in merge order, or what a resolver
/// makes of them; and how many have to be refused, for their resolver is not at hand.
pub(crate) fn one_of_each(
    mut writes: Vec<Write>,
    resolving: &Resolving,
    measure: &Measure,
) -> (Vec<Write>, u64) {
    let mut refused = 0;
    let rank = |write: &Write| rank(write, measure.hasher.key(&write.key), measure);
    writes.sort_by(|a, b| a.key[..].cmp(&b.key));
    writes.dedup_by(|next, kept| {
        let is_same_key = next.key == kept.key;
        if is_same_key {
            let (a, b) = (version(kept, rank(kept)), version(next, rank(next)));
            match resolving.of(&kept.key) {
                Some(resolver) => put(kept, join(resolver, &kept.key, &a, &b)),
                None if is_merged(&kept.key) => refused += u64::from(a.rank != b.rank),
                None if a.rank < b.rank => std::mem::swap(next, kept),
                None => {}
            }
        }
        is_same_key
    });
    (writes, refused)
}
