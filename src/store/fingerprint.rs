//! Fingerprints of ranges: whole buckets from the Merkle index, what sticks out on either side by a scan.
//!
//! The sums are copied under the commit lock together with the view and the visible sequence number, so that both speak
//! of one moment; the scan runs outside of it.
//!
//! Easy to get wrong: an answer that leaves the store must be durable first, which is the caller's business
//! (`Store::persist`), and a poisoned store must not answer at all, for its sums include what may be lost.

use std::sync::Arc;

use crate::error::Result;
use crate::types::{KeyRange, RangeSum, SeqNo};

use super::layers::PartialSum;
use super::{Measure, MerkleLayers, Store, View};

impl Store {
    /// The sum of the entries in `range` (of inner keys), every commit that returned before this call included. Costs
    /// the number of buckets over 64, and a scan of at most two of them.
    ///
    /// # Errors
    /// `Poisoned`; `Corruption` or `Io` from the scan.
    pub(crate) fn fingerprint(&self, range: &KeyRange) -> Result<RangeSum> {
        let sums = self.fingerprints(std::slice::from_ref(range))?;
        Ok(sums.into_iter().sum())
    }

    /// The sums of several ranges at one moment.
    ///
    /// # Errors
    /// As [`Store::fingerprint`].
    pub(crate) fn fingerprints(&self, ranges: &[KeyRange]) -> Result<Vec<RangeSum>> {
        let (partial, view, seqno) = self.partial_sums(ranges)?;
        let complete = partial.into_iter().map(|partial| self.complete(partial, &view, seqno));
        complete.collect()
    }

    fn partial_sums(&self, ranges: &[KeyRange]) -> Result<(Vec<PartialSum>, Arc<View>, SeqNo)> {
        let writer = self.writer.lock();
        self.poison.check()?;
        let partial = ranges.iter().map(|range| writer.front.merkle.sum(range)).collect();
        let (view, seqno) = self.views.read_point();
        Ok((partial, view, seqno))
    }

    fn complete(&self, partial: PartialSum, view: &View, seqno: SeqNo) -> Result<RangeSum> {
        let mut sum = partial.whole;
        for rest in &partial.rest {
            sum += scan_sum(view, rest, seqno, &self.measure)?;
        }
        Ok(sum)
    }

    /// Everything that `verify` compares, of one moment: the entries, and what the Merkle index says of them.
    ///
    /// # Errors
    /// `Poisoned`.
    pub(crate) fn verify_point(&self) -> Result<(Arc<View>, SeqNo, MerkleLayers)> {
        let writer = self.writer.lock();
        self.poison.check()?;
        let (view, seqno) = self.views.read_point();
        Ok((view, seqno, writer.front.merkle.clone()))
    }

    /// The bounds that cut `range` into pieces for a comparison with another replica, at fences of level `cut` and above,
    /// or, without one, of a level that makes about `pieces` of it. At most `limit` bounds.
    pub(crate) fn fences(
        &self,
        range: &KeyRange,
        cut: Option<u8>,
        pieces: u64,
        limit: usize,
    ) -> (u8, Vec<Vec<u8>>) {
        let writer = self.writer.lock();
        let merkle = &writer.front.merkle;
        let cut = cut.unwrap_or_else(|| merkle.cut_level(range, pieces, self.measure.bucket_bits));
        (cut, merkle.fences(range, cut, limit))
    }
}

/// The sum of the entries in `range` by reading every one of them.
pub(crate) fn scan_sum(view: &View, range: &KeyRange, seqno: SeqNo, measure: &Measure) -> Result<RangeSum> {
    let mut sum = RangeSum::ZERO;
    for found in view.cursor(range, seqno) {
        let (key, head) = found?;
        sum += measure.entry(&key, measure.hasher.key(&key), &head).sum;
    }
    Ok(sum)
}
