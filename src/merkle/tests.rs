//! The Merkle index against a map: whatever is written, flushed, cut, deferred or reloaded, every sum is the sum of the
//! entries.
//!
//! A [`Model`] plays the store: it keeps the entries of the runs and of each memtable, hands over the partial sums that a
//! cut needs, and scans what alignment leaves over.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use super::buckets::Bucket;
use super::cut::CutMismatch;
use super::{
    Base, Bound, BucketBuilder, Cut, DECREED, PendingCut, align, covered, cut_level, load, write_next,
};
use crate::error::Error;
use crate::format::FileKind;
use crate::hash::{KeyHash, SetHasher};
use crate::types::{
    EntryHash, EntrySum, Epoch, EpochSums, FileId, KeyRange, Kind, RangeSum, SeqNo, Stamp, ValueDigest,
    successor,
};
use crate::vfs::MemoryVfs;

const BUCKET_BITS: u8 = 2;
const SEEDS: u64 = 2_000;
const DIR: &str = "/db";

type Entries = BTreeMap<Vec<u8>, EntrySum>;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A key of one of two keyspaces, some prefixes of others.
    fn key(&mut self) -> Vec<u8> {
        let mut key = keyspace(self.below(2) as u8);
        match self.below(8) {
            0 => key.truncate(9),
            1 => key.extend(vec![7; self.below(20) as usize]),
            2 => key.extend([&b"some common prefix"[..], &[self.below(60) as u8]].concat()),
            _ => key.extend_from_slice(&(self.below(300) as u16).to_be_bytes()),
        }
        key
    }

    fn range(&mut self) -> KeyRange {
        match self.below(10) {
            0 => KeyRange::all(),
            1 => KeyRange::prefix(&keyspace(self.below(2) as u8)),
            2 => KeyRange::new(self.key(), None),
            3 => KeyRange::new([], Some(self.key())),
            _ => {
                let (a, b) = (self.key(), self.key());
                KeyRange::new(a.clone().min(b.clone()), Some(a.max(b)))
            }
        }
    }
}

/// Says which seed failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

/// The prefix of one of two keyspaces; the second one ends where everything does.
fn keyspace(number: u8) -> Vec<u8> {
    if number == 0 { [1, 9, 2, 3, 4, 5, 6, 7, 8].to_vec() } else { [&[1][..], &[0xff; 8]].concat() }
}

/// The bounds that stand by decree.
fn decreed() -> Vec<Vec<u8>> {
    let ranges = [0, 1].map(|number| KeyRange::prefix(&keyspace(number)));
    let mut bounds: Vec<Vec<u8>> =
        ranges.into_iter().flat_map(|range| [Some(range.start), range.end]).flatten().collect();
    bounds.sort();
    bounds.dedup();
    bounds
}

fn hasher() -> SetHasher {
    SetHasher::new(&[3; 32])
}

/// The entry of `key` that write number `number` makes: a value, one that expires, or a tombstone.
fn entry(hash: KeyHash, number: u64) -> EntrySum {
    let kind = if number.is_multiple_of(5) { Kind::Tombstone } else { Kind::Put };
    let hash = hasher().entry(hash, Stamp { hlc: number, node: 1 }, kind, 0, &[], ValueDigest(0));
    let ends = kind == Kind::Tombstone || number % 5 == 1;
    EntrySum {
        sum: RangeSum::of_entry(hash, kind == Kind::Put, number % 100),
        epoch: ends.then_some(Epoch(number / 50)),
    }
}

fn sum_of(entries: &Entries, range: &KeyRange) -> EpochSums {
    let mut sums = EpochSums::default();
    entries.iter().filter(|(key, _)| range.contains(key)).for_each(|(_, entry)| sums.add_entry(*entry));
    sums
}

fn from_scratch(entries: &Entries) -> Base {
    let mut builder = BucketBuilder::new(BUCKET_BITS, decreed());
    entries.iter().for_each(|(key, entry)| builder.push(key, hasher().key(key), *entry));
    builder.into_base()
}

/// The smallest range around `key` whose ends are bounds of both bases.
fn surrounding(key: &[u8], a: &Base, b: &Base) -> KeyRange {
    let settle = |mut key: Vec<u8>, step: fn(&Base, &[u8]) -> Vec<u8>| loop {
        let stepped = step(b, &step(a, &key));
        if stepped == key {
            return key;
        }
        key = stepped;
    };
    let start = settle(key.to_vec(), |base, key| base.bounds().floor(key).to_vec());
    KeyRange::new(start, Some(settle(successor(key), |base, key| base.bounds().ceil(key).to_vec())))
}

