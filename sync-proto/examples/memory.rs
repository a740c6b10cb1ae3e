//! What a session holds in memory, by an allocator that counts: both sides together, with the frames and answers between them.
//!
//! The replicas are made up: entries by their numbers, which cost nothing, so that what is counted is the sessions'. Either every
//! key is stale on the right, or each side has every other key. Values have 100 bytes.
//!
//! `cargo run --release -p sync-proto --no-default-features --example memory [n]`

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use sync_proto::driver::run_pair;
use sync_proto::{
    Applied, Children, Cut, Entries, Entry, Fetched, Fingerprint, Head, Heads, KeyRange, Kind, Options,
    Origin, Piece, RangeEntries, RangeSum, ReadLimit, Replica, ReplicaError, ReplicaInfo, ReplicaReader,
    Stamp, ValueWriter,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const VALUE_LEN: usize = 100;
/// Entries whose sum is kept.
const BLOCK_LEN: usize = 64;
/// One key in 2^6 is a fence.
const BUCKET_BITS: u32 = 6;

/// The system's allocator, counting.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(added: usize, freed: usize) {
    let live = LIVE.fetch_add(added, Relaxed) + added - freed;
    LIVE.fetch_sub(freed, Relaxed);
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: every call is passed on as it is.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Which version of each key is held: 0 for none. And the sums of blocks.
#[derive(Clone)]
struct Versions {
    of: Vec<u8>,
    blocks: Vec<RangeSum>,
}

impl Versions {
    fn new(n: usize, version: impl Fn(usize) -> u8) -> Versions {
        let of: Vec<u8> = (0..n).map(version).collect();
        let mut versions = Versions { of, blocks: Vec::new() };
        versions.blocks =
            (0..n).step_by(BLOCK_LEN).map(|at| versions.sum_of_each(at, at + BLOCK_LEN)).collect();
        versions
    }

    fn copy_from(&mut self, other: &Versions) {
        self.of.copy_from_slice(&other.of);
        self.blocks.copy_from_slice(&other.blocks);
    }

    fn set(&mut self, at: usize, version: u8) {
        self.of[at] = version;
        let start = at / BLOCK_LEN * BLOCK_LEN;
        self.blocks[at / BLOCK_LEN] = self.sum_of_each(start, start + BLOCK_LEN);
    }

    fn sum_of_each(&self, from: usize, to: usize) -> RangeSum {
        self.held(from, to.min(self.of.len())).map(|(at, version)| head(at, version).sum()).sum()
    }

    fn sum(&self, from: usize, to: usize) -> RangeSum {
        let (first, last) = (from.div_ceil(BLOCK_LEN), to / BLOCK_LEN);
        if first >= last {
            return self.sum_of_each(from, to);
        }
        let whole: RangeSum = self.blocks[first..last].iter().copied().sum();
        self.sum_of_each(from, first * BLOCK_LEN) + whole + self.sum_of_each(last * BLOCK_LEN, to)
    }

    fn held(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, u8)> {
        (from..to.max(from)).map(|at| (at, self.of[at])).filter(|(_, version)| *version > 0)
    }

    /// The first number whose key is not below `bound`.
    fn number_of(&self, bound: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.of.len());
        while low < high {
            let middle = (low + high) / 2;
            if key(middle).as_slice() < bound { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn numbers(&self, range: &KeyRange) -> (usize, usize) {
        let end = range.end.as_ref().map_or(self.of.len(), |end| self.number_of(end));
        (self.number_of(&range.start), end)
    }
}

fn key(at: usize) -> Vec<u8> {
    [&[1], &(at as u64).to_be_bytes()[..], b"some 20 bytes of key"].concat()
}

fn stamp(version: u8) -> Stamp {
    Stamp { hlc: u64::from(version) << 40, node: 7 }
}

fn head(at: usize, version: u8) -> Head {
    let hash = xxh3_128(&((at as u64) << 8 | u64::from(version)).to_le_bytes());
    let (key, value_len) = (key(at), VALUE_LEN as u64);
    Head { key, stamp: stamp(version), kind: Kind::Put, expires_at: 0, hash, value_len, is_merged: false }
}

fn fetched(at: usize, version: u8) -> Fetched {
    let (key, value) = (key(at), vec![version; VALUE_LEN]);
    Fetched::Whole(Entry {
        key,
        stamp: stamp(version),
        kind: Kind::Put,
        expires_at: 0,
        meta: Vec::new(),
        value,
    })
}

fn level(at: usize) -> Option<u8> {
    xxh3_64(&key(at)).trailing_zeros().checked_sub(BUCKET_BITS).map(|level| level as u8)
}

/// A replica, and room for two readers of it.
struct Made {
    node: u64,
    now: Arc<Mutex<Versions>>,
    room: Arc<Mutex<Vec<Versions>>>,
    /// All fences with their levels.
    fences: Arc<Vec<(u32, u8)>>,
}

struct MadeReader {
    then: Option<Versions>,
    now: Arc<Mutex<Versions>>,
    room: Arc<Mutex<Vec<Versions>>>,
    fences: Arc<Vec<(u32, u8)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}

impl Made {
    fn new(node: u64, versions: Versions) -> Made {
        let fences = (0..versions.of.len()).filter_map(|at| Some((at as u32, level(at)?))).collect();
        let room = (0..2).map(|_| versions.clone()).collect();
        Made {
            node,
            fences: Arc::new(fences),
            room: Arc::new(Mutex::new(room)),
            now: Arc::new(Mutex::new(versions)),
        }
    }
}

impl Drop for MadeReader {
    fn drop(&mut self) {
        lock(&self.room).extend(self.then.take());
    }
}

impl MadeReader {
    fn then(&self) -> &Versions {
        self.then.as_ref().expect("until it is dropped")
    }

    fn pieces(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Vec<Piece> {
        let ends = bounds.iter().cloned().map(Some).chain([range.end.clone()]);
        let starts = std::iter::once(range.start.clone()).chain(bounds.iter().cloned());
        let piece = |(start, end): (Vec<u8>, Option<Vec<u8>>)| {
            let (from, to) = self.then().numbers(&KeyRange { start: start.clone(), end });
            Piece { start, sum: self.then().sum(from, to) }
        };
        starts.zip(ends).map(piece).collect()
    }
}

type Answer<T> = Result<T, ReplicaError>;

impl ReplicaReader for MadeReader {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Answer<Children> {
        let (from, to) = self.then().numbers(range);
        let first = self.fences.partition_point(|(at, _)| (*at as usize) < from);
        let last = self.fences.partition_point(|(at, _)| (*at as usize) < to);
        let fences =
            self.fences[first..last.max(first)].iter().filter(|(at, _)| self.then().of[*at as usize] > 0);
        let of_level = |level: u8| fences.clone().filter(move |(_, fence)| *fence >= level);
        let level = match cut {
            Cut::Level(level) => level,
            Cut::Pieces(pieces) => {
                let levels = (0..40).take_while(|level| *level == 0 || of_level(*level).next().is_some());
                let count = |level: &u8| of_level(*level).count().abs_diff(pieces as usize);
                levels.min_by_key(count).unwrap_or(0)
            }
        };
        let mut bounds = of_level(level).map(|(at, _)| key(*at as usize)).filter(|key| *key > range.start);
        let bounds: Vec<_> = bounds.by_ref().take(limit.count as usize).collect();
        let more = bounds.len() == limit.count as usize;
        let kept = if more { bounds.len() - 1 } else { bounds.len() };
        Ok(Children { level, pieces: self.pieces(range, &bounds[..kept]), more })
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Answer<Vec<RangeSum>> {
        Ok(self.pieces(range, bounds).into_iter().map(|piece| piece.sum).collect())
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Answer<Vec<Piece>> {
        let (from, to) = self.then().numbers(range);
        let each = self.then().held(from, to).count().div_ceil(pieces as usize).max(1);
        let bounds: Vec<_> =
            self.then().held(from, to).step_by(each).skip(1).map(|(at, _)| key(at)).collect();
        Ok(self.pieces(range, &bounds))
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Answer<Heads> {
        let (from, to) = self.then().numbers(range);
        let count = limit.count.min(limit.bytes / key(0).len() as u32).max(1) as usize;
        let mut held = self.then().held(from, to);
        let heads = held.by_ref().take(count).map(|(at, version)| head(at, version)).collect();
        Ok(Heads { heads, next: held.next().map(|(at, _)| key(at)) })
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Answer<Entries> {
        let now = lock(&self.now);
        let answered = keys.len().min(limit.count.min(limit.bytes / 200).max(1) as usize);
        let held = keys[..answered].iter().map(|key| now.number_of(key));
        let entries = held.filter(|&at| now.of[at] > 0).map(|at| fetched(at, now.of[at])).collect();
        Ok(Entries { entries, answered })
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Answer<RangeEntries> {
        let now = lock(&self.now);
        let (from, to) = now.numbers(range);
        let mut held = now.held(from, to);
        let count = limit.count.min(limit.bytes / 200).max(1) as usize;
        let entries = held.by_ref().take(count).map(|(at, version)| fetched(at, version)).collect();
        Ok(RangeEntries { entries, next: held.next().map(|(at, _)| key(at)) })
    }

    fn value(&self, _: &[u8], _: Stamp, _: u64, _: u32) -> Answer<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl Replica for Made {
    fn info(&self, _: Option<u64>) -> Answer<ReplicaInfo> {
        let now = lock(&self.now);
        Ok(ReplicaInfo {
            set_id: [1; 16],
            hash_check: [2; 8],
            node: self.node,
            opens: 1,
            durable_seqno: 0,
            horizon: 0,
            root: now.sum(0, now.of.len()),
            replicated: KeyRange { start: vec![1], end: Some(vec![2]) },
            members_checksum: 0,
            keyspaces_checksum: 0,
            read_only: false,
            has_unknown: false,
        })
    }

    fn apply(&self, entries: Vec<Entry>, _: Origin) -> Answer<Applied> {
        let (mut now, mut applied) = (lock(&self.now), Applied::default());
        for entry in entries {
            let (at, version) = (now.number_of(&entry.key), (entry.stamp.hlc >> 40) as u8);
            match version > now.of[at] {
                true => applied.applied += 1,
                false => applied.covered += 1,
            }
            let version = version.max(now.of[at]);
            now.set(at, version);
        }
        Ok(applied)
    }

    fn begin_value(&self, _: Entry, _: u64, _: Origin) -> Answer<Box<dyn ValueWriter>> {
        unreachable!("no value is long")
    }

    fn pin(&self, _: u64) -> Answer<Box<dyn ReplicaReader>> {
        let mut then = lock(&self.room).pop().expect("one reader at a time");
        then.copy_from(&lock(&self.now));
        let (now, room, fences) = (self.now.clone(), self.room.clone(), self.fences.clone());
        Ok(Box::new(MadeReader { then: Some(then), now, room, fences }))
    }

    fn persist(&self) -> Answer<()> {
        Ok(())
    }
}

/// Which version of a key is held.
type Version = fn(usize) -> u8;

fn main() {
    let n = std::env::args().nth(1).map_or(10_000_000, |n| n.parse().expect("a number"));
    println!("{n} keys; MiB of both sides together, frames and answers included");
    let shapes: [(&str, Version, Version); 3] = [
        ("every key stale on the right", |_| 2, |_| 1),
        ("every other key on each side", |at| (at % 2) as u8, |at| 1 - (at % 2) as u8),
        ("nothing on the right", |_| 1, |_| 0),
    ];
    for (name, left, right) in shapes {
        let (left, right) = (Made::new(1, Versions::new(n, left)), Made::new(2, Versions::new(n, right)));
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        let (outcome, _) = run_pair(&left, &right, Options::new(1), &mut |_| ());
        let peak = PEAK.load(Relaxed) - before;
        let report = &outcome.report;
        let moved = report.entries_sent + report.entries_received;
        let is_equal = report.root_left.fingerprint != Fingerprint(0) && report.is_equal();
        println!(
            "{name}: {:?}, {:.2} MiB; {} differ, {moved} moved, {} flights, {:.1} MB of metadata, equal: {is_equal}",
            outcome.end,
            peak as f64 / 1048576.0,
            report.entries_differing,
            report.legs,
            report.metadata_bytes as f64 / 1e6,
        );
    }
}
