//! Opening for reading beside a writer: whatever the writer does between two steps of the reader, the reader sees a prefix
//! of the history that ends no earlier than its own beginning, and nothing in the folder changes.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use syncline::vfs::{FaultTarget, LockGuard, MemoryVfs, ReadMode, ReadableFile, Staging, Vfs, WritableFile};
use syncline::{Db, Durability, Environment, Error, Health, Slice};

use crate::common::{Random, World, seeds};
use crate::crash::{check_prefix, commit};

/// Is told the number of the operation and the file.
type Hook = Box<dyn FnMut(u64, &Path) + Send>;

/// A file system for reading in which something may happen before every operation. As on a real one, an open file shows
/// what is written to it meanwhile.
#[derive(Clone)]
struct Meddled {
    inner: MemoryVfs,
    count: Arc<AtomicU64>,
    hook: Arc<Mutex<Hook>>,
}

impl Meddled {
    fn new(world: &World, hook: impl FnMut(u64, &Path) + Send + 'static) -> Meddled {
        let hook: Hook = Box::new(hook);
        Meddled { inner: world.vfs.clone(), count: Arc::default(), hook: Arc::new(Mutex::new(hook)) }
    }

    fn operate(&self, path: &Path) {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        (self.hook.lock().expect("no panic in the hook"))(number, path);
    }

    fn open_db(&self, world: &World, mode: ReadMode) -> Result<Db, Error> {
        let environment = Environment { vfs: Arc::new(self.clone()), ..world.environment() };
        Db::builder("/db").environment(environment).read_mode(mode).open_read_only()
    }
}

impl fmt::Debug for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meddled").finish_non_exhaustive()
    }
}

impl Vfs for Meddled {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.operate(dir);
        self.inner.list(dir)
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        self.operate(path);
        let opened = self.inner.open(path, mode)?;
        Ok(Arc::new(OpenFile { vfs: self.clone(), path: path.to_owned(), opened }))
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        panic!("a reader makes no folder")
    }

    fn create(&self, path: &Path, _: u64) -> io::Result<Box<dyn WritableFile>> {
        panic!("a reader creates {path:?}")
    }

    fn rename(&self, from: &Path, _: &Path) -> io::Result<()> {
        panic!("a reader renames {from:?}")
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        panic!("a reader removes {path:?}")
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        panic!("a reader syncs a folder")
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        panic!("a reader takes the lock")
    }

    fn staging(&self, _: &Path, _: usize) -> io::Result<Box<dyn Staging>> {
        panic!("a reader stages")
    }
}

#[derive(Debug)]
struct OpenFile {
    vfs: Meddled,
    path: PathBuf,
    opened: Arc<dyn ReadableFile>,
}

impl ReadableFile for OpenFile {
    fn len(&self) -> u64 {
        self.opened.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        self.vfs.operate(&self.path);
        // No name is given twice, so whatever bears it is this file; without a name it is as it was.
        match self.vfs.inner.open(&self.path, ReadMode::Plain) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.opened.read(offset, len),
            file => file?.read(offset, len),
        }
    }

    fn mapped(&self) -> Option<&[u8]> {
        self.opened.mapped()
    }
}

/// A writer that commits numbers one after the other and does what writers do.
#[derive(Clone)]
struct Writer {
    world: World,
    state: Arc<Mutex<(Option<Db>, u64)>>,
}

impl Writer {
    /// A store with a few runs, large values and a log.
    fn new(seed: u64) -> Writer {
        Writer::with_memtables(seed, 6 << 10)
    }

    fn with_memtables(seed: u64, memtable_bytes: usize) -> Writer {
        let world = World::new(seed);
        let db = world.builder("/db").memtable_bytes(memtable_bytes).create().expect("a new store");
        let writer = Writer { world, state: Arc::new(Mutex::new((Some(db), 0))) };
        writer.commit(60, Durability::Buffered);
        writer.with(|db| while db.step().expect("background work") {});
        writer.commit(5, Durability::Sync);
        writer.commit(2, Durability::Buffered);
        writer
    }

    fn with<T>(&self, work: impl FnOnce(&Db) -> T) -> T {
        work(self.state.lock().expect("no panic").0.as_ref().expect("open"))
    }

    fn last(&self) -> u64 {
        self.state.lock().expect("no panic").1
    }

    fn commit(&self, count: u64, durability: Durability) {
        let mut state = self.state.lock().expect("no panic");
        for _ in 0..count {
            state.1 += 1;
            commit(state.0.as_ref().expect("open"), state.1, durability).expect("commit");
        }
    }

    /// One of the things that a writer may do while a reader looks elsewhere.
    fn act(&self, kind: u64) {
        match kind {
            0 => self.commit(3, Durability::Sync),
            1 => self.commit(40, Durability::Buffered),
            2 => self.with(|db| db.flush().expect("flush")),
            3 => self.with(|db| db.compact(|_| true).expect("compact")),
            4 => {
                self.commit(97, Durability::Buffered);
                self.with(|db| db.compact(|_| true).expect("compact"));
            }
            _ => {
                let mut state = self.state.lock().expect("no panic");
                state.0 = None;
                state.0 = Some(self.world.builder("/db").memtable_bytes(6 << 10).open().expect("reopen"));
            }
        }
    }
}

