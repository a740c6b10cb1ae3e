//! Compare-and-swap and `fetch_update`: against a model, with entries that expire, and from many threads.

use std::collections::BTreeMap;

use crate::common::{Random, World, seeds};

/// What a model knows of a key: its value, and when it expires (0: never).
type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn visible<'a>(model: &'a Model, key: &[u8], now_ms: u64) -> Option<&'a [u8]> {
    let (value, expires_at) = model.get(key)?;
    (*expires_at == 0 || *expires_at > now_ms).then_some(value)
}

#[test]
fn a_swap_happens_exactly_if_a_reader_would_see_what_is_expected() {
    for seed in seeds(40) {
        let outcome = std::panic::catch_unwind(|| play(seed));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine conditional");
            std::panic::resume_unwind(panic);
        }
    }
}

fn play(seed: u64) {
    let (world, mut random, mut model) = (World::new(seed), Random::new(seed), Model::new());
    let db = world.builder("/db").create().expect("a new store");
    let mut now_ms = 1_700_000_000_000;
    let mut tombstones = 0;
    for _ in 0..400 {
        let key = random.key(8);
        let value = random.value();
        match random.below(10) {
            0 => {
                let passed = random.below(50);
                world.clock.advance(passed);
                now_ms += passed;
            }
            1 => {
                let expires_at = now_ms + random.below(100);
                db.default_keyspace().put_expiring(&key, &value, expires_at).expect("put");
                model.insert(key, (value, expires_at));
            }
            2 => db.flush().expect("flush"),
            3 | 4 => {
                let before = visible(&model, &key, now_ms).map(<[u8]>::to_vec);
                let new = random.chance(70).then_some(value);
                let found = db.fetch_update(&key, |old| {
                    assert_eq!(old, before.as_deref());
                    new.clone()
                });
                assert_eq!(found.expect("update").as_deref(), before.as_deref());
                apply(&mut model, key, new, before.is_some());
            }
            _ => {
                let before = visible(&model, &key, now_ms).map(<[u8]>::to_vec);
                // Mostly right; else a value of the same length, another one, or none.
                let expected = match random.below(8) {
                    0 => None,
                    1 => before.clone().map(|value| value.iter().map(|byte| !byte).collect()),
                    2 => Some(random.value()),
                    _ => before.clone(),
                };
                let new = random.chance(70).then_some(value);
                let swapped = db.compare_and_swap(&key, expected.as_deref(), new.as_deref());
                match swapped.expect("no failure") {
                    Ok(()) => {
                        assert_eq!(before, expected);
                        apply(&mut model, key, new, before.is_some());
                    }
                    Err(refused) => {
                        assert_ne!(before, expected);
                        assert_eq!(refused.current.as_deref(), before.as_deref());
                    }
                }
            }
        }
        let sum = db.root().expect("root").counts;
        assert!(sum.tombstones <= tombstones + 1, "one change makes one tombstone at most");
        assert_eq!(sum.live, model.len() as u64, "a delete of what is not there changes nothing");
        tombstones = sum.tombstones;
    }
}

fn apply(model: &mut Model, key: Vec<u8>, new: Option<Vec<u8>>, was_visible: bool) {
    match new {
        Some(value) => drop(model.insert(key, (value, 0))),
        None if was_visible => drop(model.remove(&key)),
        None => {}
    }
}

#[test]
fn increments_of_eight_threads_lose_nothing() {
    const EACH: u64 = 300;
    let world = World::new(0);
    let db = world.builder("/db").create().expect("a new store");
    let count = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let db = &db;
            scope.spawn(move || {
                for _ in 0..EACH {
                    if thread % 2 == 0 {
                        let increment = |old: Option<&[u8]>| Some((old.map_or(0, count) + 1).to_be_bytes());
                        db.fetch_update("n", increment).expect("update");
                        continue;
                    }
                    let mut expected = db.get("n").expect("get");
                    loop {
                        let new = (expected.as_deref().map_or(0, count) + 1).to_be_bytes();
                        match db.compare_and_swap("n", expected.as_deref(), Some(&new)).expect("swap") {
                            Ok(()) => break,
                            Err(refused) => expected = refused.current,
                        }
                    }
                }
            });
        }
    });
    assert_eq!(db.get("n").expect("get").as_deref().map(count), Some(8 * EACH));
    assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
}
