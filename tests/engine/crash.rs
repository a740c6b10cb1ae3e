//! Power cuts and failing operations on a simulated disk: whatever was acknowledged as durable is there, what is there is
//! a prefix of what was written, the Merkle index agrees, and the store works on.
//!
//! Commit `n` puts `n` under a key of its own and under `last`, in one batch, so the state after `n` commits is a function
//! of `n` and a prefix is easy to tell. A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine crash` runs
//! that one alone.

use std::io::ErrorKind;
use std::path::Path;

use syncline::vfs::{Fault, FaultTarget, MemoryVfs, Vfs};
use syncline::{Db, Durability, Error};

use crate::common::{Random, World, seeds};

fn key(number: u64) -> Vec<u8> {
    // Keys return, some soon, so that entries are replaced, runs overlap and segments of large values die or become mostly
    // garbage.
    (number * number % 97).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec()
}

fn value(number: u64) -> Vec<u8> {
    let len = match number % 9 {
        0 => 8_000,
        3 | 6 => 600,
        _ => 30,
    };
    number.to_le_bytes().iter().copied().cycle().take(len).collect()
}

/// Commits number `number`; every seventh deletes its key instead.
pub(crate) fn commit(db: &Db, number: u64, durability: Durability) -> Result<(), Error> {
    let keyspace = db.default_keyspace();
    let mut batch = db.batch();
    if number.is_multiple_of(11) {
        batch.delete(&keyspace, key(number))?;
    } else {
        batch.put(&keyspace, key(number), value(number))?;
    }
    batch.put(&keyspace, b"last", number.to_le_bytes())?;
    db.write(batch, durability)
}

/// Checks that the store holds exactly what the first `n` commits leave, and returns `n`.
pub(crate) fn check_prefix(db: &Db) -> u64 {
    let last = db.get(b"last").expect("get");
    let last = last.map_or(0, |bytes| u64::from_le_bytes(bytes.to_vec().try_into().expect("eight bytes")));
    let mut expected = std::collections::BTreeMap::new();
    for number in 1..=last {
        if number.is_multiple_of(11) {
            expected.remove(&key(number));
        } else {
            expected.insert(key(number), value(number));
        }
    }
    if last > 0 {
        expected.insert(b"last".to_vec(), last.to_le_bytes().to_vec());
    }
    let found: std::collections::BTreeMap<_, _> =
        db.iter().map(|entry| entry.expect("entry")).map(|entry| (entry.key, entry.value.to_vec())).collect();
    assert!(found == expected, "not the state after {last} commits");
    let report = db.verify(&mut |_| true).expect("verify");
    assert_eq!(report.problems, Vec::<String>::new());
    last
}

