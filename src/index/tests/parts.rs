//! Single parts: filter, fences, large entries, stale bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::world::{Files, Random, World, problems, settled};
use crate::hash::{KeyHash, SetHasher};
use crate::index::decoded::DecodedBlocks;
use crate::index::fences::{Fences, FencesBuilder, separator};
use crate::index::filter::{FilterBuilder, may_contain};
use crate::index::memtable_cursor::MemtableCursor;
use crate::index::slots::Slots;
use crate::index::{Below, Levels, Memtable, Run, RunWriter};
use crate::types::{
    Compression, EntrySum, Epoch, EpochSums, FileId, Head, Key, KeyRange, Kind, RangeSum, SeqNo, Slice,
    ValueRef,
};
use crate::vfs::ReadMode;

fn hash(number: u64) -> KeyHash {
    SetHasher::new(&[3; 32]).key(&number.to_le_bytes())
}

#[test]
fn a_filter_passes_every_key_and_few_others() {
    // (keys expected, keys added): exact, overestimated, far overestimated, underestimated.
    for (expected, added) in
        [(0, 0), (1, 1), (50, 50), (20_000, 20_000), (70_000, 20_000), (500_000, 9_000), (100, 110)]
    {
        let mut filter = FilterBuilder::new(expected);
        (0..added).for_each(|number| filter.insert(hash(number)));
        let filter = filter.finish();
        assert!((0..added).all(|number| may_contain(&filter, hash(number))), "{expected}, {added}");
        let wrong = (added..added + 20_000).filter(|&number| may_contain(&filter, hash(number))).count();
        assert!(wrong < 400, "{wrong} of 20,000 absent keys pass the filter of {added}, {expected} expected");
        let len_max = 128 + 3 * added as usize;
        assert!(filter.len() <= len_max, "{} bytes for {added} keys, {expected} expected", filter.len());
    }
}

#[test]
fn slots_find_every_number_while_they_grow() {
    let slots = Slots::new();
    for number in 0..20_000 {
        slots.insert(hash(number), number as u32);
        let earlier = number / 3;
        assert_eq!(slots.find(hash(earlier), |found| found == earlier as u32), Some(earlier as u32));
    }
    // Numbers under one tag: told apart by the question.
    for number in 20_000..20_100 {
        slots.insert(hash(7), number);
    }
    assert_eq!(slots.find(hash(7), |found| found == 20_099), Some(20_099));
    assert_eq!(slots.find(hash(7), |_| false), None);
    assert_eq!(slots.find(hash(20_000), |_| true), None);
}

/// Readers beside a writer: what was published is there, in order, however the table grows and keys are sorted in.
#[test]
fn readers_beside_a_writer_see_every_published_commit() {
    let (memtable, published) = (Arc::new(Memtable::new()), AtomicU64::new(0));
    let hasher = SetHasher::new(&[3; 32]);
    let key = |seqno: u64| (seqno % 3_000).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let commits = 9_000;
    std::thread::scope(|scope| {
        let read = || {
            let mut random = Random::new(5);
            loop {
                let at = published.load(Ordering::Acquire);
                if at == 0 {
                    continue;
                }
                let some = 1 + random.below(at);
                let newest = some + (at - some) / 3_000 * 3_000;
                let found = memtable.get(&key(some), hasher.key(&key(some)), SeqNo(at));
                assert_eq!(found.map(|head| head.seqno), Some(SeqNo(newest)), "commit {some} at {at}");
                let mut walk = MemtableCursor::new(memtable.clone(), &KeyRange::all(), SeqNo(at));
                let keys: Vec<_> = std::iter::from_fn(|| walk.next()).map(|(key, _)| key).collect();
                assert!(
                    keys.is_sorted() && keys.len() as u64 == at.min(3_000),
                    "{} keys at {at}",
                    keys.len()
                );
                if at == commits {
                    break;
                }
            }
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        let mut random = Random::new(6);
        for seqno in 1..=commits {
            let key = key(seqno);
            memtable.insert(key[..].into(), hasher.key(&key), random.head(seqno, &hasher), Below::Unknown);
            published.store(seqno, Ordering::Release);
        }
        for reader in readers {
            reader.join().expect("a reader failed");
        }
    });
}

/// A walk sorts the keys that it finds, and more of them come while it does: some shorter than what those before have in common.
#[test]
fn keys_that_come_while_others_are_sorted_find_their_place_later() {
    let hasher = SetHasher::new(&[3; 32]);
    for seed in 0..200 {
        let (memtable, is_done) = (Memtable::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(seed);
                for number in 0..400u64 {
                    let key: Vec<u8> = match random.below(8) {
                        0 => vec![1, random.below(250) as u8],
                        _ => [&[2; 12][..], &random.below(1 << 40).to_be_bytes()].concat(),
                    };
                    let head = random.head(number + 1, &hasher);
                    memtable.insert(key[..].into(), hasher.key(&key), head, Below::Unknown);
                }
                is_done.store(true, Ordering::Release);
            });
            while !is_done.load(Ordering::Acquire) {
                drop(memtable.in_order());
            }
        });
        let order = memtable.in_order();
        let keys: Vec<&[u8]> = order.changes().map(|(key, ..)| key).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "seed {seed}");
        assert_eq!(keys.len(), memtable.key_count(), "seed {seed}");
    }
}

