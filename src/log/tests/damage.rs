//! Damage: a log cut at every length, with every bit flipped, with ranges zeroed and copied over others.

use std::ops::Range;

use super::*;
use crate::log::frame::{FRAME_LEN, FrameHead};

/// A log at rest: sealed segments, a tail with durable and with merely written commits, and staged ones.
struct Specimen {
    vfs: MemoryVfs,
    /// Bytes of each commit's frame in its segment, and its watermark, from commit 1 on.
    frames: Vec<(u32, Range<usize>, SeqNo)>,
}

const SEED: u64 = 5;

fn specimen() -> Specimen {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    let mut frames = Vec::new();
    let mut durable = SeqNo::ZERO;
    for seqno in (1..=14).map(SeqNo) {
        let mut content = Content::new(SEED, seqno);
        content.entries.iter_mut().for_each(|entry| entry.value.truncate(30));
        let locations = log.append(&content.commit(seqno, durable)).expect("appended");
        let (segment, end) =
            locations.last().map(|place| (place.segment.0, place.offset + place.len)).expect("entries");
        frames.push((segment, end as usize, durable));
        match seqno.0 {
            3 => {
                log.rotate().expect("rotated");
                durable = seqno;
            }
            7 | 9 => {
                log.drain().expect("drained").sync().expect("synced");
                durable = seqno;
            }
            12 => drop(log.drain().expect("drained")),
            _ => {}
        }
    }
    let frames = frames
        .into_iter()
        .map(|(segment, end, durable)| (segment, frame_ending(&vfs, segment, end), durable));
    Specimen { frames: frames.collect(), vfs }
}

/// The frame of `segment` that ends at `end`. In the ring, if the file does not have it yet.
fn frame_ending(vfs: &MemoryVfs, segment: u32, end: usize) -> Range<usize> {
    let mut bytes = vfs.bytes(&segment_path(segment)).expect("there");
    let ring = vfs.bytes(&ring_path()).expect("there");
    let word = u64::from_le_bytes(*ring.first_chunk().expect("a word"));
    if (word >> 32) as u32 == segment {
        bytes.truncate(word as u32 as usize);
        bytes.extend_from_slice(&ring[8..]);
    }
    let mut at = crate::format::HEADER_LEN;
    loop {
        let len = FrameHead::decode(&bytes[at..]).expect("a frame").len as usize + FRAME_LEN;
        if at + len >= end {
            return at..at + len;
        }
        at += len;
    }
}

