//! Streamed entries that are gathered and come in as a run, against the same entries merged batch by batch: same contents, sums
//! and counts, whatever is written beside, fails or is cut off.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine gather` runs that one alone.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use sync_proto::{Applied, End, Entry, Fetched, Origin, ReadLimit, Replica};
use syncline::replica::DbReplica;
use syncline::vfs::{Fault, FaultTarget};
use syncline::{Db, Durability, Error, WatchEvent};

use crate::common::{Random, World, seeds};
use crate::converge::session;

const KEYSPACES: [&str; 2] = ["default", "other"];

/// Runs `check` for each seed, and says which one failed.
fn for_seeds<T>(count: u64, check: impl Fn(u64) -> T + std::panic::RefUnwindSafe) -> Vec<T> {
    let check_one = |seed| {
        std::panic::catch_unwind(|| check(seed)).unwrap_or_else(|panic| {
            eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine gather");
            std::panic::resume_unwind(panic)
        })
    };
    seeds(count).map(check_one).collect()
}

/// A store with entries of all kinds, most of them with values that a run has inline.
fn full(random: &mut Random, world: &World, count: u64) -> Db {
    let db = world.builder("/full").create().expect("a new store");
    for _ in 0..random.below(count) {
        world.clock.advance(random.below(3));
        let keyspace = db.keyspace(KEYSPACES[random.below(2) as usize]).expect("a keyspace");
        let (key, value) = (random.key(2 * count), random.next().to_be_bytes().repeat(3));
        match random.below(20) {
            0 => keyspace.delete(&key).expect("delete"),
            1 => keyspace.put_expiring(&key, b"for a while", 1_900_000_000_000).expect("put"),
            2 if random.chance(10) => keyspace.put(&key, vec![7; 500]).expect("put"),
            _ => keyspace.put(&key, value).expect("put"),
        }
    }
    db
}

fn replica(world: &World, full: &Db) -> Db {
    world.builder("/replica").create_replica(&full.replica_set()).expect("a replica")
}

/// Everything that `db` holds, in key order, and where it comes from.
fn streamed(db: &Db) -> (Vec<Entry>, Origin) {
    let replica = DbReplica::new(db);
    let info = replica.info(None).expect("info");
    let limit = ReadLimit { count: u32::MAX, bytes: u32::MAX };
    let pinned = replica.pin(0).expect("pinned");
    let entries = pinned.entries_in(&info.replicated, limit).expect("entries").entries;
    let whole = entries.into_iter().map(|fetched| match fetched {
        Fetched::Whole(entry) => entry,
        other => panic!("{other:?}"),
    });
    (whole.collect(), Origin { node: info.node, horizon: 0 })
}

fn contents(db: &Db) -> BTreeMap<(String, Vec<u8>), Vec<u8>> {
    let mut all = BTreeMap::new();
    for name in db.keyspaces().expect("keyspaces") {
        for entry in db.keyspace(&name).expect("a keyspace").iter() {
            let entry = entry.expect("entry");
            all.insert((name.clone(), entry.key), entry.value.to_vec());
        }
    }
    all
}

fn check_sums(db: &Db) {
    assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
}

fn sum(one: Applied, other: Applied) -> Applied {
    Applied {
        applied: one.applied + other.applied,
        covered: one.covered + other.covered,
        refused: one.refused + other.refused,
        deferred: one.deferred + other.deferred,
    }
}

/// Whether something came in past the log since `cursor`.
fn has_gathered(db: &Db, cursor: syncline::SeqNo) -> bool {
    matches!(db.changes_since(cursor, Durability::Buffered), Err(Error::TooOld { .. }))
}

