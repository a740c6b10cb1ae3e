//! `demo`: two replicas of Debian's package list, of which one gets the security updates, is killed while it takes
//! them, comes back, and repairs the other over TCP. Every claim made on the way is checked, and one that does not hold
//! ends the demo with an error.

mod crash;
mod tables;
pub(super) mod writer;

use std::path::Path;

use serde_json::json;
use syncline::{Compression, Db, Durability};

use crate::args::Demo;
use crate::error::{Error, Result, Verdict};
use crate::host::Stopwatch;
use crate::output::{Output, count, size};
use crate::peer::{self, Mode, Report, Server};
use crate::store;
use crate::table::Row;

use super::load::load;
use super::sync::{bytes_moved, over_transfer};

pub(super) fn run(args: &Demo, output: Output) -> Result<Verdict> {
    match &args.dir {
        Some(dir) => {
            demo(dir, output)?;
            output.say(&format!(
                "\nThe replicas are a and b in {}; try `syncline diff` on them.",
                dir.display()
            ))?;
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("syncline-demo-").tempdir();
            demo(temporary.map_err(Error::io("cannot make a temporary folder"))?.path(), output)?;
        }
    }
    Ok(Verdict::Fine)
}

fn demo(dir: &Path, output: Output) -> Result<()> {
    let total = Stopwatch::start();
    let (dir_a, dir_b) = (dir.join("a"), dir.join("b"));

    let a = fill(&dir_a, output)?;
    let b = replicate(&a, &dir_b, output)?;
    let updates = missing_rows(&b)?;
    drop(b);
    let crash = kill_and_reopen(&dir_b, &updates, output)?;
    let b = store::open_or_create(&dir_b)?;
    finish(&b, &updates, output)?;
    compare(&a, &b, updates.len() as u64, output)?;
    let (report, milliseconds) = repair(&a, &b, output)?;
    prove(&a, &b, &report, output)?;

    let entries = a.stats()?.entries;
    let (sent, received) = (report.sent, report.received);
    let root = report.root_left.to_string();
    let total_milliseconds = total.elapsed().as_millis() as u64;
    output.say("")?;
    output.answer(
        &json!({
            "entries": entries, "entries_differing": report.differing(), "entries_sent": sent,
            "entries_received": received, "metadata_bytes": report.metadata_bytes,
            "value_bytes": report.value_bytes, "full_copy_bytes": report.full_copy_bytes, "legs": report.legs,
            "acknowledged": crash.acknowledged.len(), "lost": 0, "root": root,
            "repair_milliseconds": milliseconds, "milliseconds": total_milliseconds,
        }),
        &[
            ("entries", count(entries)),
            ("entries differing", count(report.differing())),
            ("sent from A to B", count(sent)),
            ("sent from B to A", count(received)),
            ("over-transfer", over_transfer(sent + received, report.differing())),
            ("metadata", size(report.metadata_bytes)),
            ("values", size(report.value_bytes)),
            ("bytes moved", bytes_moved(&report)),
            ("round trips", count(report.legs.div_ceil(2))),
            ("time of the repair", format!("{milliseconds} ms")),
            ("time of everything", format!("{:.1} s", total_milliseconds as f64 / 1000.0)),
            ("root of both", root),
        ],
    )
}

/// Fails the demo if `holds` is false.
fn check(holds: bool, claim: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Demo(claim())) }
}

fn fill(dir: &Path, output: Output) -> Result<Db> {
    let watch = Stopwatch::start();
    let a = store::create(dir, None, 0, Compression::None)?;
    let loaded = load(&a, &a.default_keyspace(), &mut tables::base()?, || ())?;
    output.say(&format!(
        "A  loaded Debian bookworm's package list: {} rows in {} ms",
        count(loaded.rows),
        watch.elapsed().as_millis()
    ))?;
    Ok(a)
}

fn replicate(a: &Db, dir: &Path, output: Output) -> Result<Db> {
    let watch = Stopwatch::start();
    let b = store::create(dir, Some(a), 0, Compression::None)?;
    let report = peer::between(a, &b, Mode::REPAIR)?;
    check(report.is_fine(), || "the first sync did not end with equal replicas".to_owned())?;
    let sent = report.sent;
    let ms = watch.elapsed().as_millis();
    output.say(&format!(
        "B  made as an empty replica and filled by a first sync: {} entries in {ms} ms",
        count(sent)
    ))?;
    Ok(b)
}

