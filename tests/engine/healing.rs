//! Single cases of damage and healing, each planned by hand: which version must not show, what a stop in between leaves, what
//! the cut decides, and keyspaces with a resolver.

use std::path::Path;

use sync_proto::{End, Entry, KeyRange, Origin, Replica};
use syncline::replica::{DbReplica, inner_range};
use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Db, Error, Health, WatchEvent};

use crate::common::{Random, Union, World};
use crate::converge::session;
use crate::damage::all_of;

const DIR: &str = "/db";

/// Flips a bit where a run has `pattern`.
fn damage(vfs: &MemoryVfs, pattern: &[u8]) {
    damage_in(vfs, &[".run"], pattern);
}

/// Flips a bit where a file of one of these kinds has `pattern`.
fn damage_in(vfs: &MemoryVfs, kinds: &[&str], pattern: &[u8]) {
    let names = vfs.list(Path::new(DIR)).expect("list");
    let place = |name: &String| {
        let path = Path::new(DIR).join(name);
        let bytes = vfs.bytes(&path).expect("bytes");
        Some((path, bytes.windows(pattern.len()).position(|window| window == pattern)?))
    };
    let is_data = |name: &&String| kinds.iter().any(|kind| name.ends_with(kind));
    let (path, at) = names.iter().filter(is_data).find_map(place).expect("a file has it");
    vfs.flip(&path, at, 4).expect("flip");
}

/// Closes the store, damages its run, and opens it again.
fn damaged(world: &World, db: Db, pattern: &[u8]) -> Db {
    db.close().expect("flushed");
    damage(&world.vfs, pattern);
    world.builder(DIR).open().expect("opened")
}

fn twin_of(db: &Db) -> Db {
    let twin = World::new(99).builder("/twin").create_replica(&db.replica_set()).expect("a twin");
    let mut stream = Vec::new();
    db.export(&mut stream, |_| true).expect("export");
    let _ = twin.import(&stream[..], |_| true).expect("import");
    twin
}

fn is_unknown<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unknown { .. }))
}

/// An even seed, so that nothing is compressed and patterns are found.
fn world() -> World {
    World::new(2)
}

#[test]
fn an_older_version_never_shows_where_the_newer_one_is_lost() {
    let world = world();
    let db = world.builder(DIR).create().expect("a new store");
    for (value, deleted) in [("older", "there once"), ("newer", "")] {
        db.put("b", value).expect("put");
        if deleted.is_empty() {
            db.delete("c").expect("delete")
        } else {
            db.put("c", deleted).expect("put")
        }
        db.flush().expect("flush");
        db.put("x", value).expect("put");
        db.flush().expect("flush");
    }
    let db = damaged(&world, db, b"newer");
    assert_eq!(db.health(), Health::Good, "nobody has met it");
    let check = |db: &Db| {
        for key in ["b", "c"] {
            assert!(
                is_unknown(db.get(key))
                    && is_unknown(db.default_keyspace().contains_key(key))
                    && is_unknown(db.digest(key))
            );
            assert!(is_unknown(db.compare_and_swap(key, None, Some(b"new"))));
            assert!(is_unknown(db.fetch_update(key, |_| Some("new"))));
        }
        assert!(
            is_unknown(db.len()) && is_unknown(db.root().map(drop)) && is_unknown(db.delete_range("a".."d"))
        );
        assert_eq!(db.get("a").expect("known"), None);
        assert_eq!(db.get("x").expect("known").as_deref(), Some(&b"newer"[..]));
        assert_eq!(db.default_keyspace().fingerprint("d"..).expect("known").counts.live, 1);
        assert_eq!(db.health(), Health::Damaged { unknown_spans: 1, lost_values: 0 });
    };
    check(&db);
    db.compact(|_| true).expect("compact");
    check(&db);
    drop(db);
    let db = world.builder(DIR).open().expect("opened");
    check(&db);
    drop(db);
    check_read_only(&world);

    let db = world.builder(DIR).open().expect("opened");
    let before = db.snapshot();
    db.put("b", "written since").expect("a put looks at nothing");
    for _ in 0..2 {
        assert_eq!(db.get("b").expect("newer than what is lost").as_deref(), Some(&b"written since"[..]));
        assert!(is_unknown(db.get("c")));
        assert!(is_unknown(before.get(&db.default_keyspace(), "b")));
        let swapped = db.compare_and_swap("b", Some(b"written since"), Some(b"written since"));
        assert_eq!(swapped.expect("known"), Ok(()));
        db.compact(|_| true).expect("compact");
    }
}

