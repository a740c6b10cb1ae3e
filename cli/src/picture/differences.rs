//! The picture of `diff --svg`: the key space as rows of cells, each cell a square of four parts, one for each way to differ.
//!
//! Which part of a cell is filled tells the kind without colour: the left half is the left replica's and the right half the
//! right one's; the upper half are keys that only one has, filled, the lower half those of which one has the newer entry,
//! hatched.

use sync_proto::Difference;

use super::cells::{Cell, Cells, KINDS, phrase};
use super::svg::Svg;
use super::{escape, shortened};
use crate::output::count;

/// Cells in a row.
const COLUMNS: usize = 64;
/// Pixels from cell to cell, and of a part of one.
const STEP: u32 = 15;
const PART: u32 = 6;
/// Room for the labels of rows, which are keys.
const LEFT: u32 = 190;
const TOP: u32 = 84;
const LABEL_LEN_MAX: usize = 26;
const WIDTH: u32 = LEFT + COLUMNS as u32 * STEP + 20;
const LEGEND_HEIGHT: u32 = 106;

const HATCHES: &str = "<defs>\
<pattern id=\"newer-left\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
<path class=\"line-a\" d=\"M-1 1L1-1M-1 5L5-1M3 5L5 3\" stroke-width=\"1.7\"/></pattern>\
<pattern id=\"newer-right\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
<path class=\"line-b\" d=\"M-1-1L5 5M-1 3L1 5M3-1L5 1\" stroke-width=\"1.7\"/></pattern></defs>\n";

const STYLE: &str = ".n-a{fill:url(#newer-left)}.n-b{fill:url(#newer-right)}.edge{fill:none;stroke-width:1}\
.label{text-anchor:end;font:11px ui-monospace,monospace}.key{font:12px ui-monospace,monospace}";

/// What is drawn.
pub(crate) struct Differences<'a> {
    /// What the left and the right replica are called.
    pub(crate) left: &'a str,
    pub(crate) right: &'a str,
    /// The key space.
    pub(crate) cells: &'a Cells,
    /// Differing keys of each of [`KINDS`], whether in the cells or not.
    pub(crate) differing: [u64; 4],
    /// What a key is called.
    pub(crate) name: &'a dyn Fn(&[u8]) -> String,
}

/// Draws where two replicas differ, as SVG.
pub(crate) fn draw_differences(differences: &Differences<'_>) -> String {
    let cells = differences.cells;
    let rows = cells.len().div_ceil(COLUMNS) as u32;
    let bottom = TOP + rows * STEP;
    let title = format!("{} and {}", shortened(differences.left, 50), shortened(differences.right, 50));
    let summary = summary(differences);
    let mut svg = Svg::new(WIDTH, bottom + LEGEND_HEIGHT, &title, &description(differences, &summary), STYLE);
    svg.put(format_args!("{HATCHES}"));
    svg.text((20, 32), "big", &title);
    svg.text((20, 54), "quiet", &summary);
    put_ground(&mut svg, cells.len());
    for (index, cell) in cells.iter().enumerate() {
        let (row, column) = ((index / COLUMNS) as u32, (index % COLUMNS) as u32);
        let (x, y) = (LEFT + column * STEP, TOP + row * STEP);
        if column == 0 {
            let key =
                if cell.start.is_empty() { "beginning".to_owned() } else { (differences.name)(&cell.start) };
            svg.text((LEFT - 8, y + 11), "label quiet", &shortened(&key, LABEL_LEN_MAX));
        }
        if cell.differing != [0; 4] {
            put_cell(&mut svg, (x, y), cell, differences.name);
        }
    }
    put_legend(&mut svg, bottom, differences);
    svg.finish()
}

/// The squares of `count` cells, with nothing in them yet: by pattern, or most of the file would be these.
fn put_ground(svg: &mut Svg, count: usize) {
    let side = 2 * PART + 1;
    svg.put(format_args!(
        "<defs><pattern id=\"cells\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{STEP}\" height=\"{STEP}\" \
         patternUnits=\"userSpaceOnUse\"><rect class=\"cell\" width=\"{side}\" height=\"{side}\"/></pattern></defs>\n"
    ));
    let (rows, rest) = ((count / COLUMNS) as u32, (count % COLUMNS) as u32);
    for (y, columns, rows) in [(TOP, COLUMNS as u32, rows), (TOP + rows * STEP, rest, 1)] {
        let (width, height) = (columns * STEP, rows * STEP);
        if width > 0 && height > 0 {
            svg.put(format_args!(
                "<rect fill=\"url(#cells)\" x=\"{LEFT}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>\n"
            ));
        }
    }
}