#[test]
fn whatever_the_writer_does_between_two_steps_of_a_reader_it_sees_a_prefix() {
    let (opening, operations) = {
        let writer = Writer::new(6);
        let vfs = Meddled::new(&writer.world, |_, _| {});
        let reader = vfs.open_db(&writer.world, ReadMode::Plain).expect("open");
        let opening = vfs.count.load(Ordering::SeqCst);
        check_prefix(&reader);
        (opening, vfs.count.load(Ordering::SeqCst))
    };
    assert!(opening > 30 && operations > 40, "only {opening} and {operations} operations");
    let mut repeated = 0;
    for kind in 0..6 {
        for at in 0..operations {
            let mode = if at % 2 == 0 { ReadMode::Plain } else { ReadMode::Mapped };
            let writer = Writer::new(6);
            let (actor, before) = (writer.clone(), writer.last());
            let vfs = Meddled::new(&writer.world, move |number, _| {
                if number == at {
                    actor.act(kind);
                }
            });
            let what = format!("action {kind} before operation {at}, {mode:?}");
            let reader = vfs.open_db(&writer.world, mode).unwrap_or_else(|error| panic!("{what}: {error}"));
            repeated += u64::from(vfs.count.load(Ordering::SeqCst) > opening + 8);
            let seen = check_prefix(&reader);
            assert!((before..=writer.last()).contains(&seen), "{what}: {seen}, not from {before} on");

            // What it holds open outlives whatever the writer removes.
            let snapshot = reader.snapshot();
            writer.act(4);
            assert_eq!(check_prefix(&reader), seen, "{what}");
            reader.refresh().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(check_prefix(&reader), writer.last(), "{what}");
            let last = snapshot.get(&reader.default_keyspace(), b"last").expect("get").expect("there");
            assert_eq!(*last, seen.to_le_bytes(), "{what}: a snapshot stays where it is");
        }
    }
    assert!(repeated > 20, "only {repeated} openings met the writer");
}

#[test]
fn a_writer_that_never_rests_keeps_no_reader_out() {
    for seed in seeds(30) {
        // Large memtables: a flush spoils an attempt that begins before it, so one must not come before every one ends.
        let writer = Writer::with_memtables(seed, 512 << 10);
        let (actor, before) = (writer.clone(), writer.last());
        let mut random = Random::new(seed);
        let vfs = Meddled::new(&writer.world, move |number, path| match random.below(8) {
            // Between two looks at the log's end commits appear, and the last one proves that those before are durable.
            _ if path.extension().is_some_and(|extension| extension == "log") => {
                actor.commit(2, Durability::Sync);
            }
            _ if number % 400 == 399 => actor.act(2 + random.below(2)),
            0 => actor.commit(30, Durability::Buffered),
            _ => {}
        });
        let reader = vfs.open_db(&writer.world, ReadMode::Plain);
        let reader = reader.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        *vfs.hook.lock().expect("no panic") = Box::new(|_, _| {});
        let operations = vfs.count.load(Ordering::SeqCst);
        assert!(operations < 70, "seed {seed}: {operations} operations, so many attempts were spoilt");
        let seen = check_prefix(&reader);
        assert!((before..=writer.last()).contains(&seen), "seed {seed}: {seen}, not from {before} on");
    }
}

