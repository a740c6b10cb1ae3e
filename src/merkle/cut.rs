//! Cuts: which bucket is to be cut and at what ([`PendingCut`]), and its parts ([`Cut`]).
//!
//! Whoever cuts sums up the parts by reading the bucket's entries, and may leave out one part: what the others leave of the
//! bucket's sum is its own. Of a bucket that is cut once, two halves of chance lengths, the shorter one is a quarter of it
//! in the mean, so that saves three quarters of the reading. One cut in eight leaves out nothing, and there the parts have
//! to add up: a base that says something else than the entries is found out.
//!
//! Easy to get wrong: which part is the widest is a guess by the keys' bytes. A bad guess costs reads, never truth.

use super::bounds::Bound;
use super::buckets::Bucket;
use super::build::BucketBuilder;
use crate::types::{EpochSums, KeyRange};

/// A bucket is read whole when it is cut at a bound of this level or a higher one: one fence in eight is. A decreed bound,
/// too, for a scan meets no key there.
const CHECKED_LEVEL: u8 = 3;

/// A bucket that should be cut, and at what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingCut {
    /// The bucket. Its entries in the runs, and nowhere else, are what has to be read.
    pub(crate) range: KeyRange,
    /// New bounds in it, in key order; its own if that is to get a higher level.
    pub(crate) bounds: Vec<Bound>,
}

/// A bucket's parts: the first one begins where the bucket does, the others at new bounds, in key order.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) parts: Vec<Bucket>,
    /// The part that was left out, whose sums are not known yet.
    pub(crate) left_out: Option<usize>,
}

/// The parts of a bucket do not lie in it in order or do not add up to it: sums or entries are damaged, and the
/// Merkle index has to be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parts of a Merkle bucket do not add up to it")]
pub(crate) struct CutMismatch {
    /// The bucket.
    pub(crate) range: KeyRange,
}

impl PendingCut {
    /// The bucket's parts. `scan` adds the entries of a range in the bucket to a builder.
    ///
    /// # Errors
    /// Those of `scan`.
    pub(crate) fn parts<E>(
        &self,
        bucket_bits: u8,
        mut scan: impl FnMut(&mut BucketBuilder, &KeyRange) -> Result<(), E>,
    ) -> Result<Cut, E> {
        let begins = self.begins();
        let Some(widest) = self.widest(&begins) else {
            let mut builder = BucketBuilder::of_cut(bucket_bits, self);
            scan(&mut builder, &self.range)?;
            return Ok(Cut { parts: builder.into_buckets(), left_out: None });
        };
        let begin = |index: usize| begins.get(index).cloned();
        let mut side = |first: Option<Bound>, end: Option<Vec<u8>>| {
            let Some(first) = first else { return Ok(Vec::new()) };
            let range = KeyRange::new(first.key.clone(), end);
            let mut builder = BucketBuilder::of_parts(bucket_bits, first);
            scan(&mut builder, &range).map(|()| builder.into_buckets())
        };
        let bound = begin(widest);
        let mut parts = side(begin(0).filter(|_| widest > 0), bound.as_ref().map(|bound| bound.key.clone()))?;
        let left_out = Some(parts.len());
        parts.extend(bound.map(|bound| Bucket { bound, sums: EpochSums::default() }));
        parts.extend(side(begin(widest + 1), self.range.end.clone())?);
        Ok(Cut { parts, left_out })
    }

    /// The part that is better not read; `None` if this cut is one of those that are checked.
    fn widest(&self, begins: &[Bound]) -> Option<usize> {
        if self.bounds.iter().any(|bound| bound.level >= CHECKED_LEVEL) {
            return None;
        }
        let starts = begins.iter().map(|bound| self.position(Some(&bound.key)));
        let ends: Vec<u128> = starts.chain([self.position(self.range.end.as_deref())]).collect();
        let widths = ends.windows(2).map(|ends| ends[1].saturating_sub(ends[0]));
        widths.enumerate().max_by_key(|(_, width)| *width).map(|(widest, _)| widest)
    }

    /// Where the bucket's parts begin. The base knows the level of the first one's bound, unless that is raised.
    fn begins(&self) -> Vec<Bound> {
        let own = Bound { key: self.range.start.clone(), level: 0 };
        let is_raised = self.bounds.first().is_some_and(|first| first.key == own.key);
        Some(own).filter(|_| !is_raised).into_iter().chain(self.bounds.iter().cloned()).collect()
    }

    /// About where a key lies among those of the bucket, as a number; `None` is the end of all keys.
    fn position(&self, key: Option<&[u8]>) -> u128 {
        let Some(key) = key else { return u128::MAX };
        let last = self.bounds.last().map_or(&[][..], |bound| &bound.key);
        let shared = self.range.start.iter().zip(last).take_while(|(a, b)| a == b).count();
        let prefix = self.range.start.get(..shared).unwrap_or_default();
        let Some(rest) = key.strip_prefix(prefix) else { return u128::MAX };
        rest.iter().chain(&[0; 16]).take(16).fold(0, |number, &byte| number << 8 | u128::from(byte))
    }
}

impl Cut {
    /// The parts with the sums of all of them, if they are parts of `bucket`, which lies in `range`.
    ///
    /// # Errors
    /// [`CutMismatch`] if they are not.
    pub(super) fn parts_of(mut self, bucket: &Bucket, range: &KeyRange) -> Result<Vec<Bucket>, CutMismatch> {
        let mismatch = || CutMismatch { range: range.clone() };
        let mut sums = EpochSums::default();
        let read = self.parts.iter().enumerate().filter(|(index, _)| Some(*index) != self.left_out);
        read.for_each(|(_, part)| sums.add(&part.sums));
        if let Some(part) = self.left_out.and_then(|index| self.parts.get_mut(index)) {
            part.sums = bucket.sums.without(&sums).ok_or_else(mismatch)?;
        } else if sums != bucket.sums {
            return Err(mismatch());
        }
        let is_ordered = self.parts.is_sorted_by(|a, b| a.bound.key < b.bound.key);
        let is_inside = self.parts.last().is_some_and(|last| range.contains(&last.bound.key));
        let first = self.parts.first_mut().filter(|first| first.bound.key == bucket.bound.key);
        match first {
            Some(first) if is_ordered && is_inside => {
                first.bound.level = first.bound.level.max(bucket.bound.level);
                Ok(self.parts)
            }
            _ => Err(mismatch()),
        }
    }
}
