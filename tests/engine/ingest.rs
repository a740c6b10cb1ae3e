//! Ingest against a model: whole or not at all, whatever fails or is cut off, with sums that are those of the entries, beside
//! commits and merges that go on.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use syncline::vfs::{Fault, FaultTarget, MemoryVfs, Vfs};
use syncline::{Db, Durability, Error, SeqNo};

use crate::common::{Random, World, seeds};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn entries(random: &mut Random, count: u64, world: u64) -> Model {
    (0..random.below(count)).map(|_| (random.key(world), random.value())).collect()
}

fn contents(db: &Db) -> Model {
    db.iter().map(|entry| entry.expect("entry")).map(|entry| (entry.key, entry.value.to_vec())).collect()
}

/// Checks that the store holds `model`, and that its sums are those of its entries.
fn check(db: &Db, model: &Model) {
    assert!(contents(db) == *model, "not the entries of the model");
    for (key, value) in model.iter().step_by(7) {
        assert_eq!(db.get(key).expect("get").as_deref(), Some(&value[..]));
    }
    let report = db.verify(&mut |_| true).expect("verify");
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(db.len().expect("len"), model.len() as u64);
    let middle = model.keys().nth(model.len() / 2).cloned().unwrap_or_default();
    let (below, above) = (..&middle[..], &middle[..]..);
    let halves = db.fingerprint(below).expect("sum") + db.fingerprint(above).expect("sum");
    assert_eq!(halves, db.fingerprint::<&[u8]>(..).expect("sum"));
}

/// Puts or deletes a key. Tells whether it was there, and how many bytes of memory the change takes at most.
fn change(db: &Db, model: &mut Model, random: &mut Random, world: u64) -> (bool, usize) {
    let (key, value) = (random.key(world), random.value());
    let bytes = key.len() + value.len() + 300;
    if random.chance(25) {
        db.delete(&key).expect("delete");
        return (model.remove(&key).is_some(), bytes);
    }
    db.put(&key, &value).expect("put");
    (model.insert(key, value).is_some(), bytes)
}

