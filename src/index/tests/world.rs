//! A store of memtables and runs, the model that it must agree with, and the files it lies in.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::hash::SetHasher;
use crate::index::{Below, Levels, Memtable, MergeCursor, Run, RunWriter};
use crate::types::{
    Compression, FileId, Head, KeyRange, Kind, Location, SegmentId, SeqNo, Slice, Stamp, ValueRef,
};
use crate::vfs::{LockGuard, ReadMode, ReadableFile, Staging, Vfs, WritableFile};

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to choose test cases.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Bytes of which about a half can be compressed away.
    fn half_random_bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = self.bytes(len / 2);
        bytes.resize(len, b'.');
        bytes
    }

    /// An inner key: one of few keyspaces, and a rest that is empty, short, long, or like many others.
    pub(super) fn key(&mut self) -> Vec<u8> {
        let mut key = vec![1, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x11, self.below(3) as u8];
        let number = self.below(300);
        match self.below(8) {
            0 => {}
            1 => key.extend_from_slice(&[0xff; 12][..self.below(12) as usize]),
            2 => key.extend_from_slice(&[0; 12][..self.below(12) as usize]),
            3 => key.extend_from_slice(format!("eight---{number}").as_bytes()),
            4 => key.extend_from_slice(format!("a/common/prefix/of/many/keys/{number:06}").as_bytes()),
            5 => key.extend(std::iter::repeat_n(b'x', number as usize * 8)),
            _ => key.extend_from_slice(&number.to_be_bytes()[6..]),
        }
        key
    }

    /// A head of commit `seqno` with a value of any kind.
    pub(super) fn head(&mut self, seqno: u64, hasher: &SetHasher) -> Head {
        let kind = if self.one_in(5) { Kind::Tombstone } else { Kind::Put };
        let len = match self.below(10) {
            _ if kind == Kind::Tombstone => 0,
            0 => 0,
            1 => self.below(9_000),
            _ => self.below(120),
        };
        let bytes = Slice::from(self.half_random_bytes(len as usize));
        let digest = hasher.value(&bytes);
        let location = Location {
            segment: SegmentId(1 + self.below(4) as u32),
            offset: self.next() as u32,
            len: len as u32,
        };
        let value = match kind {
            Kind::Put if len > 100 => ValueRef::Staged { value: bytes, location },
            _ => ValueRef::Inline(bytes),
        };
        let expires_at = if self.one_in(6) { 1 + self.below(1 << 42) } else { 0 };
        let meta = if self.one_in(6) { Slice::from(self.bytes(20)) } else { Slice::empty() };
        let hlc = (1_700_000_000_000 << 16) + self.below(1 << 40);
        let stamp = Stamp { hlc, node: 1_000 + self.below(25) };
        Head { seqno: SeqNo(seqno), stamp, kind, expires_at, meta, digest, value }
    }

    /// Some range of keys: all, empty, or between two keys.
    pub(super) fn range(&mut self) -> KeyRange {
        let end = if self.one_in(4) { None } else { Some(self.key()) };
        let start = if self.one_in(4) { Vec::new() } else { self.key() };
        KeyRange::new(start, end)
    }
}

/// The kinds of blocks that this build can store.
pub(super) const COMPRESSIONS: &[Compression] = &[
    Compression::None,
    #[cfg(feature = "lz4")]
    Compression::Lz4,
    #[cfg(feature = "zstd")]
    Compression::Zstd(3),
];

/// What is wrong with a run.
pub(super) fn problems(run: &Run) -> Vec<Error> {
    run.verify(|_| true).expect("nobody stops it")
}

/// The head as a run has it: a large value is only in the log.
pub(super) fn settled(head: &Head) -> Head {
    let value = match &head.value {
        ValueRef::Staged { location, .. } => ValueRef::Log(*location),
        value => value.clone(),
    };
    Head { value, ..head.clone() }
}

