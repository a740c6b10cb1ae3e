//! Watching: every commit of interest is told once and in order, a slow watcher hears of one gap and can fill it from the
//! feed, and nobody waits for ever.

use std::time::Duration;

use syncline::{CommittedBatch, Durability, SeqNo, WatchEvent};

use crate::common::{Random, World, seeds};
use crate::converge::session;

#[test]
fn a_watch_tells_what_the_feed_tells_of_its_prefix() {
    for seed in seeds(20) {
        let outcome = std::panic::catch_unwind(|| play(seed));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine watch");
            std::panic::resume_unwind(panic);
        }
    }
}

fn play(seed: u64) {
    let (world, mut random) = (World::new(seed), Random::new(seed));
    let db = world.builder("/db").retain_log_bytes(1 << 30).create().expect("a new store");
    let peer = world.builder("/peer").create_replica(&db.replica_set()).expect("a replica");
    let names = ["default", "other"];
    let mut watches: Vec<_> = (0..4)
        .map(|_| {
            let (name, prefix) = (names[random.below(2) as usize], random.key(40));
            let prefix = prefix[..random.below(prefix.len() as u64 + 1) as usize].to_vec();
            let watch = db.keyspace(name).expect("a keyspace").watch(&prefix).expect("a watch");
            (name, prefix, watch)
        })
        .collect();
    for _ in 0..60 {
        let mut batch = db.batch();
        for _ in 0..1 + random.below(4) {
            let keyspace = db.keyspace(names[random.below(2) as usize]).expect("a keyspace");
            match random.chance(30) {
                true => batch.delete(&keyspace, random.key(40)).expect("delete"),
                false => batch.put(&keyspace, random.key(40), random.value()).expect("put"),
            }
        }
        db.write(batch, Durability::Buffered).expect("batch");
        if random.chance(5) {
            peer.put(random.key(40), random.value()).expect("put");
            let _ = session(&db, &peer, random.next(), u64::MAX);
        }
    }
    for (name, prefix, watch) in &mut watches {
        let feed = db.changes_since(watch.since(), Durability::Buffered).expect("a feed");
        let expected = feed.filter_map(|batch| {
            let mut batch = batch.expect("a commit");
            batch
                .changes
                .retain(|change| change.keyspace.as_deref() == Some(*name) && change.key.starts_with(prefix));
            (!batch.changes.is_empty()).then_some(batch)
        });
        let told: Vec<_> = std::iter::from_fn(|| watch.try_next()).map(committed).collect();
        assert_eq!(told, expected.collect::<Vec<_>>(), "{name} {prefix:?}");
    }
}

fn committed(event: WatchEvent) -> CommittedBatch {
    match event {
        WatchEvent::Committed(batch) => batch,
        event => panic!("{event:?}"),
    }
}

#[test]
fn a_slow_watcher_hears_of_one_gap_which_the_feed_fills() {
    let world = World::new(0);
    let db = world.builder("/db").retain_log_bytes(1 << 30).create().expect("a new store");
    let watch = db.watch("").expect("a watch");
    let value = vec![0; 100_000];
    let mut told = Vec::new();
    for round in 0..2 {
        for number in 0..30u64 {
            db.put(number.to_be_bytes(), &value).expect("put");
        }
        let mut gaps = 0;
        while let Some(event) = watch.try_next() {
            match event {
                WatchEvent::Committed(batch) => told.push(batch.seqno),
                WatchEvent::Lagged { resume_from } => {
                    gaps += 1;
                    assert_eq!(Some(&resume_from), told.last(), "all before the gap was told");
                    let feed = db.changes_since(resume_from, Durability::Buffered).expect("a feed");
                    told.extend(feed.map(|batch| batch.expect("a commit").seqno));
                }
                event => panic!("{event:?}"),
            }
        }
        assert_eq!(gaps, 1, "in round {round}");
    }
    assert_eq!(told, (1..=60).map(SeqNo).collect::<Vec<_>>());

    db.put("large", vec![0; 3 << 20]).expect("put");
    assert_eq!(committed(watch.try_next().expect("larger than what may wait")).seqno, SeqNo(61));
}

#[test]
fn a_waiting_watcher_wakes_for_a_commit_and_ends_with_the_store() {
    let world = World::new(0);
    let db = world.builder("/db").create().expect("a new store");
    let watch = db.watch("k").expect("a watch");
    assert_eq!(watch.next_within(Duration::from_millis(1)), None);
    let (seen, wait) = std::sync::mpsc::channel();
    let watcher = std::thread::spawn(move || {
        let mut watch = watch;
        let first = watch.next();
        seen.send(()).expect("somebody listens");
        (first, watch.next(), watch.next_within(Duration::MAX))
    });
    db.put("other", "").expect("put");
    db.put("key", "value").expect("put");
    wait.recv().expect("the watcher woke");
    drop(db);
    let (first, end, still) = watcher.join().expect("no panic");
    assert_eq!(committed(first.expect("a commit")).changes[0].value, b"value");
    assert_eq!((end, still), (None, None));
}

#[test]
fn a_watch_of_a_closed_store_has_ended_once_all_that_waited_was_taken() {
    let db = World::new(0).builder("/db").create().expect("a new store");
    let watch = db.watch("").expect("a watch");
    assert!(watch.try_next().is_none() && !watch.is_ended());
    db.put("key", "value").expect("put");
    drop(db);
    assert!(!watch.is_ended(), "a commit waits");
    committed(watch.try_next().expect("a commit"));
    assert!(watch.is_ended() && watch.try_next().is_none());
}
