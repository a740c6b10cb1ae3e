//! Publication: whatever moves to other places meanwhile, a snapshot shows the state after some commit, wholly; no older one than a
//! commit that had returned or a snapshot taken before; and the same state ever after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread;
use syncline::Durability;
use testkit::history::History;
use testkit::life::DIR;
use testkit::world::World;

const COMMITS: u64 = 16;

#[test]
fn a_snapshot_is_the_state_after_some_commit_and_none_goes_back() {
    models::check(2_000, || {
        let seed = models::seed();
        let (world, history) = (World::new(seed), History::new(seed).with_values(300));
        let db = world.builder(DIR).memtable_bytes(1 << 10).create().expect("a store");
        let (returned, before) = (Arc::new(AtomicU64::new(0)), db.snapshot().seqno().0);
        let writer = {
            let (db, returned) = (db.clone(), returned.clone());
            thread::spawn(move || {
                for number in 1..=COMMITS {
                    history.commit(&db, number, Durability::Buffered).expect("nothing fails here");
                    returned.store(number, Ordering::SeqCst);
                }
            })
        };
        let worker = {
            let db = db.clone();
            thread::spawn(move || (0..COMMITS).for_each(|_| assert!(db.step().is_ok(), "nothing fails here")))
        };
        let readers = (0..2).map(|_| {
            let (db, returned) = (db.clone(), returned.clone());
            thread::spawn(move || {
                let mut older = None;
                for _ in 0..4 {
                    let least = returned.load(Ordering::SeqCst);
                    let snapshot = db.snapshot();
                    let shown = history.check_snapshot(&db, &snapshot).expect("the state after some commit");
                    assert_eq!(snapshot.seqno().0 - before, shown, "it is of another commit; seed {seed}");
                    assert!(shown >= least, "commit {least} had returned, and {shown} is shown; seed {seed}");
                    if let Some((older, once)) = older {
                        assert!(shown >= once, "{once} was shown, and then {shown}; seed {seed}");
                        let again = history.check_snapshot(&db, &older).expect("the state after some commit");
                        assert_eq!(again, once, "a snapshot changes; seed {seed}");
                    }
                    older = Some((snapshot, shown));
                }
            })
        });
        for thread in readers.collect::<Vec<_>>().into_iter().chain([writer, worker]) {
            thread.join().expect("no thread fails");
        }
        assert_eq!(history.check(&db, COMMITS).expect("the whole history"), COMMITS, "seed {seed}");
    });
}
