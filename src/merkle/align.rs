//! Ranges and bounds: where a range has bounds, and at which fences it is cut for a comparison. The store's fingerprints
//! and the children that a peer asks for are made of this.

use super::bounds::Bounds;
use super::{COVERED_END, COVERED_START};
use crate::types::KeyRange;

/// A range, divided by how its sum is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aligned {
    /// The largest part whose ends are bounds.
    pub(crate) whole: Option<KeyRange>,
    /// What sticks out on either side, at most two ranges: their entries have to be read.
    pub(crate) rest: Vec<KeyRange>,
}

/// Divides `range`, less the keys that count in no sum. O(log buckets).
pub(crate) fn align(range: &KeyRange, bounds: &Bounds) -> Aligned {
    let start = range.start.as_slice().max(COVERED_START);
    let end = range.end.as_deref().unwrap_or(COVERED_END).min(COVERED_END);
    if start >= end {
        return Aligned { whole: None, rest: Vec::new() };
    }
    let (whole_start, whole_end) = (bounds.ceil(start), bounds.floor(end));
    let part = |from: &[u8], to: &[u8]| (from < to).then(|| KeyRange::new(from, Some(to.to_vec())));
    let Some(whole) = part(whole_start, whole_end) else {
        return Aligned { whole: None, rest: part(start, end).into_iter().collect() };
    };
    let rest = part(start, whole_start).into_iter().chain(part(whole_end, end)).collect();
    Aligned { whole: Some(whole), rest }
}

/// The level at which a range of `count` entries falls into about `pieces`: at least two if it has any fence inside. One
/// entry in 2^(`bucket_bits` + level) is a fence of that level or above.
pub(crate) fn cut_level(range: &KeyRange, count: u64, pieces: u64, bucket_bits: u8, bounds: &Bounds) -> u8 {
    let entries_per_piece = (count / pieces.max(1)).max(1);
    let wanted = (entries_per_piece.ilog2() as u8).saturating_sub(bucket_bits);
    if bounds.fences(range, wanted).next().is_some() {
        return wanted;
    }
    bounds.fences(range, 0).map(|(_, level)| level).max().unwrap_or(0)
}