#[test]
fn batches_that_are_gathered_leave_what_the_same_batches_merged_one_by_one_do() {
    let gathered = for_seeds(200, |seed| {
        let mut random = Random::new(seed);
        let worlds = [0, 1, 2].map(|side| World::new(3 * seed + side));
        let full = full(&mut random, &worlds[0], 1_500);
        let (entries, origin) = streamed(&full);
        let [left, right] = [1, 2].map(|side: usize| replica(&worlds[side], &full));
        // Something may be there already, newer or older.
        for _ in 0..[0, 0, 3, 30][random.below(4) as usize] {
            worlds[1].clock.set(1_700_000_000_000 + random.below(500));
            left.put(random.key(3_000), b"local").expect("put");
        }
        let (present, from) = streamed(&left);
        let right_replica = DbReplica::new(&right);
        let _ = right_replica.apply(present, from).expect("apply");
        for world in &worlds {
            world.clock.set(1_700_000_020_000);
        }
        let left_replica = DbReplica::new(&left);
        let (begun, mut counts) = (left.snapshot().seqno(), [Applied::default(); 2]);
        let mut writer = left_replica.begin_entries().expect("nobody follows the commits");
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(rest.len().min(1 + random.below(60) as usize));
            let mut batch = batch.to_vec();
            // Out of order, or once more.
            if random.chance(2) {
                batch.reverse();
            }
            rest = if random.chance(2) { rest } else { after };
            counts[0] = sum(counts[0], writer.apply(batch.clone(), origin).expect("apply"));
            counts[1] = sum(counts[1], right_replica.apply(batch, origin).expect("apply"));
            if random.chance(1) {
                writer.settle().expect("settle");
            }
            if random.chance(5) {
                left.flush().expect("flush");
            }
            while random.chance(5) && left.step().expect("background work") {}
        }
        if random.chance(50) {
            writer.settle().expect("settle");
        }
        drop(writer);
        assert_eq!(counts[0], counts[1]);
        assert_eq!(left.root().expect("root"), right.root().expect("root"));
        assert_eq!(contents(&left), contents(&right));
        let gathered = has_gathered(&left, begun);
        check_sums(&left);
        left_replica.persist().expect("persist");
        let root = left.root().expect("root");
        drop((left, left_replica));
        let vfs = worlds[1].vfs.power_cut(|bound| random.below(bound));
        let left = worlds[1].with(vfs).builder("/replica").open().expect("reopen");
        assert_eq!(left.root().expect("root"), root, "what was persisted is gone");
        left.compact(|_| true).expect("compact");
        check_sums(&left);
        assert_eq!(contents(&left), contents(&right));
        gathered
    });
    let runs = gathered.iter().filter(|gathered| **gathered).count();
    assert!(gathered.len() == 1 || runs > 60, "only {runs} of {} gathered anything", gathered.len());
}

#[test]
fn what_is_written_into_the_void_meanwhile_is_merged_with_what_was_gathered() {
    let met = for_seeds(150, |seed| {
        let mut random = Random::new(seed);
        let worlds = [0, 1].map(|side| World::new(2 * seed + side));
        let full = full(&mut random, &worlds[0], 1_000);
        let (entries, origin) = streamed(&full);
        let db = replica(&worlds[1], &full);
        // The clock is behind, or ahead.
        worlds[1].clock.set(1_700_000_000_000 + random.below(2_000));
        let replica = DbReplica::new(&db);
        let mut writer = replica.begin_entries().expect("nobody follows the commits");
        let mut local = Vec::new();
        for batch in entries.chunks(40) {
            let applied = writer.apply(batch.to_vec(), origin).expect("apply");
            assert_eq!(applied.refused + applied.deferred, 0);
            if random.chance(20) {
                let key = random.key(2_000);
                db.put(&key, b"local").expect("put");
                let stamp = db.digest(&key).expect("digest").expect("there").stamp;
                local.push((key, stamp));
            }
        }
        writer.settle().expect("settle");
        check_sums(&db);
        for (key, stamp) in &local {
            let here = db.digest(key).expect("digest").map(|digest| digest.stamp);
            let there = full.digest(key).expect("digest").map(|digest| digest.stamp);
            assert!(here >= Some(*stamp) && here >= there || here.is_none(), "{key:?} went back");
        }
        let (a, b) = session(&full, &db, seed, u64::MAX);
        assert_eq!((a.end, b.end), (End::Complete, End::Complete));
        assert_eq!(contents(&full), contents(&db));
        assert_eq!(full.root().expect("root"), db.root().expect("root"));
        local.len()
    });
    assert!(met.len() == 1 || met.iter().sum::<usize>() > 100, "{met:?}");
}

/// A store of plain entries, and an empty replica of it that was killed.
fn prepared() -> (Db, World) {
    let (elsewhere, world) = (World::new(1), World::new(2));
    let full = elsewhere.builder("/full").create().expect("a new store");
    for number in 0..400u64 {
        full.put(number.to_be_bytes(), number.to_be_bytes().repeat(5)).expect("put");
    }
    drop(replica(&world, &full));
    (full, World { vfs: world.vfs.kill(), ..world })
}

