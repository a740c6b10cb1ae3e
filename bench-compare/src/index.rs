//! What Syncline's Merkle index takes and gives: bytes for each key in memory and on disk, and the time of a fingerprint.
//! Nothing here is compared, for no other engine has such an index.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde::{Deserialize, Serialize};
use syncline::Db;

use crate::Result;
use crate::child::{Job, Stage};
use crate::data::{Data, Key, Random};
use crate::engine::{Config, Engine, Syncline};
use crate::measure::{Memory, Meter};
use crate::workload::Scope;

/// Fingerprints taken of each kind.
const SAMPLES: u64 = 20_000;

/// Writes that are not flushed when fingerprints are taken beside them.
const UNFLUSHED: u64 = 20_000;

/// The figures of one store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Entries of the store.
    pub entries: u64,
    /// Buckets of the index.
    pub buckets: u64,
    /// Bytes of its files, per entry.
    pub disk_bytes_per_entry: f64,
    /// Anonymous memory of the process just after the store was opened, per entry: Merkle index, block index and all else.
    pub open_anon_bytes_per_entry: f64,
    /// Opening the store, in milliseconds.
    pub open_ms: f64,
    /// The root, in microseconds.
    pub root_p50_us: f64,
    /// The same.
    pub root_p99_us: f64,
    /// The fingerprint of a range between two random keys, in microseconds.
    pub range_p50_us: f64,
    /// The same.
    pub range_p99_us: f64,
    /// The same, with writes that are not flushed, and one more before each fingerprint.
    pub range_beside_writes_p50_us: f64,
    /// The same.
    pub range_beside_writes_p99_us: f64,
}

/// Measures a store of `entries` values of `value_bytes` in `dir`.
///
/// # Errors
/// The engine's.
pub fn run(dir: &Path, entries: u64, value_bytes: usize, seed: u64) -> Result<Report> {
    let config = Config { dir: dir.join("store"), durable: false, compress: false, without_index: false };
    let scope = Scope { data: Data::new(seed, value_bytes), entries, ops: entries, seed };
    load(dir, &scope, value_bytes)?;
    let anon_before = Memory::now().anon_bytes;
    let mut opening = Meter::start(1);
    let db = opening.time(|| Db::open(&config.dir))?;
    let anon_bytes = Memory::now().anon_bytes.saturating_sub(anon_before);
    let (mut roots, mut ranges, mut beside) = (Meter::start(1), Meter::start(1), Meter::start(1));
    let mut random = Random::new(seed);
    for _ in 0..SAMPLES {
        roots.time(|| db.root())?;
        fingerprint(&db, &scope, &mut random, &mut ranges)?;
    }
    let (buckets, mut value) = (db.stats()?.buckets, Vec::new());
    for number in 0..UNFLUSHED + SAMPLES {
        let key = scope.data.key(random.below(entries));
        scope.data.fill_value(&key, number, &mut value);
        db.put(key, &value)?;
        if number >= UNFLUSHED {
            fingerprint(&db, &scope, &mut random, &mut beside)?;
        }
    }
    Ok(Report {
        entries,
        buckets,
        disk_bytes_per_entry: merkle_bytes(&config.dir)? as f64 / entries as f64,
        open_anon_bytes_per_entry: anon_bytes as f64 / entries as f64,
        open_ms: opening.quantile_us(0.5) / 1e3,
        root_p50_us: roots.quantile_us(0.5),
        root_p99_us: roots.quantile_us(0.99),
        range_p50_us: ranges.quantile_us(0.5),
        range_p99_us: ranges.quantile_us(0.99),
        range_beside_writes_p50_us: beside.quantile_us(0.5),
        range_beside_writes_p99_us: beside.quantile_us(0.99),
    })
}

/// Loads the store in a process of its own, so that what this one takes is what an open store takes.
fn load(dir: &Path, scope: &Scope, value_bytes: usize) -> Result<()> {
    let job = Job {
        engine: Syncline::NAME.to_owned(),
        dir: dir.to_owned(),
        filesystem: String::new(),
        stage: Stage::LoadAndClose,
        workloads: vec!["reopen_clean".to_owned()],
        entries: scope.entries,
        ops: scope.ops,
        value_bytes,
        seed: scope.seed,
        compress: false,
        round: 1,
    };
    let status = Command::new(env::current_exe()?).arg("child").arg(serde_json::to_string(&job)?).status()?;
    if status.success() { Ok(()) } else { Err(format!("loading ended with {status}").into()) }
}

fn fingerprint(db: &Db, scope: &Scope, random: &mut Random, meter: &mut Meter) -> Result<()> {
    let mut key = || scope.data.key(random.below(scope.entries));
    let (a, b): (Key, Key) = (key(), key());
    meter.time(|| db.fingerprint(a.min(b)..a.max(b)))?;
    Ok(())
}

/// Bytes of the index's files in a store's folder.
fn merkle_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "merkle") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
