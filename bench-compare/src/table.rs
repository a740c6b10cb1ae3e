//! Rows as a markdown table: a column per engine, the best peer, and how Syncline stands to it.

use std::fmt::Write;

use crate::row::Row;
use crate::workload;

/// The engine that the others are peers of.
const SUBJECT: &str = "syncline";

/// One line of the table: a figure of a workload.
struct Figure {
    label: String,
    workload: &'static str,
    unit: &'static str,
    of: fn(&Row) -> f64,
    /// Whether less is better.
    is_cost: bool,
}

const MIB: f64 = (1u64 << 20) as f64;

/// Every figure of which a row may tell, in the order of the table.
fn figures() -> Vec<Figure> {
    let rate = |workload: &'static str| {
        let (unit, of, is_cost): (_, fn(&Row) -> f64, _) = match workload {
            "reopen_clean" | "reopen_killed" => ("ms", |row| row.p50_us / 1e3, true),
            _ => ("k/s", |row| row.ops_per_s / 1e3, false),
        };
        Figure { label: workload.to_owned(), workload, unit, of, is_cost }
    };
    let cost = |label: &str, workload, unit, of| Figure {
        label: format!("{workload}: {label}"),
        workload,
        unit,
        of,
        is_cost: true,
    };
    let mut figures: Vec<Figure> = workload::ALL.iter().map(|row| rate(row.0)).collect();
    for workload in ["durable_1t", "durable_8t"] {
        let of = |row: &Row| row.ops_per_s / row.probe_ops_per_s.unwrap_or(f64::NAN);
        figures.push(Figure {
            label: format!("{workload}: to probe"),
            workload,
            unit: "x",
            of,
            is_cost: false,
        });
    }
    for workload in ["fill_random", "overwrite"] {
        figures.push(cost("p50", workload, "us", |row| row.p50_us));
        figures.push(cost("p99", workload, "us", |row| row.p99_us));
        figures.push(cost("slowest", workload, "ms", |row| row.max_us / 1e3));
    }
    for workload in ["fill_random", "overwrite", "read_hit", "read_miss", "seek_100", "ycsb_a", "ycsb_b"] {
        figures.push(cost("processor time", workload, "us", |row| row.cpu_us_per_op));
    }
    for workload in ["fill_random", "scan_compacted", "overwrite", "delete"] {
        figures.push(cost("disk", workload, "MiB", |row| row.disk_bytes as f64 / MIB));
    }
    for workload in ["fill_random", "overwrite", "ycsb_f"] {
        figures.push(cost("peak memory", workload, "MiB", |row| row.peak_rss_bytes as f64 / MIB));
        figures.push(cost("anonymous memory", workload, "MiB", |row| row.anon_bytes as f64 / MIB));
    }
    figures
}

/// The tables of all stores' sizes among the rows.
pub fn render(rows: &[Row]) -> String {
    let mut sizes: Vec<(u64, usize)> = rows.iter().map(|row| (row.entries, row.value_bytes)).collect();
    sizes.sort_unstable_by_key(|&(entries, value)| (value, entries));
    sizes.dedup();
    let tables = sizes.into_iter().map(|(entries, value)| {
        let rows: Vec<&Row> =
            rows.iter().filter(|row| (row.entries, row.value_bytes) == (entries, value)).collect();
        format!("{entries} entries, {value}-byte values\n\n{}", render_one(&rows))
    });
    let tables: Vec<String> = tables.collect();
    format!(
        "{}\nBest round (median); `x` above 1 is in Syncline's favour, also where less is better.",
        tables.join("\n")
    )
}

fn render_one(rows: &[&Row]) -> String {
    let mut engines: Vec<&str> = Vec::new();
    for row in rows {
        if !engines.contains(&row.engine.as_str()) {
            engines.push(&row.engine);
        }
    }
    engines.sort_by_key(|&engine| engine != SUBJECT);
    let mut table = format!("| | unit | {} | best peer | x |\n", engines.join(" | "));
    let _ = writeln!(table, "|---|---|{}---|---|", "---:|".repeat(engines.len()));
    for figure in figures() {
        let cells: Vec<Option<Cell>> = engines.iter().map(|engine| Cell::of(&figure, engine, rows)).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(table, "| {} | {} |", figure.label, figure.unit);
        for cell in &cells {
            let _ = write!(table, " {} |", cell.as_ref().map_or("–".to_owned(), Cell::text));
        }
        let peers = engines.iter().zip(&cells).filter(|(engine, _)| **engine != SUBJECT);
        let peers =
            peers.filter_map(|(engine, cell)| Some((engine, cell.as_ref().filter(|cell| !cell.has_lost)?)));
        let best =
            peers.reduce(|one, other| if figure.is_better(other.1.best, one.1.best) { other } else { one });
        let own = cells.first().and_then(Option::as_ref).filter(|_| engines.first() == Some(&SUBJECT));
        let _ = match (best, own) {
            (Some((engine, peer)), Some(own)) => {
                let ratio = if figure.is_cost { peer.best / own.best } else { own.best / peer.best };
                writeln!(table, " {engine} | {ratio:.2} |")
            }
            (Some((engine, _)), None) => writeln!(table, " {engine} | |"),
            _ => writeln!(table, " | |"),
        };
    }
    table
}

impl Figure {
    fn is_better(&self, one: f64, other: f64) -> bool {
        if self.is_cost { one < other } else { one > other }
    }
}

/// One engine's figure over all rounds.
struct Cell {
    best: f64,
    median: f64,
    rounds: usize,
    /// Whether acknowledged entries were missing: such a figure is out of competition.
    has_lost: bool,
}

impl Cell {
    fn of(figure: &Figure, engine: &str, rows: &[&Row]) -> Option<Cell> {
        let rows = rows.iter().filter(|row| row.engine == engine && row.workload == figure.workload);
        let rows: Vec<&Row> = rows.copied().collect();
        let mut values: Vec<f64> =
            rows.iter().map(|row| (figure.of)(row)).filter(|value| value.is_finite()).collect();
        values.sort_by(|a, b| if figure.is_cost { a.total_cmp(b) } else { b.total_cmp(a) });
        Some(Cell {
            best: *values.first()?,
            median: (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0,
            rounds: values.len(),
            has_lost: rows.iter().any(|row| row.lost.is_some_and(|lost| lost > 0)),
        })
    }

    fn text(&self) -> String {
        let mut text = number(self.best);
        if self.rounds > 1 {
            let _ = write!(text, " ({})", number(self.median));
        }
        if self.has_lost { format!("{text}, lost data") } else { text }
    }
}

/// Three figures, as far as whole numbers allow.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 99.5 => format!("{value:.0}"),
        v if v >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
