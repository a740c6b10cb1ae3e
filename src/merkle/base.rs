//! [`Base`]: the sums of all buckets as of one flush. Immutable, and cheap to clone; a change makes a new base that shares
//! what it leaves alone.
//!
//! A flush makes the next base in three steps: a [`Fold`] adds what the memtable changed, [`Base::pending_cuts`] says
//! which buckets the new fences lie in, and [`Base::cut`] replaces those by their parts, which the caller has summed up
//! by reading the buckets' entries in the runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bounds::{Bound, Bounds, Place, first_bound};
use super::buckets::{Bucket, Buckets};
use super::cut::{Cut, CutMismatch, PendingCut};
use super::{COVERED_END, DECREED};
use crate::types::{EntrySum, EpochSums, KeyRange, RangeSum};

/// The sum of every bucket, in key order, over all replicated keys.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(super) buckets: Arc<Buckets>,
}

/// A base while changes are added to it, in key order.
#[derive(Debug)]
pub(crate) struct Fold {
    buckets: Buckets,
    /// The bucket that the last key lay in, and where it ends.
    place: Place,
    end: Vec<u8>,
}

impl Default for Base {
    /// The base of no entries.
    fn default() -> Base {
        Base::new(Vec::new())
    }
}

impl Base {
    /// A base of these buckets, in key order. Before the first one there is an empty one if it begins later than the
    /// covered keys.
    pub(crate) fn new(mut buckets: Vec<Bucket>) -> Base {
        let first = first_bound();
        if buckets.first().is_none_or(|bucket| bucket.bound.key != first.key) {
            buckets.insert(0, Bucket { bound: first, sums: EpochSums::default() });
        }
        Base::of(Buckets::of_buckets(&buckets))
    }

    pub(super) fn of(buckets: Buckets) -> Base {
        Base { buckets: Arc::new(buckets) }
    }

    /// Where the buckets begin.
    pub(crate) fn bounds(&self) -> &Bounds {
        self.buckets.bounds()
    }

    /// The sum of everything.
    pub(crate) fn total(&self) -> RangeSum {
        self.buckets.total()
    }

    /// The sum of `range`, whose ends must be bounds. O(chunks in the range).
    pub(crate) fn sum(&self, range: &KeyRange) -> RangeSum {
        self.buckets.sum(range)
    }

