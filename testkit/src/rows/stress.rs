//! F24: a writer, readers, flushes, merges and sessions at once, on real threads. Whatever a snapshot shows is the state after
//! some commit, wholly, and an older one goes on showing what it showed.
//!
//! Easy to get wrong: threads are not replayed by a seed. What a failure prints is where to begin looking.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sync_proto::driver::run_pair;
use sync_proto::{End, Options};
use syncline::replica::DbReplica;
use syncline::{Db, Durability, Snapshot};

use crate::history::History;
use crate::life::{DIR, abandon};
use crate::run::Run;

/// Commits of one store.
const COMMITS: u64 = 400;

/// F24.
pub fn everything_at_once(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        run.at = "threads".to_owned();
        let (here, there) = (run.world(2 * seed), run.world(2 * seed + 1));
        let history = History::new(seed);
        let db = here.builder(DIR).memtable_bytes(8 << 10).background(true).create();
        let db = db.map_err(|error| error.to_string())?;
        let other =
            there.builder(DIR).create_replica(&db.replica_set()).map_err(|error| error.to_string())?;
        let (is_over, read, sessions) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let outcome = std::thread::scope(|scope| {
            let readers: Vec<_> =
                (0..2).map(|_| scope.spawn(|| reads(&db, &history, &is_over, &read))).collect();
            let peer = scope.spawn(|| meets(&db, &other, &is_over, &sessions));
            let mut outcome = Ok(());
            for number in 1..=COMMITS {
                let durability = if number % 40 == 0 { Durability::Sync } else { Durability::Buffered };
                let written = history.commit(&db, number, durability);
                let merged = if number % 100 == 0 { db.compact(|_| true) } else { Ok(()) };
                outcome = written.and(merged).map_err(|error| format!("commit {number}: {error}"));
                if outcome.is_err() {
                    break;
                }
            }
            is_over.store(true, Ordering::SeqCst);
            let threads = readers.into_iter().chain([peer]);
            threads.fold(outcome, |outcome, thread| {
                outcome.and(thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
            })
        });
        outcome?;
        run.runs += read.into_inner();
        run.reach("sessions beside a writer", sessions.into_inner() > 0);
        history.check(&db, COMMITS)?;
        let last = run_pair(&DbReplica::new(&db), &DbReplica::new(&other), Options::new(seed), &mut |_| ());
        if last.0.end != End::Complete || db.root().ok() != other.root().ok() {
            return Err(format!("at rest the replicas do not become equal: {:?}", last.0.end));
        }
        abandon(&here, db);
        abandon(&there, other);
        Ok(())
    });
    run.must_reach(500, &["sessions beside a writer"]);
}

/// Takes snapshots, and looks at each when it is new and again when it is old.
fn reads(db: &Db, history: &History, is_over: &AtomicBool, read: &AtomicU64) -> Result<(), String> {
    let mut older: Option<(Snapshot, u64)> = None;
    while !is_over.load(Ordering::SeqCst) {
        let snapshot = db.snapshot();
        let last = history.check_snapshot(db, &snapshot)?;
        if let Some((older, shown)) = &older
            && history.check_snapshot(db, older)? != *shown
        {
            return Err(format!("a snapshot showed {shown} commits, and then other ones"));
        }
        older = Some((snapshot, last));
        read.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Meets the other replica again and again.
fn meets(db: &Db, other: &Db, is_over: &AtomicBool, sessions: &AtomicU64) -> Result<(), String> {
    while !is_over.load(Ordering::SeqCst) {
        let nonce = sessions.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) =
            run_pair(&DbReplica::new(db), &DbReplica::new(other), Options::new(nonce), &mut |_| ());
        if ours.end != End::Complete || theirs.end != End::Complete {
            return Err(format!("beside a writer a session ended {:?} and {:?}", ours.end, theirs.end));
        }
    }
    Ok(())
}
