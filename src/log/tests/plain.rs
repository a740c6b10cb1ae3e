//! Sizes, places and bytes of a log that nothing happens to.

use std::io;

use parking_lot::Mutex;
use smallvec::smallvec;

use super::*;
use crate::vfs::{LockGuard, ReadableFile, Staging, WritableFile};

/// The bytes that `docs/format.md` shows as its example.
const EXAMPLE: &str = "\
53 59 4e 43 4c 4f 47 53 01 00 00 00 7b 9f 8c 4d \
04 00 00 00 1b fc f6 d9 03 01 00 00 \
26 00 00 00 42 1b 39 af 01 01 00 02 01 00 00 00 00 00 00 09 00 00 00 00 00 00 00 02 \
02 03 6b 65 79 ac 02 05 76 61 6c 75 65 01 03 6f 6c 64 \
07 00 00 00 c0 11 a5 28 02 01 a2 0a 8c bb 01";

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> LogEntry<'a> {
    LogEntry { key, kind: Kind::Put, stamp: None, expires_at: 0, meta: &[], value, value_at: 0 }
}

fn open_in(vfs: &Arc<dyn Vfs>, dir: &Path, ring_len: usize) -> LogWriter {
    let ring = vfs.staging(&dir.join("RING"), ring_len).expect("opened");
    let plan = Plan {
        log_start: SegmentId(1),
        log_ends: &BTreeMap::new(),
        flushed: SeqNo::ZERO,
        is_being_written: false,
    };
    let contents = read(&**vfs, dir, &plan, &*ring, ReadMode::Mapped).expect("read");
    let (fresh, _) = contents.rewrite(&**vfs, dir, 1 << 16).expect("made");
    LogWriter::new(ring, fresh)
}

#[test]
fn a_buffered_commit_costs_no_operation_until_the_ring_is_full() {
    let vfs = MemoryVfs::new();
    let mut log = open_in(&(Arc::new(vfs.clone()) as Arc<dyn Vfs>), dir(), 64 << 10);
    let before = vfs.operations(crate::vfs::FaultTarget::Changes);
    let (key, value) = ([7; 25], [9; 100]);
    let stamp = Stamp { hlc: u64::MAX, node: u64::MAX };
    let mut count = 0;
    while vfs.operations(crate::vfs::FaultTarget::Changes) == before {
        count += 1;
        let seqno = SeqNo((1 << 27) + count);
        let commit = Commit { seqno, durable: seqno, stamp, entries: smallvec![put(&key, &value)] };
        log.append(&commit).expect("appended");
    }
    // A key of 16 bytes in a keyspace with a value of 100, late in the life of a store.
    let len = (64 << 10) / (count - 1);
    assert!(len <= 165, "{len} bytes a record");
    assert_eq!(vfs.operations(crate::vfs::FaultTarget::Changes), before + 1, "one write of the whole ring");
}

#[test]
fn small_durable_commits_write_ahead_of_themselves_and_cost_one_write_each() {
    let vfs = MemoryVfs::new();
    let mut log = open_in(&(Arc::new(vfs.clone()) as Arc<dyn Vfs>), dir(), 64 << 10);
    let mut writes = Vec::new();
    for seqno in (1..=900).map(SeqNo) {
        let before = vfs.operations(crate::vfs::FaultTarget::Changes);
        let entries = smallvec![put(&[7; 25], &[9; 100])];
        log.append(&Commit { seqno, durable: seqno, stamp: Stamp::default(), entries }).expect("appended");
        log.drain().expect("drained");
        writes.push(vfs.operations(crate::vfs::FaultTarget::Changes) - before);
    }
    // What is reserved, and not more, is filled at the beginning. Beyond it the file grows as it did.
    assert!(writes[0] > 15 && writes.iter().sum::<u64>() < 900 + 18, "{writes:?}");
    let len = vfs.bytes(&segment_path(1)).expect("there").len() as u64;
    assert_eq!(len, log.end().max(1 << 16), "filling makes no file longer");
}

#[test]
fn values_are_read_from_where_append_put_them() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let vfs: Arc<dyn Vfs> = Arc::new(crate::vfs::DiskVfs);
    let mut log = open_in(&vfs, scratch.path(), RING_LEN);
    let mut places = Vec::new();
    for seqno in (1..=100).map(SeqNo) {
        let content = Content::new(3, seqno);
        let locations = log.append(&content.commit(seqno, SeqNo::ZERO)).expect("appended");
        places.extend(locations.into_iter().zip(content.entries));
        if seqno.0 % 40 == 0 {
            rotate(&*vfs, scratch.path(), &mut log);
        }
    }
    rotate(&*vfs, scratch.path(), &mut log);
    let (last, _) = log.position();
    let lens = (1..last.0).map(|id| {
        let file = vfs.open(&scratch.path().join(FileKind::Segment.name(u64::from(id))), ReadMode::Plain);
        (SegmentId(id), file.expect("opened").len())
    });
    let lens: BTreeMap<_, _> = lens.collect();
    assert_eq!(lens.len(), 3);
    for mode in [ReadMode::Mapped, ReadMode::Plain] {
        let values = ValueSegments::new(vfs.clone(), scratch.path().to_owned(), mode, &lens);
        for (location, entry) in &places {
            assert_eq!(values.read(*location).expect("read"), entry.value);
        }
        let end = lens[&SegmentId(1)] as u32;
        for (segment, offset, len) in [(1, end, 1), (1, end - 1, 2), (1, u32::MAX, u32::MAX), (9, 0, 1)] {
            let beyond = Location { segment: SegmentId(segment), offset, len };
            assert!(matches!(values.read(beyond), Err(Error::Corruption { .. })), "{beyond:?}");
        }
        // Whoever holds the old set reads on after the file has lost its name.
        let fewer = values.without(&[SegmentId(1)]).expect("opened before");
        assert!(matches!(fewer.read(places[0].0), Err(Error::Corruption { .. })));
        assert_eq!(fewer.with(&lens).lens().count(), 3);
    }
    let values = ValueSegments::new(vfs.clone(), scratch.path().to_owned(), ReadMode::Mapped, &lens);
    values.without(&[SegmentId(1)]).expect("opened before");
    vfs.remove(&scratch.path().join(FileKind::Segment.name(1))).expect("removed");
    assert_eq!(values.read(places[0].0).expect("still open"), places[0].1.value);
}

