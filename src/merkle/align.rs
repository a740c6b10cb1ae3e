//! Ranges over several layers: where all of them have bounds, and at which fences a range is cut for a comparison. The
//! store's fingerprints and the children that a peer asks for are made of this.
//!
//! Easy to get wrong: raising a range's start to a bound of one layer may leave the bounds of another, so alignment goes
//! round the layers until nothing moves.

use super::bounds::Bounds;
use super::{COVERED_END, COVERED_START};
use crate::types::{KeyRange, successor};

/// A range, divided by how its sum is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aligned {
    /// The largest part whose ends are bounds in every layer: its sum is the sum of the layers' sums.
    pub(crate) whole: Option<KeyRange>,
    /// What sticks out on either side, at most two ranges: their entries have to be read.
    pub(crate) rest: Vec<KeyRange>,
}

/// Divides `range`, less the keys that count in no sum, by the bounds of `layers`. O(log buckets) for each layer, and as
/// much again for each bound that another layer lacks.
pub(crate) fn align(range: &KeyRange, layers: &[&Bounds]) -> Aligned {
    let start = range.start.as_slice().max(COVERED_START);
    let end = range.end.as_deref().unwrap_or(COVERED_END).min(COVERED_END);
    if start >= end {
        return Aligned { whole: None, rest: Vec::new() };
    }
    let whole_start = settle(start, layers, |bounds, key| bounds.ceil(key));
    let whole_end = settle(end, layers, |bounds, key| bounds.floor(key));
    let part = |from: &[u8], to: &[u8]| (from < to).then(|| KeyRange::new(from, Some(to.to_vec())));
    let Some(whole) = part(whole_start, whole_end) else {
        return Aligned { whole: None, rest: part(start, end).into_iter().collect() };
    };
    let rest = part(start, whole_start).into_iter().chain(part(whole_end, end)).collect();
    Aligned { whole: Some(whole), rest }
}

/// Moves `key` on by every layer in turn until all leave it where it is.
fn settle<'a>(
    key: &'a [u8],
    layers: &[&'a Bounds],
    step: impl Fn(&'a Bounds, &'a [u8]) -> &'a [u8],
) -> &'a [u8] {
    let mut settled = key;
    loop {
        let before = settled;
        settled = layers.iter().fold(settled, |key, bounds| step(bounds, key));
        if settled == before {
            return settled;
        }
    }
}

/// The smallest range around `key`, one that counts, whose ends are bounds in every layer.
pub(crate) fn surrounding(key: &[u8], layers: &[&Bounds]) -> KeyRange {
    let next = successor(key);
    let start = settle(key, layers, |bounds, key| bounds.floor(key));
    let end = settle(&next, layers, |bounds, key| bounds.ceil(key));
    KeyRange::new(start, Some(end.to_vec()))
}

/// The fences strictly inside `range`, of level `cut` and above, that are bounds in every layer, with their levels and in
/// key order. Pieces between them are summed without a read. Skips whole chunks that have no such fence.
pub(crate) fn fences<'a>(
    range: &'a KeyRange,
    cut: u8,
    layers: &'a [&'a Bounds],
) -> impl Iterator<Item = (&'a [u8], u8)> {
    let (first, others) = layers.split_at_checked(1).unwrap_or_default();
    let fences = first.iter().flat_map(move |bounds| bounds.fences(range, cut));
    fences.filter(|(key, _)| others.iter().all(|bounds| bounds.level_of(key).is_some()))
}

/// The level at which a range of `count` entries falls into about `pieces`: at least two if [`fences`] finds any in it. One
/// entry in 2^(`bucket_bits` + level) is a fence of that level or above.
pub(crate) fn cut_level(
    range: &KeyRange,
    count: u64,
    pieces: u64,
    bucket_bits: u8,
    layers: &[&Bounds],
) -> u8 {
    let entries_per_piece = (count / pieces.max(1)).max(1);
    let wanted = (entries_per_piece.ilog2() as u8).saturating_sub(bucket_bits);
    if fences(range, wanted, layers).next().is_some() {
        return wanted;
    }
    fences(range, 0, layers).map(|(_, level)| level).max().unwrap_or(0)
}
