//! How many cells a difference needs, and how large a difference is that did not decode.
//!
//! Easy to get wrong: an estimate is for choosing a number of cells, never for deciding that nothing differs.

use super::cells::{COUNTED, Sketch};

/// Cells from which a difference of so many elements is read nine times in ten: 1.4 to 1.7 for each, and some for luck,
/// which small differences need more of (measured by the tests).
pub(crate) fn cells_for(element_count: u64) -> usize {
    let expected = element_count as f64;
    (1.39 * expected + 2.6 * expected.sqrt() + 1.0).ceil() as usize
}

/// About how many elements the cells of a difference hold, with a standard error of the square root of 2 / cells, of
/// [`COUNTED`] cells at most.
/// `net` is the number of those added less those taken off.
///
/// An element is in cell `i` with the probability `p = 1/(1 + i/2)`, so the cell's count is spread around `p * net` with
/// the variance `p * (1 - p)` for each element of the difference, added or taken off: the mean of the squares, so
/// scaled, is their number. Counts are known modulo 256, which is enough up to some ten thousand.
pub(crate) fn estimate(difference: &Sketch, net: i64) -> u64 {
    let cells = difference.cells();
    let cells = cells.get(..COUNTED).unwrap_or(cells);
    let squares = (1u32..).zip(cells.iter().skip(1)).map(|(index, cell)| {
        let p = 1.0 / (1.0 + f64::from(index) / 2.0);
        let expected = p * net as f64;
        // The value nearest to the expected one that the count modulo 256 can stand for.
        let off = (f64::from(cell.count) - expected).rem_euclid(256.0);
        let off = if off > 128.0 { off - 256.0 } else { off };
        off * off / (p * (1.0 - p))
    });
    let mean = squares.sum::<f64>() / cells.len().saturating_sub(1).max(1) as f64;
    (mean.ceil() as u64).max(net.unsigned_abs()).max(1)
}

/// What to expect where so many cells were too few and showed about `estimate`: more by the standard error of that.
pub(crate) fn more_than(estimate: u64, cell_count: usize) -> u64 {
    let margin = (2.0 / cell_count.clamp(1, COUNTED) as f64).sqrt();
    (estimate.max(cell_count as u64 / 2) as f64 * (1.0 + margin)) as u64
}