fn check_read_only(world: &World) {
    let reader = world.builder(DIR).open_read_only().expect("opened");
    assert!(is_unknown(reader.get("b")) && reader.unknown_spans().len() == 1);
}

#[test]
fn a_replica_that_holds_nothing_heals_nothing() {
    let world = world();
    let db = world.builder(DIR).create().expect("a store");
    db.put(b"key", b"a value that is found").expect("put");
    let (twin, db) = (twin_of(&db), damaged(&world, db, b"a value that is found"));
    assert!(is_unknown(db.get(b"key")));
    let empty = World::new(98).builder("/empty").create_replica(&db.replica_set()).expect("a replica");
    assert!(matches!(db.heal_from(&empty), Err(Error::NoSession { .. })));
    assert!(is_unknown(db.get(b"key")), "taken for deleted, since somebody else has never heard of it");
    let _ = db.heal_from(&twin).expect("healed");
    assert_eq!(db.get(b"key").expect("known").as_deref(), Some(&b"a value that is found"[..]));
}

#[test]
fn a_stop_while_healing_leaves_the_span_unknown_or_all_of_it_healed() {
    let world = world();
    let db = world.builder(DIR).create().expect("a new store");
    for number in 0..60u8 {
        // Large ones among them, which come in by a file of their own.
        db.put([number], vec![number; if number % 7 == 0 { 300 } else { 30 }]).expect("put");
    }
    db.flush().expect("flush");
    let twin = twin_of(&db);
    let root = db.root().expect("root");
    let db = damaged(&world, db, &[5; 30]);
    assert!(is_unknown(db.get([5])));
    let span = DbReplica::new(&db).unknown_ranges().remove(0);
    let entries = all_of(&DbReplica::new(&twin), &span);
    world.vfs.record_steps();
    let report = DbReplica::new(&db).heal(&span, entries, 0).expect("healed");
    assert!(report.is_exact && report.taken > 5, "{report:?}");
    let steps = world.vfs.take_steps();
    let (mut healed, mut unknown) = (0, 0);
    let mut check = |vfs: MemoryVfs, what: &str| {
        let world = world.with(vfs);
        let db = world.builder(DIR).open().unwrap_or_else(|error| panic!("{what}: {error}"));
        let spans = DbReplica::new(&db).unknown_ranges();
        for number in 0..60u8 {
            let is_lost = spans.iter().any(|span| {
                let key = [&span.start[..9], &[number]].concat();
                span.start <= key && span.end.as_ref().is_none_or(|end| key < *end)
            });
            let found = db.get([number]);
            match is_lost {
                true => assert!(is_unknown(found), "{what}: {number}"),
                false => assert!(found.is_ok_and(|found| found.is_some()), "{what}: {number}"),
            }
        }
        if spans.is_empty() {
            healed += 1;
            assert_eq!(db.root().expect("root"), root, "{what}");
            assert_eq!(db.verify(|_| true).expect("verify").problems, Vec::<String>::new(), "{what}");
        } else {
            unknown += 1;
            assert_eq!(spans, std::slice::from_ref(&span), "{what}");
        }
    };
    for (step, vfs) in steps.into_iter().enumerate() {
        check(vfs.kill(), &format!("killed at step {step}"));
        for seed in 0..8 {
            let mut random = Random::new(seed * 10_007 + step as u64);
            check(vfs.power_cut(|bound| random.below(bound)), &format!("cut {seed} at step {step}"));
        }
    }
    check(world.vfs.power_cut(|_| 0), "after it has returned");
    assert!(healed > 1 && unknown > 10, "{healed} {unknown}");
}