#[test]
fn a_reader_changes_nothing_and_refuses_to() {
    let writer = Writer::new(3);
    let vfs = Meddled::new(&writer.world, |_, _| {});
    let before = writer.world.vfs.operations(FaultTarget::Changes);
    let db = vfs.open_db(&writer.world, ReadMode::Mapped).expect("open");
    assert!(db.is_read_only());
    assert_eq!((db.health(), db.node_id(), db.opens()), (Health::ReadOnly, writer.with(Db::node_id), 1));
    assert_eq!(db.root().expect("root"), writer.with(|db| db.root().expect("root")));
    let mut batch = db.batch();
    batch.put(&db.default_keyspace(), "k", "v").expect("put");
    for refused in [
        db.put("k", "v"),
        db.delete("last"),
        db.write(batch, Durability::Buffered),
        db.persist(Durability::Sync),
        db.flush(),
        db.compact(|_| true),
        db.step().map(drop),
        db.keyspace("new").map(drop),
        db.checkpoint("/copy").map(drop),
    ] {
        assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    }
    check_prefix(&db);
    db.refresh().expect("refresh");
    drop(db);
    assert_eq!(writer.world.vfs.operations(FaultTarget::Changes), before);
    assert!(matches!(
        Db::builder("/none").environment(writer.world.environment()).open_read_only(),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn after_any_stop_a_reader_sees_what_the_next_writer_finds() {
    for seed in seeds(200) {
        let mut random = Random::new(seed);
        let writer = Writer::new(seed);
        for _ in 0..random.below(6) {
            writer.act(random.below(6));
        }
        writer.commit(random.below(30), Durability::Buffered);
        let vfs = writer.world.vfs.power_cut(|bound| random.below(bound));
        let vfs = if random.chance(30) { writer.world.vfs.kill() } else { vfs };
        let world = World { vfs, ..writer.world.clone() };
        let read = check_prefix(
            &world.builder("/db").open_read_only().unwrap_or_else(|error| panic!("seed {seed}: {error}")),
        );
        assert_eq!(read, check_prefix(&world.builder("/db").open().expect("open")), "seed {seed}");
    }
}

#[test]
fn damage_is_not_taken_for_a_writer_at_work() {
    let writer = Writer::new(5);
    let world = World { vfs: writer.world.vfs.kill(), ..writer.world.clone() };
    let names = world.vfs.list(Path::new("/db")).expect("list");
    let run = names.iter().find(|name| name.ends_with(".run")).expect("a run");
    let path = Path::new("/db").join(run);
    let len = world.vfs.bytes(&path).expect("bytes").len();
    world.vfs.flip(&path, len - 1, 1).expect("flipped");
    let before = world.vfs.operations(FaultTarget::Reads);
    assert!(matches!(world.builder("/db").open_read_only(), Err(Error::Corruption { .. })));
    assert!(world.vfs.operations(FaultTarget::Reads) - before < 100, "tried again for nothing");
}

#[test]
fn a_reader_goes_on_showing_its_store_when_another_one_has_taken_the_folder() {
    let world = World::new(6);
    let db = world.builder("/db").create().expect("a new store");
    db.put("key", "value").expect("put");
    db.close().expect("close");
    let reader = world.builder("/db").open_read_only().expect("open");
    for name in world.vfs.list(Path::new("/db")).expect("list") {
        world.vfs.remove(&Path::new("/db").join(name)).expect("removed");
    }
    assert!(matches!(reader.refresh(), Err(Error::NotFound { .. })), "nothing is there");
    drop(World { seed: 7, ..world.clone() }.builder("/db").create().expect("another store"));
    assert!(matches!(reader.refresh(), Err(Error::InvalidArgument { .. })), "another store is there");
    assert_eq!(reader.get("key").expect("get").as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_store_whose_staging_ring_was_not_copied_with_it_is_read_as_far_as_its_files_go() {
    let world = World::new(7);
    let db = world.builder("/db").create().expect("a new store");
    db.put("flushed", "1").expect("put");
    db.flush().expect("flush");
    db.put("synced", "2").expect("put");
    db.persist(Durability::Sync).expect("persist");
    db.put("staged", "3").expect("put");
    let copy = world.with(world.vfs.kill());
    copy.vfs.remove(Path::new("/db/RING")).expect("removed");
    let reader = copy.builder("/db").open_read_only().expect("open");
    let get = |key: &str| reader.get(key).expect("get").map(|value| value.to_vec());
    assert_eq!(
        (get("flushed"), get("synced"), get("staged")),
        (Some(b"1".to_vec()), Some(b"2".to_vec()), None)
    );
}

#[test]
fn readers_beside_a_busy_store_on_disk_see_prefixes() {
    let dir = tempfile::tempdir().expect("a folder");
    let builder = || Db::builder(dir.path().join("db")).memtable_bytes(64 << 10).inline_value_max(100);
    let db = builder().create().expect("a new store");
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let value = |number: u64| vec![number as u8; if number.is_multiple_of(50) { 4_000 } else { 40 }];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let keyspace = db.default_keyspace();
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let mut batch = db.batch();
                batch.put(&keyspace, (number % 3_000).to_be_bytes(), value(number)).expect("put");
                batch.put(&keyspace, "last", number.to_be_bytes()).expect("put");
                let sync = number.is_multiple_of(20) && number % 4_000 < 2_000;
                let durability = if sync { Durability::Sync } else { Durability::Buffered };
                db.write(batch, durability).expect("write");
                acknowledged.store(number, Ordering::SeqCst);
            }
        });
        let last_of = |reader: &Db| {
            let last = reader.get("last").expect("get");
            last.map_or(0, |last| u64::from_be_bytes(last.to_vec().try_into().expect("eight bytes")))
        };
        let mut reader: Option<Db> = None;
        for round in 0..20 {
            let before = acknowledged.load(Ordering::SeqCst);
            match &reader {
                Some(reader) if round % 2 == 1 => reader.refresh().expect("refresh"),
                _ => reader = Some(builder().open_read_only().expect("open")),
            }
            let reader = reader.as_ref().expect("open");
            let last = last_of(reader);
            assert!(last >= before, "{last}, and {before} was acknowledged");
            for number in last.saturating_sub(2_999).max(1)..=last {
                let found = reader.get((number % 3_000).to_be_bytes()).expect("get").expect("there");
                assert!(*found == value(number), "{number} of {last}");
            }
            assert_eq!(reader.len().expect("len"), last.min(3_000) + u64::from(last > 0));
            assert_eq!(reader.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
        }
        stop.store(true, Ordering::Relaxed);
    });
}