#[test]
fn a_power_cut_takes_back_at_most_what_was_not_synced() {
    let (mut cuts, mut torn, mut replayed, mut flushed) = (0, 0, 0, 0);
    for seed in seeds(400) {
        let outcome = std::panic::catch_unwind(|| {
            let mut random = Random::new(seed);
            let mut world = World::new(seed);
            // Large memtables let the staging ring overflow into the file, small ones flush often.
            let memtable_bytes = if random.chance(50) { 6 << 10 } else { 300 << 10 };
            let mut db = world.builder("/db").memtable_bytes(memtable_bytes).create().expect("a new store");
            let synced_percent = if random.chance(50) { 1 } else { 15 };
            let (mut last, mut reached) = (0, [0u64; 4]);
            for _ in 0..12 {
                let mut synced = last;
                for _ in 0..random.below(120) {
                    last += 1;
                    let durability =
                        if random.chance(synced_percent) { Durability::Sync } else { Durability::Buffered };
                    commit(&db, last, durability).expect("commit");
                    if durability == Durability::Sync {
                        synced = last;
                    }
                    while random.chance(20) && db.step().expect("background work") {}
                }
                // The power may be cut while the next opening is at work, too.
                world.vfs = world.vfs.power_cut(|bound| random.below(bound));
                if random.chance(30) {
                    drop(world.builder("/db").open().expect("an opening that is cut off"));
                    world.vfs = world.vfs.power_cut(|bound| random.below(bound));
                }
                drop(db);
                db = world.builder("/db").memtable_bytes(memtable_bytes).open().expect("reopen");
                let found = check_prefix(&db);
                assert!(found >= synced && found <= last, "{found} of {last} commits, {synced} were durable");
                assert!(!db.recovery().merkle_rebuilt, "the Merkle index was rebuilt");
                reached[0] += 1;
                reached[1] += u64::from(db.recovery().torn_bytes > 0);
                reached[2] += u64::from(db.recovery().replayed_commits > 0);
                reached[3] += u64::from(db.recovery().flushed.0 > 0);
                last = found;
            }
            reached
        });
        match outcome {
            Ok(reached) => {
                cuts += reached[0];
                torn += reached[1];
                replayed += reached[2];
                flushed += reached[3];
            }
            Err(panic) => {
                eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine crash");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if std::env::var_os("SYNCLINE_SEED").is_none() {
        let reached = format!("{cuts} cuts, {torn} torn tails, {replayed} replays, {flushed} with runs");
        let enough = torn > cuts / 100 && replayed > cuts / 10 && flushed > cuts / 10;
        assert!(enough, "too little was reached: {reached}");
    }
}

/// Runs a fixed workload and returns the numbers of the last acknowledged and the last durable commit.
fn workload(world: &World) -> (u64, u64) {
    let (mut acknowledged, mut synced) = (0, 0);
    let mut run = || -> Result<(), Error> {
        let db = world.builder("/db").memtable_bytes(4 << 10).open()?;
        for number in 1..=120 {
            let durability = if number % 10 == 0 { Durability::Sync } else { Durability::Buffered };
            commit(&db, number, durability)?;
            acknowledged = number;
            if durability == Durability::Sync {
                synced = number;
            }
            if number % 8 == 0 {
                while db.step()? {}
            }
        }
        db.compact(|_| true)
    };
    let _ = run();
    (acknowledged, synced)
}

#[test]
fn whichever_operation_fails_nothing_acknowledged_is_lost() {
    let dry = World::new(1);
    drop(dry.builder("/db").create().expect("a new store"));
    let before = dry.vfs.operations(FaultTarget::Changes);
    workload(&dry);
    let names = dry.vfs.list(Path::new("/db")).expect("list");
    assert!(names.iter().any(|name| name.ends_with(".values")), "no merge moved a value: {names:?}");
    let operations = dry.vfs.operations(FaultTarget::Changes) - before;
    assert!(operations > 200, "only {operations} operations: the workload exercises too little");

    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        for after in 0..operations {
            let world = World::new(1);
            drop(world.builder("/db").create().expect("a new store"));
            world.vfs.inject(Fault { target: FaultTarget::Changes, after, kind, stays: false });
            let (acknowledged, synced) = workload(&world);
            check_after_fault(&world, world.vfs.kill(), acknowledged, after);
            let mut random = Random::new(after);
            check_after_fault(&world, world.vfs.power_cut(|bound| random.below(bound)), synced, after);
        }
    }
}

fn check_after_fault(world: &World, vfs: MemoryVfs, least: u64, after: u64) {
    let world = World { vfs, ..world.clone() };
    let db =
        world.builder("/db").open().unwrap_or_else(|error| panic!("open after operation {after}: {error}"));
    let found = check_prefix(&db);
    assert!(found >= least, "operation {after}: {found} commits are there, {least} were acknowledged");
    commit(&db, found + 1, Durability::Sync).expect("a reopened store takes writes");
    assert_eq!(check_prefix(&db), found + 1);
}

#[test]
fn a_failed_write_poisons_the_store_and_reads_go_on_at_the_durable_state() {
    let world = World::new(5);
    let db = world.builder("/db").create().expect("a new store");
    commit(&db, 1, Durability::Sync).expect("commit");
    commit(&db, 2, Durability::Buffered).expect("commit");
    let kind = ErrorKind::Other;
    world.vfs.inject(Fault { target: FaultTarget::Changes, after: 0, kind, stays: false });
    assert!(matches!(commit(&db, 3, Durability::Sync), Err(Error::Io { op: "write", .. })));
    assert!(matches!(commit(&db, 4, Durability::Buffered), Err(Error::Poisoned { .. })));
    assert!(matches!(db.root(), Err(Error::Poisoned { .. })), "a fingerprint would include what may be lost");
    assert!(matches!(db.persist(Durability::Sync), Err(Error::Poisoned { .. })));
    let last = db.get(b"last").expect("reads go on").expect("there");
    assert_eq!(last, 1u64.to_le_bytes(), "a poisoned store reads at what is durable");
}
