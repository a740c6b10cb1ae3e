//! Keyspaces whose values a resolver merges: whatever replicas write, in whatever order sessions carry it and are cut, all of
//! them end with the join of everything, and nothing that anybody wrote is lost.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine resolver` runs that one alone.

use std::collections::{BTreeMap, BTreeSet};

use sync_proto::{End, Entry, Fetched, Origin, ReadLimit, Reason, Replica};
use syncline::replica::{DbReplica, inner_range};
use syncline::{Builder, Db, Error, Keyspace, Resolver, Stamp};

use crate::common::{Random, Union, World, seeds};
use crate::converge::session;
use crate::damage::all_of;

fn open(builder: Builder) -> Db {
    builder.resolver(Union).open().expect("open")
}

fn sets(db: &Db) -> Keyspace {
    db.keyspace_with("sets", "union").expect("a keyspace")
}

type Sets = BTreeMap<Vec<u8>, BTreeSet<u8>>;

fn contents(db: &Db) -> Sets {
    let entry = |entry: syncline::Result<syncline::Entry>| {
        let entry = entry.expect("entry");
        (entry.key, entry.value.iter().copied().collect())
    };
    sets(db).iter().map(entry).collect()
}

fn stamps(db: &Db, keys: &Sets) -> Vec<Option<Stamp>> {
    let stamp = |key| sets(db).digest(key).expect("digest").map(|digest| digest.stamp);
    keys.keys().map(stamp).collect()
}

#[test]
fn replicas_end_with_the_join_of_all_that_was_written() {
    let (mut merged, mut lost) = (0, 0);
    for seed in seeds(300) {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let count = 2 + random.below(3) as usize;
        let worlds: Vec<World> = (0..count as u64).map(|number| World::new(8 * seed + number)).collect();
        let first = worlds[0].builder("/db").resolver(Union).create().expect("a store");
        let set = first.replica_set();
        let mut dbs = vec![first];
        for world in &worlds[1..] {
            // Clocks that agree make stamps that differ by the node alone.
            let replica = world.builder("/db").resolver(Union).create_replica(&set);
            dbs.push(replica.expect("a replica"));
        }
        let mut all = Sets::new();
        for nonce in 0..200 {
            let at = random.below(count as u64) as usize;
            let other = (at + 1 + random.below(count as u64 - 1) as usize) % count;
            match random.below(20) {
                0..=13 => {
                    let key = random.key(12);
                    let bytes = vec![random.below(200) as u8; 1 + random.below(2) as usize];
                    all.entry(key.clone()).or_default().extend(&bytes);
                    match random.chance(50) {
                        true => sets(&dbs[at]).put(&key, bytes).expect("put"),
                        false => {
                            let updated = sets(&dbs[at]).fetch_update(&key, |_| Some(&bytes));
                            updated.map(drop).expect("update");
                        }
                    }
                }
                14 => dbs[at].flush().expect("flush"),
                15 => {
                    let db = dbs.remove(at);
                    drop(db);
                    dbs.insert(at, open(worlds[at].builder("/db")));
                }
                16 => worlds[at].clock.advance(random.below(20)),
                _ => {
                    let frames = if random.chance(50) { random.below(8) } else { u64::MAX };
                    let before = stamps(&dbs[at], &all);
                    let (outcome, _) = session(&dbs[at], &dbs[other], nonce, frames);
                    let later = stamps(&dbs[at], &all);
                    assert!(
                        before.iter().zip(&later).all(|(before, later)| before <= later),
                        "a stamp went back"
                    );
                    merged += outcome.report.entries_sent.min(outcome.report.entries_received);
                    match outcome.end == End::Complete {
                        true => {
                            assert_eq!(contents(&dbs[at]), contents(&dbs[other]), "complete, and not equal")
                        }
                        false => lost += 1,
                    }
                }
            }
        }
        for round in 0..2 {
            for left in 0..count {
                for right in (0..count).filter(|right| *right != left) {
                    let (outcome, _) = session(&dbs[left], &dbs[right], 1_000 + round, u64::MAX);
                    assert_eq!(outcome.end, End::Complete);
                }
            }
        }
        for db in &dbs {
            assert_eq!(contents(db), all);
            assert_eq!(db.root().expect("root"), dbs[0].root().expect("root"));
            assert_eq!(db.verify(|_| true).expect("verify").problems, Vec::<String>::new());
        }
        let (equal, _) = session(&dbs[0], &dbs[1], 2_000, u64::MAX);
        assert_eq!(
            (equal.report.legs, equal.report.entries_sent),
            (2, 0),
            "what was merged goes on travelling"
        );
    }
    if std::env::var_os("SYNCLINE_SEED").is_none() {
        assert!(merged > 1_000 && lost > 100, "{merged} merged, {lost} sessions lost");
    }
}

/// The greater byte at every place.
#[derive(Debug)]
struct Greatest;

impl Resolver for Greatest {
    fn name(&self) -> &str {
        "greatest"
    }

    fn merge(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        older.iter().zip(newer).map(|(older, newer)| *older.max(newer)).collect()
    }
}

const STRANGER: Origin = Origin { node: 7, horizon: 0 };