    /// All buckets in key order.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let chunks = self.bounds().chunks().iter().enumerate();
        let places =
            chunks.flat_map(|(chunk, bounds)| (0..bounds.len()).map(move |index| Place { chunk, index }));
        places.map(|place| self.buckets.bucket(place))
    }

    /// What distinguishes this base from `previous`, in key order: buckets that are new or have another sum or level, and
    /// `None` where a bucket began and none does any more. O(buckets in chunks that are not shared).
    pub(crate) fn changes_since(&self, previous: &Base) -> Vec<(Bound, Option<EpochSums>)> {
        let (ours, theirs) = (&self.buckets, &previous.buckets);
        let (mut our, mut their) = (Place::FIRST, Place::FIRST);
        let mut changes = Vec::new();
        loop {
            let (our_key, their_key) = (ours.bounds().key(our), theirs.bounds().key(their));
            let order = our_key.cmp(their_key);
            if order.is_eq() && our_key == COVERED_END {
                return changes;
            }
            if order.is_eq() && our.index == 0 && ours.shares(our.chunk, theirs, their.chunk) {
                (our, their) = (our.next_chunk(), their.next_chunk());
                continue;
            }
            let bucket = ours.bucket(our);
            if order.is_gt() {
                changes.push((theirs.bucket(their).bound, None));
            } else if order.is_lt() || bucket != theirs.bucket(their) {
                changes.push((bucket.bound, Some(bucket.sums)));
            }
            if order.is_le() {
                our = ours.bounds().after(our);
            }
            if order.is_ge() {
                their = theirs.bounds().after(their);
            }
        }
    }

    /// Begins the base that comes after this one. O(chunks).
    pub(crate) fn fold(&self) -> Fold {
        Fold { buckets: (*self.buckets).clone(), place: Place::FIRST, end: Vec::new() }
    }

    /// The buckets that `bounds`, in key order, lie in. Those that are bounds of that level already are left out, and so
    /// are those outside the keys that count.
    pub(crate) fn pending_cuts(&self, bounds: impl IntoIterator<Item = Bound>) -> Vec<PendingCut> {
        let mut pending: Vec<PendingCut> = Vec::new();
        let is_new =
            |bound: &Bound| self.bounds().level_of(&bound.key).is_none_or(|level| level < bound.level);
        for bound in bounds.into_iter().filter(|bound| super::covered().contains(&bound.key) && is_new(bound))
        {
            match pending.last_mut().filter(|cut| cut.range.contains(&bound.key)) {
                Some(cut) => cut.bounds.push(bound),
                None => {
                    let range = self.bounds().bucket_range(&bound.key);
                    pending.push(PendingCut { range, bounds: vec![bound] });
                }
            }
        }
        pending
    }

    /// The buckets that `range` has keys in, as one range. `None` if none of its keys count.
    pub(crate) fn touched(&self, range: &KeyRange) -> Option<KeyRange> {
        let covered = super::covered();
        if !range.overlaps(&covered) {
            return None;
        }
        let end = range.end.as_deref().unwrap_or(COVERED_END).min(COVERED_END);
        let start = range.start.as_slice().max(&covered.start);
        Some(KeyRange::new(self.bounds().floor(start), Some(self.bounds().ceil(end).to_vec())))
    }

    /// The bounds inside `range` that stand by decree.
    pub(crate) fn decreed(&self, range: &KeyRange) -> Vec<Bound> {
        let bounds = self.bounds().fences(range, DECREED);
        bounds.map(|(key, level)| Bound { key: key.to_vec(), level }).collect()
    }

    /// This base with all buckets of `range`, whose ends are bounds, replaced by `parts`, whatever they add up to. The first of them begins where the range does, and keeps the level of its bound.
    pub(crate) fn replaced(&self, range: &KeyRange, mut parts: Vec<Bucket>) -> Base {
        let first = self.bounds().locate(&range.start);
        let last = range.end.as_deref().map_or(self.bounds().end(), |end| self.bounds().locate(end));
        if let Some(part) = parts.first_mut() {
            part.bound.level = part.bound.level.max(self.buckets.bucket(first).bound.level);
        }
        let places = std::iter::successors(Some(first), |place| Some(self.bounds().after(*place)));
        let mut replacements: BTreeMap<Place, Vec<Bucket>> =
            places.take_while(|place| *place < last).map(|place| (place, Vec::new())).collect();
        replacements.insert(first, parts);
        Base::of(self.buckets.replace(replacements))
    }

    /// This base with some buckets replaced by their parts. A bucket's own bound keeps its level, unless the first
    /// part raises it.
    ///
    /// # Errors
    /// [`CutMismatch`] if the parts of a bucket do not add up to it.
    pub(crate) fn cut(&self, cuts: impl IntoIterator<Item = Cut>) -> Result<Base, CutMismatch> {
        let mut replacements = BTreeMap::new();
        for cut in cuts {
            let Some(first) = cut.parts.first() else { continue };
            let place = self.bounds().locate(&first.bound.key);
            let range = self.bounds().bucket_range(&first.bound.key);
            replacements.insert(place, cut.parts_of(&self.buckets.bucket(place), &range)?);
        }
        Ok(Base::of(self.buckets.replace(replacements)))
    }
}

impl Fold {
    /// Notes that `key`, a replicated inner key above all before, has the entry `added` in place of `removed`. Costs a
    /// comparison, and a search once for each bucket.
    pub(crate) fn add(&mut self, key: &[u8], added: Option<EntrySum>, removed: Option<EntrySum>) {
        debug_assert!(super::covered().contains(key), "local keys are in no sum");
        if key >= &self.end[..] {
            let bounds = self.buckets.bounds();
            self.place = bounds.locate(key);
            let end = bounds.key(bounds.after(self.place));
            self.end.clear();
            self.end.extend_from_slice(end);
        }
        let changes = added.into_iter().chain(removed.map(|entry| -entry));
        changes.for_each(|entry| self.buckets.add_entry(self.place, entry));
    }

    /// The base with everything that was added.
    pub(crate) fn finish(self) -> Base {
        Base::of(self.buckets)
    }
}