/// The rows of the table with the security updates that `b` does not have.
fn missing_rows(b: &Db) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut table = tables::security()?;
    while let Some(row) = table.next_row().map_err(|error| Error::Table { error, rows_loaded: 0 })? {
        if b.get(&row.key)?.is_none_or(|value| *value != *row.value) {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn kill_and_reopen(dir: &Path, updates: &[Row], output: Output) -> Result<crash::Crash> {
    let crash = crash::kill_while_writing(dir, updates)?;
    output.say(&format!(
        "B  takes {} security updates, one commit each, in process {}, which is killed after acknowledging {}",
        count(updates.len() as u64),
        crash.process,
        count(crash.acknowledged.len() as u64)
    ))?;
    let watch = Stopwatch::start();
    let b = store::open(dir)?;
    let ms = watch.elapsed().as_millis();
    let mut lost = 0;
    for row in updates.iter().take(crash.acknowledged.len()) {
        lost += u64::from(b.get(&row.key)?.is_none_or(|value| *value != *row.value));
    }
    check(lost == 0, || format!("{lost} acknowledged rows are not in the store after the kill"))?;
    let replayed = count(b.recovery().replayed_commits);
    output.say(&format!("B  reopened in {ms} ms, {replayed} commits replayed: 0 acknowledged rows lost"))?;
    Ok(crash)
}

fn finish(b: &Db, updates: &[Row], output: Output) -> Result<()> {
    let keyspace = b.default_keyspace();
    let mut batch = b.batch();
    for row in updates {
        if keyspace.get(&row.key)?.is_none_or(|value| *value != *row.value) {
            batch.put(&keyspace, &row.key, &row.value)?;
        }
    }
    let rest = batch.len() as u64;
    b.write(batch, Durability::Sync)?;
    output.say(&format!("B  took the remaining {} updates in one batch", count(rest)))
}

fn compare(a: &Db, b: &Db, updates: u64, output: Output) -> Result<()> {
    let report = peer::between(a, b, Mode::compare(0))?;
    output.say(&format!(
        "   diff: {} only in A, {} only in B, {} newer in A, {} newer in B, in {} ranges",
        count(report.only_left),
        count(report.only_right),
        count(report.newer_left),
        count(report.newer_right),
        count(report.ranges)
    ))?;
    check(report.differing() == updates, || {
        format!("{updates} rows were updated, but the replicas differ in {}", report.differing())
    })
}

fn repair(a: &Db, b: &Db, output: Output) -> Result<(Report, u64)> {
    // Both ends are this process, so there is nobody to be secured from.
    let transport = peer::insecure();
    let server = Server::bind(b, "127.0.0.1:0", transport.clone())?;
    let address = server.authority();
    output.say(&format!("B  serves {}", server.address()))?;
    let watch = Stopwatch::start();
    let report = server.run_during(|| peer::connect(a, &address, &transport, Mode::REPAIR))?;
    let milliseconds = watch.elapsed().as_millis() as u64;
    check(report.is_fine(), || format!("the repair ended {}", report.outcome.as_str()))?;
    output.say(&format!("A  repaired itself from there in {milliseconds} ms"))?;
    Ok((report, milliseconds))
}

fn prove(a: &Db, b: &Db, report: &Report, output: Output) -> Result<()> {
    let (root_a, root_b) = (a.root()?, b.root()?);
    check(root_a == root_b, || "the roots differ after the repair".to_owned())?;
    check(report.root_left == root_a.fingerprint && report.root_right == root_b.fingerprint, || {
        "the session reported other roots than the stores have".to_owned()
    })?;
    let mut table = tables::security()?;
    let mut rows = 0;
    while let Some(row) = table.next_row().map_err(|error| Error::Table { error, rows_loaded: 0 })? {
        let held = a.get(&row.key)?;
        check(held.is_some_and(|value| *value == *row.value), || {
            format!("A lacks line {} of the table", row.line)
        })?;
        rows += 1;
    }
    check(a.stats()?.entries == rows, || "A holds more than the table".to_owned())?;
    for (name, db) in [("A", a), ("B", b)] {
        let problems = db.verify(&mut |_| true)?.problems;
        check(problems.is_empty(), || format!("{name} is damaged: {}", problems.join("; ")))?;
    }
    output.say(&format!("   roots equal; all {} rows are in A; both verified, no damage", count(rows)))
}