/// What a memtable changes in the sum of any range, as of any commit, whatever of it an index covers already.
#[test]
fn a_memtable_sums_up_what_it_changes() {
    let hasher = SetHasher::new(&[4; 32]);
    let count = |key: &[u8], head: &Head| {
        let hash = hasher.head(hasher.key(key), head);
        let epoch = (head.kind == Kind::Tombstone).then_some(Epoch(hash.0 as u64 % 3));
        EntrySum { sum: RangeSum::of_entry(hash, head.kind == Kind::Put, key.len() as u64), epoch }
    };
    for seed in 0..300 {
        let (mut random, memtable) = (Random::new(seed), Memtable::new());
        let mut below = BTreeMap::new();
        let mut versions: Vec<(Vec<u8>, Head)> = Vec::new();
        let keys = 1 + random.below(200);
        for seqno in 1..random.below(400) {
            let key = random.below(keys).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
            let head = random.head(seqno, &hasher);
            let old = random.head(0, &hasher);
            below.entry(key.clone()).or_insert_with(|| (seqno % 3 == 0).then(|| count(&key, &old)));
            let known = if random.one_in(3) { Below::Known(below[&key]) } else { Below::Unknown };
            memtable.insert(key[..].into(), hasher.key(&key), head.clone(), known);
            versions.push((key, head));
            if random.below(8) > 0 {
                continue;
            }
            let look_up = |keys: &[&[u8]]| -> Result<_, Infallible> {
                Ok(keys.iter().map(|&key| below[key]).collect())
            };
            // Some ask for an earlier moment than others have asked for already.
            let earlier = random.below(memtable.key_count() as u64 + 1) as usize;
            for count in [memtable.key_count(), earlier] {
                let keys = versions.iter().map(|(key, _)| key);
                let first: BTreeSet<_> = keys.fold(BTreeSet::new(), |mut first, key| {
                    if first.len() < count {
                        first.insert(key);
                    }
                    first
                });
                let mut expected = EpochSums::default();
                first.iter().filter_map(|key| below[*key]).for_each(|below| expected.add_entry(below));
                assert_eq!(memtable.settle(count, look_up), Ok(expected), "seed {seed}: {count} keys");
            }
            // Most readers read the present, and some the past.
            let at = SeqNo(if random.below(4) > 0 { seqno } else { random.below(seqno + 1) });
            let range = match random.below(3) {
                0 => KeyRange::all(),
                _ => KeyRange::new(
                    [random.next() as u8],
                    (random.below(2) == 0).then(|| vec![random.next() as u8]),
                ),
            };
            let mut newest = BTreeMap::new();
            versions.iter().filter(|(_, head)| head.seqno <= at).for_each(|(key, head)| {
                newest.insert(key, head);
            });
            let inside = newest.into_iter().filter(|(key, _)| range.contains(key));
            // The horizon rises now and then, and sessions ask for sums beyond it.
            let ended = [None, None, Some(Epoch(0)), Some(Epoch(1))][random.below(4) as usize];
            let before = |key: &Vec<u8>| below[key].map_or(RangeSum::ZERO, |below| below.after(ended).sum);
            let expected: RangeSum =
                inside.map(|(key, head)| count(key, head).after(ended).sum - before(key)).sum();
            assert_eq!(
                memtable.sum(&range, at, ended, count),
                expected,
                "seed {seed}: {range:?} at {at:?} of {seqno}"
            );
            let then = memtable.as_of(at, |key| hasher.key(key));
            assert_eq!(then.sum(&range, SeqNo::MAX, ended, count), expected, "seed {seed}: as of {at:?}");
        }
    }
}

