//! Damaged files: never a wrong answer, never a panic.

use std::path::Path;
use std::sync::Arc;

use super::world::{COMPRESSIONS, Random, World, problems, settled};
use crate::error::Error;
use crate::format::{FileKind, HEADER_LEN};
use crate::index::layout::{TRAILER_LEN, Trailer, checksum};
use crate::index::{MergeCursor, Run};
use crate::types::{Compression, FileId, Head, KeyRange, SeqNo};
use crate::vfs::ReadMode;

const ID: FileId = FileId(1);

type Entries = Vec<(Vec<u8>, Head)>;

/// A world of one run, its file's bytes, and its entries.
fn one_run(seed: u64, count: u64, compression: Compression) -> (World, Vec<u8>, Entries) {
    let mut world = World::with_compression(seed, compression);
    world.write(count);
    world.flush();
    let bytes = world.files.bytes(&FileKind::Run.name(ID.0));
    let entries = world.expected(&KeyRange::all(), SeqNo::MAX);
    (world, bytes, entries)
}

fn open(world: &World, bytes: Vec<u8>, mode: ReadMode) -> Result<Run, Error> {
    world.files.set(&FileKind::Run.name(ID.0), bytes);
    Run::open(&world.files, Path::new(""), ID, mode, world.hasher.clone())
}

fn get(world: &World, run: &Run, key: &[u8]) -> Result<Option<Head>, Error> {
    let hash = world.hasher.key(key);
    if !run.may_contain(hash) {
        return Ok(None);
    }
    run.find(key, hash, |found| found.head())
}

fn walk(run: Run) -> MergeCursor {
    MergeCursor::new([], [&Arc::new(run)], &KeyRange::all())
}

#[test]
fn no_flipped_byte_changes_an_answer_or_goes_unnoticed() {
    COMPRESSIONS.iter().for_each(|compression| flip_every_byte(*compression));
}

fn flip_every_byte(compression: Compression) {
    let (world, bytes, entries) = one_run(2, 160, compression);
    let mut random = Random::new(2);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        let mode = if at % 2 == 0 { ReadMode::Mapped } else { ReadMode::Plain };
        let run = match open(&world, damaged, mode) {
            Ok(run) => run,
            Err(Error::Corruption { .. } | Error::UnsupportedVersion { .. }) => continue,
            Err(error) => panic!("byte {at}: {error}"),
        };
        for (key, head) in entries.iter().step_by(5) {
            match get(&world, &run, key) {
                Ok(found) => assert!(found.as_ref() == Some(head), "byte {at}: a wrong answer"),
                Err(error) => assert!(matches!(error, Error::Corruption { .. }), "byte {at}: {error}"),
            }
        }
        assert!(!problems(&run).is_empty(), "byte {at}: damage that verify does not see");
        for (found, expected) in walk(run).zip(&entries) {
            let Ok((key, head)) = found else { break };
            assert!((key, head) == *expected, "byte {at}: a wrong entry");
        }
    }
}

#[test]
fn a_run_cut_at_any_length_is_refused() {
    let (world, bytes, _) = one_run(3, 40, Compression::None);
    for len in 0..bytes.len() {
        let opened = open(&world, bytes[..len].to_vec(), ReadMode::Mapped);
        assert!(matches!(opened, Err(Error::Corruption { .. })), "cut to {len} bytes");
    }
}

#[test]
fn a_run_under_another_number_is_refused() {
    let (world, bytes, _) = one_run(3, 40, Compression::None);
    world.files.set(&FileKind::Run.name(2), bytes);
    assert!(
        Run::open(&world.files, Path::new(""), FileId(2), ReadMode::Mapped, world.hasher.clone()).is_err()
    );
}

