//! Whole stores of memtables and runs against the model.

use super::world::{World, problems, settled};
use crate::types::{KeyRange, SeqNo};

/// Calls `test` with a world that has gone through random writes, seals, flushes and merges.
fn for_worlds(seeds: u64, mut test: impl FnMut(u64, &mut World)) {
    for seed in 0..seeds {
        let mut world = World::new(seed);
        for _ in 0..12 {
            match world.random.below(6) {
                0 => world.seal(),
                1 => world.flush(),
                2 if !world.levels.runs().is_empty() => world.compact(),
                _ => {
                    let count = world.random.below(400);
                    world.write(count);
                }
            }
        }
        test(seed, &mut world);
    }
}

#[test]
fn every_key_is_found_in_its_newest_version_and_no_other() {
    for_worlds(40, |seed, world| {
        let now = SeqNo(world.seqno);
        for (key, head) in world.expected(&KeyRange::all(), now) {
            assert_eq!(world.get(&key, now), Some(head), "seed {seed}: key {}", key.escape_ascii());
        }
        for _ in 0..300 {
            let mut key = world.random.key();
            key.push(world.random.next() as u8);
            let expected = world.model.get(&key).and_then(|versions| versions.last()).map(settled);
            assert_eq!(world.get(&key, now), expected, "seed {seed}: key {}", key.escape_ascii());
        }
    });
}

#[test]
fn a_memtable_shows_every_commit_as_it_was() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.write(600);
        for _ in 0..20 {
            let (at, range) = (SeqNo(world.random.below(world.seqno + 2)), world.random.range());
            let expected = world.expected(&range, at);
            let found: Vec<_> = world.cursor(&range, at).map(|found| found.expect("no files")).collect();
            assert!(
                found.iter().map(|(key, head)| (key.clone(), settled(head))).eq(expected.iter().cloned()),
                "seed {seed}: {range:?} at {at:?}"
            );
            assert!(
                expected.iter().all(|(key, head)| world.get(key, at).as_ref() == Some(head)),
                "seed {seed}"
            );
        }
        assert_eq!(world.memtables[0].len(), 600);
    }
}

#[test]
fn walks_from_both_ends_meet_without_losing_or_doubling_a_key() {
    for_worlds(60, |seed, world| {
        let now = SeqNo(world.seqno);
        for round in 0..20 {
            let range = world.random.range();
            let expected = world.expected(&range, now);
            let mut cursor = world.cursor(&range, now);
            let (mut front, mut back) = (Vec::new(), Vec::new());
            // Forwards, backwards, and by turns of uneven length.
            let forwards_of_ten = [10, 0, 5, 9, 1][round % 5];
            loop {
                let is_forward = world.random.below(10) < forwards_of_ten;
                let found = if is_forward { cursor.next() } else { cursor.next_back() };
                let Some(found) = found else { break };
                let (key, head) = found.expect("no damage");
                if is_forward { &mut front } else { &mut back }.push((key, settled(&head)));
            }
            assert!(cursor.next().is_none() && cursor.next_back().is_none(), "seed {seed}: {range:?}");
            front.extend(back.into_iter().rev());
            let keys =
                |entries: &[(Vec<u8>, _)]| entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
            assert_eq!(keys(&front), keys(&expected), "seed {seed}: {range:?}");
            assert!(front == expected, "seed {seed}: heads in {range:?}");
        }
    });
}

#[test]
fn what_runs_say_of_themselves_is_true() {
    for_worlds(20, |seed, world| {
        for run in world.levels.runs() {
            let (properties, errors) = (run.properties(), problems(run));
            assert!(errors.is_empty(), "seed {seed}: {errors:?}");
            assert!(properties.tombstones <= properties.entries, "seed {seed}");
            assert!(properties.seqnos.1 <= SeqNo(world.seqno), "seed {seed}");
        }
    });
}