#[test]
fn what_is_left_at_or_below_the_cut_goes_unless_the_replica_has_it() {
    let world = world();
    let db = world.builder(DIR).create().expect("a new store");
    for key in ["a", "b", "c", "d"] {
        db.put(key, "old").expect("put");
    }
    db.flush().expect("flush");
    let cut = db.digest("d").expect("known").expect("there").stamp.hlc;
    world.clock.advance(10);
    db.put("c", "lost").expect("put");
    db.put("f", "lost").expect("put");
    db.flush().expect("flush");
    let db = damaged(&world, db, b"lost");
    assert!(is_unknown(db.get("c")));
    let replica = DbReplica::new(&db);
    let span =
        KeyRange { end: Some(replica.unknown_ranges()[0].end.clone().expect("an end")), ..all(&replica) };
    // The replica never heard of what came after the cut, and has purged "d" by then.
    let mut entries: Vec<Entry> = all_of(&DbReplica::new(&twin_of_old(&world)), &span);
    entries.retain(|entry| !entry.key.ends_with(b"d"));
    let outside = replica.heal(&KeyRange { start: vec![1], end: None }, Vec::new(), 0);
    assert!(matches!(outside, Err(Error::InvalidArgument { .. })), "known keys are not replaced");
    db.put("e", "written since").expect("put");
    let report = replica.heal(&span, entries, cut).expect("healed");
    assert_eq!((report.taken, report.kept, report.dropped, report.is_exact), (1, 1, 1, false), "{report:?}");
    let get = |key: &str| db.get(key).expect("known").map(|value| value.to_vec());
    assert_eq!(get("a"), Some(b"old".to_vec()));
    assert_eq!(
        (get("c"), get("d"), get("e")),
        (Some(b"old".to_vec()), None, Some(b"written since".to_vec()))
    );
    assert_eq!((get("f"), db.len().expect("known")), (None, 4));
    assert_eq!(db.horizon_status().horizon, cut, "the cut is the store's own horizon from then on");
    db.compact(|_| true).expect("compact");
    assert_eq!((get("d"), db.len().expect("known")), (None, 4));
    assert_eq!(db.verify(|_| true).expect("verify").problems, Vec::<String>::new());
}

/// From the first unknown key on.
fn all(replica: &DbReplica) -> KeyRange {
    KeyRange { start: replica.unknown_ranges()[0].start.clone(), end: None }
}

/// What the store of that test held at its cut.
fn twin_of_old(world: &World) -> Db {
    let old = World::new(77);
    let reader = world.builder(DIR).open_read_only().expect("opened");
    let db = old.builder(DIR).create_replica(&reader.replica_set()).expect("a new store");
    for key in ["c", "d"] {
        db.put(key, "old").expect("put");
    }
    db
}

#[test]
fn a_key_of_which_the_replica_has_something_too_far_ahead_stays_unknown() {
    const DAY_MS: u64 = 86_400_000;
    let world = world();
    let db = world.builder(DIR).create().expect("a new store");
    for value in ["older", "lost"] {
        for key in ["b", "c", "d"] {
            db.put(key, value).expect("put");
        }
        db.flush().expect("flush");
    }
    let ahead = World::new(97);
    ahead.clock.advance(DAY_MS);
    let twin = ahead.builder("/twin").create_replica(&db.replica_set()).expect("a twin");
    let mut stream = Vec::new();
    db.export(&mut stream, |_| true).expect("export");
    let _ = twin.import(&stream[..], |_| true).expect("import");
    twin.put("c", "of tomorrow").expect("put");
    let db = damaged(&world, db, b"lost");
    assert!(is_unknown(db.get("c")));
    let report = db.heal_from(&twin).expect("healed");
    assert_eq!((report.taken, report.deferred, report.is_exact), (2, 1, false), "{report:?}");
    for key in ["b", "d"] {
        assert_eq!(db.get(key).expect("known").as_deref(), Some(&b"lost"[..]));
    }
    assert!(is_unknown(db.get("c")), "it is neither absent nor what it was");
    assert_eq!(db.unknown_spans().len(), 1);
    world.clock.advance(DAY_MS);
    assert_eq!(db.heal_from(&twin).expect("healed").taken, 1);
    assert_eq!(db.get("c").expect("known").as_deref(), Some(&b"of tomorrow"[..]));
    assert_eq!(db.root().expect("known"), twin.root().expect("known"));
}

