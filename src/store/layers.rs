//! The Merkle index as a store holds it: a base as of the last flush, and what each memtable changed since.
//!
//! Base plus changes always equals the visible entries, and the base alone equals the runs (invariant 9). What came in is
//! summed up here, behind the commit lock, and what it replaced by the memtables as it becomes known (`below`), so that the
//! root costs next to nothing; of any other range a memtable sums up its own changes.
//!
//! Easy to get wrong: base, runs and memtables must be of one moment. [`MerklePoint`] is taken under the commit lock, and
//! read outside of it.

use std::sync::Arc;

use crate::error::Result;
use crate::index::MergeCursor;
use crate::merkle::{Base, align};
use crate::types::{EntrySum, KeyRange, RangeSum, SeqNo};

use super::measure::Measure;
use super::view::View;

/// Base and totals of the changes since.
#[derive(Debug, Clone)]
pub(crate) struct MerkleLayers {
    pub(crate) base: Base,
    /// The newest entries of the sealed memtables, oldest first: what these change but for what is below their keys.
    sealed: Vec<RangeSum>,
    /// Those of the active one.
    active: RangeSum,
}

impl MerkleLayers {
    pub(crate) fn new(base: Base) -> MerkleLayers {
        MerkleLayers { base, sealed: Vec::new(), active: RangeSum::ZERO }
    }

    /// Notes that an entry was added, and another one of the same key in the same memtable replaced.
    pub(crate) fn enter(&mut self, added: EntrySum, replaced: Option<EntrySum>) {
        self.active += added.sum;
        if let Some(replaced) = replaced {
            self.active -= replaced.sum;
        }
    }

    /// Begins a new total, together with a new active memtable.
    pub(crate) fn seal(&mut self) {
        self.sealed.push(std::mem::take(&mut self.active));
    }

    /// Takes in the base that a flush of the oldest sealed memtable made.
    pub(crate) fn install(&mut self, base: Base) {
        self.base = base;
        self.sealed.remove(0);
    }

    /// Takes in the base with an ingest.
    pub(crate) fn install_ingest(&mut self, base: Base) {
        self.base = base;
    }

    /// The sum of everything, and of what is below the memtables' keys.
    pub(crate) fn entered(&self) -> RangeSum {
        self.base.total() + self.sealed.iter().copied().sum() + self.active
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
}

impl MerklePoint {
    /// The sum of the entries in `range`. Costs the number of buckets over 64, and a scan of at most two of them in the
    /// runs.
    ///
    /// # Errors
    /// `Corruption` or `Io` from the scan.
    pub(crate) fn sum(&self, range: &KeyRange, measure: &Measure) -> Result<RangeSum> {
        let aligned = align(range, self.base.bounds());
        let mut sum = self.changes(range, measure);
        sum += aligned.whole.map_or(RangeSum::ZERO, |whole| self.base.sum(&whole));
        for rest in &aligned.rest {
            let mut cursor = MergeCursor::new(std::iter::empty(), self.view.levels.runs(), rest);
            while let Some((key, head)) = cursor.step()? {
                sum += measure.stored(key, measure.hasher.key(key), &head).sum;
            }
        }
        Ok(sum)
    }

    /// What memtables change in the sum of `range`.
    pub(crate) fn changes(&self, range: &KeyRange, measure: &Measure) -> RangeSum {
        let memtables = std::iter::once(&self.view.active).chain(&self.view.sealed);
        let count = |key: &[u8], head: &_| measure.entry(key, measure.hasher.key(key), head);
        memtables.map(|memtable| memtable.sum(range, self.seqno, count)).sum()
    }
}
