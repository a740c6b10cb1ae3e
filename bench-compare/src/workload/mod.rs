//! The workloads: their names, the order in which they run, and what they share.

mod durable;
mod fill;
mod mixed;
mod read;
mod reopen;
mod scan;

pub use self::durable::probe;
pub use self::fill::load;
pub use self::reopen::{reopen, write_until_killed};
use crate::Result;
use crate::data::{Data, Random};
use crate::engine::{Direction, Engine};
use crate::measure::Meter;

/// Workloads that run one after another on one store, in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// Filling an empty store; each workload is a chain by itself.
    Fill,
    /// Single puts into an empty store, then what reads it, at last when compacted.
    Read,
    /// Changes of a loaded store.
    Change,
    /// Reads and changes of a loaded store.
    Mixed,
    /// Durable commits into an empty store.
    Durable,
    /// Opening a store that was closed.
    ReopenClean,
    /// Opening a store whose process was killed.
    ReopenKilled,
    /// Filling and changing a store without its Merkle index.
    WithoutIndex,
}

/// Every workload and its chain, in the order in which they run. The README says what each measures.
pub const ALL: [(&str, Chain); 25] = [
    ("fill_seq", Chain::Fill),
    ("fill_batch100", Chain::Fill),
    ("fill_random", Chain::Read),
    ("read_hit", Chain::Read),
    ("read_miss", Chain::Read),
    ("read_hit_2t", Chain::Read),
    ("read_hit_view", Chain::Read),
    ("seek_100", Chain::Read),
    ("seek_100_rev", Chain::Read),
    ("scan", Chain::Read),
    ("scan_rev", Chain::Read),
    ("seek_100_compacted", Chain::Read),
    ("scan_compacted", Chain::Read),
    ("overwrite", Chain::Change),
    ("delete", Chain::Change),
    ("ycsb_b", Chain::Mixed),
    ("ycsb_a", Chain::Mixed),
    ("ycsb_f", Chain::Mixed),
    ("durable_1t", Chain::Durable),
    ("durable_8t", Chain::Durable),
    ("reopen_clean", Chain::ReopenClean),
    ("reopen_killed", Chain::ReopenKilled),
    ("write_without_index", Chain::WithoutIndex),
    ("overwrite_without_index", Chain::WithoutIndex),
    ("delete_without_index", Chain::WithoutIndex),
];

/// The chain of a workload.
///
/// # Errors
/// If there is no such workload.
pub fn chain_of(workload: &str) -> Result<Chain> {
    let found = ALL.iter().find(|row| row.0 == workload).map(|row| row.1);
    found.ok_or_else(|| format!("no workload {workload}").into())
}

/// Whether a workload begins with an empty store; the others find one that is loaded.
pub fn begins_empty(workload: &str) -> bool {
    ["fill_", "write_", "durable_"].iter().any(|begin| workload.starts_with(begin))
}

/// Whether a workload finds a compacted store.
pub fn needs_compaction(workload: &str) -> bool {
    workload.ends_with("_compacted")
}

/// What a workload needs besides the store.
#[derive(Debug)]
pub struct Scope {
    /// Makes and checks keys and values.
    pub data: Data,
    /// Entries of a loaded store.
    pub entries: u64,
    /// Operations of a workload that reads, changes or mixes.
    pub ops: u64,
    /// Where random sequences begin.
    pub seed: u64,
}

/// Runs a workload on an open store; [`reopen`] and its like are run by themselves.
///
/// # Errors
/// The engine's.
///
/// # Panics
/// If a read gives a wrong answer.
pub fn run<E: Engine>(workload: &str, engine: &E, scope: &Scope) -> Result<Meter> {
    let (entries, ops, mut random) = (scope.entries, scope.ops, Random::new(scope.seed));
    // What is done to a compacted store, or without the index, is the same thing.
    let plain = workload.trim_end_matches("_compacted").trim_end_matches("_without_index");
    match plain {
        "fill_seq" => fill::sequential(engine, scope),
        "fill_batch100" => fill::batches(engine, scope, 100),
        "fill_random" | "write" => fill::singles(engine, scope, 0..entries, 0),
        "overwrite" => fill::singles(engine, scope, random.uniform(entries, ops).into_iter(), 1),
        "delete" => fill::deletes(engine, scope, &random.permutation(entries)),
        "read_hit" => read::hits(engine, scope, &random.uniform(entries, ops)),
        "read_miss" => read::misses(engine, scope, &random.uniform(entries, ops)),
        "read_hit_2t" => read::hits_of_threads(engine, scope, &random.uniform(entries, ops), 2),
        "read_hit_view" => read::hits_in_view(engine, scope, &random.uniform(entries, ops)),
        "seek_100" => scan::seeks(engine, scope, random, Direction::Forward),
        "seek_100_rev" => scan::seeks(engine, scope, random, Direction::Backward),
        "scan" => scan::whole(engine, scope, Direction::Forward),
        "scan_rev" => scan::whole(engine, scope, Direction::Backward),
        "ycsb_a" => mixed::run(engine, scope, random, mixed::Mix { read_percent: 50, modify: false }),
        "ycsb_b" => mixed::run(engine, scope, random, mixed::Mix { read_percent: 95, modify: false }),
        "ycsb_f" => mixed::run(engine, scope, random, mixed::Mix { read_percent: 50, modify: true }),
        "durable_1t" => durable::commits(engine, scope, 1, 2_000),
        "durable_8t" => durable::commits(engine, scope, 8, 8_000),
        _ => Err(format!("{workload} does not run on an open store").into()),
    }
}
