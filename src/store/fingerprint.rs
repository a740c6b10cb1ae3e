//! Fingerprints of ranges: whole buckets from the Merkle index, what sticks out on either side by a scan of the runs, and
//! what the memtables change.
//!
//! Base, view and visible sequence number are taken together under the commit lock, so that they speak of one moment;
//! all work is done outside of it.
//!
//! Easy to get wrong: where an unknown span touches a bucket its sum is wrong, so a range that touches the span has none; an
//! answer that leaves the store must be durable first, which is the caller's business (`Store::persist`); and a poisoned
//! store must not answer at all, for its sums include what may be lost.

use crate::error::{Error, Result};
use crate::types::{KeyRange, RangeSum};

use super::Store;
use super::layers::MerklePoint;

impl Store {
    /// The sum of the entries in `range` (of inner keys), every commit that returned before this call included. Costs
    /// the number of buckets over 64, and a scan of at most two of them; of everything it costs nothing.
    ///
    /// # Errors
    /// `Poisoned`; `Unknown` if the range touches an unknown span; `Corruption` or `Io` from the scan.
    pub(crate) fn fingerprint(&self, range: &KeyRange) -> Result<RangeSum> {
        let sums = self.fingerprints(std::slice::from_ref(range))?;
        Ok(sums.into_iter().sum())
    }

    /// The sums of several ranges at one moment.
    ///
    /// # Errors
    /// As [`Store::fingerprint`].
    pub(crate) fn fingerprints(&self, ranges: &[KeyRange]) -> Result<Vec<RangeSum>> {
        self.fingerprints_at(ranges, 0)
    }

    /// As [`Store::fingerprints`], without what ends at or before `cut` (in clock units), if that is above the horizon.
    ///
    /// # Errors
    /// As [`Store::fingerprint`].
    pub(crate) fn fingerprints_at(&self, ranges: &[KeyRange], cut: u64) -> Result<Vec<RangeSum>> {
        loop {
            let point = self.merkle_point_at(cut)?;
            match ranges.iter().map(|range| point.known_sum(range, &self.measure)).collect() {
                Err(error) if self.quarantine(&error)?.is_some() => {}
                sums => return sums,
            }
        }
    }

    /// The sum of those entries in `range` that are known.
    ///
    /// # Errors
    /// `Poisoned`; `Io`.
    pub(crate) fn known_sum(&self, range: &KeyRange) -> Result<RangeSum> {
        loop {
            let mut known = self.unknown().ranges().between(range);
            known.retain(|part| !part.is_empty());
            match self.fingerprints(&known) {
                // More has become unknown since.
                Err(Error::Unknown { .. }) => {}
                sums => return Ok(sums?.into_iter().sum()),
            }
        }
    }

    /// Base, memtables and runs of one moment. Buckets that an unknown span touches count anything. Looks up what was
    /// replaced by writes since somebody last asked.
    ///
    /// # Errors
    /// `Poisoned`; `Corruption` or `Io` from what was replaced.
    pub(crate) fn merkle_point(&self) -> Result<MerklePoint> {
        self.merkle_point_at(0)
    }

    /// As [`Store::merkle_point`], for sums without what ends at or before `cut`, if that is above the horizon.
    ///
    /// # Errors
    /// As [`Store::merkle_point`].
    pub(crate) fn merkle_point_at(&self, cut: u64) -> Result<MerklePoint> {
        self.check_index()?;
        loop {
            let (merkle, view, seqno, active) = {
                let writer = self.writer.lock();
                self.poison.check()?;
                let (view, seqno) = self.views.read_point();
                let active = view.active.key_count();
                (writer.front.merkle.clone(), view, seqno, active)
            };
            let below = match view.settle(active, &self.measure) {
                Err(error) if self.quarantine(&error)?.is_some() => continue,
                below => below?,
            };
            // What is below a key may go once the horizon has passed it, and must not be missed by a sum of before.
            if self.writer.lock().front.merkle.ended == merkle.ended {
                let ended = merkle.ended.max(self.measure.ended(cut));
                let total = merkle.entered(ended) - below.after(ended);
                return Ok(MerklePoint { base: merkle.base, total, view, seqno, ended });
            }
        }
    }
}