fn put_cell(svg: &mut Svg, at: (u32, u32), cell: &Cell, name: &dyn Fn(&[u8]) -> String) {
    let found = parts(cell.differing).map(|(kind, number)| format!("{} {}", count(number), phrase(kind)));
    let found = found.collect::<Vec<_>>().join(", ");
    let tip = format!("from {}: {} entries, {found}", name(&cell.start), count(cell.entries));
    svg.put(format_args!("<g><title>{}</title>\n", escape(&tip)));
    put_square(svg, at, cell.differing);
    svg.put(format_args!("</g>\n"));
}

fn put_square(svg: &mut Svg, (x, y): (u32, u32), differing: [u64; 4]) {
    for (kind, _) in parts(differing) {
        let (class, edge, right, down) = match kind {
            Difference::OnlyLeft => ("a", "", 0, 0),
            Difference::OnlyRight => ("b", "", 1, 0),
            Difference::NewerLeft => ("n-a", "line-a", 0, 1),
            Difference::NewerRight => ("n-b", "line-b", 1, 1),
        };
        let (x, y) = (x + right * (PART + 1), y + down * (PART + 1));
        svg.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{PART}\" height=\"{PART}\"/>\n"
        ));
        if !edge.is_empty() {
            let inner = PART - 1;
            svg.put(format_args!(
                "<rect class=\"edge {edge}\" x=\"{x}.5\" y=\"{y}.5\" width=\"{inner}\" height=\"{inner}\"/>\n"
            ));
        }
    }
}

fn put_legend(svg: &mut Svg, bottom: u32, differences: &Differences<'_>) {
    let (left, right) = (shortened(differences.left, 24), shortened(differences.right, 24));
    let y = bottom + 24;
    let words = |kind| match kind {
        Difference::OnlyLeft => format!("only in {left}"),
        Difference::OnlyRight => format!("only in {right}"),
        Difference::NewerLeft => format!("newer in {left}"),
        Difference::NewerRight => format!("newer in {right}"),
    };
    for (index, (kind, number)) in KINDS.into_iter().zip(differences.differing).enumerate() {
        let x = 20 + (index as u32 % 2) * 400;
        let y = y + (index as u32 / 2) * 24;
        let mut one = [0; 4];
        if let Some(number) = one.get_mut(index) {
            *number = 1;
        }
        put_empty(svg, (x, y));
        put_square(svg, (x, y), one);
        svg.text((x + 22, y + 11), "", &format!("{}: {} keys", words(kind), count(number)));
    }
    put_empty(svg, (820, y));
    svg.text((842, y + 11), "", "equal");
    let cells = differences.cells;
    let of_each = cells.iter().map(|cell| cell.entries).sum::<u64>() / cells.len() as u64;
    svg.text(
        (20, y + 66),
        "quiet",
        &format!("Keys rise from left to right and down; a square is about {} entries.", count(of_each)),
    );
}

fn put_empty(svg: &mut Svg, (x, y): (u32, u32)) {
    let side = 2 * PART + 1;
    svg.put(format_args!("<rect class=\"cell\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\"/>\n"));
}

fn parts(differing: [u64; 4]) -> impl Iterator<Item = (Difference, u64)> {
    KINDS.into_iter().zip(differing).filter(|&(_, number)| number > 0)
}

fn summary(differences: &Differences<'_>) -> String {
    let entries = differences.cells.iter().map(|cell| cell.entries).sum::<u64>();
    let differing: u64 = differences.differing.iter().sum();
    let shown: u64 = differences.cells.iter().flat_map(|cell| cell.differing).sum();
    let share = match differing as f64 * 100.0 / entries.max(1) as f64 {
        share if share < 0.01 => "under 0.01 %".to_owned(),
        share => format!("{share:.2} %"),
    };
    let mut summary = match differing {
        0 => format!("equal in all {} entries", count(entries)),
        _ => format!("{} of {} entries differ ({share})", count(differing), count(entries)),
    };
    if shown < differing {
        summary.push_str(&format!("; the squares show {} of them", count(shown)));
    }
    summary
}

/// The picture in words.
fn description(differences: &Differences<'_>, summary: &str) -> String {
    let with = differences.cells.iter().filter(|cell| cell.differing != [0; 4]).count();
    let counts = KINDS.into_iter().zip(differences.differing);
    let counts = counts.map(|(kind, number)| format!("{} {}", phrase(kind), count(number)));
    format!(
        "The key space as {} squares of about equally many entries: {summary}. {} squares hold differences. \
         Left is {}, right is {}. Keys {}.",
        count(differences.cells.len() as u64),
        count(with as u64),
        differences.left,
        differences.right,
        counts.collect::<Vec<_>>().join(", ")
    )
}