/// Memtables and runs, newest first, and all versions that were ever written.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) hasher: Arc<SetHasher>,
    pub(super) files: Files,
    pub(super) memtables: Vec<Arc<Memtable>>,
    pub(super) levels: Levels,
    pub(super) model: BTreeMap<Vec<u8>, Vec<Head>>,
    pub(super) seqno: u64,
    next_file: u64,
    mode: ReadMode,
    /// Of all runs; random if there is none.
    compression: Option<Compression>,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            random: Random::new(seed),
            hasher: Arc::new(SetHasher::new(&[seed as u8; 32])),
            files: Files::default(),
            memtables: vec![Arc::new(Memtable::new())],
            levels: Levels::default(),
            model: BTreeMap::new(),
            seqno: 0,
            next_file: 1,
            mode: if seed.is_multiple_of(2) { ReadMode::Mapped } else { ReadMode::Plain },
            compression: None,
        }
    }

    /// A world whose runs are all stored like this.
    pub(super) fn with_compression(seed: u64, compression: Compression) -> World {
        World { compression: Some(compression), ..World::new(seed) }
    }

    /// Commits `count` random entries.
    pub(super) fn write(&mut self, count: u64) {
        for _ in 0..count {
            self.seqno += 1;
            let (key, head) = (self.random.key(), self.random.head(self.seqno, &self.hasher));
            self.memtables[0].insert(key[..].into(), self.hasher.key(&key), head.clone(), Below::Unknown);
            self.model.entry(key).or_default().push(head);
        }
    }

    pub(super) fn seal(&mut self) {
        self.memtables.insert(0, Arc::new(Memtable::new()));
    }

    /// Writes the oldest memtable to a run.
    pub(super) fn flush(&mut self) {
        let oldest = self.memtables.pop().expect("there is always a memtable");
        let entries_max = oldest.len();
        let cursor = MergeCursor::new([(oldest, SeqNo::MAX)], [], &KeyRange::all());
        let run = self.write_run(cursor, entries_max);
        self.levels = self.levels.with_newest(run);
        if self.memtables.is_empty() {
            self.seal();
        }
    }

    /// Merges some neighbouring runs.
    pub(super) fn compact(&mut self) {
        let count = self.levels.runs().len() as u64;
        let start = self.random.below(count) as usize;
        let end = start + 1 + self.random.below(count - start as u64) as usize;
        let inputs = Levels::new(self.levels.runs()[start..end].to_vec());
        let entries_max = inputs.runs().iter().map(|run| run.properties().entries as usize).sum();
        let cursor = MergeCursor::new([], inputs.runs(), &KeyRange::all());
        let output = self.write_run(cursor, entries_max);
        self.levels = self.levels.with_merged(&inputs.ids(), output);
    }

    fn write_run(&mut self, mut cursor: MergeCursor, entries_max: usize) -> Arc<Run> {
        let id = FileId(self.next_file);
        self.next_file += 1;
        let any = self.random.below(COMPRESSIONS.len() as u64) as usize;
        let compression = self.compression.unwrap_or(COMPRESSIONS[any]);
        let writer = RunWriter::create(&self.files, Path::new(""), id, entries_max, compression);
        let mut writer = writer.expect("no faults");
        while let Some((key, head)) = cursor.step().expect("no faults") {
            writer.push(key, self.hasher.key(key), head).expect("no faults");
        }
        let properties = writer.finish().expect("no faults");
        let run =
            Run::open(&self.files, Path::new(""), id, self.mode, self.hasher.clone()).expect("just written");
        assert_eq!(*run.properties(), properties);
        Arc::new(run)
    }

    /// The newest versions as of commit `at`, in `range`.
    pub(super) fn expected(&self, range: &KeyRange, at: SeqNo) -> Vec<(Vec<u8>, Head)> {
        let newest = |versions: &Vec<Head>| versions.iter().rev().find(|head| head.seqno <= at).map(settled);
        let in_range = self.model.iter().filter(|(key, _)| range.contains(key));
        in_range.filter_map(|(key, versions)| Some((key.clone(), newest(versions)?))).collect()
    }

    pub(super) fn cursor(&self, range: &KeyRange, at: SeqNo) -> MergeCursor {
        let memtables = self.memtables.iter().map(|memtable| (memtable.clone(), at));
        MergeCursor::new(memtables, self.levels.runs(), range)
    }

    /// The newest version of `key` as of commit `at`.
    pub(super) fn get(&self, key: &[u8], at: SeqNo) -> Option<Head> {
        let hash = self.hasher.key(key);
        let in_memory = self.memtables.iter().find_map(|memtable| memtable.get(key, hash, at).cloned());
        in_memory.or_else(|| self.levels.get(key, hash).expect("no damage")).map(|head| settled(&head))
    }
}

/// Files in memory, without folders or durability.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<HashMap<PathBuf, Arc<Mutex<Vec<u8>>>>>);

impl Files {
    pub(super) fn bytes(&self, path: &str) -> Vec<u8> {
        self.file(Path::new(path)).expect("it was written").lock().expect("no panic").clone()
    }

    pub(super) fn set(&self, path: &str, bytes: Vec<u8>) {
        let file = Arc::new(Mutex::new(bytes));
        self.0.lock().expect("no panic").insert(path.into(), file);
    }

    fn file(&self, path: &Path) -> io::Result<Arc<Mutex<Vec<u8>>>> {
        let files = self.0.lock().expect("no panic");
        files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Vfs for Files {
    fn create(&self, path: &Path, _: u64) -> io::Result<Box<dyn WritableFile>> {
        let file = Arc::<Mutex<Vec<u8>>>::default();
        match self.0.lock().expect("no panic").insert(path.into(), file.clone()) {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => Ok(Box::new(Writable(file))),
        }
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        let bytes = Arc::new(self.file(path)?.lock().expect("no panic").clone());
        Ok(Arc::new(Readable { bytes, mode }))
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn staging(&self, _: &Path, _: usize) -> io::Result<Box<dyn Staging>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[derive(Debug)]
struct Writable(Arc<Mutex<Vec<u8>>>);

impl WritableFile for Writable {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock().expect("no panic");
        let start = offset as usize;
        let len = file.len().max(start + bytes.len());
        file.resize(len, 0);
        file[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.lock().expect("no panic").truncate(len as usize);
        Ok(())
    }
}

#[derive(Debug)]
struct Readable {
    bytes: Arc<Vec<u8>>,
    mode: ReadMode,
}

impl ReadableFile for Readable {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        let start = offset as usize;
        let end = start.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        match self.mode {
            ReadMode::Mapped => Slice::of(self.bytes.clone(), start..end),
            ReadMode::Plain => self.bytes.get(start..end).map(Slice::from),
        }
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn mapped(&self) -> Option<&[u8]> {
        (self.mode == ReadMode::Mapped).then_some(&self.bytes)
    }
}
