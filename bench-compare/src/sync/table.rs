//! Rows as markdown tables, one for each number of entries: a line per protocol, a column per case, `bytes / legs` in the cells.

use std::fmt::Write;

use super::case::Shape;
use super::row::SyncRow;

/// The tables of all rows.
pub fn render(rows: &[SyncRow]) -> String {
    let mut sizes: Vec<u64> = rows.iter().map(|row| row.entries).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut text = String::new();
    for entries in sizes {
        let rows: Vec<&SyncRow> = rows.iter().filter(|row| row.entries == entries).collect();
        let _ = writeln!(text, "{entries} entries: metadata bytes / legs\n");
        render_one(&mut text, &rows, |row| format!("{} / {}", short(row.cost.metadata_bytes), row.cost.legs));
        let _ = writeln!(text, "\n{entries} entries: processor ms left + right; entries read\n");
        render_one(&mut text, &rows, |row| {
            let cost = &row.cost;
            format!("{:.1} + {:.1}; {}", cost.cpu_ms_left, cost.cpu_ms_right, short(cost.entries_read))
        });
        text.push('\n');
    }
    text
}

fn render_one(text: &mut String, rows: &[&SyncRow], cell: impl Fn(&SyncRow) -> String) {
    let mut cases: Vec<(Shape, u64)> = rows.iter().map(|row| (row.shape, row.differing)).collect();
    cases.sort_unstable();
    cases.dedup();
    let mut peers: Vec<&str> = Vec::new();
    for row in rows {
        if !peers.contains(&row.peer.as_str()) {
            peers.push(&row.peer);
        }
    }
    let heads: Vec<String> = cases.iter().map(|(shape, d)| format!("{} {shape:?}", short(*d))).collect();
    let _ = writeln!(text, "| differing | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(cases.len()));
    for peer in peers {
        let _ = write!(text, "| {peer} |");
        for &(shape, differing) in &cases {
            let is_it =
                |row: &&&SyncRow| (row.peer.as_str(), row.shape, row.differing) == (peer, shape, differing);
            let _ = write!(text, " {} |", rows.iter().find(is_it).map_or("–".to_owned(), |row| cell(row)));
        }
        text.push('\n');
    }
}

/// Three figures, as far as whole numbers allow.
fn short(count: u64) -> String {
    let (value, unit) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => (count as f64 / 1e3, "k"),
        _ => (count as f64 / 1e6, "M"),
    };
    match value {
        v if v >= 99.5 || v.fract() == 0.0 => format!("{v:.0}{unit}"),
        v if v >= 9.95 => format!("{v:.1}{unit}"),
        v => format!("{v:.2}{unit}"),
    }
}
