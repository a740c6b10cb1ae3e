//! Closing: nothing is left to replay after it, nothing is lost when it fails, and openings leave no files behind.

use std::io::ErrorKind;
use std::path::Path;

use syncline::vfs::{Fault, FaultTarget, Vfs};
use syncline::{Db, Durability, Error};

use crate::common::World;

fn fill(db: &Db, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let value = vec![number as u8; if number.is_multiple_of(9) { 2_000 } else { 20 }];
        db.put(number.to_be_bytes(), value).expect("put");
    }
}

#[test]
fn a_closed_or_dropped_store_reopens_without_replay() {
    let world = World::new(1);
    let mut db = world.builder("/db").create().expect("a new store");
    for round in 0..6 {
        fill(&db, round * 100..round * 100 + 50);
        let (root, visible) = (db.root().expect("root"), db.stats().expect("stats").visible);
        if round % 2 == 0 {
            db.close().expect("close");
        } else {
            let snapshot = db.snapshot();
            drop(db);
            assert!(
                matches!(world.builder("/db").open(), Err(Error::Locked { .. })),
                "a snapshot holds it open"
            );
            drop(snapshot);
        }
        db = world.builder("/db").open().expect("reopen");
        assert_eq!((db.recovery().replayed_commits, db.recovery().flushed), (0, visible), "round {round}");
        assert_eq!(db.root().expect("root"), root, "round {round}");
        assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
    }
}

#[test]
fn openings_without_commits_leave_no_files_behind() {
    let world = World::new(2);
    let db = world.builder("/db").create().expect("a new store");
    fill(&db, 0..50);
    db.close().expect("close");
    let count = || world.vfs.list(Path::new("/db")).expect("list").len();
    let before = count();
    for _ in 0..5 {
        drop(world.builder("/db").open().expect("reopen"));
        assert_eq!(count(), before);
    }
}

#[test]
fn a_close_that_fails_says_so_and_loses_nothing() {
    for after in 0..12 {
        let world = World::new(3);
        let db = world.builder("/db").create().expect("a new store");
        fill(&db, 0..50);
        db.persist(Durability::Sync).expect("fsync");
        let (handle, root) = (db.clone(), db.root().expect("root"));
        world.vfs.inject(Fault {
            target: FaultTarget::Changes,
            after,
            kind: ErrorKind::StorageFull,
            stays: false,
        });
        assert!(matches!(db.close(), Err(Error::Io { .. })), "operation {after}");
        assert!(matches!(handle.close(), Err(Error::Poisoned { .. })), "operation {after}");
        let db = world.builder("/db").open().expect("reopen");
        assert_eq!(db.root().expect("root"), root, "operation {after}");
    }
}
