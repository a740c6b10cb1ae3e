//! Snapshots against compaction: merges move values and remove the files of before, and whoever took a snapshot earlier reads
//! everything that it shows, though it looks at it for the first time when the files have lost their names.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread;
use syncline::{Db, Durability, Snapshot};
use testkit::hook::{Change, Hook, Hooked, Verdict};
use testkit::life::DIR;
use testkit::world::World;

const KEYS: u8 = 4;
const ROUNDS: u8 = 6;

/// Files of values and runs that were removed, in all schedules.
static REMOVED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Removals;

impl Hook for Removals {
    fn before(&self, change: Change<'_>) -> Verdict {
        if let Change::Remove(path) = change {
            let is_data = Path::extension(path).is_some_and(|kind| kind == "log" || kind == "run");
            REMOVED.fetch_add(u64::from(is_data), Ordering::SeqCst);
        }
        Verdict::Go
    }
}

/// Sets all keys to values of this round, which are long enough to stay in the log.
fn write(db: &Db, round: u8) {
    let mut batch = db.batch();
    for key in 0..KEYS {
        batch.put(&db.default_keyspace(), [key], [round; 300]).expect("a small entry");
    }
    db.write(batch, Durability::Buffered).expect("nothing fails here");
}

/// The round that every key has its value of.
fn round(db: &Db, snapshot: &Snapshot) -> u8 {
    let values = (0..KEYS).map(|key| {
        let value = snapshot.get(&db.default_keyspace(), [key]).expect("a value that can be read");
        value.expect("every key is there")[299]
    });
    let rounds: Vec<u8> = values.collect();
    assert!(rounds.iter().all(|round| *round == rounds[0]), "of several rounds: {rounds:?}");
    rounds[0]
}

#[test]
fn no_file_is_missing_that_a_snapshot_reads() {
    models::check(2_000, || {
        let world = World { layer: |vfs| Arc::new(Hooked::new(vfs, Removals)), ..World::new(2) };
        let db = world.builder(DIR).memtable_bytes(2 << 10).create().expect("a store");
        write(&db, 0);
        db.flush().expect("nothing fails here");
        // Nobody has read from the files yet.
        let first = db.snapshot();
        let writer = {
            let db = db.clone();
            thread::spawn(move || {
                for number in 1..=ROUNDS {
                    write(&db, number);
                    db.step().expect("nothing fails here");
                }
            })
        };
        let compactor = {
            let db = db.clone();
            thread::spawn(move || (0..2).for_each(|_| db.compact(|_| true).expect("nothing fails here")))
        };
        let reader = {
            let db = db.clone();
            thread::spawn(move || {
                let taken: Vec<Snapshot> = (0..3).map(|_| db.snapshot()).collect();
                let shown: Vec<u8> = taken.iter().map(|snapshot| round(&db, snapshot)).collect();
                assert!(shown.is_sorted(), "snapshots go back: {shown:?}");
                thread::yield_now();
                let again: Vec<u8> = taken.iter().map(|snapshot| round(&db, snapshot)).collect();
                assert_eq!(again, shown, "snapshots change");
            })
        };
        for thread in [writer, compactor, reader] {
            thread.join().expect("no thread fails");
        }
        assert_eq!(round(&db, &first), 0, "the first snapshot changes");
        assert_eq!(round(&db, &db.snapshot()), ROUNDS, "a write is lost");
    });
    assert!(REMOVED.load(Ordering::SeqCst) > 2_000, "hardly any file was removed");
}
