//! Damage: a log cut at every length, with every bit flipped, with ranges zeroed and copied over others.

use std::ops::Range;

use super::*;
use crate::log::frame::{FRAME_LEN, FrameHead};
use crate::log::writer::parse_word;

/// A log at rest: a sealed segment, a tail with durable and with merely written commits, and staged ones.
struct Specimen {
    vfs: MemoryVfs,
    /// Of each commit, from 1 on: segment, bytes of its frame there, watermark.
    frames: BTreeMap<SeqNo, (u32, Range<usize>, SeqNo)>,
}

const SEED: u64 = 5;

fn content(seqno: SeqNo) -> Content {
    let mut content = Content::new(SEED, seqno);
    content.entries.iter_mut().for_each(|entry| entry.value.truncate(30));
    content
}

/// The log, the same after its staging ring was lost, and the same after another opening.
fn specimens() -> [Specimen; 3] {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    let mut durable = SeqNo::ZERO;
    for seqno in (1..=14).map(SeqNo) {
        log.append(&content(seqno).commit(seqno, durable)).expect("appended");
        match seqno.0 {
            3 => {
                rotate(&vfs, dir(), &mut log);
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
    let (without_ring, reopened) = (vfs.kill(), vfs.kill());
    without_ring.put(&ring_path(), &[]);
    open(&reopened).expect("opens");
    [vfs, without_ring, reopened].map(|vfs| Specimen { frames: frames(&vfs), vfs })
}

/// The frames of all commits. Where one was copied, the copy's.
fn frames(vfs: &MemoryVfs) -> BTreeMap<SeqNo, (u32, Range<usize>, SeqNo)> {
    let mut frames = BTreeMap::new();
    for id in vfs.list(dir()).expect("listed").iter().filter_map(|name| FileKind::Segment.id_in(name)) {
        let segment = SegmentId(id as u32);
        let bytes = bytes_of(vfs, segment.0);
        let mut at = crate::format::HEADER_LEN;
        while let Some(head) = bytes.get(at..).and_then(FrameHead::decode) {
            let end = at + FRAME_LEN + head.len as usize;
            let Some(payload) = bytes.get(at + FRAME_LEN..end).filter(|payload| !payload.is_empty()) else {
                break;
            };
            if FrameHead::of(segment, at as u32, payload).checksum != head.checksum {
                break;
            }
            if let Ok(commit) = Commit::decode(payload) {
                frames.insert(commit.seqno, (segment.0, at..end, commit.durable));
            }
            at = end;
        }
    }
    frames
}

/// The bytes of a segment, carried on by the ring; empty if it is missing.
fn bytes_of(vfs: &MemoryVfs, id: u32) -> Vec<u8> {
    let mut bytes = vfs.bytes(&segment_path(id)).unwrap_or_default();
    let ring = vfs.bytes(&ring_path()).unwrap_or_default();
    let (segment, base) = parse_word(ring.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
    if segment == SegmentId(id) && (base as usize) < bytes.len() {
        bytes.truncate(base as usize);
        bytes.extend_from_slice(&ring[8..]);
    }
    bytes
}

impl Specimen {
    /// Opens a damaged copy: it must fail and name `path`, no later than at byte `offset`, or give a prefix of right commits
    /// that no intact commit proves too short.
    fn check(&self, damaged: &MemoryVfs, path: &Path, offset: usize, what: &str) -> Outcome {
        let opened = match open(&damaged.kill()) {
            Ok(opened) => opened,
            Err(Error::Corruption { file, offset: found, .. }) if path != ring_path() => {
                let is_near = found <= offset.max(crate::format::HEADER_LEN) as u64;
                assert!(file == path && is_near, "{what}: blamed byte {found} of {}", file.display());
                return Outcome::Refused;
            }
            Err(Error::Corruption { .. }) => return Outcome::Refused,
            Err(error) => panic!("{what}: {error}"),
        };
        for (seqno, found) in (1..).map(SeqNo).zip(&opened.found) {
            assert_eq!(*found, content(seqno), "{what}: commit {seqno:?} came back changed");
        }
        let last = opened.contents.last;
        for (segment, range, durable) in self.frames.range(last.next().next()..).map(|(_, frame)| frame) {
            let bytes = |vfs| bytes_of(vfs, *segment).get(range.clone()).map(<[u8]>::to_vec);
            let is_intact = bytes(damaged) == bytes(&self.vfs);
            assert!(!is_intact || *durable <= last, "{what}: {durable:?} was durable, {last:?} is the last");
        }
        match opened.found.len() == self.frames.len() {
            true => Outcome::Whole,
            false => Outcome::Cut { torn_bytes: opened.contents.torn_bytes },
        }
    }

    fn segments(&self) -> Vec<PathBuf> {
        let names = self.vfs.list(dir()).expect("listed");
        names.iter().filter(|name| name.ends_with(".log")).map(|name| dir().join(name)).collect()
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
    for seqno in (1..=8).map(SeqNo) {
        log.append(&Content::new(SEED, seqno).commit(seqno, SeqNo::ZERO)).expect("appended");
    }
    log.drain().expect("drained");
    let frames: Vec<Range<usize>> = frames(&vfs).into_values().map(|(_, range, _)| range).collect();
    let whole = vfs.bytes(&segment_path(1)).expect("there");
    for len in 0..=whole.len() {
        let cut = vfs.kill();
        cut.put(&segment_path(1), &whole[..len]);
        cut.put(&ring_path(), &[]);
        match open(&cut) {
            // Its name says that the header was durable once.
            Err(error) => {
                let is_header = len < frames[0].start;
                assert!(is_header && matches!(error, Error::Corruption { .. }), "{len} bytes: {error}");
            }
            Ok(opened) => {
                let kept = frames.iter().filter(|range| range.end <= len).count();
                assert_eq!(opened.found.len(), kept, "of {len} bytes");
                let has_torn = frames.get(kept).is_some_and(|range| range.start < len);
                assert_eq!(opened.contents.torn_bytes > 0, has_torn, "of {len} bytes");
            }
        }
    }
}

#[test]
fn no_flipped_bit_changes_a_commit_or_takes_a_durable_one_away_in_silence() {
    for (index, specimen) in specimens().iter().enumerate() {
        let (mut refused, mut cut, mut whole) = (0, 0, 0);
        for path in specimen.segments().into_iter().chain([ring_path()]) {
            let len = specimen.vfs.bytes(&path).expect("there").len();
            for (offset, bit) in (0..len).flat_map(|offset| (0..8).map(move |bit| (offset, bit))) {
                let damaged = specimen.vfs.kill();
                damaged.flip(&path, offset, 1 << bit).expect("within");
                let what = format!("specimen {index}, bit {bit} of byte {offset} of {}", path.display());
                match specimen.check(&damaged, &path, offset, &what) {
                    Outcome::Refused => refused += 1,
                    Outcome::Whole => whole += 1,
                    Outcome::Cut { torn_bytes } => {
                        assert!(torn_bytes > 0 || path == ring_path(), "{what}: cut, and not reported");
                        cut += 1;
                    }
                }
            }
        }
        println!("specimen {index}: {refused} refused, {cut} cut at an unproven tail, {whole} whole");
        assert!(refused > 1000 && cut > 1000 && whole > 1000);
    }
}

#[test]
fn zeroed_copied_and_swapped_ranges_are_found_as_well() {
    for (index, specimen) in specimens().iter().enumerate() {
        let paths = specimen.segments();
        for seed in 0..3000 {
            let mut random = Random::new(seed);
            let path = &paths[random.below(paths.len() as u64) as usize];
            let mut bytes = specimen.vfs.bytes(path).expect("there");
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
            damaged.put(path, &bytes);
            specimen.check(&damaged, path, len as usize, &format!("specimen {index}, seed {seed}"));
        }
    }
}

#[test]
fn a_segment_made_ahead_proves_what_was_durable_before_it() {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    for seqno in (1..=3).map(SeqNo) {
        log.append(&content(seqno).commit(seqno, SeqNo::ZERO)).expect("appended");
    }
    log.drain().expect("drained").sync().expect("synced");
    make_next(&vfs, dir(), &log, SeqNo(3)).expect("made");
    for offset in frames(&vfs).into_values().flat_map(|(_, range, _)| range) {
        let damaged = vfs.kill();
        damaged.flip(&segment_path(1), offset, 1).expect("within");
        assert!(matches!(open(&damaged), Err(Error::Corruption { .. })), "byte {offset}");
    }
}

#[test]
fn behind_an_unproven_segment_that_is_not_whole_everything_is_left_out_and_reported() {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    for seqno in (1..=6).map(SeqNo) {
        if seqno == SeqNo(4) {
            let next = make_next(&vfs, dir(), &log, SeqNo::ZERO).expect("made");
            log.rotate(next).expect("rotated");
        }
        log.append(&content(seqno).commit(seqno, SeqNo::ZERO)).expect("appended");
    }
    let later = log.end();
    log.drain().expect("drained");
    let frames = frames(&vfs);
    for offset in frames[&SeqNo(2)].1.clone() {
        let damaged = vfs.kill();
        damaged.flip(&segment_path(1), offset, 1).expect("within");
        let opened = open(&damaged).expect("no promise is broken");
        assert_eq!(opened.found.len(), 1, "byte {offset}");
        let left_out = (frames[&SeqNo(3)].1.end - frames[&SeqNo(2)].1.start) as u64 + later;
        assert!(opened.contents.torn_bytes.abs_diff(left_out) < 64, "{:?}", opened.contents);
        // Nor does it come back behind what is written from now on.
        let mut log = opened.writer;
        log.append(&content(SeqNo(2)).commit(SeqNo(2), SeqNo(1))).expect("appended");
        assert_eq!(open(&damaged.kill()).expect("opens").found, [1, 2].map(|seqno| content(SeqNo(seqno))));
    }
}

#[test]
fn a_missing_segment_is_corruption() {
    let [with_ring, without_ring, reopened] = specimens();
    let is_refused = |specimen: &Specimen, id| {
        let damaged = specimen.vfs.kill();
        damaged.remove(&segment_path(id)).expect("removed");
        matches!(open(&damaged), Err(Error::Corruption { .. }))
    };
    assert!(is_refused(&with_ring, 1) && is_refused(&with_ring, 2), "the ring names the last segment");
    assert!(is_refused(&without_ring, 1));
    assert!((1..=3).all(|id| is_refused(&reopened, id)), "the manifest closed segment 2");

    // All that is left is what the manifest says.
    let (vfs, log_ends) = (MemoryVfs::new(), BTreeMap::new());
    let plan =
        Plan { log_start: SegmentId(3), log_ends: &log_ends, flushed: SeqNo(9), is_being_written: false };
    let ring = vfs.staging(&ring_path(), RING_LEN).expect("opened");
    let found = read(&vfs, dir(), &plan, &*ring, ReadMode::Plain);
    assert!(matches!(found, Err(Error::Corruption { .. })));
}

#[test]
fn bytes_of_another_log_are_not_taken_for_this_ones() {
    let sealed = |byte| {
        let vfs = MemoryVfs::new();
        let mut log = open(&vfs).expect("a new log opens").writer;
        for seqno in (1..=3).map(SeqNo) {
            let mut content = content(seqno);
            content.entries.iter_mut().for_each(|entry| entry.value.fill(byte));
            log.append(&content.commit(seqno, SeqNo::ZERO)).expect("appended");
        }
        rotate(&vfs, dir(), &mut log);
        vfs
    };
    let (ours, others) = (sealed(1), sealed(2));
    assert_eq!(open(&ours.kill()).expect("opens").found.len(), 3);
    // A whole segment, then one frame of the same length: every checksum of a frame is right.
    let (mut bytes, foreign) = (bytes_of(&ours, 1), bytes_of(&others, 1));
    let damaged = ours.kill();
    damaged.put(&segment_path(1), &foreign);
    assert!(matches!(open(&damaged), Err(Error::Corruption { .. })));
    let (_, range, _) = frames(&ours)[&SeqNo(2)].clone();
    bytes[range.clone()].copy_from_slice(&foreign[range]);
    ours.put(&segment_path(1), &bytes);
    assert!(matches!(open(&ours.kill()), Err(Error::Corruption { .. })), "the next header tells");
    ours.remove(&segment_path(2)).expect("removed");
    ours.put(&ring_path(), &[]);
    assert!(matches!(open(&ours), Err(Error::Corruption { .. })), "the footer tells");
}