#[test]
fn a_long_value_is_never_read_from_two_versions_with_one_stamp() {
    let db = World::new(2).builder("/db").resolver(Greatest).create().expect("a store");
    let maxima = db.keyspace_with("maxima", "greatest").expect("a keyspace");
    maxima.put("k", [5; 300]).expect("put");
    let replica = DbReplica::new(&db);
    let entry = all_of(&replica, &inner_range::<&[u8]>(&maxima, ..)).remove(0);
    let reader = replica.pin(0).expect("pinned");
    let part = |offset| reader.value(&entry.key, entry.stamp, offset, 150).expect("readable");
    let same = |byte| Some(vec![byte; 150]);
    let limit = ReadLimit { count: 1, bytes: 150 };
    let tell =
        || reader.entries(std::slice::from_ref(&entry.key), limit).expect("readable").entries.remove(0);
    assert!(matches!(tell(), Fetched::Large { value_len: 300, .. }));
    assert_eq!((part(0), part(150)), (same(5), same(5)));
    let older = sync_proto::Stamp { hlc: entry.stamp.hlc - 1, node: STRANGER.node };
    let older = Entry { stamp: older, value: [[0; 150], [9; 150]].concat(), ..entry.clone() };
    assert_eq!(replica.apply(vec![older], STRANGER).expect("applied").applied, 1);
    assert_eq!((part(0), part(150)), (None, None), "another version was told of");
    tell();
    assert_eq!((part(0), part(150)), (same(5), same(9)));
}

#[test]
fn without_its_resolver_only_one_of_two_entries_of_a_key_is_taken_and_the_other_refused() {
    let left = World::new(1).builder("/db").resolver(Union).create().expect("a store");
    let right = World::new(2).builder("/db").create_replica(&left.replica_set()).expect("a replica");
    sets(&left).put("a", [1]).expect("put");
    let all = inner_range::<&[u8]>(&sets(&left), ..);
    let entry = all_of(&DbReplica::new(&left), &all).remove(0);
    let other = Entry { value: vec![2], ..entry.clone() };
    let applied = DbReplica::new(&right).apply(vec![entry.clone(), other, entry], STRANGER).expect("applied");
    assert_eq!((applied.applied, applied.covered, applied.refused), (1, 1, 1));
}

#[test]
fn without_its_resolver_a_keyspace_is_read_and_what_needs_merging_is_refused() {
    let (left_world, right_world) = (World::new(1), World::new(2));
    let left = left_world.builder("/db").resolver(Union).create().expect("a store");
    let right = right_world.builder("/db").create_replica(&left.replica_set()).expect("a replica");
    sets(&left).put("a", [1]).expect("put");
    let (first, _) = session(&left, &right, 1, u64::MAX);
    assert_eq!(first.end, End::Complete, "a new key needs no merging");
    let blind = right.keyspace("sets").expect("it is there");
    assert_eq!(blind.get("a").expect("get").as_deref(), Some(&[1][..]));
    assert!(matches!(blind.put("a", [9]), Err(Error::InvalidArgument { .. })));
    sets(&left).put("a", [2]).expect("put");
    let (second, _) = session(&left, &right, 2, u64::MAX);
    assert!(matches!(&second.end, End::Partial(reasons) if reasons.contains(Reason::Refused)), "{second:?}");
    assert_eq!(blind.get("a").expect("get").as_deref(), Some(&[1][..]), "not merged in any other way");
    drop((right, blind));
    let right = open(right_world.builder("/db"));
    let (third, _) = session(&left, &right, 3, u64::MAX);
    assert_eq!(third.end, End::Complete);
    assert_eq!(contents(&left), contents(&right));
}

#[test]
fn a_state_that_is_merged_never_goes_back() {
    let db = World::new(1).builder("/db").resolver(Union).create().expect("a store");
    let sets = sets(&db);
    sets.put("a", [1, 2]).expect("put");
    let refused = |result: syncline::Result<()>| matches!(result, Err(Error::InvalidArgument { .. }));
    assert!(refused(sets.delete("a")));
    assert!(refused(sets.put_expiring("a", [3], u64::MAX)));
    assert!(refused(sets.delete_prefix("").map(drop)));
    assert!(refused(sets.ingest([("a", "b")]).map(drop)));
    assert!(refused(sets.fetch_update("a", |_| None::<Vec<u8>>).map(drop)));
    assert!(refused(sets.compare_and_swap("a", Some(&[1, 2]), None).map(drop)));
    assert!(refused(db.batch().put(&sets, "a", [3])));
    assert!(refused(db.batch().delete(&sets, "a")));
    sets.compare_and_swap("a", Some(&[1, 2]), Some(&[5])).expect("no error").expect("as expected");
    assert_eq!(sets.get("a").expect("get").as_deref(), Some(&[1, 2, 5][..]));
    assert!(matches!(db.keyspace_with("sets", "another"), Err(Error::InvalidArgument { .. })));
    db.keyspace("plain").expect("a keyspace");
    assert!(matches!(db.keyspace_with("plain", "union"), Err(Error::Ambiguous { .. })));
    assert_eq!(db.keyspace("sets").expect("made before").name(), "sets");
}
