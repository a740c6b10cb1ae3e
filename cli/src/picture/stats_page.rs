//! The page of `stats --html`: what a store consists of, what it costs, and what holds its horizon back.

use syncline::{HorizonStatus, Layout, SegmentLayout, Stats};

use super::page::Page;
use crate::output::{count, size, standing};

/// Runs that are listed one by one; an engine that keeps more than a few has more trouble than a page can show.
const RUNS_MAX: usize = 64;

/// What the page shows.
pub(crate) struct StatsPage<'a> {
    /// What the store is called, and its node id.
    pub(crate) name: &'a str,
    pub(crate) node: &'a str,
    pub(crate) root: &'a str,
    pub(crate) health: &'a str,
    pub(crate) keyspaces: &'a [String],
    /// Spans of keys that are unknown for damage, in words.
    pub(crate) unknown: &'a [String],
    pub(crate) stats: &'a Stats,
    pub(crate) layout: &'a Layout,
    pub(crate) horizon: &'a HorizonStatus,
    /// A moment of the hybrid clock in words.
    pub(crate) ago: &'a dyn Fn(u64) -> String,
}

/// Writes the page.
pub(crate) fn write_stats_page(shown: &StatsPage<'_>) -> String {
    let StatsPage { stats, layout, .. } = shown;
    let mut page =
        Page::new(&format!("Store {}", shown.name), &format!("node {}, root {}", shown.node, shown.root));
    page.facts(&[
        ("entries", count(stats.entries)),
        ("tombstones", count(stats.tombstones)),
        ("keys and values", size(stats.live_bytes)),
        ("health", shown.health.to_owned()),
        ("bytes on disk per byte", format!("{:.2}", stats.space_amplification())),
        ("bytes written per byte", format!("{:.2}", stats.write_amplification())),
        ("newest commit", count(stats.visible.0)),
        ("keyspaces", shown.keyspaces.join(", ")),
    ]);
    put_damage(&mut page, shown);
    put_space(&mut page, stats);
    put_writes(&mut page, stats);
    put_runs(&mut page, layout);
    put_segments(&mut page, &layout.segments);
    put_merkle(&mut page, layout);
    put_memory(&mut page, layout);
    put_horizon(&mut page, shown);
    page.finish()
}

/// Nothing, as long as nothing is known to be damaged.
fn put_damage(page: &mut Page, StatsPage { unknown, stats, .. }: &StatsPage<'_>) {
    if unknown.len() as u64 + stats.lost_values == 0 {
        return;
    }
    let line = "Reads of it fail, and say so. The next session with a replica that has it brings it back.";
    page.section("Damage", line, |page| {
        let spans = unknown.iter().map(|span| (vec![span.clone()], Vec::new()));
        if !unknown.is_empty() {
            page.table(&["keys that are unknown"], &spans.collect::<Vec<_>>());
        }
        if stats.lost_values > 0 {
            page.line(&format!("Large values lost, their entries intact: {}.", count(stats.lost_values)));
        }
    });
}

fn put_space(page: &mut Page, stats: &Stats) {
    let garbage_values = stats.value_segment_bytes.saturating_sub(stats.value_live_bytes);
    let hidden = stats.garbage_bytes().saturating_sub(garbage_values).min(stats.run_bytes);
    let row = |what: &str, used: u64, garbage: u64| {
        let cells = vec![what.to_owned(), size(used + garbage), size(garbage)];
        (cells, vec![("a", used, "in use"), ("b", garbage, "garbage")])
    };
    let line = "What lies on disk; compaction gives the hatched part back.";
    page.section("Space", line, |page| {
        let rows = [
            row("runs", stats.run_bytes - hidden, hidden),
            row("large values", stats.value_segment_bytes - garbage_values, garbage_values),
            row("log not flushed yet", stats.log_bytes, 0),
            row("kept for the change feed", stats.retained_segment_bytes, 0),
        ];
        page.table(&["", "bytes", "of these garbage"], &rows);
        page.key(&[("a", "in use"), ("b", "garbage")]);
    });
}

fn put_writes(page: &mut Page, stats: &Stats) {
    let written = stats.written;
    let per_byte = |bytes: u64| match written.committed {
        0 => "-".to_owned(),
        committed => format!("{:.2}", bytes as f64 / committed as f64),
    };
    let row = |what: &str, bytes: u64, class: &'static str| {
        (vec![what.to_owned(), size(bytes), per_byte(bytes)], vec![(class, bytes, "")])
    };
    let line = "Bytes since the store was created, and for each byte committed.";
    page.section("Writes", line, |page| {
        let rows = [
            row("committed", written.committed, "c"),
            row("logged", written.logged, "a"),
            row("flushed", written.flushed, "a"),
            row("merged", written.merged, "a"),
        ];
        page.table(&["", "bytes", "per byte"], &rows);
    });
}