#[test]
fn who_sums_up_beside_a_writer_does_not_wait_for_another_who_does() {
    let hasher = SetHasher::new(&[4; 32]);
    let count = |key: &[u8], head: &Head| {
        let hash = hasher.head(hasher.key(key), head);
        EntrySum { sum: RangeSum::of_entry(hash, head.kind == Kind::Put, key.len() as u64), epoch: None }
    };
    let (memtable, written) = (Memtable::new(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // The index is made anew each time.
            let ends = [None, Some(Epoch(0))].into_iter().cycle();
            scope.spawn(|| {
                for ended in ends {
                    let at = written.load(Ordering::Acquire);
                    memtable.sum(&KeyRange::all(), SeqNo(at), ended, count);
                    if at == 5_000 {
                        break;
                    }
                }
            });
        }
        let mut random = Random::new(1);
        for seqno in 1..=5_000 {
            let key = random.next().to_be_bytes();
            memtable.insert(
                key[..].into(),
                hasher.key(&key),
                random.head(seqno, &hasher),
                Below::Known(None),
            );
            written.store(seqno, Ordering::Release);
        }
    });
    assert_eq!(memtable.key_count(), 5_000);
}

#[test]
fn the_block_of_a_key_is_the_last_one_whose_fence_is_not_above_it() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let count = [0, 1, 2, 40, 300, 3_000][seed as usize % 6];
        let mut keys: Vec<Vec<u8>> = (0..count).map(|_| random.key()).collect();
        keys.sort();
        keys.dedup();
        let mut builder = FencesBuilder::default();
        let len = |key: &[u8]| 100 + key.len() as u64;
        keys.iter().for_each(|key| builder.push(key, len(key)));
        let fences = Fences::open(&builder.finish(), keys.len(), 16).expect("well-formed");
        for _ in 0..300 {
            let mut key = random.key();
            key.truncate(random.below(2 + key.len() as u64) as usize);
            let expected = keys.partition_point(|fence| *fence <= key).checked_sub(1);
            assert_eq!(fences.find(&key), expected, "seed {seed}: {}", key.escape_ascii());
        }
        let mut start = 16;
        for (number, key) in keys.iter().enumerate() {
            let end = start + len(key);
            assert_eq!(fences.find(key), Some(number), "seed {seed}: {}", key.escape_ascii());
            assert_eq!(fences.place(number), Some(start..end), "seed {seed}");
            assert_eq!(fences.fence(number).as_ref(), Some(key), "seed {seed}");
            start = end;
        }
        assert_eq!((fences.end(), fences.place(keys.len())), (start, None), "seed {seed}");
    }
}

#[test]
fn a_separator_lies_between_its_keys_and_is_short() {
    for seed in 0..2_000 {
        let mut random = Random::new(seed);
        let (a, b) = (random.key(), random.key());
        let (before, first) = if a < b { (a, b) } else { (b, a) };
        if before < first {
            let fence = separator(&before, &first);
            assert!(fence > before.as_slice() && fence <= first.as_slice(), "seed {seed}");
        }
    }
    assert_eq!(separator(b"abcdefgh", b"abxyz"), b"abx");
}

