//! The Merkle index as a store holds it: a base as of the last flush, and what each memtable changed since.
//!
//! Base plus changes always equals the visible entries, and the base alone equals the runs (invariant 9). What came in is
//! summed up here, behind the commit lock, and what it replaced by the memtables as it becomes known (`below`), so that the
//! root costs next to nothing; of any other range a memtable sums up its own changes.
//!
//! What ends at or before the horizon counts in none of them: it left the base when the horizon was raised, and whoever adds
//! or scans an entry passes it through [`EntrySum::after`].
//!
//! Easy to get wrong: base, runs and memtables must be of one moment. [`MerklePoint`] is taken under the commit lock, and
//! read outside of it.

use std::sync::Arc;

use crate::error::Result;
use crate::hash::SetHasher;
use crate::index::MergeCursor;
use crate::merkle::{Base, align, covered, cut_level};
use crate::types::{EntrySum, Epoch, EpochSums, KeyRange, RangeSum, SeqNo};

use super::measure::Measure;
use super::view::View;

/// Versions of a memtable that are rather copied than held with all that come later.
const COPIED_MAX: usize = 1 << 14;

/// Base and totals of the changes since.
#[derive(Debug, Clone)]
pub(crate) struct MerkleLayers {
    pub(crate) base: Base,
    /// Everything up to and with this epoch has left the base.
    pub(crate) ended: Option<Epoch>,
    /// Something has left the base since it was written, so that the next file has to hold all of it.
    pub(crate) is_rebased: bool,
    /// The newest entries of the sealed memtables, oldest first: what these change but for what is below their keys.
    sealed: Vec<EpochSums>,
    /// Those of the active one.
    active: EpochSums,
}

impl MerkleLayers {
    /// Over `base`, from which what ended up to and with epoch `ended` has yet to go.
    pub(crate) fn new(base: Base, ended: Option<Epoch>) -> MerkleLayers {
        let active = EpochSums::default();
        let mut layers = MerkleLayers { base, ended: None, is_rebased: false, sealed: Vec::new(), active };
        layers.expire(ended);
        layers
    }

    /// Lets what ended up to and with epoch `ended` leave the sums. O(buckets that have such parts).
    pub(crate) fn expire(&mut self, ended: Option<Epoch>) {
        self.ended = self.ended.max(ended);
        self.expire_base();
    }

    fn expire_base(&mut self) {
        if let Some(ended) = self.ended.filter(|&ended| self.base.has_ended(ended)) {
            self.base = self.base.expire(ended);
            self.is_rebased = true;
        }
    }

    /// Notes that an entry was added, and another one of the same key in the same memtable replaced.
    pub(crate) fn enter(&mut self, added: EntrySum, replaced: Option<EntrySum>) {
        self.active.add_entry(added);
        if let Some(replaced) = replaced {
            self.active.add_entry(-replaced);
        }
    }

    /// Begins a new total, together with a new active memtable.
    pub(crate) fn seal(&mut self) {
        self.sealed.push(std::mem::take(&mut self.active));
    }

    /// Takes in the base that a flush of the oldest sealed memtable made and wrote. The horizon may have risen meanwhile.
    pub(crate) fn install(&mut self, base: Base) {
        self.base = base;
        self.is_rebased = false;
        self.expire_base();
        self.sealed.remove(0);
    }

    /// Takes in the base with an ingest, which was written.
    pub(crate) fn install_ingest(&mut self, base: Base) {
        self.base = base;
        self.is_rebased = false;
        self.expire_base();
    }

    /// The sum of everything, and of what is below the memtables' keys, but for what ends up to and with epoch `ended`, which
    /// is the horizon's or a later one. O(epochs) for that of the horizon, else O(parts that end).
    pub(crate) fn entered(&self, ended: Option<Epoch>) -> RangeSum {
        let memtables = self.sealed.iter().chain([&self.active]);
        let left = match ended.filter(|_| ended > self.ended) {
            Some(ended) => self.base.ended(&covered(), ended),
            None => RangeSum::ZERO,
        };
        self.base.total() - left + memtables.map(|memtable| memtable.after(ended)).sum()
    }
}

