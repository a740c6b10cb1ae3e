//! Reading a difference from its cells.
//!
//! The last cells are looked at first. A late cell holds few elements, and hardly any that is not there would belong to it, so
//! that a short check does; the early ones, in which nearly everything lies, come to be looked at when little is left. In that
//! order a check of 6 bits misleads one large sketch in fifty, and in any order one of 8 bits one in three.
//!
//! Easy to get wrong: cells of a liar can be peeled for ever, an element in and out again. No honest difference has more
//! elements than cells, so that many are peeled and no more.

use std::collections::{BTreeMap, BinaryHeap};

use super::cells::Sketch;
use super::mapping::Mapping;

/// The elements of a difference, each list rising.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Those that were added and not taken off.
    pub(crate) added: Vec<u64>,
    /// Those that were taken off and never added.
    pub(crate) removed: Vec<u64>,
}

impl Sketch {
    /// Peels the sketch: an element alone in a cell is taken out of all its cells, which may leave others alone.
    /// `None` if something is left in the end. O(cells * log² cells).
    pub(crate) fn peel(mut self) -> Option<Difference> {
        let cell_count = self.cells().len();
        // Something peeled by mistake, because a check happened to fit, comes up again with the other sign.
        let mut found: BTreeMap<u64, bool> = BTreeMap::new();
        let mut suspects: BinaryHeap<usize> = (0..cell_count).collect();
        let mut left = cell_count;
        while let Some(index) = suspects.pop() {
            let Some((fingerprint, added)) = self.pure(index) else { continue };
            left = left.checked_sub(1)?;
            if added {
                self.remove(fingerprint);
            } else {
                self.add(fingerprint);
            }
            if found.remove(&fingerprint).is_none() {
                found.insert(fingerprint, added);
            }
            suspects.extend(Mapping::new(fingerprint).below(cell_count));
        }
        let of =
            |side: bool| found.iter().filter(move |(_, added)| **added == side).map(|(&fp, _)| fp).collect();
        self.is_empty().then(|| Difference { added: of(true), removed: of(false) })
    }
}
