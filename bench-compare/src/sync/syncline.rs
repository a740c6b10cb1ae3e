//! Syncline: two stores on disk and a whole session between them, frames and all, at the defaults of both crates.
//!
//! Both stores are copies of one and are at rest when the session begins. Processor time is that of the thread that runs
//! both sides in turns; threads of the stores have nothing to do meanwhile unless more is applied than a memtable holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sync_proto::driver::{Pump, Step};
use sync_proto::{End, Input, Options, Outcome, Session};
use syncline::clock::{ManualClock, SeededEntropy};
use syncline::replica::DbReplica;
use syncline::{Builder, Db, Durability, Environment};

use super::Peer;
use super::case::{Case, Common};
use super::cpu::Cpu;
use super::row::Cost;
use crate::Result;

/// Wall time of the stores, in milliseconds since 1970.
const NOW_MS: u64 = 1_700_000_000_000;

/// Entries of a batch when the right side is changed.
const BATCH_LEN: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub struct SynclinePeer {
    dir: PathBuf,
    base: Db,
    seed: u64,
}

impl SynclinePeer {
    /// Loads what the left side holds into a store in `dir`.
    ///
    /// # Errors
    /// The engine's.
    pub fn new(common: &Common, dir: &Path) -> Result<SynclinePeer> {
        let base = builder(&dir.join("base"), common.seed).create()?;
        let mut value = Vec::new();
        base.ingest(common.keys.iter().map(|key| {
            common.data.fill_value(key, 0, &mut value);
            (key, value.clone())
        }))?;
        Ok(SynclinePeer { dir: dir.to_owned(), base, seed: common.seed })
    }

    /// Opens a copy of what was loaded in `dir`, with `change` made in it, and waits until it is at rest. `number` tells
    /// replicas apart.
    fn copy(&self, dir: &Path, number: u64, change: impl FnOnce(&Db) -> Result<()>) -> Result<Db> {
        self.base.checkpoint(dir)?;
        let db = builder(dir, self.seed.wrapping_add(number)).open()?;
        change(&db)?;
        db.flush()?;
        while db.step()? {}
        db.root()?;
        Ok(db)
    }
}

impl Peer for SynclinePeer {
    fn repair(&self, common: &Common, case: &Case) -> Result<Cost> {
        let dir = tempfile::tempdir_in(&self.dir)?;
        let left = self.copy(&dir.path().join("left"), 1, |_| Ok(()))?;
        let right = self.copy(&dir.path().join("right"), 2, |db| change(db, common, case))?;
        let mut sides = [Side::initiator(&left), Side::responder(&right)];
        let [ours, theirs] = run(&mut sides)?;
        check(common, case, &ours, &theirs)?;
        if left.root()? != right.root()? {
            return Err("the stores are not equal after the session".into());
        }
        let report = &ours.report;
        Ok(Cost {
            metadata_bytes: report.metadata_bytes,
            entry_bytes: report.entry_bytes,
            legs: report.legs,
            value_bytes: report.value_bytes,
            cpu_ms_left: sides[0].cpu.ms(),
            cpu_ms_right: sides[1].cpu.ms(),
            entries_read: report.entries_read + theirs.report.entries_read,
        })
    }
}

/// A store whose secret and stamps follow from a seed, so that every run with the same seed sends the same bytes.
fn builder(dir: &Path, seed: u64) -> Builder {
    let wall_clock = Arc::new(ManualClock::new(NOW_MS));
    let entropy = Arc::new(SeededEntropy::new(seed));
    Db::builder(dir).environment(Environment { wall_clock, entropy, ..Environment::system() })
}

/// Makes the right side of a copy of the left one.
fn change(db: &Db, common: &Common, case: &Case) -> Result<()> {
    let (keyspace, mut value) = (db.default_keyspace(), Vec::new());
    let keys: Vec<_> = case.differing().collect();
    for keys in keys.chunks(BATCH_LEN) {
        let mut batch = db.batch();
        for key in keys {
            common.data.fill_value(key, 1, &mut value);
            batch.put(&keyspace, key, &value)?;
        }
        db.write(batch, Durability::Buffered)?;
    }
    Ok(())
}

/// Checks that each differing entry moved once, from right to left. Of two entries whose short key fingerprints collide neither
/// side knows which is newer, so a few old ones may move the other way; their values are in the costs.
fn check(common: &Common, case: &Case, ours: &Outcome, theirs: &Outcome) -> Result<()> {
    let moved = case.differing_count();
    let (report, useless) = (&ours.report, ours.report.entries_sent);
    let is_right = ours.end == End::Complete
        && theirs.end == End::Complete
        && report.entries_differing == moved
        && report.entries_received == moved
        && (theirs.report.entries_received, theirs.report.entries_sent) == (useless, moved)
        && useless <= moved / 1_000
        && report.value_bytes == (moved + useless) * common.data.value_len() as u64;
    if is_right {
        Ok(())
    } else {
        Err(format!("not a repair of {moved} entries: {ours:?}, {theirs:?}").into())
    }
}

struct Side {
    pump: Pump,
    replica: DbReplica,
    cpu: Cpu,
    outcome: Option<Box<Outcome>>,
}

impl Side {
    fn initiator(db: &Db) -> Side {
        Side::new(db, Session::initiator(Options::new(1), Duration::ZERO))
    }

    fn responder(db: &Db) -> Side {
        Side::new(db, Session::responder(Options::new(2), Duration::ZERO))
    }

    fn new(db: &Db, session: Session) -> Side {
        Side { pump: Pump::new(session), replica: DbReplica::new(db), cpu: Cpu::default(), outcome: None }
    }

    /// Goes on until there is a frame to send, or nothing to do before one is received.
    fn step(&mut self) -> Option<Vec<u8>> {
        while self.outcome.is_none() {
            match self.cpu.time(|| self.pump.step(&self.replica, Duration::ZERO)) {
                Step::Send(frame) => return Some(frame),
                Step::Tell(_) => {}
                Step::Receive => return None,
                Step::Ended(outcome) => self.outcome = Some(outcome),
            }
        }
        None
    }

    fn receive(&mut self, frame: Vec<u8>) {
        self.cpu.time(|| self.pump.handle(Input::Frame(frame), Duration::ZERO));
    }
}

/// What `sync_proto::driver::run_pair` does, with a clock for each side.
fn run(sides: &mut [Side; 2]) -> Result<[Outcome; 2]> {
    loop {
        let mut is_idle = true;
        for sender in [0, 1] {
            if let Some(frame) = sides[sender].step() {
                sides[1 - sender].receive(frame);
                is_idle = false;
            }
        }
        if let [Some(left), Some(right)] = sides.each_ref().map(|side| side.outcome.as_deref()) {
            return Ok([left.clone(), right.clone()]);
        }
        if is_idle {
            return Err("the session stands still".into());
        }
    }
}