/// Everything that sums are made of, as of one moment, with all memtables settled that far.
#[derive(Debug, Clone)]
pub(crate) struct MerklePoint {
    pub(crate) base: Base,
    /// The sum of everything.
    pub(crate) total: RangeSum,
    pub(crate) view: Arc<View>,
    pub(crate) seqno: SeqNo,
    /// Everything up to and with this epoch counts in no sum: the horizon's, or a later one that was asked for.
    pub(crate) ended: Option<Epoch>,
}

impl MerklePoint {
    /// As [`MerklePoint::sum`], of keys that are all known. Of everything it costs nothing.
    ///
    /// # Errors
    /// `Unknown` if the range touches an unknown span; as [`MerklePoint::sum`].
    pub(crate) fn known_sum(&self, range: &KeyRange, measure: &Measure) -> Result<RangeSum> {
        self.view.unknown.check_range(range)?;
        if *range == covered() { Ok(self.total) } else { self.sum(range, measure) }
    }

    /// The bounds that cut `range` into pieces for a comparison with another replica, at fences of level `cut` and above,
    /// or, without one, of a level that makes about `pieces` of it. At most `limit` bounds.
    pub(crate) fn fences(
        &self,
        range: &KeyRange,
        cut: Option<u8>,
        pieces: u64,
        limit: usize,
        measure: &Measure,
    ) -> (u8, Vec<Vec<u8>>) {
        let bounds = self.base.bounds();
        let cut = cut.unwrap_or_else(|| {
            // Only the order of magnitude matters, so the runs' entries in whole buckets stand for all.
            let counts =
                align(range, bounds).whole.map_or(RangeSum::ZERO, |whole| self.base.sum(&whole)).counts;
            cut_level(range, counts.live + counts.tombstones, pieces, measure.bucket_bits, bounds)
        });
        let fences = bounds.fences(range, cut).take(limit).map(|(key, _)| key.to_vec());
        (cut, fences.collect())
    }

    /// The sum of the entries in `range`. Costs the number of buckets over 64, and a scan of at most two of them in the
    /// runs.
    ///
    /// # Errors
    /// `Corruption` or `Io` from the scan.
    pub(crate) fn sum(&self, range: &KeyRange, measure: &Measure) -> Result<RangeSum> {
        let aligned = align(range, self.base.bounds());
        let mut sum = self.changes(range, measure);
        sum += aligned.whole.map_or(RangeSum::ZERO, |whole| self.base_sum(&whole));
        for rest in &aligned.rest {
            let mut cursor = MergeCursor::new(std::iter::empty(), self.view.levels.runs(), rest);
            while let Some((key, head)) = cursor.step()? {
                sum += measure.stored(key, measure.hasher.key(key), &head).after(self.ended).sum;
            }
        }
        Ok(sum)
    }

    /// The same without what it does not take and others still add to or want to be rid of: later versions, and values.
    /// O(versions in the active memtable), if they are few.
    pub(crate) fn alone(self, hasher: &SetHasher) -> MerklePoint {
        let View { active, values, .. } = &*self.view;
        let active = match active.len() <= COPIED_MAX {
            true => Arc::new(active.as_of(self.seqno, |key| hasher.key(key))),
            false => active.clone(),
        };
        let view = View { active, values: Arc::new(values.none()), ..View::clone(&self.view) };
        MerklePoint { view: Arc::new(view), ..self }
    }

    /// What memtables change in the sum of `range`.
    pub(crate) fn changes(&self, range: &KeyRange, measure: &Measure) -> RangeSum {
        let memtables = std::iter::once(&self.view.active).chain(&self.view.sealed);
        let count = |key: &[u8], head: &_| measure.entry(key, measure.hasher.key(key), head);
        memtables.map(|memtable| memtable.sum(range, self.seqno, self.ended, count)).sum()
    }

    /// The base's sum of `range`, whose ends must be bounds.
    pub(crate) fn base_sum(&self, range: &KeyRange) -> RangeSum {
        let ended = self.ended.map_or(RangeSum::ZERO, |ended| self.base.ended(range, ended));
        self.base.sum(range) - ended
    }
}