/// The ranges between neighbouring common bounds of two bases in which their sums differ.
fn mismatches(a: &Base, b: &Base) -> Vec<KeyRange> {
    let sums = |base: &Base, range: &KeyRange| {
        let mut sums = EpochSums::default();
        base.buckets()
            .filter(|bucket| range.contains(&bucket.bound.key))
            .for_each(|bucket| sums.add(&bucket.sums));
        sums
    };
    let (mut start, mut different) = (covered().start, Vec::new());
    while covered().contains(&start) {
        let piece = surrounding(&start, a, b);
        start = piece.end.clone().expect("bases end");
        if sums(a, &piece) != sums(b, &piece) {
            different.push(piece);
        }
    }
    different
}

/// A memtable: what the newest write of each key left, `None` where the entry was taken away, and what was below it.
#[derive(Default)]
struct Memtable {
    writes: BTreeMap<Vec<u8>, (Option<EntrySum>, Option<EntrySum>)>,
}

impl Memtable {
    /// What the writes changed in the sum of `range`.
    fn sum(&self, range: &KeyRange) -> RangeSum {
        let inside = self.writes.iter().filter(|(key, _)| range.contains(key));
        let sum = |entry: Option<EntrySum>| entry.map_or(RangeSum::ZERO, |entry| entry.sum);
        inside.map(|(_, (added, below))| sum(*added) - sum(*below)).sum()
    }
}

struct Model {
    random: Random,
    hasher: SetHasher,
    visible: Entries,
    runs: Entries,
    memtables: Vec<Memtable>,
    base: Base,
    vfs: MemoryVfs,
    files: Vec<FileId>,
    flushed: SeqNo,
    writes: u64,
    reached: Reached,
}

/// What the seeds reached together, lest they test nothing.
#[derive(Default)]
struct Reached {
    deltas: u64,
    full: u64,
    deferred: u64,
    left_out: u64,
    whole: u64,
}

impl Model {
    fn new(seed: u64) -> Model {
        let base = BucketBuilder::new(BUCKET_BITS, decreed()).into_base();
        Model {
            random: Random(seed),
            hasher: hasher(),
            visible: Entries::new(),
            runs: Entries::new(),
            memtables: vec![Memtable::default()],
            base,
            vfs: MemoryVfs::new(),
            files: Vec::new(),
            flushed: SeqNo::ZERO,
            writes: 0,
            reached: Reached::default(),
        }
    }

    fn write(&mut self) {
        self.writes += 1;
        let key = self.random.key();
        let added = (self.random.below(20) > 0).then(|| entry(self.hasher.key(&key), self.writes));
        let removed = match added {
            Some(added) => self.visible.insert(key.clone(), added),
            None => self.visible.remove(&key),
        };
        let writes = &mut self.memtables.last_mut().expect("one is active").writes;
        writes.entry(key).or_insert((None, removed)).0 = added;
    }

    fn seal(&mut self) {
        self.memtables.push(Memtable::default());
    }

    /// Flushes the oldest memtable; of the cuts that are due, only some are made if they may be deferred.
    fn flush(&mut self, may_defer: bool) {
        if self.memtables.len() == 1 {
            self.seal();
        }
        let (mut fold, mut bounds) = (self.base.fold(), Vec::new());
        for (key, (write, below)) in self.memtables.remove(0).writes {
            fold.add(&key, write, below);
            let level = self.hasher.key(&key).fence_bits().checked_sub(BUCKET_BITS);
            match write {
                Some(entry) => self.runs.insert(key.clone(), entry),
                None => self.runs.remove(&key),
            };
            bounds.extend(level.map(|level| Bound { key, level }));
        }
        bounds.extend(decreed().into_iter().map(|key| Bound { key, level: DECREED }));
        bounds.sort();
        let folded = fold.finish();
        let mut pending = folded.pending_cuts(bounds);
        if may_defer {
            let count = pending.len();
            pending.retain(|_| self.random.below(3) > 0);
            self.reached.deferred += (count - pending.len()) as u64;
        }
        let cuts: Vec<Cut> = pending.iter().map(|pending| self.parts(pending)).collect();
        self.reached.left_out += cuts.iter().filter(|cut| cut.left_out.is_some()).count() as u64;
        let base = folded.cut(cuts).expect("parts add up");
        self.flushed = SeqNo(self.writes);
        let id = FileId(self.files.last().map_or(1, |id| id.0 + 1));
        let dir = Path::new(DIR);
        self.files =
            write_next(&self.vfs, dir, &self.files, id, self.flushed, &self.base, &base).expect("written");
        self.reached.full += u64::from(self.files.len() == 1);
        self.reached.deltas += u64::from(self.files.len() > 1);
        self.base = base;
    }

