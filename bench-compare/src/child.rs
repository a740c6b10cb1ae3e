//! A child process: one engine, one store, one chain of workloads; a line of JSON for each on its standard output.
//! Its own process, so that memory is the engine's, and a kill is a kill.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::Data;
use crate::engine::{Config, Direction, Engine, Scan};
use crate::measure::{Memory, Meter, disk_bytes};
use crate::row::Row;
use crate::workload::{self, Chain, Scope};

/// The line by which a child says that it may be killed.
pub const LOADED: &str = "loaded";

/// Openings of a cleanly closed store, of which the median counts.
const REOPENINGS: u64 = 5;

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Name of the engine.
    pub engine: String,
    /// A folder of the parent's for stores.
    pub dir: PathBuf,
    /// File system of that folder.
    pub filesystem: String,
    /// What part of the chain.
    pub stage: Stage,
    /// Workloads of one chain, in its order.
    pub workloads: Vec<String>,
    /// Entries of a loaded store.
    pub entries: u64,
    /// Operations of a workload that reads, changes or mixes.
    pub ops: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Seed of keys, values and choices.
    pub seed: u64,
    /// LZ4 where the engine offers it.
    pub compress: bool,
    /// Round, from 1.
    pub round: u32,
}

/// A part of a chain. Reopenings need two processes, the others one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// All of it.
    Whole,
    /// Load a store and close it.
    LoadAndClose,
    /// Load a store and go on writing until killed.
    WriteUntilKilled,
    /// Open what an earlier child left.
    Reopen,
}

/// Does the job on its engine.
///
/// # Errors
/// The engine's.
pub fn run<E: Engine>(job: &Job) -> Result<()> {
    let chain = workload::chain_of(&job.workloads[0])?;
    let config = Config {
        dir: job.dir.join("store"),
        durable: chain == Chain::Durable,
        compress: job.compress,
        without_index: chain == Chain::WithoutIndex,
    };
    let scope = Scope {
        data: Data::new(job.seed, job.value_bytes),
        entries: job.entries,
        ops: job.ops,
        seed: job.seed,
    };
    if let Some(reason) = E::refusal(&config) {
        eprintln!("skipped on {}: {chain:?}: {reason}", E::NAME);
        return Ok(());
    }
    match job.stage {
        Stage::Whole => run_chain::<E>(job, &config, &scope),
        Stage::LoadAndClose => {
            let engine = E::open(&config)?;
            workload::load(&engine, &scope)?;
            engine.close()
        }
        Stage::WriteUntilKilled => {
            workload::write_until_killed::<E>(&config, &scope, || println!("{LOADED}"))
        }
        Stage::Reopen => {
            let times = if chain == Chain::ReopenClean { REOPENINGS } else { 1 };
            let (meter, engine, lost) = workload::reopen::<E>(&config, &scope, times)?;
            let mut row = row_of(job, &config, &job.workloads[0], &engine, &meter)?;
            (row.ops_per_s, row.lost) = (1e6 / row.p50_us, Some(lost));
            print(&row)?;
            engine.close()
        }
    }
}

fn run_chain<E: Engine>(job: &Job, config: &Config, scope: &Scope) -> Result<()> {
    let mut engine = E::open(config)?;
    if !workload::begins_empty(&job.workloads[0]) {
        workload::load(&engine, scope)?;
        engine.settle()?;
    }
    let mut is_compacted = false;
    for workload in &job.workloads {
        if workload::needs_compaction(workload) && !is_compacted {
            engine = compacted(engine, config)?;
            is_compacted = true;
        }
        Memory::forget_peak();
        let record_bytes = crate::data::KEY_LEN + job.value_bytes;
        let probe = || config.durable.then(|| workload::probe(&job.dir, record_bytes)).transpose();
        let before = probe()?;
        let meter = workload::run(workload, &engine, scope)?;
        let after = probe()?;
        let mut row = row_of(job, config, workload, &engine, &meter)?;
        if let (Some(before), Some(after)) = (before, after) {
            let probe = before.then(after);
            row.probe_ops_per_s = Some(probe.rate());
            print(&row_of(job, config, "probe", &engine, &probe)?)?;
        }
        print(&row)?;
    }
    engine.close()
}

/// The store compacted, closed and opened again, for only closing lets go of files that were replaced; and read once,
/// so that it is as warm as it was.
fn compacted<E: Engine>(engine: E, config: &Config) -> Result<E> {
    engine.compact()?.close()?;
    let engine = E::open(config)?;
    engine.scan(Scan::all(Direction::Forward), |_, _| {})?;
    Ok(engine)
}

/// What a meter tells, completed by disk and memory once the background work is done.
fn row_of<E: Engine>(job: &Job, config: &Config, workload: &str, engine: &E, meter: &Meter) -> Result<Row> {
    let start = Instant::now();
    engine.settle()?;
    let settle_ms = start.elapsed().as_secs_f64() * 1e3;
    let memory = Memory::now();
    Ok(Row {
        engine: E::NAME.to_owned(),
        workload: workload.to_owned(),
        entries: job.entries,
        value_bytes: job.value_bytes,
        ops: meter.count(),
        ops_per_s: meter.rate(),
        cpu_us_per_op: meter.cpu_us_per_op(),
        p50_us: meter.quantile_us(0.5),
        p99_us: meter.quantile_us(0.99),
        p999_us: meter.quantile_us(0.999),
        max_us: meter.quantile_us(1.0),
        disk_bytes: disk_bytes(&config.dir)?,
        peak_rss_bytes: memory.peak_bytes,
        anon_bytes: memory.anon_bytes.max(meter.anon_bytes()),
        settle_ms,
        durability: E::promise(config.durable).to_owned(),
        round: job.round,
        filesystem: job.filesystem.clone(),
        probe_ops_per_s: None,
        lost: None,
    })
}

fn print(row: &Row) -> Result<()> {
    println!("{}", serde_json::to_string(row)?);
    Ok(())
}