#[test]
fn keys_and_values_of_the_greatest_length_have_a_place() {
    let hasher = Arc::new(SetHasher::new(&[1; 32]));
    let mut random = Random::new(1);
    let mut entries = BTreeMap::new();
    for number in 0..6u8 {
        let mut key = vec![1; 9 + Key::LEN_MAX];
        *key.last_mut().expect("long") = number;
        let mut head = random.head(1 + u64::from(number), &hasher);
        let value = Slice::from(random.bytes(if number % 2 == 0 { 100_000 } else { 3 }));
        head.digest = hasher.value(&value);
        (head.kind, head.value) = (crate::types::Kind::Put, ValueRef::Inline(value));
        entries.insert(key, head);
    }
    entries.insert(Vec::new(), random.head(7, &hasher));
    let files = Files::default();
    let mut writer =
        RunWriter::create(&files, Path::new(""), FileId(1), 7, Compression::None).expect("no faults");
    for (key, head) in &entries {
        writer.push(key, hasher.key(key), head.into()).expect("no faults");
    }
    writer.finish().expect("no faults");
    let run =
        Run::open(&files, Path::new(""), FileId(1), ReadMode::Mapped, hasher.clone()).expect("well-formed");
    let levels = Levels::new(vec![Arc::new(run)]);
    for (key, head) in &entries {
        let found = levels.get(key, hasher.key(key)).expect("no damage");
        assert!(found == Some(settled(head)), "key of {} bytes", key.len());
    }
    assert!(problems(&levels.runs()[0]).is_empty());
}

#[test]
fn a_run_without_entries_is_readable() {
    let (files, hasher) = (Files::default(), Arc::new(SetHasher::new(&[1; 32])));
    RunWriter::create(&files, Path::new(""), FileId(1), 0, Compression::None)
        .and_then(RunWriter::finish)
        .expect("no faults");
    let run =
        Run::open(&files, Path::new(""), FileId(1), ReadMode::Mapped, hasher.clone()).expect("well-formed");
    assert!(run.find(b"key", hasher.key(b"key"), |_| Some(())).expect("no damage").is_none());
    assert!(problems(&run).is_empty());
}

#[test]
fn runs_tell_which_bytes_of_the_log_they_point_to() {
    let mut world = World::new(4);
    for _ in 0..3 {
        world.write(500);
        world.flush();
    }
    let before: u64 = world.levels.referenced().values().sum();
    while world.levels.runs().len() > 1 {
        world.compact();
    }
    let mut needed = BTreeMap::new();
    for (_, head) in world.expected(&KeyRange::all(), SeqNo::MAX) {
        if let ValueRef::Log(location) = head.value {
            *needed.entry(location.segment).or_default() += u64::from(location.len);
        }
    }
    assert_eq!(world.levels.referenced(), needed);
    assert!(needed.values().sum::<u64>() < before, "the merge shadowed nothing, so this test shows nothing");
}

#[test]
fn of_blocks_that_share_a_set_those_asked_for_last_stay() {
    let decoded = DecodedBlocks::default();
    let block = |number: usize| Slice::from(vec![number as u8; 9]);
    // Blocks a multiple of the sets apart, whatever their number is.
    let numbers: Vec<usize> = (0..5).map(|time| 7 + time * 1_024).collect();
    for &number in &numbers[..4] {
        decoded.keep(number, &block(number));
    }
    assert_eq!(decoded.get(numbers[0]), Some(block(numbers[0])));
    decoded.keep(numbers[4], &block(numbers[4]));
    let kept: Vec<bool> = numbers.iter().map(|&number| decoded.get(number).is_some()).collect();
    assert_eq!(kept, [true, false, true, true, true]);
    assert!(decoded.get(8).is_none());
}