    /// The parts of a bucket as a flush hands them over.
    fn parts(&self, pending: &PendingCut) -> Cut {
        let parts = pending.parts(BUCKET_BITS, |builder, range| {
            let inside = self.runs.iter().filter(|(key, _)| range.contains(key));
            inside.for_each(|(key, entry)| builder.push(key, self.hasher.key(key), *entry));
            Ok::<_, Infallible>(())
        });
        parts.unwrap_or_else(|never| match never {})
    }

    fn reload(&mut self) {
        if self.files.is_empty() {
            return;
        }
        let loaded = load(&self.vfs, Path::new(DIR), &self.files, self.flushed).expect("undamaged");
        assert!(loaded.buckets().eq(self.base.buckets()), "files hold another base");
        assert_eq!(loaded.total(), self.base.total());
        self.base = loaded;
    }

    /// The sum of `range` as a store finds it: whole buckets, scans of the runs in what sticks out, and what memtables
    /// change.
    fn sum(&mut self, range: &KeyRange) -> RangeSum {
        let aligned = align(range, self.base.bounds());
        assert!(aligned.rest.len() <= 2);
        let mut sum: RangeSum = aligned.rest.iter().map(|rest| sum_of(&self.runs, rest).total).sum();
        if let Some(whole) = aligned.whole {
            self.reached.whole += 1;
            sum += self.base.sum(&whole);
        }
        sum + self.memtables.iter().map(|memtable| memtable.sum(range)).sum()
    }

    fn check(&mut self) {
        let range = self.random.range();
        assert_eq!(self.sum(&range), sum_of(&self.visible, &range).total, "{range:?}");
        assert_eq!(self.base.total(), sum_of(&self.runs, &covered()).total, "the base alone is the runs");
        assert_eq!(self.sum(&covered()), sum_of(&self.visible, &covered()).total);
        assert_eq!(align(&KeyRange::all(), self.base.bounds()).rest, [], "the root needs no scan");
    }

    fn check_pieces(&mut self) {
        let range = self.random.range();
        let pieces = 1 + self.random.below(20);
        let bounds = self.base.bounds();
        let count = sum_of(&self.visible, &range).total.counts.live;
        let cut = cut_level(&range, count, pieces, BUCKET_BITS, bounds);
        let inner: Vec<_> = bounds.fences(&range, cut).map(|(key, _)| key.to_vec()).collect();
        let any = bounds.fences(&range, 0).next().is_some();
        assert_eq!(inner.is_empty(), !any, "a range with fences falls into two pieces at least");
        assert!(inner.is_sorted_by(|a, b| a < b));
        assert!(inner.iter().all(|key| range.contains(key) && *key != range.start));
        let between: Vec<_> =
            inner.windows(2).map(|pair| KeyRange::new(pair[0].clone(), Some(pair[1].clone()))).collect();
        for piece in between {
            assert_eq!(align(&piece, bounds).whole, Some(piece), "pieces between fences need no scan");
        }
    }
}