#[test]
fn an_ingest_beside_commits_leaves_what_the_same_puts_at_its_beginning_would() {
    let (mut met, mut large) = (0, 0);
    for seed in seeds(150) {
        let outcome = std::panic::catch_unwind(|| {
            let mut random = Random::new(seed);
            let mut world = World::new(seed);
            let mut db = world.builder("/db").create().expect("a new store");
            let (mut model, mut met, mut large) = (Model::new(), 0, 0);
            for _ in 0..6 {
                let keys = [40, 400][random.below(2) as usize];
                for _ in 0..random.below(120) {
                    change(&db, &mut model, &mut random, keys);
                    while random.chance(10) && db.step().expect("background work") {}
                }
                let snapshot = (db.snapshot(), model.clone());
                let ingested = entries(&mut random, 300, keys);
                large += ingested.values().filter(|value| value.len() > 200).count();
                model.extend(ingested.clone());
                // The iterator itself commits now and then, as other threads do. With three memtables full it would wait for
                // the ingest, so it stops before.
                let room = Cell::new(18 << 10);
                let beside = ingested.iter().inspect(|_| {
                    if random.chance(8) && room.get() > 0 {
                        let (was_there, bytes) = change(&db, &mut model, &mut random, keys);
                        room.set(room.get() - bytes as i64);
                        met += usize::from(was_there);
                    }
                });
                assert_eq!(db.ingest(beside).expect("ingest"), ingested.len() as u64);
                check(&db, &model);
                let default = db.default_keyspace();
                let seen = snapshot.0.range::<&[u8]>(&default, ..).map(|entry| entry.expect("entry"));
                let seen: Model = seen.map(|entry| (entry.key, entry.value.to_vec())).collect();
                assert!(seen == snapshot.1, "a snapshot shows what came after it");
                for _ in 0..random.below(40) {
                    change(&db, &mut model, &mut random, keys);
                }
                check(&db, &model);
                match random.below(4) {
                    0 => db.compact(|_| true).expect("compact"),
                    1 => while db.step().expect("background work") {},
                    2 => {
                        world.vfs = world.vfs.kill();
                        drop(db);
                        db = world.builder("/db").open().expect("reopen");
                        assert!(!db.recovery().merkle_rebuilt, "the Merkle index was rebuilt");
                    }
                    _ => {}
                }
                check(&db, &model);
            }
            (met, large)
        });
        match outcome {
            Ok(reached) => {
                met += reached.0;
                large += reached.1;
            }
            Err(panic) => {
                eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine ingest");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if std::env::var_os("SYNCLINE_SEED").is_none() {
        assert!(met > 100 && large > 100, "{met} changes of keys that are there, {large} large values");
    }
}

/// What the store of the crash tests holds before and after its ingest.
fn before_and_after() -> (Model, Model) {
    let mut random = Random::new(11);
    let before: Model = (0..60).map(|_| (random.key(200), random.value())).collect();
    let mut after = before.clone();
    after.extend((0..150).map(|_| (random.key(200), random.value())));
    (before, after)
}

/// Ingests `after` into the store that holds `before`.
fn workload(world: &World, before: &Model, after: &Model) -> Result<(), Error> {
    let db = world.builder("/db").open()?;
    let key = before.keys().next().expect("a key");
    // A commit beside the ingest puts what is there anyway.
    let beside = after.iter().enumerate().inspect(|(index, _)| {
        if *index == 20 {
            let _ = db.put(key, &after[key]);
        }
    });
    db.ingest(beside.map(|(_, entry)| entry)).map(drop)
}

/// A killed store that holds `before`, all of it durable and none flushed.
fn prepared(before: &Model) -> World {
    let world = World::new(1);
    let db = world.builder("/db").create().expect("a new store");
    before.iter().for_each(|(key, value)| db.put(key, value).expect("put"));
    db.persist(Durability::Sync).expect("persist");
    World { vfs: world.vfs.kill(), ..world }
}

#[test]
fn whichever_operation_fails_an_ingest_is_there_whole_or_not_at_all() {
    let (before, after) = before_and_after();
    let dry = prepared(&before);
    let changes = dry.vfs.operations(FaultTarget::Changes);
    workload(&dry, &before, &after).expect("no fault");
    let operations = dry.vfs.operations(FaultTarget::Changes) - changes;
    let mut found = [0; 2];
    for fault_after in 0..operations {
        let world = prepared(&before);
        let kind = ErrorKind::Other;
        world.vfs.inject(Fault { target: FaultTarget::Changes, after: fault_after, kind, stays: false });
        let returned = workload(&world, &before, &after).is_ok();
        let mut random = Random::new(fault_after);
        for vfs in [world.vfs.kill(), world.vfs.power_cut(|bound| random.below(bound))] {
            let is_whole = check_whole_or_not(&world, vfs, [&before, &after]);
            assert!(is_whole || !returned, "operation {fault_after}: an ingest that returned is gone");
            found[usize::from(is_whole)] += 1;
        }
    }
    assert!(found[0] > 20 && found[1] > 2, "{found:?} of {operations} operations");
}

fn check_whole_or_not(world: &World, vfs: MemoryVfs, [before, after]: [&Model; 2]) -> bool {
    let world = World { vfs, ..world.clone() };
    let db = world.builder("/db").open().expect("reopen");
    let is_whole = db.len().expect("len") == after.len() as u64;
    let mut model = if is_whole { after.clone() } else { before.clone() };
    let key = before.keys().next().expect("a key");
    if db.get(key).expect("get").as_deref() == Some(&after[key][..]) {
        model.insert(key.clone(), after[key].clone());
    }
    check(&db, &model);
    let cursor = db.snapshot().seqno();
    db.put(b"next", b"1").expect("a reopened store takes writes");
    let next = db.changes_since(cursor, Durability::Buffered).expect("feed").next();
    assert_eq!(next.expect("a commit").expect("commit").changes[0].key, b"next");
    model.insert(b"next".to_vec(), b"1".to_vec());
    db.flush().expect("flush");
    check(&db, &model);
    is_whole
}

#[test]
fn an_ingest_that_is_refused_changes_nothing_and_leaves_no_file() {
    let world = World::new(3);
    let db = world.builder("/db").create().expect("a new store");
    db.put(b"b", b"old").expect("put");
    db.flush().expect("flush");
    let (root, files) = (db.root().expect("root"), world.vfs.list(Path::new("/db")).expect("list"));
    let large = vec![7; 500];
    for second in ["a", "b"] {
        let error = db.ingest([("b", &large[..]), (second, b"1")]).expect_err("keys have to rise");
        let Error::InvalidArgument { what } = error else { panic!("{error}") };
        assert!(what.contains(&format!("\"{second}\"")), "{what}");
    }
    let long = vec![1; syncline::Key::LEN_MAX + 1];
    assert!(matches!(db.ingest([(&long, b"1")]), Err(Error::KeyTooLong { .. })));
    assert_eq!(db.ingest::<&[u8], &[u8]>([]).expect("nothing"), 0);
    assert_eq!(db.root().expect("root"), root);
    assert_eq!(world.vfs.list(Path::new("/db")).expect("list"), files);
    assert_eq!(db.ingest([("b", &large[..])]).expect("ingest"), 1);
}

#[test]
fn the_change_feed_begins_after_an_ingest_and_a_watch_hears_of_the_gap() {
    let world = World::new(4);
    let db = world.builder("/db").retain_log_bytes(1 << 20).create().expect("a new store");
    db.put(b"a", b"1").expect("put");
    let mut changes = db.changes_since(SeqNo::ZERO, Durability::Buffered).expect("feed");
    assert!(changes.next().is_some_and(|batch| batch.is_ok()));
    let watch = db.default_keyspace().watch("b").expect("watch");
    let elsewhere = db.default_keyspace().watch("c").expect("watch");
    let cursor = db.snapshot().seqno();
    db.ingest([("b", "2")]).expect("ingest");
    assert!(matches!(changes.next(), Some(Err(Error::TooOld { .. }))));
    let Err(Error::TooOld { oldest }) = db.changes_since(cursor, Durability::Sync) else {
        panic!("a feed from before an ingest would miss it")
    };
    assert_eq!(oldest, db.snapshot().seqno());
    assert!(matches!(watch.try_next(), Some(syncline::WatchEvent::Lagged { .. })));
    assert!(elsewhere.try_next().is_none());
    drop((changes, watch, elsewhere));
    drop(db);
    let db = world.builder("/db").open().expect("reopen");
    assert!(db.changes_since(cursor, Durability::Sync).is_err());
    let mut changes = db.changes_since(oldest, Durability::Buffered).expect("feed");
    db.put(b"c", b"3").expect("put");
    assert_eq!(changes.next().expect("a commit").expect("commit").changes[0].key, b"c");
}

#[test]
fn entries_of_other_replicas_wait_for_an_ingest_and_lose_to_it_if_they_are_older() {
    let (world, elsewhere) = (World::new(6), World::new(7));
    let db = world.builder("/db").create().expect("a new store");
    let other = elsewhere.builder("/db").create_replica(&db.replica_set()).expect("a new store");
    other.put(b"a", b"older").expect("put");
    let mut stream = Vec::new();
    other.export(&mut stream, &mut |_| true).expect("export");
    world.clock.advance(1_000);
    let (imported, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let ingested = [("a", "newer"), ("b", "1")].into_iter().inspect(|&(key, _)| {
            if key == "b" {
                let (imported, db, stream) = (imported.clone(), &db, &stream);
                scope.spawn(move || {
                    let _ = db.import(&stream[..], &mut |_| true).expect("import");
                    imported.send(()).expect("somebody listens");
                });
                let waited = wait.recv_timeout(std::time::Duration::from_millis(50));
                assert!(waited.is_err(), "an older entry came in above an ingest under way");
            }
        });
        db.ingest(ingested).expect("ingest");
    });
    check(&db, &[(b"a".to_vec(), b"newer".to_vec()), (b"b".to_vec(), b"1".to_vec())].into());
}

#[test]
fn an_ingest_stands_between_what_came_before_and_what_comes_after_it() {
    let world = World::new(8);
    let db = world.builder("/db").create().expect("a new store");
    db.put(b"a", b"1").expect("put");
    let mut calls = 0;
    let old = db.fetch_update(b"a", |old| {
        calls += 1;
        if calls == 1 {
            db.ingest([("a", "2")]).expect("ingest");
        }
        old.map(|old| [old, b"+"].concat())
    });
    assert_eq!(old.expect("update").as_deref(), Some(&b"2"[..]), "an update did not see an ingest");
    assert_eq!((calls, db.get(b"a").expect("get").as_deref()), (2, Some(&b"2+"[..])));
    world.clock.advance(60_000);
    db.ingest([("a", "3")]).expect("ingest");
    let stamp = |db: &Db| db.digest(b"a").expect("digest").expect("there").stamp;
    let ingested = stamp(&db);
    world.clock.set(1_600_000_000_000);
    drop(db);
    let db = world.builder("/db").open().expect("reopen");
    db.put(b"a", b"4").expect("put");
    assert!(stamp(&db) > ingested, "a put is stamped below the ingest that it replaces");
    db.checkpoint("/copy").expect("checkpoint");
    let copy = world.builder("/copy").open().expect("the copy");
    copy.ingest([("b", "5")]).expect("ingest");
    check(&copy, &[(b"a".to_vec(), b"4".to_vec()), (b"b".to_vec(), b"5".to_vec())].into());
    let cursor = copy.snapshot().seqno();
    assert!(copy.changes_since(cursor, Durability::Sync).is_ok());
}

#[test]
fn ingests_commits_flushes_and_merges_go_on_beside_each_other() {
    let world = World::new(9);
    let db = world.builder("/db").background(true).create().expect("a new store");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (db, is_over) = (&db, &is_over);
            scope.spawn(move || {
                let mut random = Random::new(writer);
                // Bounded, so that a failure below is not a test without an end.
                for _ in (0..100_000).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    db.put(random.below(2_000).to_be_bytes(), random.value()).expect("put");
                }
            });
        }
        for round in 0..30u64 {
            let value = round.to_be_bytes().repeat(20 + round as usize);
            let entries = (round..2_000).step_by(3).map(|key| (key.to_be_bytes(), &value));
            assert_eq!(db.ingest(entries).expect("ingest"), (2_000 - round).div_ceil(3));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    check(&db, &contents(&db));
}
