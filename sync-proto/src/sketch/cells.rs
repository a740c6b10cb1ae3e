//! [`Sketch`]: the cells of a set.
//!
//! Easy to get wrong: a count is kept modulo 256, and behind the first cells modulo 4. That loses nothing: a cell of five elements
//! looks like one of a single element and is then told from it by its check, like every other cell that is not pure.

use super::mapping::{Mapping, mix};

/// So many cells, the first ones, have a count from which follows how much differs. Of the others it only says whether a single
/// element was added or taken off.
pub(crate) const COUNTED: usize = 64;

/// What lies in one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    /// Exclusive or of the fingerprints.
    pub(crate) sum: u64,
    /// Exclusive or of their checks, of 6 bits each.
    pub(crate) check: u8,
    /// Their number modulo 256, or behind the first [`COUNTED`] cells modulo 4; of a difference, those of one side less those of
    /// the other.
    pub(crate) count: u8,
}

/// Bytes of so many cells of fingerprints of four bytes, as they travel.
pub(crate) fn cells_len(cell_count: usize) -> u64 {
    (cell_count as u64).saturating_mul(5).saturating_add(cell_count.min(COUNTED) as u64)
}

/// What a count is known modulo, less 1.
pub(crate) fn count_mask(index: usize) -> u8 {
    if index < COUNTED { u8::MAX } else { 3 }
}

impl Cell {
    fn is_empty(&self) -> bool {
        *self == Cell::default()
    }
}

/// Cells of a set of fingerprints, or of what two sets differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketch {
    cells: Vec<Cell>,
}

impl Sketch {
    /// The empty set in `cell_count` cells.
    pub(crate) fn new(cell_count: usize) -> Sketch {
        Sketch { cells: vec![Cell::default(); cell_count] }
    }

    pub(crate) fn from_cells(cells: Vec<Cell>) -> Sketch {
        Sketch { cells }
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Adds an element. O(log cells).
    pub(crate) fn add(&mut self, fingerprint: u64) {
        self.toggle(fingerprint, 1);
    }

    /// Takes an element off. O(log cells).
    pub(crate) fn remove(&mut self, fingerprint: u64) {
        self.toggle(fingerprint, u8::MAX);
    }

    fn toggle(&mut self, fingerprint: u64, count: u8) {
        let check = check(fingerprint);
        for index in Mapping::new(fingerprint).below(self.cells.len()) {
            if let Some(cell) = self.cells.get_mut(index) {
                cell.sum ^= fingerprint;
                cell.check ^= check;
                cell.count = cell.count.wrapping_add(count) & count_mask(index);
            }
        }
    }

    /// The element that is alone in a cell, if it is, and whether it was added (and not taken off).
    pub(crate) fn pure(&self, index: usize) -> Option<(u64, bool)> {
        let cell = self.cells.get(index)?;
        let is_alone = (cell.count == 1 || cell.count == count_mask(index))
            && cell.check == check(cell.sum)
            && Mapping::new(cell.sum).below(self.cells.len()).any(|other| other == index);
        is_alone.then_some((cell.sum, cell.count == 1))
    }

    /// Whether nothing is in any cell.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.iter().all(Cell::is_empty)
    }
}

/// What tells a single element from several: a cell of several is taken for pure by mistake once in 2^6 times, and then
/// only if the mapping puts the supposed element there, which in cell `i` is once in `1 + i/2`. See [`Sketch::peel`] for why
/// that is enough.
fn check(fingerprint: u64) -> u8 {
    mix(fingerprint ^ 0x5ca1_ab1e_0ddb_a115) as u8 & 0x3f
}