#[test]
fn every_sum_is_the_sum_of_the_entries_whatever_happens() {
    let mut reached = Reached::default();
    for seed in 0..SEEDS {
        let _seed = Seed(seed);
        let mut model = Model::new(seed);
        for _ in 0..model.random.below(250) {
            match model.random.below(100) {
                0..80 => model.write(),
                80..83 => model.seal(),
                83..87 => model.flush(true),
                87..89 => model.flush(false),
                89..91 => model.reload(),
                91..97 => model.check(),
                _ => model.check_pieces(),
            }
        }
        while model.memtables.len() > 1 {
            model.flush(true);
        }
        model.flush(false);
        model.check();
        model.reload();

        let scratch = from_scratch(&model.visible);
        assert_eq!(mismatches(&model.base, &scratch), [], "the history shows");
        assert_eq!(model.base.total(), scratch.total());
        assert!(scratch.buckets().all(|bucket| covered().contains(&bucket.bound.key)));
        for bound in model.base.buckets().map(|bucket| bucket.bound) {
            let level = scratch.bounds().level_of(&bound.key);
            assert!(level.is_none_or(|level| level == bound.level), "{bound:?} is of level {level:?}");
        }
        reached.deltas += model.reached.deltas;
        reached.full += model.reached.full;
        reached.deferred += model.reached.deferred;
        reached.left_out += model.reached.left_out;
        reached.whole += model.reached.whole;
    }
    let Reached { deltas, full, deferred, left_out, whole } = reached;
    let least = [deltas, full, deferred, left_out, whole];
    assert!(least.into_iter().all(|count| count > SEEDS), "too little was reached: {least:?}");
}

/// Distinct keys in order, with an entry each.
fn entries(count: u64) -> Entries {
    let key = |number: u64| [&keyspace(0)[..], &number.to_be_bytes()].concat();
    (0..count).map(|number| (key(number), entry(hasher().key(&key(number)), number))).collect()
}

#[test]
fn a_range_falls_into_about_as_many_pieces_as_asked_for() {
    let entries = entries(4_000);
    let base = from_scratch(&entries);
    for pieces in [4, 16, 64, 256] {
        let cut = cut_level(&covered(), 4_000, pieces, BUCKET_BITS, base.bounds());
        let found = base.bounds().fences(&covered(), cut).count() as u64;
        assert!((pieces / 2..pieces * 4).contains(&found), "{found} instead of {pieces}");
    }
}

#[test]
fn the_bytes_of_a_small_file_are_the_documented_ones() {
    let entry =
        |hash, live, bytes, epoch| EntrySum { sum: RangeSum::of_entry(EntryHash(hash), live, bytes), epoch };
    let fence = KeyHash(0b10100 << 64);
    let mut builder = BucketBuilder::new(2, []);
    builder.push(b"\x01aa", KeyHash(1 << 64), entry(0x11, true, 5, None));
    builder.push(b"\x01ab", fence, entry(0x22, true, 200, None));
    builder.push(b"\x01ac", KeyHash(1 << 64), entry(0x44, false, 2, Some(Epoch(300))));
    let (vfs, dir) = (MemoryVfs::new(), Path::new(DIR));
    let base = builder.into_base();
    write_next(&vfs, dir, &[], FileId(7), SeqNo(9), &Base::default(), &base).expect("written");
    let bytes = vfs.bytes(&dir.join(FileKind::Merkle.name(7))).expect("there");
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = hex.chunks(16).map(|line| line.join(" ")).collect();
    assert_eq!(lines.join("\n"), GOLDEN);
}

/// The worked example of the format's documentation.
const GOLDEN: &str = "\
53 59 4e 43 4d 52 4b 4c 01 00 00 00 c3 a2 5d 12
11 00 00 00 4c f1 b2 3c 01 07 00 00 00 00 00 00
00 09 00 00 00 00 00 00 00 47 00 00 00 e3 46 1a
74 00 01 01 ff 11 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 01 00 05 00 01 02 61 62 00 66 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 01
ca 01 01 ac 02 44 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 01 02 1c 00 00 00 da a3 3d 02
02 00 00 00 00 00 00 00 77 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 02 01 cf 01";

