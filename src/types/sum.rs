//! Sums over sets of entries: the additive fingerprint and the exact counts of any key range.
//!
//! Everything here is modulo 2^128 or 2^64 and added or subtracted, never xor-ed, so that a *difference* is a sum as
//! well: what a memtable changed in a bucket is kept as one, with wrapped-around numbers where entries went away.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use super::EntryHash;

/// Fingerprint of a set of entries: the sum of their hashes modulo 2^128. The empty set has fingerprint 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint(pub u128);

/// All 32 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::LowerHex for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// How many entries of each kind a range holds, and how many bytes of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counts {
    /// Entries with a value, expired ones included until they are purged.
    pub live: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Bytes of keys and values of all of them.
    pub bytes: u64,
}

/// Fingerprint and counts of the entries of a key range. An additive group: sums of disjoint ranges add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RangeSum {
    /// The sum of the entry hashes.
    pub fingerprint: Fingerprint,
    /// The counts.
    pub counts: Counts,
}

impl RangeSum {
    /// The sum of no entries.
    pub const ZERO: RangeSum =
        RangeSum { fingerprint: Fingerprint(0), counts: Counts { live: 0, tombstones: 0, bytes: 0 } };

    /// The sum of one entry with hash `hash`; `live` tells a value from a tombstone, `bytes` its key and value.
    pub(crate) fn of_entry(hash: EntryHash, live: bool, bytes: u64) -> RangeSum {
        let counts = Counts { live: u64::from(live), tombstones: u64::from(!live), bytes };
        RangeSum { fingerprint: Fingerprint(hash.0), counts }
    }
}

impl AddAssign for RangeSum {
    fn add_assign(&mut self, other: RangeSum) {
        self.fingerprint.0 = self.fingerprint.0.wrapping_add(other.fingerprint.0);
        self.counts.live = self.counts.live.wrapping_add(other.counts.live);
        self.counts.tombstones = self.counts.tombstones.wrapping_add(other.counts.tombstones);
        self.counts.bytes = self.counts.bytes.wrapping_add(other.counts.bytes);
    }
}

impl Neg for RangeSum {
    type Output = RangeSum;

    fn neg(self) -> RangeSum {
        RangeSum {
            fingerprint: Fingerprint(self.fingerprint.0.wrapping_neg()),
            counts: Counts {
                live: self.counts.live.wrapping_neg(),
                tombstones: self.counts.tombstones.wrapping_neg(),
                bytes: self.counts.bytes.wrapping_neg(),
            },
        }
    }
}

impl SubAssign for RangeSum {
    fn sub_assign(&mut self, other: RangeSum) {
        *self += -other;
    }
}

impl Add for RangeSum {
    type Output = RangeSum;

    fn add(mut self, other: RangeSum) -> RangeSum {
        self += other;
        self
    }
}

impl Sub for RangeSum {
    type Output = RangeSum;

    fn sub(mut self, other: RangeSum) -> RangeSum {
        self -= other;
        self
    }
}

impl Neg for EntrySum {
    type Output = EntrySum;

    fn neg(self) -> EntrySum {
        EntrySum { sum: -self.sum, epoch: self.epoch }
    }
}

impl EntrySum {
    /// What is left of this once every epoch up to and with `ended` has ended: itself, or nothing.
    pub(crate) fn after(self, ended: Option<Epoch>) -> EntrySum {
        match self.epoch.is_some() && self.epoch <= ended {
            true => EntrySum { sum: RangeSum::ZERO, epoch: None },
            false => self,
        }
    }
}

impl std::iter::Sum for RangeSum {
    fn sum<I: Iterator<Item = RangeSum>>(sums: I) -> RangeSum {
        sums.fold(RangeSum::ZERO, Add::add)
    }
}

/// Number of an epoch: the end of an entry divided by the replica set's epoch length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Epoch(pub(crate) u64);

/// What one entry counts for in the sums of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntrySum {
    /// The sum of this entry alone.
    pub(crate) sum: RangeSum,
    /// The epoch of its end, for tombstones and entries that expire.
    pub(crate) epoch: Option<Epoch>,
}

/// A range's sum together with the part of it that will end, by the epoch of its end. When the horizon rises past
/// an epoch, the epoch's part leaves the sum without a look at any entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EpochSums {
    /// Every entry that counts.
    pub(crate) total: RangeSum,
    /// The part of `total` whose entries end, by epoch; parts that are zero are left out.
    pub(crate) ending: BTreeMap<Epoch, RangeSum>,
}

impl EpochSums {
    /// Adds one entry.
    pub(crate) fn add_entry(&mut self, entry: EntrySum) {
        self.total += entry.sum;
        if let Some(epoch) = entry.epoch {
            self.add_ending(epoch, entry.sum);
        }
    }

    /// Adds another range's, or a difference's, sums.
    pub(crate) fn add(&mut self, other: &EpochSums) {
        self.total += other.total;
        for (&epoch, &sum) in &other.ending {
            self.add_ending(epoch, sum);
        }
    }

    /// What is left of this range without `part` of it; `None` if it counts less than the part.
    pub(crate) fn without(&self, part: &EpochSums) -> Option<EpochSums> {
        let (whole, counts) = (self.total.counts, part.total.counts);
        let is_part =
            counts.live <= whole.live && counts.tombstones <= whole.tombstones && counts.bytes <= whole.bytes;
        let mut rest = self.clone();
        rest.total -= part.total;
        part.ending.iter().for_each(|(&epoch, &sum)| rest.add_ending(epoch, -sum));
        is_part.then_some(rest)
    }

    /// What is left of `total` once every epoch up to and with `ended` has ended. O(epochs).
    pub(crate) fn after(&self, ended: Option<Epoch>) -> RangeSum {
        let Some(ended) = ended else { return self.total };
        self.total - self.ending.range(..=ended).map(|(_, &part)| part).sum()
    }

    fn add_ending(&mut self, epoch: Epoch, sum: RangeSum) {
        let part = self.ending.entry(epoch).or_default();
        *part += sum;
        if *part == RangeSum::ZERO {
            self.ending.remove(&epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_and_taken_away_leaves_nothing() {
        let put = EntrySum { sum: RangeSum::of_entry(EntryHash(u128::MAX - 3), true, 120), epoch: None };
        let gone = EntrySum { sum: RangeSum::of_entry(EntryHash(17), false, 16), epoch: Some(Epoch(4)) };
        let mut sums = EpochSums::default();
        for entry in [put, gone, -gone, -put] {
            sums.add_entry(entry);
        }
        assert_eq!(sums, EpochSums::default());
    }
}
