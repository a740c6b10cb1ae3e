//! Two replicas on the real engine, made to differ in every way, repaired by sessions over a simulated network that loses
//! its connection at random points: they converge, nothing newer is lost, nothing is sent twice, and a session that was
//! cut never looks like a success.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine converge` runs that one alone.

use sync_proto::{End, Outcome};
use syncline::Db;
use syncline::replica::DbReplica;

use crate::common::{Random, World, seeds};

const KEYSPACES: [&str; 2] = ["default", "other"];

/// Runs one session; the connection is lost after `frames` frames, if that is reached.
pub(crate) fn session(left: &Db, right: &Db, nonce: u64, frames: u64) -> (Outcome, Outcome) {
    let replicas = [left, right].map(DbReplica::new);
    let [left, right] = testkit::network::session([&replicas[0], &replicas[1]], nonce, frames);
    (left, right)
}

/// Writes at random to one store: puts, overwrites, deletes, expiring entries, large values, batches.
fn diverge(random: &mut Random, world: &World, db: &Db, keys: u64, writes: u64) {
    for _ in 0..random.below(writes) {
        world.clock.advance(2 * random.below(3));
        let keyspace = db.keyspace(KEYSPACES[random.below(2) as usize]).expect("a keyspace");
        let key = random.key(keys);
        match random.below(10) {
            0..=1 => keyspace.delete(&key).expect("delete"),
            2 => keyspace.put_expiring(&key, b"for a while", 1_900_000_000_000).expect("put"),
            _ => keyspace.put(&key, random.value()).expect("put"),
        }
        if random.chance(3) {
            db.flush().expect("flush");
        }
    }
}

/// Everything a user can read.
fn contents(db: &Db) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for name in db.keyspaces().expect("keyspaces") {
        for entry in db.keyspace(&name).expect("a keyspace").iter() {
            let entry = entry.expect("entry");
            all.push((name.clone(), entry.key, entry.value.to_vec()));
        }
    }
    all
}

#[test]
fn replicas_converge_through_lost_connections() {
    let (mut cuts, mut completes) = (0u64, 0u64);
    for seed in seeds(1_000) {
        match std::panic::catch_unwind(|| check_seed(seed)) {
            Ok((cut, complete)) => (cuts, completes) = (cuts + cut, completes + complete),
            Err(panic) => {
                eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine converge");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if std::env::var_os("SYNCLINE_SEED").is_none() {
        assert!(
            cuts > 300 && completes >= 1_000,
            "too little was reached: {cuts} cuts, {completes} completed"
        );
    }
}

fn check_seed(seed: u64) -> (u64, u64) {
    let mut random = Random::new(seed);
    let (left_world, right_world) = (World::new(2 * seed), World::new(2 * seed + 1));
    let mut left = left_world.builder("/left").create().expect("a new store");
    let mut right = right_world.builder("/right").create_replica(&left.replica_set()).expect("a replica");
    // Even milliseconds on the left, odd ones on the right: where both clocks agree on a key to the last bit, both sides
    // send their entry, and the over-transfer would not be exactly none.
    right_world.clock.advance(1);
    let keys = 5 + random.below(600);
    let (mut cuts, mut completes) = (0, 0);

    for _ in 0..2 {
        // One side may stay behind by everything, or by nothing.
        left_world.clock.advance(10_000);
        right_world.clock.advance(10_000);
        let writes = [0, 5, 300][random.below(3) as usize];
        diverge(&mut random, &left_world, &left, keys, 300);
        diverge(&mut random, &right_world, &right, keys, writes);
        let mut nonce = random.next();
        while random.chance(50) {
            nonce = nonce.wrapping_add(1);
            let (a, b) = session(&left, &right, nonce, random.below(9));
            cuts += u64::from(matches!(a.end, End::Aborted(_)) || matches!(b.end, End::Aborted(_)));
            if matches!(a.end, End::Complete) && matches!(b.end, End::Complete) {
                assert_eq!(
                    left.root().expect("root"),
                    right.root().expect("root"),
                    "complete, and not equal"
                );
            }
            if random.chance(30) {
                drop(left);
                left = left_world.builder("/left").open().expect("reopen");
            }
        }
        let before = [left.root().expect("root"), right.root().expect("root")];
        let (a, b) = session(&left, &right, nonce.wrapping_mul(3), u64::MAX);
        assert!(matches!(a.end, End::Complete), "{:?}", a.end);
        assert!(matches!(b.end, End::Complete), "{:?}", b.end);
        assert_eq!(left.root().expect("root"), right.root().expect("root"));
        assert_eq!(contents(&left), contents(&right));
        assert_eq!(
            a.report.entries_sent + a.report.entries_received,
            a.report.entries_differing,
            "over-transfer"
        );
        if before[0] == before[1] {
            assert_eq!((a.report.legs, a.report.entries_differing), (2, 0));
        }
        for db in [&left, &right] {
            assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
        }
        completes += 1;
    }
    drop(right);
    right = right_world.builder("/right").open().expect("reopen");
    assert_eq!(left.root().expect("root"), right.root().expect("root"), "what was repaired is durable");
    (cuts, completes)
}

#[test]
fn writes_between_the_frames_do_not_prolong_a_session() {
    for seed in seeds(40) {
        let mut random = Random::new(seed);
        let (left_world, right_world) = (World::new(2 * seed), World::new(2 * seed + 1));
        let left = left_world.builder("/left").create().expect("a store");
        let right = right_world.builder("/right").create_replica(&left.replica_set()).expect("its replica");
        let key = |number: u64| format!("row {number:05}");
        (0..2_000).for_each(|number| left.put(key(number), "old").expect("put"));
        let _ = session(&left, &right, seed, u64::MAX);
        let differing = 5 * random.below(20) + 1;
        (0..differing).for_each(|number| right.put(key(number * 20), "differs").expect("put"));

        let replicas = [&left, &right].map(DbReplica::new);
        let mut writes = 0u64;
        let outcomes = testkit::network::session_with([&replicas[0], &replicas[1]], seed, |_| {
            for db in [&left, &right] {
                // Overwrites, new keys between the old ones, deletions.
                for _ in 0..20 {
                    let number = random.below(2_000);
                    writes += 1;
                    match random.below(6) {
                        0 => db.delete(key(number)).expect("delete"),
                        1 => db.put(format!("{} {writes}", key(number)), "new").expect("put"),
                        _ => db.put(key(number), format!("{writes}")).expect("put"),
                    };
                }
                if random.chance(10) {
                    db.flush().expect("flush");
                }
            }
            true
        });
        for Outcome { end, report, .. } in &outcomes {
            assert_eq!(*end, End::Complete, "seed {seed}");
            assert!(report.legs <= 8, "seed {seed}: {} legs", report.legs);
            // What differed when the stores were pinned, which they are one after the other.
            let about = differing..=differing + 80;
            assert!(about.contains(&report.entries_differing), "seed {seed}: {report:?} of {differing}");
        }
        assert_eq!(session(&left, &right, seed + 1, u64::MAX).0.end, End::Complete, "seed {seed}");
        assert_eq!(contents(&left), contents(&right), "seed {seed}");
    }
}
