//! The workloads: their names, the order in which they run, and what they share.

mod durable;
mod fill;
mod mixed;
mod read;
mod reopen;
mod scan;

use serde::{Deserialize, Serialize};

pub use self::durable::probe;
pub use self::fill::load;
pub use self::reopen::{reopen, write_until_killed};
use crate::Result;
use crate::data::{Data, Random};
use crate::engine::{Direction, Engine};
use crate::measure::Meter;

/// One thing to measure; the README says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Workload {
    FillSeq,
    FillBatch100,
    FillRandom,
    ReadHit,
    ReadMiss,
    ReadHit2t,
    ReadHitView,
    Seek100,
    Seek100Rev,
    Scan,
    ScanRev,
    Seek100Compacted,
    ScanCompacted,
    Overwrite,
    Delete,
    YcsbB,
    YcsbA,
    YcsbF,
    Durable1t,
    Durable8t,
    ReopenClean,
    ReopenKilled,
    WriteWithoutIndex,
    OverwriteWithoutIndex,
    DeleteWithoutIndex,
}

/// Workloads that run one after another on one store, in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// Ascending keys into an empty store.
    Sequential,
    /// Batches of random keys into an empty store.
    Batched,
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

use Workload::*;

impl Workload {
    /// Every workload with its name and chain, in the order in which they run.
    pub const ALL: [(Workload, &'static str, Chain); 25] = [
        (FillSeq, "fill_seq", Chain::Sequential),
        (FillBatch100, "fill_batch100", Chain::Batched),
        (FillRandom, "fill_random", Chain::Read),
        (ReadHit, "read_hit", Chain::Read),
        (ReadMiss, "read_miss", Chain::Read),
        (ReadHit2t, "read_hit_2t", Chain::Read),
        (ReadHitView, "read_hit_view", Chain::Read),
        (Seek100, "seek_100", Chain::Read),
        (Seek100Rev, "seek_100_rev", Chain::Read),
        (Scan, "scan", Chain::Read),
        (ScanRev, "scan_rev", Chain::Read),
        (Seek100Compacted, "seek_100_compacted", Chain::Read),
        (ScanCompacted, "scan_compacted", Chain::Read),
        (Overwrite, "overwrite", Chain::Change),
        (Delete, "delete", Chain::Change),
        (YcsbB, "ycsb_b", Chain::Mixed),
        (YcsbA, "ycsb_a", Chain::Mixed),
        (YcsbF, "ycsb_f", Chain::Mixed),
        (Durable1t, "durable_1t", Chain::Durable),
        (Durable8t, "durable_8t", Chain::Durable),
        (ReopenClean, "reopen_clean", Chain::ReopenClean),
        (ReopenKilled, "reopen_killed", Chain::ReopenKilled),
        (WriteWithoutIndex, "write_without_index", Chain::WithoutIndex),
        (OverwriteWithoutIndex, "overwrite_without_index", Chain::WithoutIndex),
        (DeleteWithoutIndex, "delete_without_index", Chain::WithoutIndex),
    ];

    fn row(self) -> (Workload, &'static str, Chain) {
        *Workload::ALL.iter().find(|row| row.0 == self).expect("every workload is in the table")
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The chain it belongs to.
    pub fn chain(self) -> Chain {
        self.row().2
    }

    /// Whether it begins with an empty store; the others find one that is loaded.
    pub fn begins_empty(self) -> bool {
        matches!(self, FillSeq | FillBatch100 | FillRandom | Durable1t | Durable8t | WriteWithoutIndex)
    }

    /// Whether it finds a compacted store.
    pub fn needs_compaction(self) -> bool {
        matches!(self, Seek100Compacted | ScanCompacted)
    }
}

impl From<Workload> for &'static str {
    fn from(workload: Workload) -> &'static str {
        workload.name()
    }
}

impl std::str::FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Workload, String> {
        let found = Workload::ALL.iter().find(|row| row.1 == name);
        found.map(|row| row.0).ok_or_else(|| {
            let names: Vec<&str> = Workload::ALL.iter().map(|row| row.1).collect();
            format!("there are {}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Workload {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Workload, String> {
        name.parse()
    }
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

impl Scope {
    /// The random sequence of a workload: its own, and the same for every engine.
    fn random(&self, workload: Workload) -> Random {
        Random::new(self.seed ^ (workload as u64 + 1) << 32)
    }
}

/// Runs a workload on an open store; [`reopen`] and its like are run by themselves.
///
/// # Errors
/// The engine's.
///
/// # Panics
/// If a read gives a wrong answer.
pub fn run<E: Engine>(workload: Workload, engine: &E, scope: &Scope) -> Result<Meter> {
    let mut random = scope.random(workload);
    let (entries, ops) = (scope.entries, scope.ops);
    match workload {
        FillSeq => fill::sequential(engine, scope),
        FillBatch100 => fill::batches(engine, scope, 100),
        FillRandom | WriteWithoutIndex => fill::singles(engine, scope, 0..entries, 0),
        Overwrite | OverwriteWithoutIndex => {
            fill::singles(engine, scope, random.uniform(entries, ops).into_iter(), 1)
        }
        Delete | DeleteWithoutIndex => fill::deletes(engine, scope, &random.permutation(entries)),
        ReadHit => read::hits(engine, scope, &random.uniform(entries, ops)),
        ReadMiss => read::misses(engine, scope, &random.uniform(entries, ops)),
        ReadHit2t => read::hits_of_threads(engine, scope, &random.uniform(entries, ops), 2),
        ReadHitView => read::hits_in_view(engine, scope, &random.uniform(entries, ops)),
        Seek100 | Seek100Compacted => {
            scan::seeks(engine, scope, &random.uniform(entries, ops / 20), Direction::Forward)
        }
        Seek100Rev => scan::seeks(engine, scope, &random.uniform(entries, ops / 20), Direction::Backward),
        Scan | ScanCompacted => scan::whole(engine, scope, Direction::Forward),
        ScanRev => scan::whole(engine, scope, Direction::Backward),
        YcsbA => mixed::run(engine, scope, random, mixed::Mix { read_percent: 50, modify: false }),
        YcsbB => mixed::run(engine, scope, random, mixed::Mix { read_percent: 95, modify: false }),
        YcsbF => mixed::run(engine, scope, random, mixed::Mix { read_percent: 50, modify: true }),
        Durable1t => durable::commits(engine, scope, workload, 1, 2_000),
        Durable8t => durable::commits(engine, scope, workload, 8, 8_000),
        ReopenClean | ReopenKilled => Err("a reopening is run by itself".into()),
    }
}