#[test]
fn a_damaged_byte_in_a_file_is_corruption_and_never_another_sum() {
    let (vfs, dir) = (MemoryVfs::new(), Path::new(DIR));
    let old = from_scratch(&entries(120));
    let full = write_next(&vfs, dir, &[], FileId(1), SeqNo(120), &Base::default(), &old).expect("written");
    let (key, removed) = entries(120).pop_first().expect("there are some");
    let mut fold = old.fold();
    fold.add(&key, None, Some(removed));
    let new = fold.finish();
    let ids = write_next(&vfs, dir, &full, FileId(2), SeqNo(121), &old, &new).expect("written");
    assert_eq!(ids, [FileId(1), FileId(2)]);
    assert!(load(&vfs, dir, &ids, SeqNo(121)).expect("undamaged").buckets().eq(new.buckets()));

    let is_corruption_as_of = |flushed: u64, ids: &[FileId], what: &str| {
        let outcome = load(&vfs, dir, ids, SeqNo(flushed)).map(|base| base.total());
        assert!(matches!(outcome, Err(Error::Corruption { .. })), "{what}: {outcome:?}");
    };
    let is_corruption = |ids: &[FileId], what: &str| is_corruption_as_of(121, ids, what);
    for id in &ids {
        let path = dir.join(FileKind::Merkle.name(id.0));
        let bytes = vfs.bytes(&path).expect("there");
        for offset in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                vfs.put(&path, &bytes);
                vfs.flip(&path, offset, mask).expect("there");
                is_corruption(&ids, &format!("{path:?} byte {offset} mask {mask}"));
            }
            vfs.put(&path, &bytes[..offset]);
            is_corruption(&ids, &format!("{path:?} cut to {offset} bytes"));
        }
        vfs.put(&path, &[&bytes[..], &[0]].concat());
        is_corruption(&ids, "a byte too many");
        vfs.put(&path, &bytes);
    }
    is_corruption(&ids[..1], "the delta is missing");
    is_corruption(&ids[1..], "the full file is missing");
    is_corruption_as_of(120, &[FileId(1), FileId(1)], "a full file in place of a delta");
    vfs.put(
        &dir.join(FileKind::Merkle.name(2)),
        &vfs.bytes(&dir.join(FileKind::Merkle.name(1))).expect("there"),
    );
    is_corruption_as_of(120, &[FileId(2)], "a file under another name");
}

#[test]
fn parts_that_do_not_add_up_are_told() {
    let entries = entries(40);
    let whole = BucketBuilder::new(64, []);
    let base = |mut builder: BucketBuilder| {
        entries.iter().for_each(|(key, entry)| builder.push(key, hasher().key(key), *entry));
        builder.into_base()
    };
    let base = base(whole);
    let middle = entries.keys().nth(20).expect("forty").clone();
    let pending = base.pending_cuts([Bound { key: middle, level: 0 }]);
    let cut = |skipped: usize| {
        let mut builder = BucketBuilder::of_cut(BUCKET_BITS, &pending[0]);
        let read = entries.iter().enumerate().filter(|(index, _)| *index != skipped);
        read.for_each(|(_, (key, entry))| builder.push(key, hasher().key(key), *entry));
        Cut { parts: builder.into_buckets(), left_out: None }
    };
    assert!(base.cut([cut(usize::MAX)]).is_ok());
    let mismatch = CutMismatch { range: covered() };
    assert_eq!(base.cut([cut(7)]).err(), Some(mismatch.clone()), "an entry is missing");
    let mut disordered = cut(usize::MAX);
    disordered.parts.last_mut().expect("parts").bound.key.clear();
    assert_eq!(base.cut([disordered]).err(), Some(mismatch.clone()), "a part is out of order");
    let mut outside = cut(usize::MAX);
    outside.parts.last_mut().expect("parts").bound.key = vec![3];
    assert_eq!(base.cut([outside]).err(), Some(mismatch), "a part lies outside");
    let elsewhere = Bucket { bound: Bound { key: successor(&[1]), level: 0 }, sums: EpochSums::default() };
    let elsewhere = Cut { parts: vec![elsewhere], left_out: None };
    assert!(base.cut([elsewhere]).is_err(), "no bucket begins there");
    let mut too_much = Cut { left_out: Some(0), ..cut(usize::MAX) };
    let twice = EpochSums { total: base.total() + base.total(), ..EpochSums::default() };
    too_much.parts.last_mut().expect("parts").sums = twice;
    assert!(base.cut([too_much]).is_err(), "nothing is left for the part that was left out");
}

#[test]
fn an_epoch_leaves_every_sum_at_once() {
    let entries = entries(200);
    let base = from_scratch(&entries);
    let range = base.bounds().bucket_range(entries.keys().nth(100).expect("two hundred"));
    let half = KeyRange::new(covered().start, range.end);
    for through in [0, 1, 3].map(Epoch) {
        let left = entries.iter().filter(|(_, entry)| entry.epoch.is_none_or(|epoch| epoch > through));
        let left = from_scratch(&left.map(|(key, entry)| (key.clone(), *entry)).collect());
        let expired = base.expire(through);
        assert_eq!(mismatches(&expired, &left), []);
        assert_eq!(base.sum(&half) - base.ended(&half, through), expired.sum(&half));
    }
}
