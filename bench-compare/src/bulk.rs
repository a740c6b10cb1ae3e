//! How fast an empty replica takes everything from a full one, beside a bulk ingest of the same entries into an empty store.
//!
//! The two take turns, each into a store of its own. Each side of the session is a thread, as each would be a process, and
//! frames go through channels. Both times end when everything is durable.
//!
//! Easy to get wrong: an ingest is given keys that are sorted already, which is the best case of a local load.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use sync_proto::driver::{Pump, Step};
use sync_proto::{End, Input, Options, Outcome, Session};
use syncline::replica::DbReplica;
use syncline::{Db, Durability};

use crate::Result;
use crate::data::Data;

/// What is done.
#[derive(Debug)]
pub struct Plan {
    /// Entries that are loaded.
    pub entries: u64,
    /// How often, either way.
    pub rounds: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Seed of keys and values.
    pub seed: u64,
}

/// Medians of the rounds.
#[derive(Debug, Serialize)]
pub struct Report {
    entries: u64,
    ingest_s: f64,
    session_s: f64,
    /// Until nothing is left to merge.
    settled_s: f64,
    /// The speed of a session by that of an ingest.
    speed_ratio: f64,
    legs: u32,
    /// Bytes of keys, stamps and the protocol, for each entry.
    metadata_bytes_per_entry: f64,
}

/// Runs it in `dir`.
///
/// # Errors
/// The engine's, and a session that is not complete.
pub fn run(dir: &Path, plan: &Plan) -> Result<Report> {
    let data = Data::new(plan.seed, plan.value_bytes);
    let mut keys: Vec<_> = (0..plan.entries).map(|number| data.key(number)).collect();
    keys.sort_unstable();
    let full = Db::builder(dir.join("full")).create()?;
    ingest(&full, &data, &keys)?;
    let (mut ingests, mut sessions, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for round in 0..plan.rounds {
        let local = tempfile::tempdir_in(dir)?;
        let db = Db::builder(local.path().join("db")).create()?;
        let begun = Instant::now();
        ingest(&db, &data, &keys)?;
        ingests.push(begun.elapsed());
        drop(db);
        let db = Db::builder(local.path().join("replica")).create_replica(&full.replica_set())?;
        let begun = Instant::now();
        let outcome = session(&full, &db, round + 1)?;
        sessions.push(begun.elapsed());
        while db.step()? {}
        settled.push(begun.elapsed());
        if db.root()? != full.root()? {
            return Err("the stores are not equal after the session".into());
        }
        last = Some(outcome);
    }
    let report = last.ok_or("no round")?.report;
    let [ingest_s, session_s, settled_s] = [ingests, sessions, settled].map(median_s);
    Ok(Report {
        entries: plan.entries,
        ingest_s,
        session_s,
        settled_s,
        speed_ratio: ingest_s / session_s,
        legs: report.legs,
        metadata_bytes_per_entry: report.metadata_bytes as f64 / plan.entries as f64,
    })
}

fn ingest(db: &Db, data: &Data, keys: &[[u8; 16]]) -> Result<()> {
    let mut value = Vec::new();
    db.ingest(keys.iter().map(|key| {
        data.fill_value(key, 0, &mut value);
        (key, value.clone())
    }))?;
    db.persist(Durability::Sync)?;
    Ok(())
}

fn session(full: &Db, empty: &Db, nonce: u64) -> Result<Outcome> {
    let (to_full, from_empty) = channel();
    let (to_empty, from_full) = channel();
    thread::scope(|scope| {
        let options = Options::new(nonce << 32);
        scope.spawn(move || side(full, Session::responder(options, Duration::ZERO), &from_empty, &to_empty));
        let initiator = Session::initiator(Options::new(nonce), Duration::ZERO);
        let outcome = side(empty, initiator, &from_full, &to_full);
        match outcome.end {
            End::Complete => Ok(outcome),
            end => Err(format!("{end:?}").into()),
        }
    })
}

/// One side of a session, until it is over.
fn side(db: &Db, session: Session, inbox: &Receiver<Vec<u8>>, outbox: &Sender<Vec<u8>>) -> Outcome {
    let (replica, mut pump) = (DbReplica::new(db), Pump::new(session));
    loop {
        match pump.step(&replica, Duration::ZERO) {
            // Who does not listen any more is over.
            Step::Send(frame) => drop(outbox.send(frame)),
            Step::Tell(_) => {}
            Step::Receive => {
                let input = inbox.recv().map_or(Input::Closed, Input::Frame);
                pump.handle(input, Duration::ZERO);
            }
            Step::Ended(outcome) => return *outcome,
        }
    }
}

fn median_s(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}
