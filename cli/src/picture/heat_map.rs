//! The picture of `plot`: how far two replicas were apart over time and key space, and how large the store was meanwhile.
//!
//! Time runs to the right and keys rise from the bottom. How many keys differ in a cell is told by the height of its mark as
//! well as by its colour, in powers of ten; looks that failed are hatched.
//!
//! Easy to get wrong: there are more looks than pixels after an hour. Looks that share a column show the worst of them, for a
//! difference that was there for one look must not vanish.

use std::collections::BTreeMap;

use super::shortened;
use super::svg::Svg;
use crate::output::{count, size};
use crate::recording::{Recording, Sample};

const LEFT: u32 = 190;
const TOP: u32 = 84;
const MAP_WIDTH: u32 = 880;
const WIDTH: u32 = LEFT + MAP_WIDTH + 30;
/// Height of a cell, and of its mark for each power of ten.
const ROW: u32 = 9;
const MARKS: [u32; 5] = [2, 4, 5, 7, 9];
const PANEL: u32 = 110;
const GAP: u32 = 54;
const LABEL_LEN_MAX: usize = 26;

const STYLE: &str = ".m0{fill:#7fb2d9}.m1{fill:#4a90c4}.m2{fill:#2a73ad}.m3{fill:#0b5a94}.m4{fill:#083f68}\
.field{fill:#f1f3f5}.lost{fill:url(#lost)}.lost-line{stroke:#8a939d}.line{fill:none;stroke-width:1.6}\
.dashed{stroke-dasharray:6 4}.label{text-anchor:end;font:11px ui-monospace,monospace}.end{text-anchor:end}\
@media(prefers-color-scheme:dark){.m0{fill:#2f5f85}.m1{fill:#3f82b5}.m2{fill:#5aa3d8}.m3{fill:#8cc6ef}\
.m4{fill:#cfe8fa}.field{fill:#202329}.lost-line{stroke:#737d88}}";

const DEFS: &str = "<defs><pattern id=\"lost\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">\
<path class=\"lost-line\" d=\"M-1 1L1-1M-1 6L6-1M4 6L6 4\" stroke-width=\"1\"/></pattern></defs>\n";

/// A named line of a panel: its CSS classes, and its value at each look that has one.
type Line<'a> = (&'a str, &'a str, &'a dyn Fn(&Sample) -> Option<u64>);

