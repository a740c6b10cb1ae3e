//! What a store says of itself: whether it opens, what opening found, how much it wastes, and what its horizon waits for.

use std::path::Path;

use syncline::clock::{SystemClock, WallClock};
use syncline::{Db, Health, HorizonStatus, RecoveryReport, Stats};

use super::{Finding, Severity, machine};
use crate::error::{Error, Result};
use crate::output::{ago, count, size};
use crate::progress::Progress;
use crate::store;

/// Below this, waste is not worth a word.
const WASTE_MIN: u64 = 64 << 20;
/// Bytes on disk for each byte of keys and values, beyond which compaction is behind.
const SPACE_AMPLIFICATION_MAX: f64 = 3.0;
/// Bytes written for each byte committed, beyond which something is odd about the load.
const WRITE_AMPLIFICATION_MAX: f64 = 30.0;
/// More runs than compaction lets stand.
const RUNS_MAX: u64 = 12;
/// A stamp may be so far ahead of the wall clock: peers take entries up to there.
const DRIFT_MAX_MS: u64 = 60_000;
/// For so long a member may be away before it is worth a word.
const ABSENCE_MAX_MS: u64 = 24 * 3_600_000;
/// Fewer tombstones need no horizon.
const TOMBSTONES_MIN: u64 = 10_000;

pub(super) fn check(dir: &Path, deep: bool) -> Result<Vec<Finding>> {
    let db = match store::open_read_only(dir) {
        Ok(db) => db,
        Err(Error::Store(error @ syncline::Error::NotFound { .. })) => return Err(error.into()),
        Err(error) => {
            let (what, next) = error.parts();
            return Ok(vec![Finding::new(Severity::Problem, "opening", what, next)]);
        }
    };
    let mut findings = vec![Finding::fine("opening", format!("it opens, as node {}", db.node_id()))];
    findings.extend(opening(db.recovery()));
    match db.stats().and_then(|stats| Ok((stats, db.layout()?.clock))) {
        Ok((stats, clock)) => {
            let now_ms = SystemClock.now_ms();
            findings.extend(health(&stats));
            findings.extend(taken(&stats));
            findings.extend(machine::space(dir, &stats));
            findings.extend(waste(&stats));
            findings.push(clock_ahead(clock, now_ms));
            findings.extend(horizon(&db.horizon_status(), &stats, now_ms));
        }
        Err(error) => {
            let (what, next) = Error::from(error).parts();
            findings.push(Finding::new(Severity::Problem, "index", what, next));
        }
    }
    if deep {
        findings.extend(damage(&db)?);
    }
    Ok(findings)
}

fn opening(report: &RecoveryReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    if report.torn_bytes > 0 || report.torn_manifest_bytes > 0 {
        let torn = size(report.torn_bytes.saturating_add(report.torn_manifest_bytes));
        findings.push(Finding::new(
            Severity::Note,
            "log",
            format!(
                "{torn} of unfinished writes are at its end: a process or the machine stopped in the middle"
            ),
            "Nothing that was durable is in them; the next opening for writing cuts them off",
        ));
    }
    if report.ring_commits > 0 {
        let what = format!("{} commits are in the staging ring alone", count(report.ring_commits));
        let next = "Do not copy the folder without its ring file; the next opening for writing puts them into the log";
        findings.push(Finding::new(Severity::Note, "ring", what, next));
    }
    if report.merkle_rebuilt {
        let what = "the files of the Merkle index are damaged, so every opening has to make it anew from the entries";
        let next = "Look after the disk; an opening for writing, as by `syncline compact`, writes them again";
        findings.push(Finding::new(Severity::Warning, "index", what, next));
    }
    findings
}

fn health(stats: &Stats) -> Option<Finding> {
    match &stats.health {
        Health::Poisoned { reason } => Some(Finding::new(
            Severity::Problem,
            "health",
            format!("the store takes no writes: {reason}"),
            "Look after the disk, then open it again",
        )),
        _ => None,
    }
}

fn taken(stats: &Stats) -> Option<Finding> {
    (stats.unknown_spans > 0 || stats.lost_values > 0).then(|| {
        let (spans, values) = (count(stats.unknown_spans), count(stats.lost_values));
        let what = format!("damage has taken {spans} spans of keys and {values} large values");
        let next = "Heal them by `syncline sync` with a sound replica, a folder or a served one; `syncline serve --peer` does so by itself. Until then reads of them fail, and never find too little";
        Finding::new(Severity::Problem, "damage", what, next)
    })
}

