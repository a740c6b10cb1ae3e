//! The key space cut into cells of about equal entry count, and what differs in each of them.
//!
//! The left and the right replica share one cut, made of what either holds: the counts of pieces on one side, and the keys that
//! only the other has. Pure: it knows keys and counts and no store.
//!
//! Easy to get wrong: a cell begins at a key and ends before the beginning of the next one; the first begins before every key,
//! for a differing key may be less than the least one counted.

use sync_proto::Difference;

/// The ways to differ, in the order in which their numbers are kept.
pub(crate) const KINDS: [Difference; 4] =
    [Difference::OnlyLeft, Difference::OnlyRight, Difference::NewerLeft, Difference::NewerRight];

/// Words for a way to differ. They are kept from version to version.
pub(crate) fn phrase(difference: Difference) -> &'static str {
    match difference {
        Difference::OnlyLeft => "only left",
        Difference::OnlyRight => "only right",
        Difference::NewerLeft => "newer left",
        Difference::NewerRight => "newer right",
    }
}

/// So many entries from this key on, up to the next weight's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) key: Vec<u8>,
    pub(crate) entries: u64,
}

/// A part of the key space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    /// The key it begins at.
    pub(crate) start: Vec<u8>,
    /// Entries in it that either replica has, at least about.
    pub(crate) entries: u64,
    /// Differing keys, of each of [`KINDS`].
    pub(crate) differing: [u64; 4],
}

/// The key space in cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cells(Vec<Cell>);

impl Cells {
    /// Cuts the key space into at most `count` cells, at least one, by `weights` in any order, and counts `differing` keys in
    /// them. Takes the time of sorting the one and searching for each of the other.
    pub(crate) fn new(count: usize, mut weights: Vec<Weight>, differing: &[(Difference, Vec<u8>)]) -> Cells {
        weights.sort_by(|a, b| a.key.cmp(&b.key));
        let total = weights.iter().map(|weight| weight.entries).fold(0, u64::saturating_add);
        let count = count.max(1) as u128;
        let mut cells = vec![Cell::default()];
        let mut before = 0u64;
        for Weight { key, entries } in weights {
            // The cell that a weight belongs to is told by what comes before it, so that no error adds up.
            let place = u128::from(before) * count / u128::from(total.max(1));
            let is_due = entries > 0 && place >= cells.len() as u128;
            let is_new = is_due && cells.last().is_some_and(|cell| cell.start < key);
            if is_new {
                cells.push(Cell { start: key, ..Cell::default() });
            }
            if let Some(cell) = cells.last_mut() {
                cell.entries = cell.entries.saturating_add(entries);
            }
            before = before.saturating_add(entries);
        }
        Cells(cells).recounted(differing)
    }

    /// The same cells with these differing keys instead.
    pub(crate) fn recounted(self, differing: &[(Difference, Vec<u8>)]) -> Cells {
        let Cells(mut cells) = self;
        cells.iter_mut().for_each(|cell| cell.differing = [0; 4]);
        for (difference, key) in differing {
            let after = cells.partition_point(|cell| cell.start <= *key);
            if let Some(cell) = cells.get_mut(after.saturating_sub(1)) {
                let [only_left, only_right, newer_left, newer_right] = &mut cell.differing;
                *match difference {
                    Difference::OnlyLeft => only_left,
                    Difference::OnlyRight => only_right,
                    Difference::NewerLeft => newer_left,
                    Difference::NewerRight => newer_right,
                } += 1;
            }
        }
        Cells(cells)
    }

    /// The cells in key order; at least one.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Cell> {
        self.0.iter()
    }

    /// The number of cells.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(counts: &[(u8, u64)]) -> Vec<Weight> {
        counts.iter().map(|&(key, entries)| Weight { key: vec![key], entries }).collect()
    }

    #[test]
    fn cells_hold_about_as_many_entries_each_and_every_differing_key_once() {
        let cells = Cells::new(4, (0..100).map(|key| Weight { key: vec![key], entries: 10 }).collect(), &[]);
        assert_eq!(cells.iter().map(|cell| cell.entries).collect::<Vec<_>>(), [250; 4]);
        let differing = [
            (Difference::OnlyRight, Vec::new()),
            (Difference::NewerLeft, vec![50]),
            (Difference::NewerLeft, vec![200]),
        ];
        // One heavy piece cannot be cut, and makes no empty cell either.
        let cells = Cells::new(4, weights(&[(90, 1), (10, 1), (50, 98), (95, 0)]), &differing);
        let shown: Vec<_> = cells.iter().map(|cell| (cell.start.clone(), cell.differing)).collect();
        assert_eq!(shown, [(vec![], [0, 1, 1, 0]), (vec![90], [0, 0, 1, 0])]);
    }

    #[test]
    fn no_entries_and_a_thousand_cells_for_one_are_one_cell() {
        assert_eq!(Cells::new(1000, Vec::new(), &[(Difference::OnlyLeft, vec![1])]).len(), 1);
        assert_eq!(Cells::new(1000, weights(&[(7, 1)]), &[]).len(), 1);
    }
}
