//! What the layers below a memtable count for its keys.
//!
//! A local write wins over whatever it replaces, so what that was need not be known when it comes in, but only when
//! somebody asks for a sum, and for the memtable's flush: then it is looked up for many keys at once, in key order, which
//! takes a fraction of the time that looking up each by itself would have taken. Keys come in *unsettled* unless the
//! caller knew already, and [`Memtable::settle`] settles them.
//!
//! Easy to get wrong: the answer depends only on what the layers below hold of a key, which flushes and merges do not
//! change, but for dropping what the horizon has passed, and that counts for nothing. So it does not matter when it is looked
//! up, or who does it.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::memtable::{BELOW_LEN, Cell, Memtable};
use crate::types::{EntrySum, EpochSums};

/// Unsettled keys beyond which they are put in order before they are looked up.
const UNORDERED_MAX: usize = if cfg!(test) { 4 } else { 512 };

/// Keys that are looked up at once.
const LOOKED_UP: usize = 16;

/// A cell's number for what is below it, before it is settled.
const UNSETTLED: u32 = u32::MAX;

/// A cell's number if there is nothing below it.
const NOTHING: u32 = u32::MAX - 1;

/// What the layers below count for a key that comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Below {
    /// To be looked up later.
    #[default]
    Unknown,
    /// This, if they have an entry of it.
    Known(Option<EntrySum>),
}

/// Keys and what is below them, one for one.
pub(crate) type LookedUp = SmallVec<[Option<EntrySum>; LOOKED_UP]>;

/// The first so many cells are settled.
#[derive(Debug, Default)]
pub(super) struct Settled {
    cells: usize,
    /// What is below them, together.
    below: EpochSums,
}

impl Memtable {
    /// Looks up what is below every key that is not settled yet, among the first `count`; returns the sum of what is below
    /// those `count` keys. `look_up` is given keys, in order if there are many of them, and answers one for one.
    ///
    /// # Errors
    /// Those of `look_up`: what was found before is kept.
    pub(crate) fn settle<E>(
        &self,
        count: usize,
        mut look_up: impl FnMut(&[&[u8]]) -> Result<LookedUp, E>,
    ) -> Result<EpochSums, E> {
        let mut settled = self.settled.lock();
        if settled.cells >= count {
            let mut below = settled.below.clone();
            self.belows_of(count..settled.cells).for_each(|newer| below.add_entry(-newer));
            return Ok(below);
        }
        let is_unsettled = |cell: &&Cell| cell.below.load(Ordering::Relaxed) == UNSETTLED;
        let (first, in_order) = (settled.cells, self.in_order_from(settled.cells, count));
        let numbers = in_order.iter().copied().filter(|&number| (first..count).contains(&(number as usize)));
        let mut cells = numbers.filter_map(|number| self.cell(number)).filter(is_unsettled);
        loop {
            let cells: SmallVec<[&Cell; LOOKED_UP]> = cells.by_ref().take(LOOKED_UP).collect();
            if cells.is_empty() {
                break;
            }
            let keys: SmallVec<[&[u8]; LOOKED_UP]> = cells.iter().map(|cell| &cell.key[..]).collect();
            for (cell, below) in cells.iter().zip(look_up(&keys)?) {
                cell.below.store(self.keep(below), Ordering::Release);
            }
        }
        self.belows_of(first..count).for_each(|below| settled.below.add_entry(below));
        settled.cells = count;
        Ok(settled.below.clone())
    }

    /// Number of keys, as of a moment at which no key comes in.
    pub(crate) fn key_count(&self) -> usize {
        self.cells.count()
    }

    /// Cells `first` to `count`, in arrival order if they are few, or all cells in key order.
    fn in_order_from(&self, first: usize, count: usize) -> Vec<u32> {
        match count - first <= UNORDERED_MAX {
            true => (first as u32..count as u32).collect(),
            false => self.in_order().cells(&[], None).to_vec(),
        }
    }

    fn belows_of(&self, cells: std::ops::Range<usize>) -> impl Iterator<Item = EntrySum> {
        let cells = cells.filter_map(|number| self.cell(number as u32));
        cells.filter_map(|cell| self.below(cell).copied())
    }

    /// What is below a settled cell.
    pub(super) fn below(&self, cell: &Cell) -> Option<&EntrySum> {
        self.belows.get(cell.below.load(Ordering::Acquire) as usize)
    }

    /// As [`Memtable::below`], of a cell that may not be settled.
    pub(super) fn known_below(&self, cell: &Cell) -> Below {
        match cell.below.load(Ordering::Acquire) {
            UNSETTLED => Below::Unknown,
            number => Below::Known(self.belows.get(number as usize).copied()),
        }
    }

    /// The number that a new cell gets.
    pub(super) fn number_of(&self, below: Below) -> u32 {
        match below {
            Below::Unknown => UNSETTLED,
            Below::Known(below) => self.keep(below),
        }
    }

    fn keep(&self, below: Option<EntrySum>) -> u32 {
        below.map_or(NOTHING, |below| {
            self.take(BELOW_LEN);
            self.belows.push(below) as u32
        })
    }
}