fn waste(stats: &Stats) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (space, write) = (stats.space_amplification(), stats.write_amplification());
    let on_disk = stats.run_bytes.saturating_add(stats.value_segment_bytes).saturating_add(stats.log_bytes);
    let what = format!(
        "{space:.2} bytes on disk for each byte of keys and values, {} of garbage",
        size(stats.garbage_bytes())
    );
    findings.push(if space > SPACE_AMPLIFICATION_MAX && on_disk > WASTE_MIN {
        Finding::new(Severity::Warning, "space", what, "Give it back with `syncline compact`, and see whether a writer keeps its background work switched off")
    } else {
        Finding::fine("space", what)
    });
    let what = format!("{write:.2} bytes written for each byte committed");
    findings.push(if write > WRITE_AMPLIFICATION_MAX && stats.written.committed > WASTE_MIN {
        let next =
            "Batch small commits, and let memtables grow larger: each flush rewrites what merges follow it";
        Finding::new(Severity::Note, "writes", what, next)
    } else {
        Finding::fine("writes", what)
    });
    let what = format!("{} runs", count(stats.runs));
    findings.push(if stats.runs > RUNS_MAX {
        let next =
            "Merges are behind; reads look at each run. Run `syncline compact`, or write less for a while";
        Finding::new(Severity::Warning, "runs", what, next)
    } else {
        Finding::fine("runs", what)
    });
    findings
}

fn clock_ahead(clock: u64, now_ms: u64) -> Finding {
    let ahead_ms = (clock >> 16).saturating_sub(now_ms);
    if ahead_ms > DRIFT_MAX_MS {
        Finding::new(
            Severity::Problem,
            "clock",
            format!("the newest stamp is {} s ahead of this machine's clock", count(ahead_ms / 1000)),
            "Set the clocks of all machines that write; peers put such entries off until their time comes",
        )
    } else {
        Finding::fine("clock", "no stamp is ahead of this machine's clock by more than peers take")
    }
}

fn horizon(status: &HorizonStatus, stats: &Stats, now_ms: u64) -> Vec<Finding> {
    if status.members.is_empty() {
        let what = format!("no members are named, so all {} tombstones are kept", count(stats.tombstones));
        return vec![if stats.tombstones >= TOMBSTONES_MIN && stats.tombstones > stats.entries / 4 {
            let next = "Name every replica of the set with `syncline horizon DIR --admit NODE`, then close with `--close`";
            Finding::new(Severity::Note, "horizon", what, next)
        } else {
            Finding::fine("horizon", what)
        }];
    }
    let mut findings = Vec::new();
    for member in status.members.iter().filter(|member| member.is_joining && !member.is_expelled) {
        let what = format!("member {} has yet to receive what the others hold", member.node);
        findings.push(Finding::new(
            Severity::Note,
            "members",
            what,
            "Let it have a complete session with an owner",
        ));
    }
    let owners = || status.members.iter().filter(|member| !member.is_joining && !member.is_expelled);
    let closed = owners().map(|member| member.closed).min().unwrap_or(0);
    let lag_ms = (closed >> 16).saturating_sub(status.proven >> 16);
    let reached = match status.horizon {
        0 => "nothing was deleted for good yet".to_owned(),
        horizon => format!("it is at {}", ago(horizon, now_ms)),
    };
    if lag_ms > ABSENCE_MAX_MS {
        let pairs = status.held_by.iter().take(4).map(|(own, peer)| format!("{own} with {peer}"));
        findings.push(Finding::new(
            Severity::Warning,
            "horizon",
            format!("{reached}; held back by {}", pairs.collect::<Vec<_>>().join(", ")),
            "Let these have complete sessions; take a member that is gone for good out with `syncline horizon DIR --expel NODE`",
        ));
    } else if status.proven > status.horizon {
        let what = format!("{reached}, and {} is proven", ago(status.proven, now_ms));
        findings.push(Finding::new(
            Severity::Note,
            "horizon",
            what,
            "Raise it with `syncline horizon DIR --close SECONDS`",
        ));
    } else if stats.tombstones >= TOMBSTONES_MIN && now_ms.saturating_sub(closed >> 16) > ABSENCE_MAX_MS {
        let slowest = owners().filter(|member| member.closed == closed).map(|member| member.node.to_string());
        let what = format!("{reached}; {} closed nothing for long", slowest.collect::<Vec<_>>().join(", "));
        findings.push(Finding::new(
            Severity::Note,
            "horizon",
            what,
            "Close on every member, with `syncline horizon DIR --close SECONDS`",
        ));
    } else {
        findings.push(Finding::fine("horizon", reached));
    }
    findings
}

/// Reads everything.
fn damage(db: &Db) -> Result<Vec<Finding>> {
    let progress = Progress::things("checking entries", 0);
    let report = db.verify(|state| {
        progress.set_of(state.entries, state.entries_total);
        true
    })?;
    drop(progress);
    if report.problems.is_empty() {
        return Ok(vec![Finding::fine("damage", format!("none in {} entries", count(report.entries)))]);
    }
    let next = "Keep the folder as it is, and repair the store from a sound replica with `syncline sync`";
    let found = report.problems.into_iter();
    Ok(found.map(|problem| Finding::new(Severity::Problem, "damage", problem, next)).collect())
}