fn put_runs(page: &mut Page, layout: &Layout) {
    let rows = layout.runs.iter().take(RUNS_MAX).map(|run| {
        let commits = format!("{} to {}", count(run.oldest.0), count(run.newest.0));
        let cells = vec![
            run.id.to_string(),
            count(run.entries),
            count(run.tombstones),
            count(run.blocks),
            commits,
            size(run.bytes),
        ];
        (cells, vec![("a", run.bytes, "")])
    });
    let rows: Vec<_> = rows.collect();
    let line = match layout.runs.len() {
        0 => "There is none: everything is in memory and in the log.".to_owned(),
        1 => "There is one, so a read looks at it alone.".to_owned(),
        number => format!("A read goes through up to {}, newest first.", count(number as u64)),
    };
    page.section("Runs", &line, |page| {
        if !rows.is_empty() {
            page.table(&["run", "entries", "tombstones", "blocks", "commits", "bytes"], &rows);
        }
    });
}

/// Segments by the share of their bytes that is still in use, in tenths.
fn put_segments(page: &mut Page, segments: &[SegmentLayout]) {
    let tenth =
        |segment: &SegmentLayout| (segment.live_bytes.saturating_mul(10) / segment.bytes.max(1)).min(9);
    let rows = (0..10).rev().map(|number| {
        let among = || segments.iter().filter(|segment| tenth(segment) == number);
        let bytes: u64 = among().map(|segment| segment.bytes).sum();
        let live: u64 = among().map(|segment| segment.live_bytes).sum();
        let cells = vec![
            format!("{} to {} %", number * 10, number * 10 + 10),
            count(among().count() as u64),
            size(bytes),
            size(bytes - live),
        ];
        (cells, vec![("a", live, "in use"), ("b", bytes - live, "garbage")])
    });
    let line = match segments.len() {
        0 => "None is kept: no large value lies in one.".to_owned(),
        number => {
            format!("{} flushed segments are kept; how much of each is in use.", count(number as u64))
        }
    };
    page.section("Log segments", &line, |page| {
        if !segments.is_empty() {
            page.table(&["in use", "segments", "bytes", "of these garbage"], &rows.collect::<Vec<_>>());
        }
    });
}

fn put_merkle(page: &mut Page, layout: &Layout) {
    // The highest levels have but the nodes that are of every level: one of them is enough.
    let fewest = layout.merkle.last().map_or(0, |level| level.nodes);
    let levels = layout.merkle.partition_point(|level| level.nodes > fewest) + 1;
    let rows = layout.merkle.iter().take(levels).rev().map(|level| {
        let cells = vec![level.level.to_string(), count(level.nodes), size(level.bytes)];
        // By magnitude: each level has a fixed multiple of the nodes of the one above.
        let magnitude = u64::from(64 - level.nodes.leading_zeros());
        (cells, vec![("a", magnitude, "")])
    });
    let line = "Nodes of each level over what is in runs; bars by magnitude. Level 0 is held, the others are sums of it.";
    page.section("Merkle index", line, |page| {
        page.table(&["level", "nodes", "bytes"], &rows.collect::<Vec<_>>());
    });
}

fn put_memory(page: &mut Page, layout: &Layout) {
    let filters = layout.runs.iter().map(|run| run.filter_bytes).sum();
    let merkle = layout.merkle.first().map_or(0, |level| level.bytes);
    let (active, sealed) =
        layout.memtables.split_first().map_or((0, 0), |(active, sealed)| (*active, sealed.iter().sum()));
    let row = |what: &str, bytes: u64| (vec![what.to_owned(), size(bytes)], vec![("a", bytes, "")]);
    page.section("Memory", "What is held as long as the store is open, about.", |page| {
        let rows = [
            row("active memtable", active),
            row("memtables that wait for their flush", sealed),
            row("filters", filters),
            row("Merkle index", merkle),
        ];
        page.table(&["", "bytes"], &rows);
    });
}

fn put_horizon(page: &mut Page, shown: &StatsPage<'_>) {
    let StatsPage { horizon, ago, .. } = shown;
    let line = match horizon.horizon {
        0 => "Nothing was ever deleted for good.".to_owned(),
        reached => format!("What ended by {} may go; proven is {}.", ago(reached), ago(horizon.proven)),
    };
    let rows = horizon.members.iter().map(|member| {
        let cells = vec![
            member.node.to_string(),
            standing(member).to_owned(),
            ago(member.closed),
            ago(member.horizon),
        ];
        (cells, Vec::new())
    });
    page.section("Horizon", &line, |page| {
        if horizon.members.is_empty() {
            page.line("No members are named, so every tombstone is kept: see `syncline horizon --help`.");
        } else {
            page.table(&["member", "standing", "closed", "horizon"], &rows.collect::<Vec<_>>());
        }
        for (own, peer) in &horizon.held_by {
            page.line(&format!("Held back by {own} and {peer}: they have to have a complete session."));
        }
    });
}