/// Draws a recording, as SVG.
pub(crate) fn draw_recording(recording: &Recording) -> String {
    let Recording { watched, samples } = recording;
    let title = match &watched.right {
        Some(right) => format!("{} and {}", shortened(&watched.left, 50), shortened(right, 50)),
        None => shortened(&watched.left, 100),
    };
    let is_pair = watched.right.is_some();
    let map_height = if is_pair { watched.cells.len().max(1) as u32 * ROW } else { 0 };
    let panels = if is_pair { 3 } else { 2 };
    let height = TOP + map_height + if is_pair { GAP + 30 } else { 0 } + panels * (PANEL + GAP);
    let summary = summary(recording);
    let mut svg = Svg::new(WIDTH, height, &title, &format!("{title} over time: {summary}"), STYLE);
    svg.put(format_args!("{DEFS}"));
    svg.text((20, 32), "big", &title);
    svg.text((20, 54), "quiet", &summary);
    let axis = Axis::of(samples);
    let mut top = TOP;
    if is_pair {
        put_map(&mut svg, top, recording, &axis);
        top += map_height;
        put_times(&mut svg, top, &axis);
        put_key(&mut svg, top + 30);
        top += GAP + 30;
        let differing: Line<'_> = ("differing keys", "line-b", &Sample::differing_in_all);
        put_panel(&mut svg, top, samples, &axis, &[differing], count);
        top += PANEL + GAP;
    }
    let stat = |name: &'static str| move |sample: &Sample| sample.stats.get(name).copied();
    let (entries, live) = (stat("entries"), stat("live_bytes"));
    let disk = |sample: &Sample| {
        let parts = ["run_bytes", "value_segment_bytes", "log_bytes"].map(|name| sample.stats.get(name));
        parts.into_iter().sum::<Option<u64>>()
    };
    put_panel(&mut svg, top, samples, &axis, &[("entries", "line-a", &entries)], count);
    let lines: [Line<'_>; 2] =
        [("bytes on disk", "line-a", &disk), ("keys and values", "line-b dashed", &live)];
    put_panel(&mut svg, top + PANEL + GAP, samples, &axis, &lines, size);
    svg.finish()
}

/// Where in the picture a moment is.
struct Axis {
    first_ms: u64,
    last_ms: u64,
}

impl Axis {
    fn of(samples: &[Sample]) -> Axis {
        let first_ms = samples.first().map_or(0, |sample| sample.at_ms);
        let last_ms = samples.last().map_or(0, |sample| sample.at_ms).max(first_ms + 1);
        Axis { first_ms, last_ms }
    }

    /// Pixels from the left edge of the map.
    fn x(&self, at_ms: u64) -> u32 {
        let (passed, whole) = (at_ms.saturating_sub(self.first_ms), self.last_ms - self.first_ms);
        let x = u128::from(passed) * u128::from(MAP_WIDTH - 1) / u128::from(whole.max(1));
        x.min(u128::from(MAP_WIDTH - 1)) as u32
    }
}

fn summary(recording: &Recording) -> String {
    let samples = &recording.samples;
    let axis = Axis::of(samples);
    let looks = count(samples.len() as u64);
    let time = duration(axis.last_ms - axis.first_ms);
    let failed = samples.iter().filter(|sample| sample.error.is_some()).count();
    let mut summary = format!("{looks} looks in {time}");
    if let Some(most) = samples.iter().filter_map(Sample::differing_in_all).max() {
        let equal = samples.iter().filter(|sample| sample.differing_in_all() == Some(0)).count();
        summary.push_str(&format!(", equal in {}, at most {} keys apart", count(equal as u64), count(most)));
    }
    if failed > 0 {
        summary.push_str(&format!(", {} failed", count(failed as u64)));
    }
    summary
}

fn put_map(svg: &mut Svg, top: u32, recording: &Recording, axis: &Axis) {
    let Recording { watched, samples } = recording;
    let rows = watched.cells.len().max(1) as u32;
    let height = rows * ROW;
    svg.put(format_args!(
        "<rect class=\"field\" x=\"{LEFT}\" y=\"{top}\" width=\"{MAP_WIDTH}\" height=\"{height}\"/>\n"
    ));
    for (row, key) in (0..rows).zip(&watched.cells).step_by(4) {
        let y = top + height - row * ROW - 1;
        svg.text((LEFT - 8, y), "label quiet", &shortened(key, LABEL_LEN_MAX));
    }
    // A look lasts until the next one, as far as anybody knows.
    let starts: Vec<u32> = samples.iter().map(|sample| axis.x(sample.at_ms)).collect();
    let mut worst: BTreeMap<(u32, usize), (u32, u64)> = BTreeMap::new();
    for (index, sample) in samples.iter().enumerate() {
        let start = starts.get(index).copied().unwrap_or(0);
        let end = starts.get(index + 1).copied().unwrap_or(MAP_WIDTH);
        let width = end.saturating_sub(start).max(1);
        if sample.error.is_some() {
            let x = LEFT + start;
            svg.put(format_args!(
                "<rect class=\"lost\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n"
            ));
        }
        for (&cell, &number) in &sample.cells {
            let mark = worst.entry((start, cell)).or_default();
            *mark = (mark.0.max(width), mark.1.max(number));
        }
    }
    for ((start, cell), (width, number)) in worst {
        // A cell that the first line does not know is none.
        if number > 0 && cell < rows as usize {
            let class = number.ilog10().min(4) as usize;
            let tall = MARKS.get(class).copied().unwrap_or(ROW);
            let (x, y) = (LEFT + start, top + height - cell as u32 * ROW - tall);
            svg.put(format_args!(
                "<rect class=\"m{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{tall}\"/>\n"
            ));
        }
    }
}

fn put_times(svg: &mut Svg, y: u32, axis: &Axis) {
    svg.text((LEFT, y + 16), "quiet", "0 s");
    svg.text((LEFT + MAP_WIDTH, y + 16), "quiet end", &duration(axis.last_ms - axis.first_ms));
}

fn put_key(svg: &mut Svg, y: u32) {
    svg.text((LEFT, y + 10), "quiet", "differing keys:");
    let words = ["1 to 9", "10 to 99", "100 to 999", "1,000 to 9,999", "10,000 and more"];
    let mut x = LEFT + 110;
    for (class, (tall, words)) in MARKS.into_iter().zip(words).enumerate() {
        let mark = y + 10 - tall;
        svg.put(format_args!(
            "<rect class=\"m{class}\" x=\"{x}\" y=\"{mark}\" width=\"14\" height=\"{tall}\"/>\n"
        ));
        svg.text((x + 20, y + 10), "", words);
        x += 46 + words.len() as u32 * 7;
    }
    svg.put(format_args!("<rect class=\"lost\" x=\"{x}\" y=\"{y}\" width=\"14\" height=\"10\"/>\n"));
    svg.text((x + 20, y + 10), "", "no look");
}

fn put_panel(
    svg: &mut Svg,
    top: u32,
    samples: &[Sample],
    axis: &Axis,
    lines: &[Line<'_>],
    words: fn(u64) -> String,
) {
    let most = lines.iter().flat_map(|line| samples.iter().filter_map(line.2)).max().unwrap_or(0).max(1);
    let (bottom, right) = (top + PANEL, LEFT + MAP_WIDTH);
    for (y, value) in [(top, most), (bottom, 0)] {
        svg.put(format_args!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y}\" y2=\"{y}\"/>\n"));
        svg.text((LEFT - 8, y + 4), "label quiet", &words(value));
    }
    let mut x = LEFT;
    for (name, class, value) in lines {
        let (line, after) = (top - 12, x + 24);
        svg.put(format_args!(
            "<path class=\"line {class}\" d=\"M{x} {line}H{after}\"/>\n<path class=\"line {class}\" d=\""
        ));
        let mut pen = 'M';
        for sample in samples {
            match value(sample) {
                Some(value) => {
                    let height = u128::from(value) * u128::from(PANEL) / u128::from(most);
                    svg.put(format_args!("{pen}{} {}", LEFT + axis.x(sample.at_ms), bottom - height as u32));
                    pen = 'L';
                }
                // What was not looked at is no line.
                None => pen = 'M',
            }
        }
        svg.put(format_args!("\"/>\n"));
        svg.text((after + 6, line + 4), "", name);
        x = after + 30 + name.len() as u32 * 7;
    }
    put_times(svg, bottom, axis);
}

fn duration(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        seconds if seconds < 600 => format!("{seconds} s"),
        seconds if seconds < 36_000 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Watched;

    #[test]
    fn of_looks_that_share_a_column_the_worst_is_drawn() {
        let cells = vec!["a".to_owned(), "b".to_owned()];
        let watched = Watched { left: "l".to_owned(), right: Some("r".to_owned()), cells };
        // Ten thousand looks in 880 columns, one of which saw a difference, and a cell that there is not.
        let sample = |at_ms| Sample { at_ms, differing: Some([0; 4]), ..Sample::default() };
        let mut samples: Vec<Sample> = (0..10_000).map(sample).collect();
        samples[5_001].cells = BTreeMap::from([(1, 250), (7, 9)]);
        samples[5_002].cells = BTreeMap::from([(1, 9)]);
        let svg = draw_recording(&Recording { watched, samples });
        let marks: Vec<_> = svg.matches("<rect class=\"m").collect();
        assert_eq!(marks.len(), 1 + MARKS.len());
        assert!(svg.contains("<rect class=\"m2\" x=\"629\" y=\"88\" width=\"1\" height=\"5\"/>"), "{svg}");
    }
}