impl Specimen {
    /// Opens a damaged copy: it must fail typed, or give a prefix of right commits that no intact commit proves too short.
    fn check(&self, damaged: &MemoryVfs, what: &str) -> Outcome {
        let opened = match open(&damaged.kill()) {
            Ok(opened) => opened,
            Err(Error::Corruption { .. } | Error::UnsupportedVersion { .. }) => return Outcome::Refused,
            Err(error) => panic!("{what}: {error}"),
        };
        for (seqno, found) in (1..).map(SeqNo).zip(&opened.found) {
            let mut content = Content::new(SEED, seqno);
            content.entries.iter_mut().for_each(|entry| entry.value.truncate(30));
            assert_eq!(*found, content, "{what}: commit {seqno:?} came back changed");
        }
        let last = opened.contents.last;
        for (segment, range, durable) in self.frames.iter().skip(opened.found.len() + 1) {
            let is_intact = damaged
                .bytes(&segment_path(*segment))
                .ok()
                .as_ref()
                .and_then(|bytes| bytes.get(range.clone()))
                == self.vfs.bytes(&segment_path(*segment)).expect("there").get(range.clone());
            assert!(
                !is_intact || *durable <= last,
                "{what}: commits up to {durable:?} were durable, {last:?} is the last"
            );
        }
        match opened.found.len() == self.frames.len() {
            true => Outcome::Whole,
            false => Outcome::Cut { torn_bytes: opened.contents.torn_bytes },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Whole,
    Refused,
    Cut { torn_bytes: u64 },
}

#[test]
fn a_log_cut_at_any_length_keeps_its_whole_commits() {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    let mut ends = Vec::new();
    for seqno in (1..=8).map(SeqNo) {
        let locations = log.append(&Content::new(SEED, seqno).commit(seqno, SeqNo::ZERO)).expect("appended");
        ends.push(locations.last().map_or(0, |place| place.offset + place.len) as usize);
    }
    log.drain().expect("drained");
    let whole = vfs.bytes(&segment_path(1)).expect("there");
    let first = frame_ending(&vfs, 1, ends[0]).start;
    for len in 0..=whole.len() {
        let cut = vfs.kill();
        cut.put(&segment_path(1), &whole[..len]);
        cut.put(&ring_path(), &[]);
        match open(&cut) {
            // Its name says that the header was durable once.
            Err(error) => {
                assert!(len < first && matches!(error, Error::Corruption { .. }), "{len} bytes: {error}")
            }
            Ok(opened) => {
                let kept = ends.iter().filter(|end| **end <= len).count();
                assert_eq!(opened.found.len(), kept, "of {len} bytes");
                let begun = ends.get(kept).map_or(0, |end| frame_ending(&vfs, 1, *end).start);
                assert_eq!(opened.contents.torn_bytes > 0, kept < 8 && len > begun, "of {len} bytes");
            }
        }
    }
}

#[test]
fn no_flipped_bit_changes_a_commit_or_takes_a_durable_one_away_in_silence() {
    let specimen = specimen();
    let (mut refused, mut cut, mut whole) = (0, 0, 0);
    for path in [segment_path(1), segment_path(2), ring_path()] {
        let len = specimen.vfs.bytes(&path).expect("there").len();
        for (offset, bit) in (0..len).flat_map(|offset| (0..8).map(move |bit| (offset, bit))) {
            let damaged = specimen.vfs.kill();
            damaged.flip(&path, offset, 1 << bit).expect("within");
            let what = format!("bit {bit} of byte {offset} of {}", path.display());
            match specimen.check(&damaged, &what) {
                Outcome::Refused => refused += 1,
                Outcome::Whole => whole += 1,
                Outcome::Cut { torn_bytes } => {
                    assert!(torn_bytes > 0 || path == ring_path(), "{what}: cut, and not reported");
                    cut += 1;
                }
            }
        }
    }
    println!("{refused} refused, {cut} cut at an unproven tail, {whole} whole");
    assert!(refused > 1000 && cut > 100 && whole > 1000);
}

#[test]
fn zeroed_copied_and_swapped_ranges_are_found_as_well() {
    let specimen = specimen();
    for seed in 0..6000 {
        let mut random = Random::new(seed);
        let path = [segment_path(1), segment_path(2)][random.below(2) as usize].clone();
        let mut bytes = specimen.vfs.bytes(&path).expect("there");
        let len = bytes.len() as u64;
        let (a, b) = (random.below(len) as usize, random.below(len) as usize);
        let count = random.below(200).min(len - a.max(b) as u64) as usize;
        match random.below(4) {
            0 => bytes[a..a + count].fill(0),
            1 => bytes.copy_within(a..a + count, b),
            2 => (0..count).for_each(|index| bytes.swap(a + index, b + index)),
            _ => bytes.truncate(a),
        }
        let damaged = specimen.vfs.kill();
        damaged.put(&path, &bytes);
        specimen.check(&damaged, &format!("seed {seed}"));
    }
}

#[test]
fn a_missing_segment_is_corruption_wherever_it_was() {
    let specimen = specimen();
    for (id, remaining) in [(1, true), (2, false)] {
        let damaged = specimen.vfs.kill();
        damaged.remove(&segment_path(id)).expect("removed");
        // Without the last one, what is left looks like a log that was just sealed, unless the manifest closed it.
        assert_eq!(specimen.check(&damaged, "missing") == Outcome::Refused, remaining, "segment {id}");
    }
    let vfs = specimen.vfs.kill();
    let opened = open(&vfs).expect("opens");
    drop(opened);
    vfs.remove(&segment_path(3)).expect("removed");
    assert!(matches!(open(&vfs), Err(Error::Corruption { .. })), "the manifest closed segment 2");
}