#[test]
fn whichever_operation_fails_what_a_session_promised_is_there_and_the_next_one_brings_the_rest() {
    let open = |world: &World| world.builder("/replica").open();
    let (full, dry) = prepared();
    let db = open(&dry).expect("open");
    let begun = db.snapshot().seqno();
    let changes = dry.vfs.operations(FaultTarget::Changes);
    let (_, outcome) = session(&full, &db, 1, u64::MAX);
    assert!(outcome.end == End::Complete && has_gathered(&db, begun), "{:?}", outcome.end);
    drop(db);
    let operations = dry.vfs.operations(FaultTarget::Changes) - changes;
    let mut found = [0; 2];
    for fault_after in 0..operations {
        let (full, world) = prepared();
        let db = open(&world).expect("open");
        let kind = ErrorKind::Other;
        world.vfs.inject(Fault { target: FaultTarget::Changes, after: fault_after, kind, stays: false });
        let (_, outcome) = session(&full, &db, 1, u64::MAX);
        drop(db);
        let mut random = Random::new(fault_after);
        for vfs in [world.vfs.kill(), world.vfs.power_cut(|bound| random.below(bound))] {
            let db = open(&world.with(vfs)).expect("reopen");
            let is_whole = db.root().expect("root") == full.root().expect("root");
            assert!(is_whole || outcome.end != End::Complete, "operation {fault_after}: a promise is broken");
            found[usize::from(is_whole)] += 1;
            check_sums(&db);
            let (_, again) = session(&full, &db, 2, u64::MAX);
            assert!(again.end == End::Complete, "operation {fault_after}: {:?}", again.end);
            assert_eq!(contents(&db), contents(&full));
            check_sums(&db);
        }
    }
    assert!(found[0] > 10 && found[1] > 2, "{found:?} of {operations} operations");
}

#[test]
fn a_session_that_breaks_off_leaves_what_it_brought() {
    let (full, world) = prepared();
    let db = world.builder("/replica").open().expect("open");
    let (entries, origin) = streamed(&full);
    let replica = DbReplica::new(&db);
    let mut writer = replica.begin_entries().expect("nobody follows the commits");
    for batch in entries.chunks(50).take(5) {
        let _ = writer.apply(batch.to_vec(), origin).expect("apply");
    }
    drop(writer);
    let there = DbReplica::new(&db).info(None).expect("info").root;
    assert_eq!(there.live + there.tombstones, 250);
}

#[test]
fn what_the_horizon_has_passed_while_it_was_gathered_fails_the_session_and_does_not_come_in() {
    for chunk in [10, 100] {
        let (full, world) = prepared();
        let db = world.builder("/replica").open().expect("open");
        let (entries, origin) = streamed(&full);
        let replica = DbReplica::new(&db);
        let mut writer = replica.begin_entries().expect("nobody follows the commits");
        // One entry of the catalogue comes first, and is not gathered.
        let plain = entries.len() - 400;
        let _ = writer.apply(entries[..plain].to_vec(), origin).expect("apply");
        let batch = entries[plain..][..chunk].to_vec();
        assert_eq!(writer.apply(batch, origin).expect("apply").applied, chunk as u64);
        world.clock.advance(10 * 3_600_000);
        let closed = db.close_through((1_700_000_000_000 + 5 * 3_600_000) << 16).expect("close");
        assert_eq!(db.raise_horizon().expect("a set of one"), closed);
        assert!(writer.settle().is_err(), "{chunk} entries: what was told to be applied is gone");
        assert_eq!(contents(&db).len(), 0, "what the set has agreed on changed");
        check_sums(&db);
    }
}

#[test]
fn a_watch_hears_that_it_lags_and_who_keeps_commits_gets_every_one() {
    let (full, world) = prepared();
    let db = world.builder("/replica").open().expect("open");
    let (entries, origin) = streamed(&full);
    let replica = DbReplica::new(&db);
    let mut writer = replica.begin_entries().expect("nobody follows the commits");
    let _ = writer.apply(entries, origin).expect("apply");
    let watch = db.default_keyspace().watch("").expect("watch");
    assert!(replica.begin_entries().is_none(), "somebody watches");
    writer.settle().expect("settle");
    assert!(matches!(watch.try_next(), Some(WatchEvent::Lagged { .. })));
    drop(watch);
    let kept = World::new(3).builder("/replica").retain_log_bytes(1 << 20);
    let kept = kept.create_replica(&full.replica_set()).expect("a replica");
    assert!(DbReplica::new(&kept).begin_entries().is_none(), "a feed is kept");
}
