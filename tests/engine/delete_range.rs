//! Deleting ranges and prefixes, against a model: what is left, how many went, and what an abort leaves.

use std::collections::BTreeMap;
use std::ops::Bound;

use syncline::{Error, KeyRange};

use crate::common::{Random, World, seeds};

#[test]
fn exactly_the_visible_keys_of_a_range_get_a_tombstone_each() {
    for seed in seeds(12) {
        let outcome = std::panic::catch_unwind(|| play(seed));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine delete_range");
            std::panic::resume_unwind(panic);
        }
    }
}

fn play(seed: u64) {
    let (world, mut random) = (World::new(seed), Random::new(seed));
    let db = world.builder("/db").create().expect("a new store");
    let keyspace = db.keyspace("k").expect("a keyspace");
    let other = db.keyspace("other").expect("a keyspace");
    for number in 0..40u64 {
        other.put(number.to_be_bytes(), "stays").expect("put");
    }
    let mut model = BTreeMap::new();
    let mut tombstones = std::collections::BTreeSet::new();
    let keys = 10 + random.below(1_500);
    for _ in 0..6 {
        for _ in 0..random.below(keys) {
            let (key, value) = (random.key(keys), random.value());
            keyspace.put(&key, &value).expect("put");
            tombstones.remove(&key);
            model.insert(key, value);
        }
        if random.chance(50) {
            db.flush().expect("flush");
        }
        let (low, high) = (random.key(keys), random.key(keys));
        let (deleted, gone) = if random.chance(50) {
            (keyspace.delete_prefix(&low), KeyRange::prefix(&low))
        } else {
            let range = (Bound::Included(low.clone()), Bound::Excluded(high.clone()));
            (keyspace.delete_range(range), KeyRange::new(low, Some(high)))
        };
        let before = model.len();
        tombstones.extend(model.keys().filter(|key| gone.contains(key)).cloned());
        model.retain(|key, _| !gone.contains(key));
        assert_eq!(deleted.expect("deleted"), (before - model.len()) as u64);
        let left: Vec<_> = keyspace.iter().map(|entry| entry.expect("entry")).collect();
        assert!(
            left.iter()
                .map(|entry| (&entry.key[..], &entry.value[..]))
                .eq(model.iter().map(|(key, value)| (&key[..], &value[..])))
        );
        let counts = keyspace.fingerprint::<&[u8]>(..).expect("fingerprint").counts;
        assert_eq!((counts.live, counts.tombstones), (model.len() as u64, tombstones.len() as u64));
    }
    assert_eq!(other.len().expect("len"), 40, "another keyspace is left alone");
    assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
}

#[test]
fn a_long_range_goes_in_atomic_chunks_and_stops_on_request_between_two() {
    let db = World::new(0).builder("/db").create().expect("a new store");
    for number in 0..2_500u64 {
        db.put(number.to_be_bytes(), "").expect("put");
    }
    let before = db.snapshot().seqno().0;
    let mut seen = Vec::new();
    let stopped = db.default_keyspace().delete_range_with::<&[u8]>(.., |progress| {
        seen.push((progress.keys, progress.keys_total));
        seen.len() < 2
    });
    assert!(matches!(stopped, Err(Error::Aborted)));
    assert_eq!(seen, [(1_024, 2_500), (2_048, 2_500)]);
    assert_eq!(db.snapshot().seqno().0 - before, 2, "a chunk is one commit");
    let first = db.iter().next().expect("452 are left").expect("entry");
    assert_eq!(first.key, 2_048u64.to_be_bytes(), "from the least key on");
    assert_eq!(db.delete_range::<&[u8]>(..).expect("the rest"), 452);
    assert_eq!(db.delete_range::<&[u8]>(..).expect("nothing"), 0);
    assert_eq!(db.snapshot().seqno().0 - before, 3, "nothing to delete makes no commit");
}