#[test]
fn a_commit_that_no_segment_can_hold_is_refused_and_changes_nothing() {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    let content = Content::new(1, SeqNo(1));
    log.append(&content.commit(SeqNo(1), SeqNo::ZERO)).expect("appended");
    // The same megabyte often enough.
    let value = vec![0; 1 << 20];
    let entries = vec![put(b"key", &value); 4096];
    let commit =
        Commit { seqno: SeqNo(2), durable: SeqNo::ZERO, stamp: Stamp::default(), entries: entries.into() };
    assert!(matches!(log.append(&commit), Err(Error::CommitTooLarge { .. })));
    log.append(&Content::new(1, SeqNo(2)).commit(SeqNo(2), SeqNo::ZERO)).expect("smaller ones are taken");
    assert_eq!(open(&vfs.kill()).expect("opens").found.len(), 2);
}

#[test]
fn the_bytes_are_those_of_the_format_page() {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    let tombstone = LogEntry { kind: Kind::Tombstone, expires_at: 0, ..put(b"old", b"") };
    let entries = vec![LogEntry { expires_at: 300, ..put(b"key", b"value") }, tombstone];
    let commit = Commit {
        seqno: SeqNo(1),
        durable: SeqNo(0),
        stamp: Stamp { hlc: 0x0102, node: 9 },
        entries: entries.into(),
    };
    log.append(&commit).expect("appended");
    rotate(&vfs, dir(), &mut log);
    let bytes = vfs.bytes(&segment_path(1)).expect("there");
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.join(" "), EXAMPLE);
}

#[test]
fn commits_larger_than_any_buffer_are_replayed_and_copied() {
    let vfs = MemoryVfs::new();
    let mut log = open(&vfs).expect("a new log opens").writer;
    let mut contents = Vec::new();
    // Around the window of 256 KiB that is read at once, and beyond the megabyte that is written at once.
    for (seqno, len) in (1..).map(SeqNo).zip([262_000, 100, 262_130, 524_300, 9, 1_200_000, 77]) {
        let mut content = Content::new(8, seqno);
        content.entries.truncate(1);
        content.entries[0] =
            Entry { kind: Kind::Put, value: vec![seqno.0 as u8; len], ..content.entries[0].clone() };
        log.append(&content.commit(seqno, SeqNo::ZERO)).expect("appended");
        contents.push(content);
    }
    let opened = open(&vfs).expect("opens");
    assert_eq!(opened.copied, 7);
    assert!(opened.found == contents);
    assert!(open(&vfs).expect("opens once more").found == contents);
}

/// What is done once.
type Deed = Box<dyn FnOnce() + Send>;

/// Does something before the first opening of a file; nothing but openings is asked of it.
#[derive(Clone)]
struct Late {
    inner: MemoryVfs,
    before: Arc<Mutex<Option<Deed>>>,
}

impl std::fmt::Debug for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}

impl Vfs for Late {
    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        let before = self.before.lock().take();
        if let Some(before) = before {
            before();
        }
        self.inner.open(path, mode)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create(&self, path: &Path, allocate: u64) -> io::Result<Box<dyn WritableFile>> {
        self.inner.create(path, allocate)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.inner.lock(path)
    }

    fn staging(&self, path: &Path, len: usize) -> io::Result<Box<dyn Staging>> {
        self.inner.staging(path, len)
    }
}

#[test]
fn a_reader_that_comes_too_late_to_open_a_segment_reads_what_its_remover_opened() {
    let (inner, path) = (MemoryVfs::new(), Path::new("/log").join(FileKind::Segment.name(1)));
    inner.create_dir_all(Path::new("/log")).expect("a folder");
    let file = inner.create(&path, 0).expect("a file");
    file.write_all_at(0, b"value").expect("written");
    let vfs = Late { inner: inner.clone(), before: Arc::default() };
    let lens = BTreeMap::from([(SegmentId(1), 5)]);
    let values = ValueSegments::new(Arc::new(vfs.clone()), "/log".into(), ReadMode::Mapped, &lens);
    let others = values.clone();
    *vfs.before.lock() = Some(Box::new(move || {
        others.without(&[SegmentId(1)]).expect("opened before");
        inner.remove(&path).expect("removed");
    }));
    let location = Location { segment: SegmentId(1), offset: 0, len: 5 };
    assert_eq!(*values.read(location).expect("still open"), *b"value");
}