#[test]
fn a_watcher_hears_that_healing_took_something_away() {
    let world = world();
    let db = world.builder(DIR).create().expect("a new store");
    for key in ["a", "b", "c"] {
        db.put(key, "lost").expect("put");
    }
    db.flush().expect("flush");
    let db = damaged(&world, db, b"lost");
    assert!(is_unknown(db.get("b")));
    let (watch, other) = (db.watch("b").expect("a watch"), db.watch("x").expect("a watch"));
    let replica = DbReplica::new(&db);
    let span = replica.unknown_ranges().remove(0);
    let _ = replica.heal(&span, Vec::new(), 0).expect("healed");
    assert_eq!(db.get("b").expect("known"), None);
    assert!(matches!(watch.try_next(), Some(WatchEvent::Lagged { .. })));
    assert_eq!(other.try_next(), None);
}

#[test]
fn what_was_healed_stays_known_when_a_block_that_it_replaced_is_damaged() {
    let world = world();
    let db = world.builder(DIR).create().expect("a new store");
    for (keys, value) in [(["b", "c", "d"], "first"), (["a", "c", "z"], "second")] {
        for key in keys {
            db.put(key, value).expect("put");
        }
        db.flush().expect("flush");
    }
    let twin = twin_of(&db);
    let db = damaged(&world, db, b"first");
    assert!(is_unknown(db.get("b")));
    let _ = db.heal_from(&twin).expect("healed");
    let db = damaged(&world, db, b"second");
    assert!(is_unknown(db.get("a")) && is_unknown(db.get("z")));
    for (key, value) in [("b", "first"), ("c", "second"), ("d", "first")] {
        assert_eq!(db.get(key).expect("known").as_deref(), Some(value.as_bytes()));
    }
    let _ = db.heal_from(&twin).expect("healed");
    assert_eq!(db.root().expect("known"), twin.root().expect("known"));
    assert_eq!(db.verify(|_| true).expect("verify").problems, Vec::<String>::new());
}

#[test]
fn where_a_resolver_merges_nothing_shows_in_a_span_and_what_is_left_is_merged() {
    let world = world();
    let open = || world.builder(DIR).resolver(Union);
    let db = open().create().expect("a new store");
    let sets = |db: &Db| db.keyspace_with("sets", "union").expect("a keyspace");
    sets(&db).put("s", "ab").expect("put");
    db.flush().expect("flush");
    let twin = twin_of_merged(&db);
    sets(&db).put("s", "lost").expect("put");
    db.flush().expect("flush");
    db.close().expect("flushed");
    damage(&world.vfs, b"ablost");
    let db = open().open().expect("opened");
    assert!(is_unknown(sets(&db).get("s")) && is_unknown(sets(&db).put("s", "new")));
    sets(&twin).put("s", "yz").expect("put");
    let span = DbReplica::new(&db).unknown_ranges().remove(0);
    // An entry of a session is stored, newer than what was lost, and still not all that there was.
    let origin = Origin { node: twin.node_id().0, horizon: 0 };
    let applied = DbReplica::new(&db).apply(all_of(&DbReplica::new(&twin), &span), origin).expect("applied");
    assert_eq!(applied.applied, 1);
    assert!(is_unknown(sets(&db).get("s")));
    let _ = DbReplica::new(&db).heal(&span, all_of(&DbReplica::new(&twin), &span), 0).expect("healed");
    assert_eq!(sets(&db).get("s").expect("known").as_deref(), Some(&b"abyz"[..]));
    assert_eq!(db.root().expect("root"), twin.root().expect("root"));
}

