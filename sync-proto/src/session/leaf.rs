//! Settling a small range: which entries only one side has, whose version is newer, who sends what.
//!
//! Pure; used by the session for lists. One side lists short fingerprints of its entries, the other answers what does
//! not match, the first decides.
//!
//! Easy to get wrong: all fingerprints here are short and collide now and then. A collision of *entries* is found by the
//! arithmetic of the caller (the matched entries must sum up to the same on both sides). A collision of *keys* can only
//! send an entry too many, or leave one waiting for a cover that never comes, which is then sent after all.

use std::collections::BTreeMap;

use crate::hash::Salt;
use crate::types::{Fingerprint, Head};
use crate::wire::item::{Extra, Listed};

/// What does not match between a peer's list and this side's heads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Positions in the peer's list that no head matches.
    pub(crate) lacking: Vec<u32>,
    /// The heads that nothing in the list matches.
    pub(crate) extra: Vec<Head>,
    /// Sum of the hashes of the heads that match.
    pub(crate) common: Fingerprint,
}

/// Matches `heads` against the fingerprints listed by the peer.
pub(crate) fn match_list(fingerprints: &[u32], heads: Vec<Head>, salt: &Salt) -> Mismatch {
    let mut listed: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (position, &fingerprint) in fingerprints.iter().enumerate().rev() {
        listed.entry(fingerprint).or_default().push(position as u32);
    }
    let mut extra = Vec::new();
    let mut common = Fingerprint::default();
    for head in heads {
        match listed.get_mut(&salt.entry(head.hash)).and_then(Vec::pop) {
            Some(_) => common = common + Fingerprint(head.hash),
            None => extra.push(head),
        }
    }
    let mut lacking: Vec<u32> = listed.into_values().flatten().collect();
    lacking.sort_unstable();
    Mismatch { lacking, extra, common }
}

/// What the deciding side sends and wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Own entries whose keys the peer lacks: sent.
    pub(crate) only_mine: Vec<Vec<u8>>,
    /// Own entries that are newer than the peer's: sent.
    pub(crate) newer_mine: Vec<Vec<u8>>,
    /// Own entries sent to be safe: the peer's entry may be the newer one, and is wanted as well.
    pub(crate) unsure: Vec<Vec<u8>>,
    /// Own entries that an entry wanted from the peer should cover.
    pub(crate) stale: Vec<Vec<u8>>,
    /// Positions of the peer's entries whose keys this side lacks: wanted.
    pub(crate) want_missing: Vec<u32>,
    /// Positions of the peer's entries that are newer than this side's: wanted.
    pub(crate) want_newer: Vec<u32>,
}

/// Decides between own entries that the peer lacks and the peer's that this side lacks. Equal clocks, keys whose short
/// fingerprints are not unique, and versions that are merged are sent both ways: merging is idempotent.
pub(crate) fn decide(mine: Vec<Head>, theirs: &[Extra], salt: &Salt) -> Verdict {
    let key_len = Extra::key_len(theirs.len());
    let key_of = |head: &Head| salt.key_of_len(&head.key, key_len);
    let mut by_key: BTreeMap<u64, (usize, Vec<u32>)> = BTreeMap::new();
    for (position, extra) in theirs.iter().enumerate() {
        by_key.entry(extra.key).or_default().1.push(position as u32);
    }
    for head in &mine {
        by_key.entry(key_of(head)).or_default().0 += 1;
    }
    let mut verdict = Verdict::default();
    for head in mine {
        let others = by_key.get(&key_of(&head));
        match others.map(|(count, positions)| (*count, positions.as_slice())) {
            None | Some((_, [])) => verdict.only_mine.push(head.key),
            Some((1, &[position])) => {
                let theirs = theirs.get(position as usize).map(|extra| extra.hlc).unwrap_or_default();
                match head.stamp.hlc.cmp(&theirs) {
                    _ if head.is_merged => {
                        verdict.want_newer.push(position);
                        verdict.unsure.push(head.key);
                    }
                    std::cmp::Ordering::Greater => verdict.newer_mine.push(head.key),
                    std::cmp::Ordering::Less => {
                        verdict.want_newer.push(position);
                        verdict.stale.push(head.key);
                    }
                    std::cmp::Ordering::Equal => {
                        verdict.want_newer.push(position);
                        verdict.unsure.push(head.key);
                    }
                }
            }
            Some((_, positions)) => {
                verdict.want_newer.extend_from_slice(positions);
                verdict.unsure.push(head.key);
            }
        }
    }
    for (own, positions) in by_key.into_values() {
        if own == 0 {
            verdict.want_missing.extend(positions);
        }
    }
    verdict.want_missing.sort_unstable();
    verdict.want_newer.sort_unstable();
    verdict.want_newer.dedup();
    verdict
}

/// Decides from a peer's list in full width; nothing is left to chance but entries that share a stamp.
pub(crate) fn decide_full(mine: Vec<Head>, theirs: &[Listed]) -> Verdict {
    let mut by_key: BTreeMap<&[u8], (u32, &Listed)> = BTreeMap::new();
    for (position, listed) in theirs.iter().enumerate() {
        by_key.insert(&listed.key, (position as u32, listed));
    }
    let mut verdict = Verdict::default();
    for head in mine {
        match by_key.remove(head.key.as_slice()) {
            None => verdict.only_mine.push(head.key),
            Some((_, listed)) if listed.hash == head.hash => {}
            Some((position, listed)) => match head.stamp.cmp(&listed.stamp) {
                _ if head.is_merged => {
                    verdict.want_newer.push(position);
                    verdict.unsure.push(head.key);
                }
                std::cmp::Ordering::Greater => verdict.newer_mine.push(head.key),
                std::cmp::Ordering::Less => verdict.want_newer.push(position),
                std::cmp::Ordering::Equal => {
                    verdict.want_newer.push(position);
                    verdict.unsure.push(head.key);
                }
            },
        }
    }
    verdict.want_missing.extend(by_key.into_values().map(|(position, _)| position));
    verdict.want_missing.sort_unstable();
    verdict
}
