//! Background work as `step()` does it: how far runs pile up, and what a compaction does beside commits.

use std::collections::BTreeMap;
use std::path::Path;

use syncline::vfs::Vfs;
use syncline::{Db, Error, Iter};

use crate::common::{Random, World};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn put(db: &Db, number: u64) {
    let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    db.put(key, [number as u8; 100]).expect("put");
}

#[test]
fn runs_stay_few_while_a_long_merge_is_under_way() {
    let world = World::new(1);
    let db = world.builder("/db").create().expect("a new store");
    let (mut most, mut steps) = (0, 0);
    for number in 0..20_000 {
        put(&db, number);
        // A third more than merges need on average, and far less than a long one needs until the next flush.
        if number % 4 == 0 {
            steps += u64::from(db.step().expect("background work"));
        }
        most = most.max(db.stats().expect("stats").runs);
    }
    assert!(most <= 16, "{most} runs stood");
    assert!(steps > 1_000, "only {steps} steps: merges were not cut into pieces");
}

#[test]
fn a_compaction_of_everything_lets_commits_and_other_merges_pass() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let world = World::new(seed);
        let db = world.builder("/db").create().expect("a new store");
        let mut last = 0;
        for _ in 0..1_000 {
            put(&db, last);
            last += 1;
        }
        let stop_after = if random.chance(50) { random.below(20) } else { u64::MAX };
        let mut asked = 0;
        let compacted = db.compact(|so_far| {
            assert!(so_far.bytes_total > 0, "seed {seed}: {so_far:?}");
            asked += 1;
            for _ in 0..random.below(60) {
                put(&db, last);
                last += 1;
            }
            asked <= stop_after
        });
        assert!(matches!(compacted, Ok(()) | Err(Error::Aborted)), "seed {seed}: {compacted:?}");
        assert_eq!(compacted.is_ok(), asked <= stop_after, "seed {seed}");
        assert_eq!(db.len().expect("len"), last, "seed {seed}");
        while db.step().expect("background work") {}
        assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new(), "seed {seed}");
    }
}

/// Overwrites some of forty keys, most of them with values that stay in the log.
fn overwrite(db: &Db, random: &mut Random, model: &mut Model, times: u64) {
    for _ in 0..times {
        let key = random.below(40).to_be_bytes().to_vec();
        let len = if random.chance(80) { 500 + random.below(1_500) } else { 20 };
        let value: Vec<u8> = random.next().to_le_bytes().into_iter().cycle().take(len as usize).collect();
        db.put(&key, &value).expect("put");
        model.insert(key, value);
    }
}

fn check(entries: Iter, model: &Model) {
    let entries = entries.map(|entry| entry.expect("entry")).map(|entry| (entry.key, entry.value.to_vec()));
    assert!(entries.eq(model.clone()), "not what was put");
}

#[test]
fn large_values_leave_segments_that_are_mostly_garbage() {
    let mut moved = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let world = World::new(seed);
        let mut db = world.builder("/db").create().expect("a new store");
        let mut model = Model::new();
        for _ in 0..6 {
            let times = random.below(200);
            overwrite(&db, &mut random, &mut model, times);
            let (snapshot, then, root) = (db.snapshot(), model.clone(), db.root().expect("root"));
            if random.chance(50) {
                db.compact(|_| true).expect("compact");
                let stats = db.stats().expect("stats");
                // What is left of a segment may be a half of it, beside records of small values.
                let garbage = stats.value_segment_bytes - stats.value_live_bytes;
                assert!(garbage <= stats.value_segment_bytes / 2 + 100, "seed {seed}: {stats:?}");
            } else {
                while db.step().expect("background work") {}
            }
            assert_eq!(db.root().expect("root"), root, "seed {seed}");
            let times = random.below(100);
            overwrite(&db, &mut random, &mut model, times);
            while db.step().expect("background work") {}
            check(snapshot.range::<&[u8]>(&db.default_keyspace(), ..), &then);
            drop(snapshot);
            let names = world.vfs.list(Path::new("/db")).expect("list");
            moved += names.iter().filter(|name| name.ends_with(".values")).count();
            if random.chance(30) {
                drop(db);
                db = world.builder("/db").open().expect("reopen");
            }
            check(db.iter(), &model);
            assert_eq!(
                db.verify(&mut |_| true).expect("verify").problems,
                Vec::<String>::new(),
                "seed {seed}"
            );
        }
    }
    assert!(moved > 100, "only {moved} files of moved values");
}

#[test]
fn a_damaged_value_stops_no_compaction_and_is_never_made_to_look_whole() {
    let world = World::new(3);
    let db = world.builder("/db").create().expect("a new store");
    for key in 0..8u8 {
        db.put([key], [0xa0 + key; 600]).expect("put");
    }
    db.flush().expect("flush");
    let dir = Path::new("/db");
    let names = world.vfs.list(dir).expect("list");
    let place = names.iter().filter(|name| name.ends_with(".log")).find_map(|name| {
        let bytes = world.vfs.bytes(&dir.join(name)).expect("bytes");
        Some((dir.join(name), bytes.windows(600).position(|window| window == [0xa1; 600])?))
    });
    let (path, offset) = place.expect("the value of key 1 is in a segment");
    world.vfs.flip(&path, offset + 300, 1).expect("flip");
    // Keys 0 and 1 are what is left of the segment.
    for key in 2..8u8 {
        db.put([key], [0xb0 + key; 600]).expect("put");
    }
    db.compact(|_| true).expect("compact");
    for _ in 0..2 {
        assert!(matches!(db.get([1]), Err(Error::ValueLost { .. })));
        assert_eq!(db.get([0]).expect("get").expect("there"), [0xa0; 600]);
        assert_eq!(db.get([2]).expect("get").expect("there"), [0xb2; 600]);
        db.put([9], [1; 600]).expect("put");
        db.compact(|_| true).expect("compact");
    }
    assert_eq!(db.verify(&mut |_| true).expect("verify").problems.len(), 1);
}