#[test]
fn a_block_that_holds_catalogue_and_merged_keys_is_healed() {
    let world = world();
    let open = || world.builder(DIR).resolver(Union);
    let db = open().create().expect("a new store");
    let sets = |db: &Db| db.keyspace_with("sets", "union").expect("a keyspace");
    sets(&db).put("s", "ablost").expect("put");
    db.flush().expect("flush");
    let twin = twin_of_merged(&db);
    db.close().expect("flushed");
    damage(&world.vfs, b"ablost");
    let db = open().open().expect("opened");
    assert!(is_unknown(db.keyspaces()));
    sets(&twin).put("s", "yz").expect("put");
    let span = DbReplica::new(&db).unknown_ranges().remove(0);
    assert!(span.start < vec![2] && span.end.as_ref().is_none_or(|end| *end > vec![2]), "{span:?}");
    let _ = db.heal_from(&twin).expect("healed");
    assert_eq!(sets(&db).get("s").expect("known").as_deref(), Some(&b"ablostyz"[..]));
    assert_eq!(db.root().expect("root"), twin.root().expect("root"));
}

#[test]
fn a_lost_value_that_a_resolver_merges_is_healed_though_the_replica_has_put_the_key_since() {
    let world = world();
    let open = || world.builder(DIR).resolver(Union);
    let db = open().create().expect("a new store");
    let sets = |db: &Db| db.keyspace_with("sets", "union").expect("a keyspace");
    let large: Vec<u8> = (0..=210).collect();
    sets(&db).put("s", &large).expect("put");
    db.flush().expect("flush");
    let twin = twin_of_merged(&db);
    db.close().expect("flushed");
    damage_in(&world.vfs, &[".log", ".values"], &large);
    let db = open().open().expect("opened");
    sets(&twin).put("s", [220]).expect("put");
    sets(&twin).put("t", [1]).expect("put");
    let all = inner_range::<&[u8]>(&sets(&twin), ..);
    let origin = Origin { node: twin.node_id().0, horizon: 0 };
    let applied = DbReplica::new(&db).apply(all_of(&DbReplica::new(&twin), &all), origin).expect("applied");
    assert_eq!((applied.applied, applied.refused), (1, 1), "one value is lost, the other key is taken");
    assert_eq!(db.lost_values().len(), 1);
    assert!(matches!(sets(&db).put("s", [230]), Err(Error::ValueLost { .. })));
    assert_eq!(db.heal_from(&twin).expect("healed").values, 1);
    assert_eq!(db.health(), Health::Good);
    sets(&db).put("s", [230]).expect("put");
    let (outcome, _) = session(&db, &twin, 1, u64::MAX);
    assert_eq!(outcome.end, End::Complete);
    let expected: Vec<u8> = large.into_iter().chain([220, 230]).collect();
    for db in [&db, &twin] {
        assert_eq!(sets(db).get("s").expect("known").as_deref(), Some(&expected[..]));
        assert_eq!(db.root().expect("known"), twin.root().expect("known"));
        assert_eq!(db.verify(|_| true).expect("verify").problems, Vec::<String>::new());
    }
}

fn twin_of_merged(db: &Db) -> Db {
    let twin =
        World::new(98).builder("/twin").resolver(Union).create_replica(&db.replica_set()).expect("a twin");
    let mut stream = Vec::new();
    db.export(&mut stream, |_| true).expect("export");
    let _ = twin.import(&stream[..], |_| true).expect("import");
    twin
}
