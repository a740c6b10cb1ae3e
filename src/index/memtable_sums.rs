//! What a memtable changes in the sum of a key range: its newest entries there, less what the layers below counted.
//!
//! Few keys are counted one by one. For many there is an index: the keys in order as of some version, with the sum of all
//! before every [`MARK_EVERY`]th of them, so that a range costs two searches; what came later is counted version by
//! version, and when that grows long the index is made anew. A memtable whose sums nobody asks for pays nothing. Whoever
//! asks settles first what is below the keys (`memtable_below`).
//!
//! Easy to get wrong: the index speaks of the versions that were there when it was made. A reader at an older sequence
//! number must not use it, and counts one by one. And of the two locks that of the index comes first: whoever makes it puts
//! new keys in order meanwhile, which takes the other.

use super::memtable::{Cell, Memtable};
use crate::types::{EntrySum, Epoch, Head, KeyRange, RangeSum, SeqNo};

/// Ranges of up to this many keys are counted one by one. Tests have few keys, and want all ways to be taken.
const COUNTED_MAX: usize = if cfg!(test) { 8 } else { 256 };

/// Keys between marks.
const MARK_EVERY: usize = if cfg!(test) { 4 } else { 64 };

/// Versions that may be newer than the index, beside a sixteenth of those in it.
const NEWER_MAX: usize = if cfg!(test) { 16 } else { 1024 };

/// Sums of the keys in order, as of the first `through` versions.
#[derive(Debug, Default)]
pub(super) struct SumIndex {
    through: usize,
    /// It leaves out what ends up to and with this epoch.
    ended: Option<Epoch>,
    cells: Vec<u32>,
    /// The sum of the cells before number `MARK_EVERY * index`.
    marks: Vec<RangeSum>,
}

impl Memtable {
    /// What this memtable changes in the sum of `range` by commits up to `at`; `count` says what an entry counts for, and what
    /// ends up to and with epoch `ended` counts for nothing.
    /// O(log keys) but for a part of the newest versions, and for an index that is made now and then in O(keys).
    pub(crate) fn sum(
        &self,
        range: &KeyRange,
        at: SeqNo,
        ended: Option<Epoch>,
        count: impl Fn(&[u8], &Head) -> EntrySum,
    ) -> RangeSum {
        let count = |key: &[u8], head: &Head| count(key, head).after(ended);
        let in_order = self.in_order();
        let cells = in_order.cells(&range.start, range.end.as_deref());
        if cells.len() <= COUNTED_MAX {
            return self.counted(cells, ended, |_, head| head.seqno <= at, count);
        }
        drop(in_order);
        let mut index = self.sums.lock();
        let through = self.count_through(at);
        if through < index.through {
            drop(index);
            let in_order = self.in_order();
            let cells = in_order.cells(&range.start, range.end.as_deref());
            return self.counted(cells, ended, |_, head| head.seqno <= at, count);
        }
        if index.ended != ended || through - index.through > NEWER_MAX + index.through / 16 {
            *index = self.index_sums(through, ended, count);
        }
        let newer = (index.through..through).map(|number| self.counted_version(number, range, ended, count));
        self.indexed(&index, range, count) + newer.sum()
    }

    /// The sum of what the newest versions that `is_wanted` changed in these cells.
    fn counted(
        &self,
        cells: &[u32],
        ended: Option<Epoch>,
        is_wanted: impl Fn(u32, &Head) -> bool,
        count: impl Fn(&[u8], &Head) -> EntrySum,
    ) -> RangeSum {
        let change = |cell: &Cell| {
            let head = self.newest(cell, &is_wanted)?;
            Some(count(&cell.key, head).sum - self.below_after(cell, ended))
        };
        cells.iter().filter_map(|&number| change(self.cell(number)?)).sum()
    }

    /// What version `number` changed in the sum of `range`.
    fn counted_version(
        &self,
        number: usize,
        range: &KeyRange,
        ended: Option<Epoch>,
        count: impl Fn(&[u8], &Head) -> EntrySum,
    ) -> RangeSum {
        let change = || {
            let version = self.version(number)?;
            let cell = self.cell(version.cell).filter(|cell| range.contains(&cell.key))?;
            let before = match self.before(number, version) {
                Some(head) => count(&cell.key, head).sum,
                None => self.below_after(cell, ended),
            };
            Some(count(&cell.key, &version.head).sum - before)
        };
        change().unwrap_or(RangeSum::ZERO)
    }

    fn index_sums(
        &self,
        through: usize,
        ended: Option<Epoch>,
        count: impl Fn(&[u8], &Head) -> EntrySum,
    ) -> SumIndex {
        let cells = self.in_order().cells(&[], None).to_vec();
        let mut sum = RangeSum::ZERO;
        let marks = cells.chunks(MARK_EVERY).map(|chunk| {
            let before = sum;
            sum += self.counted(chunk, ended, |number, _| (number as usize) < through, &count);
            before
        });
        let marks = marks.collect();
        SumIndex { through, ended, cells, marks }
    }

    /// The sum of `range` as of the index.
    fn indexed(
        &self,
        index: &SumIndex,
        range: &KeyRange,
        count: impl Fn(&[u8], &Head) -> EntrySum,
    ) -> RangeSum {
        let before = |key: &[u8]| {
            let is_before = |&number: &u32| self.cell(number).is_some_and(|cell| *cell.key < *key);
            self.sum_before(index, index.cells.partition_point(is_before), &count)
        };
        let end = match &range.end {
            Some(end) => before(end),
            None => self.sum_before(index, index.cells.len(), &count),
        };
        end - before(&range.start)
    }

    /// The sum of the first `position` cells as of the index.
    fn sum_before(
        &self,
        index: &SumIndex,
        position: usize,
        count: impl Fn(&[u8], &Head) -> EntrySum,
    ) -> RangeSum {
        // A position at the very end may lie one mark beyond the last.
        let mark = (position / MARK_EVERY).min(index.marks.len().saturating_sub(1));
        let rest = index.cells.get(mark * MARK_EVERY..position).unwrap_or_default();
        let marked = index.marks.get(mark).copied().unwrap_or_default();
        marked + self.counted(rest, index.ended, |number, _| (number as usize) < index.through, count)
    }

    /// What the layers below count for a settled cell's key.
    fn below_after(&self, cell: &Cell, ended: Option<Epoch>) -> RangeSum {
        self.below(cell).map_or(RangeSum::ZERO, |below| below.after(ended).sum)
    }
}
