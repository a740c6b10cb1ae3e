//! `stats`: counts, sizes and health. Reads no entry.

use serde_json::json;
use syncline::clock::{SystemClock, WallClock};
use syncline::{Compression, Health, UnknownSpan};

use crate::args;
use crate::error::{Result, Verdict};
use crate::host;
use crate::output::{self, Output, count, size};
use crate::picture::{StatsPage, write_stats_page};
use crate::store;

pub(super) fn run(args: &args::Stats, output: Output) -> Result<Verdict> {
    let db = store::open_read_only(&args.dir)?;
    let stats = db.stats()?;
    let recovery = db.recovery();
    let node = db.node_id().to_string();
    let root = stats.root_fingerprint.to_string();
    let health = match &stats.health {
        Health::Poisoned { reason } => format!("takes no writes: {reason}"),
        _ if stats.unknown_spans + stats.lost_values > 0 => "damaged".to_owned(),
        _ => "good".to_owned(),
    };
    let unknown: Vec<String> = db.unknown_spans().iter().map(span).collect();
    let compression = match stats.compression {
        Compression::None => "none".to_owned(),
        Compression::Lz4 => "lz4".to_owned(),
        Compression::Zstd(level) => format!("zstd {level}"),
        _ => "unknown".to_owned(),
    };
    if let Some(file) = &args.html {
        let now_ms = SystemClock.now_ms();
        let page = write_stats_page(&StatsPage {
            name: &args.dir.display().to_string(),
            node: &node,
            root: &root,
            health: &health,
            keyspaces: &db.keyspaces()?,
            unknown: &unknown,
            stats: &stats,
            layout: &db.layout()?,
            horizon: &db.horizon_status(),
            ago: &|hlc| output::ago(hlc, now_ms),
        });
        host::replace(file, page.as_bytes())?;
    }
    let written = stats.written;
    let object = json!({
        "node": node, "opens": db.opens(), "root": root, "health": health,
        "entries": stats.entries, "tombstones": stats.tombstones, "live_bytes": stats.live_bytes,
        "unknown": unknown, "lost_values": stats.lost_values,
        "keyspaces": db.keyspaces()?, "buckets": stats.buckets, "horizon": stats.horizon,
        "visible": stats.visible.0, "durable": stats.durable.0, "flushed": stats.flushed.0,
        "runs": stats.runs, "run_bytes": stats.run_bytes, "compression": compression, "memtable_bytes": stats.memtable_bytes,
        "value_segments": stats.value_segments, "value_segment_bytes": stats.value_segment_bytes,
        "value_live_bytes": stats.value_live_bytes, "log_bytes": stats.log_bytes,
        "garbage_bytes": stats.garbage_bytes(), "shadowed_entries": stats.shadowed_entries,
        "write_amplification": stats.write_amplification(), "space_amplification": stats.space_amplification(),
        "written": {
            "committed": written.committed, "logged": written.logged, "flushed": written.flushed,
            "merged": written.merged,
        },
        "recovery": {
            "replayed_commits": recovery.replayed_commits, "ring_commits": recovery.ring_commits,
            "torn_bytes": recovery.torn_bytes, "torn_manifest_bytes": recovery.torn_manifest_bytes,
            "merkle_rebuilt": recovery.merkle_rebuilt, "took_new_node_id": recovery.took_new_node_id,
        },
    });
    output.answer(
        &object,
        &[
            ("node", node),
            ("root", root),
            ("health", health),
            ("entries", count(stats.entries)),
            ("tombstones", count(stats.tombstones)),
            ("keys and values", size(stats.live_bytes)),
            ("keyspaces", db.keyspaces()?.join(", ")),
            ("newest commit", count(stats.visible.0)),
            ("durable up to", count(stats.durable.0)),
            ("in runs up to", count(stats.flushed.0)),
            ("runs", format!("{}, {}", count(stats.runs), size(stats.run_bytes))),
            ("compression", compression),
            ("in memory", size(stats.memtable_bytes)),
            (
                "large values",
                format!("{} in {} segments", size(stats.value_live_bytes), count(stats.value_segments)),
            ),
            ("garbage", size(stats.garbage_bytes())),
            ("bytes on disk per byte", format!("{:.2}", stats.space_amplification())),
            (
                "bytes written per byte",
                format!(
                    "{:.2} ({} committed, {} logged, {} flushed, {} merged)",
                    stats.write_amplification(),
                    size(written.committed),
                    size(written.logged),
                    size(written.flushed),
                    size(written.merged),
                ),
            ),
            ("Merkle buckets", count(stats.buckets)),
            ("horizon", count(stats.horizon)),
            ("opened", format!("{} times", count(db.opens()))),
            ("replayed at opening", format!("{} commits", count(recovery.replayed_commits))),
            ("torn off at opening", size(recovery.torn_bytes)),
        ],
    )?;
    for span in &unknown {
        output.say(&format!("unknown for damage: {span}"))?;
    }
    if stats.lost_values > 0 {
        output.say(&format!("large values lost for damage: {}", count(stats.lost_values)))?;
    }
    Ok(Verdict::Fine)
}

/// The keys of an unknown span, as a sentence has room for them.
fn span(unknown: &UnknownSpan) -> String {
    let (place, keys) = match (&unknown.keyspace, &unknown.keys) {
        (Some(keyspace), Some(keys)) => (format!("keyspace {keyspace}"), keys),
        _ => ("stored keys".to_owned(), &unknown.stored_span),
    };
    let end = keys.end.as_ref().map_or("the end".to_owned(), |end| format!("\"{}\"", end.escape_ascii()));
    format!("{place}, from \"{}\" to {end}", keys.start.escape_ascii())
}
