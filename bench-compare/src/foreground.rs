//! What a repair costs those who use a store meanwhile: the latencies of half reads, half overwrites at a given rate, beside
//! sessions and between them.
//!
//! Windows with and without a session alternate, so that whatever else the machine does falls on both. Before each pair of
//! windows the other replica is changed in some keys at random while nothing is measured; the session of the second window
//! brings them over. Both replicas are in this process, and one thread runs both sides, so the session takes twice the
//! processor time here that one side of it takes.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use sync_proto::driver::run_pair;
use sync_proto::{End, Options};
use syncline::replica::DbReplica;
use syncline::{Db, Durability};

use crate::Result;
use crate::data::{Data, Random};
use crate::measure::Meter;

/// Entries of a batch when the other replica is changed.
const BATCH_LEN: u64 = 1_000;

/// What is done.
#[derive(Debug)]
pub struct Plan {
    /// Entries of each store.
    pub entries: u64,
    /// Keys in which the other replica differs when a session begins.
    pub differing: u64,
    /// Operations per second of the foreground.
    pub rate: u64,
    /// Pairs of windows.
    pub windows: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Seed of keys and choices.
    pub seed: u64,
}

/// Latencies of the foreground in microseconds, and the sessions beside it.
#[derive(Debug, Serialize)]
pub struct Report {
    entries: u64,
    differing: u64,
    ops_per_s: u64,
    alone_p50_us: f64,
    alone_p99_us: f64,
    alone_p999_us: f64,
    beside_p50_us: f64,
    beside_p99_us: f64,
    beside_p999_us: f64,
    /// Of the 99th percentiles, with a session to without.
    p99_ratio: f64,
    sessions: u64,
    /// Mean length of a session.
    session_ms: f64,
    /// Mean number of flights of a session.
    legs: f64,
    /// Entries that came over.
    entries_repaired: u64,
    /// Entries that went the other way: what the foreground wrote meanwhile.
    entries_given: u64,
    /// Entries that the store with the foreground read for it.
    entries_read: u64,
}

/// Runs it in `dir`.
///
/// # Errors
/// The engine's, and a session that is not complete.
pub fn run(dir: &Path, plan: &Plan) -> Result<Report> {
    let data = Data::new(plan.seed, plan.value_bytes);
    let near = Db::builder(dir.join("near")).create()?;
    let mut keys: Vec<_> = (0..plan.entries).map(|number| data.key(number)).collect();
    keys.sort_unstable();
    let mut value = Vec::new();
    near.ingest(keys.iter().map(|key| {
        data.fill_value(key, 0, &mut value);
        (key, value.clone())
    }))?;
    near.checkpoint(dir.join("far"))?;
    let far = Db::open(dir.join("far"))?;
    let (mut alone, mut beside): (Option<Meter>, Option<Meter>) = (None, None);
    let mut random = Random::new(plan.seed);
    let (mut length, mut legs, mut entries_repaired, mut entries_given, mut entries_read) =
        (Duration::ZERO, 0, 0, 0, 0);
    for window in 0..plan.windows {
        change(&far, plan, &data, &keys, &mut random)?;
        let nonce = random.next();
        let session = thread::scope(|scope| -> Result<Duration> {
            let session = scope.spawn(|| {
                let start = Instant::now();
                let replicas = (DbReplica::new(&near), DbReplica::new(&far));
                let (outcome, _) = run_pair(&replicas.0, &replicas.1, Options::new(nonce), &mut |_| ());
                (outcome, start.elapsed())
            });
            let is_over = || session.is_finished();
            let meter = foreground(&near, plan, &data, &keys, &mut random, is_over)?;
            let (outcome, took) = session.join().expect("a session does not panic");
            if outcome.end != End::Complete {
                return Err(format!("window {window}: {:?}", outcome.end).into());
            }
            legs += outcome.report.legs;
            entries_repaired += outcome.report.entries_received;
            entries_given += outcome.report.entries_sent;
            entries_read += outcome.report.entries_read;
            beside = Some(joined(beside.take(), meter));
            Ok(took)
        })?;
        length += session;
        let begun = Instant::now();
        let meter = foreground(&near, plan, &data, &keys, &mut random, || begun.elapsed() >= session)?;
        alone = Some(joined(alone.take(), meter));
    }
    let (alone, beside) = (alone.ok_or("no window")?, beside.ok_or("no window")?);
    Ok(Report {
        entries: plan.entries,
        differing: plan.differing,
        ops_per_s: plan.rate,
        alone_p50_us: alone.quantile_us(0.5),
        alone_p99_us: alone.quantile_us(0.99),
        alone_p999_us: alone.quantile_us(0.999),
        beside_p50_us: beside.quantile_us(0.5),
        beside_p99_us: beside.quantile_us(0.99),
        beside_p999_us: beside.quantile_us(0.999),
        p99_ratio: beside.quantile_us(0.99) / alone.quantile_us(0.99),
        sessions: plan.windows,
        session_ms: length.as_secs_f64() * 1e3 / plan.windows as f64,
        legs: f64::from(legs) / plan.windows as f64,
        entries_repaired,
        entries_given,
        entries_read,
    })
}

fn joined(sum: Option<Meter>, meter: Meter) -> Meter {
    match sum {
        Some(sum) => sum.then(meter),
        None => meter,
    }
}

/// Changes the other replica in keys at random, and waits until it is at rest.
fn change(far: &Db, plan: &Plan, data: &Data, keys: &[[u8; 16]], random: &mut Random) -> Result<()> {
    let (space, mut value, mut left) = (far.default_keyspace(), Vec::new(), plan.differing);
    while left > 0 {
        let mut batch = far.batch();
        for _ in 0..left.min(BATCH_LEN) {
            let key = keys[random.below(plan.entries) as usize];
            data.fill_value(&key, left, &mut value);
            batch.put(&space, key, &value)?;
            left -= 1;
        }
        far.write(batch, Durability::Buffered)?;
    }
    far.flush()?;
    Ok(())
}

/// Reads and overwrites `near` at the plan's rate until `is_over`.
fn foreground(
    near: &Db,
    plan: &Plan,
    data: &Data,
    keys: &[[u8; 16]],
    random: &mut Random,
    is_over: impl Fn() -> bool,
) -> Result<Meter> {
    let (mut meter, mut value, start) = (Meter::start(1), Vec::new(), Instant::now());
    let mut count = 0u64;
    while !is_over() {
        if count as f64 > start.elapsed().as_secs_f64() * plan.rate as f64 {
            thread::sleep(Duration::from_micros(50));
            continue;
        }
        let key = keys[random.below(plan.entries) as usize];
        if count.is_multiple_of(2) {
            meter.time(|| near.get(key))?;
        } else {
            data.fill_value(&key, count, &mut value);
            meter.time(|| near.put(key, &value))?;
        }
        count += 1;
    }
    Ok(meter.stop())
}
