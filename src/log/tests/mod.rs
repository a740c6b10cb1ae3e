//! Tests of the log, on the simulated file system: a small world with a manifest of one fact, and what may come out of it.

mod crash;
mod damage;
mod plain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::replay::Contents;
use super::*;
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::types::{Kind, Location, SegmentId, SeqNo, Stamp};
use crate::vfs::{MemoryVfs, ReadMode, Vfs};

/// Small, so that few commits fill it.
const RING_LEN: usize = 1024;
const ALLOCATE: u64 = 2048;

/// SplitMix64.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// What a commit holds. A function of seed and seqno, so that whatever is read can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    stamp: Stamp,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: Vec<u8>,
    kind: Kind,
    stamp: Option<Stamp>,
    expires_at: u64,
    meta: Vec<u8>,
    value: Vec<u8>,
}

impl Content {
    fn new(seed: u64, seqno: SeqNo) -> Content {
        let mut random = Random::new(seed ^ seqno.0 << 32);
        let stamp = Stamp { hlc: seqno.0 << 16, node: seed };
        let entries =
            (0..1 + random.below(4) / 3 * random.below(4)).map(|_| Entry::new(&mut random)).collect();
        Content { stamp, entries }
    }

    fn commit(&self, seqno: SeqNo, durable: SeqNo) -> Commit<'_> {
        let entries = self.entries.iter().map(Entry::as_log).collect();
        Commit { seqno, durable, stamp: self.stamp, entries }
    }

    fn of(commit: &Commit<'_>) -> Content {
        Content { stamp: commit.stamp, entries: commit.entries.iter().map(Entry::of).collect() }
    }
}

impl Entry {
    fn new(random: &mut Random) -> Entry {
        let mut entry = Entry {
            key: random.below(20).to_string().into_bytes(),
            kind: Kind::Put,
            stamp: (random.below(5) == 0).then(|| Stamp { hlc: random.below(99), node: 7 }),
            expires_at: random.below(6) / 5 * random.below(1 << 40),
            meta: vec![3; random.below(8) as usize / 7 * 5],
            value: Vec::new(),
        };
        match random.below(16) {
            0 => entry.kind = Kind::Tombstone,
            1 => {
                let len = RING_LEN as u64 + random.below(2000);
                entry.value = random.bytes(len);
            }
            _ => {
                let len = random.below(150);
                entry.value = random.bytes(len);
            }
        }
        entry
    }

    fn as_log(&self) -> LogEntry<'_> {
        let Entry { key, kind, stamp, expires_at, meta, value } = self;
        LogEntry { key, kind: *kind, stamp: *stamp, expires_at: *expires_at, meta, value, value_at: 0 }
    }

    fn of(entry: &LogEntry<'_>) -> Entry {
        Entry {
            key: entry.key.to_vec(),
            kind: entry.kind,
            stamp: entry.stamp,
            expires_at: entry.expires_at,
            meta: entry.meta.to_vec(),
            value: entry.value.to_vec(),
        }
    }
}

fn dir() -> &'static Path {
    Path::new("/store")
}

fn segment_path(id: u32) -> PathBuf {
    dir().join(FileKind::Segment.name(u64::from(id)))
}

fn ring_path() -> PathBuf {
    dir().join("RING")
}

/// Where the recoveries closed segments: all that the log asks of a manifest, as one file that changes at once.
fn load_ends(vfs: &MemoryVfs) -> BTreeMap<SegmentId, u64> {
    let bytes = vfs.bytes(&dir().join("ENDS")).unwrap_or_default();
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    bytes.chunks(16).map(|pair| (SegmentId(number(&pair[..8]) as u32), number(&pair[8..]))).collect()
}

fn store_ends(vfs: &MemoryVfs, ends: &BTreeMap<SegmentId, u64>) {
    let pairs = ends.iter().flat_map(|(id, end)| [u64::from(id.0).to_le_bytes(), end.to_le_bytes()]);
    vfs.put(&dir().join("ENDS"), &pairs.collect::<Vec<_>>().concat());
}

/// A log after its opening.
#[derive(Debug)]
struct Opened {
    writer: LogWriter,
    /// What was found, from commit 1 on.
    found: Vec<Content>,
    contents: Contents,
    /// Commits that had to be copied.
    copied: usize,
}

/// Opens the log as a store does: read, rewrite, replay, close the tail, and only then take commits.
fn open(vfs: &MemoryVfs) -> Result<Opened> {
    let ends = load_ends(vfs);
    let plan =
        Plan { log_start: SegmentId(1), log_ends: &ends, flushed: SeqNo::ZERO, is_being_written: false };
    let ring =
        vfs.staging(&ring_path(), RING_LEN).map_err(|source| Error::io("open", &ring_path(), source))?;
    let mode = ReadMode::Plain;
    let contents = read(vfs, dir(), &plan, &*ring, mode)?;
    let (fresh, copies) = contents.rewrite(vfs, dir(), ALLOCATE)?;
    let mut found = Vec::new();
    contents.replay(&copies, |segment, payload_at, commit| {
        assert_eq!(commit.seqno, SeqNo(found.len() as u64 + 1), "commits come in order");
        for entry in &commit.entries {
            let location =
                Location { segment, offset: payload_at + entry.value_at, len: entry.value.len() as u32 };
            assert_eq!(bytes_at(vfs, location), entry.value, "the value lies where replay says");
        }
        found.push(Content::of(commit));
        Ok(())
    })?;
    assert_eq!(found.len() as u64, contents.last.0, "replay reaches the last commit");
    let ends = ends.into_iter().chain(contents.ends.iter().copied()).collect();
    store_ends(vfs, &ends);
    let writer = LogWriter::new(ring, fresh);
    Ok(Opened { writer, found, contents, copied: copies.len() })
}

/// Makes the segment that `writer` needs next.
fn make_next(vfs: &dyn Vfs, dir: &Path, writer: &LogWriter, durable: SeqNo) -> Result<FreshSegment> {
    make_ahead(vfs, dir, SegmentId(writer.position().0.0 + 1), durable, ALLOCATE)
}

/// Seals the active segment, and makes all of it durable.
fn rotate(vfs: &dyn Vfs, dir: &Path, writer: &mut LogWriter) {
    let next = make_next(vfs, dir, writer, SeqNo::ZERO).expect("made");
    writer.rotate(next).expect("rotated").trim().expect("trimmed");
    writer.drain().expect("drained").sync().expect("synced");
}

fn bytes_at(vfs: &MemoryVfs, location: Location) -> Vec<u8> {
    let bytes = vfs.bytes(&segment_path(location.segment.0)).expect("the segment is there");
    bytes[location.offset as usize..][..location.len as usize].to_vec()
}
