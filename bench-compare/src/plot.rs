//! The picture of a steady load: five panels over one time axis, as SVG that follows the reader's light or dark theme.
//! Lines of one panel differ in dash as well as in colour.

use std::fmt::Write;

use crate::steady::Second;

const WIDTH: f64 = 900.0;
const PANEL_HEIGHT: f64 = 150.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 64.0;
const GAP: f64 = 40.0;

/// A named line: its name, its stroke and dash as a CSS class, and its value in each second.
type Line<'a> = (&'a str, &'a str, Vec<f64>);

const STYLE: &str = "svg{font:13px sans-serif;background:#fff}text{fill:#222}.grid{stroke:#ddd}.a{stroke:#0b62a4}\
.b{stroke:#c04a00;stroke-dasharray:6 3}.c{stroke:#5a5a5a;stroke-dasharray:2 3}path{fill:none;stroke-width:1.5}\
@media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#ddd}.grid{stroke:#3a3d44}.a{stroke:#6cb8f0}\
.b{stroke:#ff9d5c}.c{stroke:#b5b5b5}}";

/// Draws `seconds`, which are of one engine.
pub fn draw(title: &str, seconds: &[Second]) -> String {
    let series = |value: fn(&Second) -> f64| seconds.iter().map(value).collect::<Vec<_>>();
    let panels: [(&str, Vec<Line<'_>>); 5] = [
        ("thousand overwrites per second", vec![("rate", "a", series(|second| second.ops_per_s / 1e3))]),
        (
            "latency, microseconds",
            vec![
                ("p50", "c", series(|second| second.p50_us)),
                ("p99", "b", series(|second| second.p99_us)),
                ("p99.9", "a", series(|second| second.p999_us)),
            ],
        ),
        ("longest of a second, milliseconds", vec![("longest", "b", series(|second| second.max_us / 1e3))]),
        (
            "amplification",
            vec![
                ("space", "a", series(|second| second.space_amplification)),
                ("write", "b", series(|second| second.write_amplification)),
            ],
        ),
        (
            "anonymous memory, MiB",
            vec![("memory", "a", series(|second| second.anon_bytes as f64 / f64::from(1 << 20)))],
        ),
    ];
    let height = TOP + panels.len() as f64 * (PANEL_HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
         <title>{title}</title><style>{STYLE}</style><text x=\"{LEFT}\" y=\"20\">{title}</text>"
    );
    for (number, (name, lines)) in panels.iter().enumerate() {
        panel(&mut svg, TOP + number as f64 * (PANEL_HEIGHT + GAP), name, lines);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, top: f64, name: &str, lines: &[Line<'_>]) {
    let most = lines.iter().flat_map(|line| &line.2).copied().fold(0.0, f64::max);
    let scale = round_up(most);
    let count = lines.iter().map(|line| line.2.len()).max().unwrap_or(0);
    let x = |second: f64| LEFT + (WIDTH - LEFT - RIGHT) * second / (count.max(2) - 1) as f64;
    let y = |value: f64| top + PANEL_HEIGHT * (1.0 - value / scale);
    let mut put = |text: std::fmt::Arguments<'_>| svg.write_fmt(text).expect("a string takes everything");
    put(format_args!("<text x=\"{LEFT}\" y=\"{}\">{name}</text>", top - 8.0));
    for step in 0..=4 {
        let value = scale * f64::from(step) / 4.0;
        let (at, right) = (y(value), WIDTH - RIGHT);
        put(format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
        ));
        let label = LEFT - 8.0;
        put(format_args!("<text x=\"{label}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", at + 4.0));
    }
    for (number, (name, class, values)) in lines.iter().enumerate() {
        put(format_args!("<path class=\"{class}\" d=\""));
        for (second, value) in values.iter().enumerate() {
            let command = if second == 0 { 'M' } else { 'L' };
            put(format_args!("{command}{:.1} {:.1}", x(second as f64), y(*value)));
        }
        let (from, at) = (WIDTH - RIGHT + 12.0, top + 14.0 + 20.0 * number as f64);
        put(format_args!("\"/><path class=\"{class}\" d=\"M{from} {at}h26\"/>"));
        put(format_args!("<text x=\"{}\" y=\"{}\">{name}</text>", from + 32.0, at + 4.0));
    }
    put(format_args!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{count} s</text>",
        WIDTH - RIGHT,
        top + PANEL_HEIGHT + 16.0
    ));
}

/// The next number of the form 1, 2, 4 or 8 times a power of ten: its quarters are round as well.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-3).log10().floor());
    let digits = [1.0, 2.0, 4.0, 8.0, 10.0];
    power * digits.into_iter().find(|digit| power * digit >= value).unwrap_or(10.0)
}
