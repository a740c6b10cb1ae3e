//! Background work as `step()` does it: how far runs pile up, and what a compaction does beside commits.

use syncline::{Db, Error};

use crate::common::{Random, World};

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
        let compacted = db.compact(|| {
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