#[test]
fn after_an_error_a_walk_goes_on_returning_it() {
    let (world, mut bytes, entries) = one_run(5, 900, Compression::None);
    let run = open(&world, bytes.clone(), ReadMode::Mapped).expect("undamaged");
    let middle = run.block_offset(run.block_count() / 2) as usize;
    bytes[middle + 40] ^= 4;
    let run = open(&world, bytes, ReadMode::Mapped).expect("only a block is damaged");
    let mut cursor = walk(run);
    let before = cursor.by_ref().take_while(Result::is_ok).count();
    assert!(before > 0 && before < entries.len());
    for _ in 0..3 {
        assert!(matches!(cursor.next(), Some(Err(Error::Corruption { .. }))));
        assert!(matches!(cursor.next_back(), Some(Err(Error::Corruption { .. }))));
    }
}

#[test]
fn a_damaged_filter_costs_time_and_not_answers() {
    let (world, mut bytes, entries) = one_run(6, 300, Compression::None);
    let trailer_at = bytes.len() - TRAILER_LEN;
    let trailer = Trailer::decode(ID, trailer_at as u64, &bytes[trailer_at..]).expect("undamaged");
    for at in trailer.filter.range {
        bytes[at as usize] = 0;
    }
    let run = open(&world, bytes, ReadMode::Mapped).expect("a filter is derived data");
    assert!(run.filter_damage().is_some());
    for (key, head) in &entries {
        let found = get(&world, &run, key).expect("blocks are whole");
        assert_eq!(found.map(|head| settled(&head)).as_ref(), Some(head));
    }
}

/// Behind the checksums: bytes are changed at random and all checksums made right again, as a hostile writer would.
#[test]
fn bytes_that_pass_their_checksums_and_make_no_sense_are_errors_and_not_panics() {
    COMPRESSIONS.iter().for_each(|compression| change_behind_checksums(*compression));
}

fn change_behind_checksums(compression: Compression) {
    let (world, bytes, entries) = one_run(8, 250, compression);
    let undamaged = open(&world, bytes.clone(), ReadMode::Mapped).expect("undamaged");
    let mut blocks: Vec<usize> =
        (0..undamaged.block_count()).map(|number| undamaged.block_offset(number) as usize).collect();
    let trailer_at = bytes.len() - TRAILER_LEN;
    let trailer = Trailer::decode(ID, trailer_at as u64, &bytes[trailer_at..]).expect("undamaged");
    blocks.push(trailer.filter.range.start as usize);
    for seed in 0..4_000 {
        let mut random = Random::new(seed);
        let mut bytes = bytes.clone();
        for _ in 0..1 + random.below(3) {
            // Half of the changes go to the few bytes behind the blocks, and of the others most to a block's head.
            let at = match random.below(4) {
                0 => HEADER_LEN as u64 + random.below((trailer_at - HEADER_LEN) as u64),
                1 => blocks[random.below(blocks.len() as u64 - 1) as usize] as u64 + random.below(40),
                _ => {
                    trailer.fences.range.start + random.below(trailer_at as u64 - trailer.fences.range.start)
                }
            };
            bytes[at as usize] = [0, 1, 0x7f, 0x80, 0xff, random.next() as u8][random.below(6) as usize];
        }
        for pair in blocks.windows(2) {
            let end = pair[1] - 4;
            let right = checksum(ID, pair[0] as u64, &bytes[pair[0]..end]).to_le_bytes();
            bytes[end..pair[1]].copy_from_slice(&right);
        }
        let mut trailer = trailer.clone();
        for part in [&mut trailer.filter, &mut trailer.fences, &mut trailer.properties] {
            let range = part.range.start as usize..part.range.end as usize;
            part.checksum = checksum(ID, part.range.start, &bytes[range]);
        }
        bytes.truncate(trailer_at);
        bytes.extend_from_slice(&trailer.encode(ID));
        let Ok(run) = open(&world, bytes, ReadMode::Mapped) else { continue };
        for (key, _) in entries.iter().step_by(9) {
            let _ = get(&world, &run, key);
        }
        problems(&run);
        let steps_max = run.properties().entries as usize * 70_000;
        let mut cursor = walk(run);
        let mut steps = 0;
        while let Some(Ok(_)) = if random.one_in(2) { cursor.next() } else { cursor.next_back() } {
            steps += 1;
            assert!(steps <= steps_max, "seed {seed}: a walk without end");
        }
    }
}
