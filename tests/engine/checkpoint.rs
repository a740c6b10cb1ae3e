//! Checkpoints: a copy holds what was committed before it, whatever the store does meanwhile and wherever making it stops.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use syncline::vfs::{
    Fault, FaultTarget, LockGuard, MemoryVfs, ReadMode, ReadableFile, Staging, Vfs, WritableFile,
};
use syncline::{Db, Durability, Environment, Error};

use crate::common::{Random, World, seeds};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(db: &Db) -> Model {
    let entries = db.iter().map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.key, entry.value.to_vec())).collect()
}

fn change(db: &Db, model: &mut Model, random: &mut Random, count: u64) {
    for _ in 0..count {
        let key = random.key(300);
        if random.chance(20) {
            db.delete(&key).expect("delete");
            model.remove(&key);
        } else {
            let value = random.value();
            db.put(&key, &value).expect("put");
            model.insert(key, value);
        }
        while random.chance(10) && db.step().expect("background work") {}
    }
}

fn assert_sound(db: &Db) {
    assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
}

#[test]
fn a_checkpoint_stays_as_it_is_while_the_store_goes_on() {
    let mut linked = 0;
    for seed in seeds(40) {
        let mut random = Random::new(seed);
        let world = World::new(seed);
        let mut db = world.builder("/db").create().expect("a new store");
        let mut model = Model::new();
        for round in 0..random.below(3) {
            let count = random.below(300);
            change(&db, &mut model, &mut random, count);
            if round == 1 {
                drop(db);
                db = world.builder("/db").open().expect("reopen");
            }
        }
        let root = db.root().expect("root");
        let made = db.checkpoint("/copy").expect("checkpoint");
        linked += made.linked_files;
        assert_eq!(made.copied_files, 0, "seed {seed}");
        assert!(matches!(db.checkpoint("/copy"), Err(Error::Occupied { .. })), "seed {seed}");

        let at_checkpoint = model.clone();
        change(&db, &mut model, &mut random, 300);
        db.compact(|_| true).expect("compact");
        let other = World { seed: seed + 1_000, ..world.clone() };
        let copy = other.builder("/copy").open().expect("open the copy");
        assert!(contents(&copy) == at_checkpoint, "seed {seed}");
        assert_eq!(copy.root().expect("root"), root, "seed {seed}");
        assert!(copy.recovery().took_new_node_id && !copy.recovery().merkle_rebuilt, "seed {seed}");
        assert_ne!(copy.node_id(), db.node_id(), "seed {seed}");
        assert_eq!(copy.opens(), 1, "seed {seed}");

        let (mut of_copy, node) = (at_checkpoint, copy.node_id());
        change(&copy, &mut of_copy, &mut random, 200);
        copy.compact(|_| true).expect("compact");
        drop(copy);
        let copy = world.builder("/copy").open().expect("open the copy again");
        assert_eq!(copy.node_id(), node, "seed {seed}: one node id for one folder");
        assert!(contents(&copy) == of_copy && contents(&db) == model, "seed {seed}");
        assert_sound(&copy);
        assert_sound(&db);
    }
    assert!(linked > 40, "only {linked} files were linked");
}

/// A store with runs, large values, Merkle files and something in memory, always the same.
fn sample(world: &World) -> (Db, Model) {
    let db = world.builder("/db").create().expect("a new store");
    let (mut model, mut random) = (Model::new(), Random::new(3));
    change(&db, &mut model, &mut random, 150);
    db.persist(Durability::Sync).expect("persist");
    (db, model)
}

/// Checks that `/copy` is no store, or a whole one, and that `/db` is whole. `true` if there is a copy.
fn check_both(world: &World, vfs: MemoryVfs, model: &Model, what: &str) -> bool {
    let world = World { vfs, ..world.clone() };
    let db = world.builder("/db").open().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(contents(&db) == *model, "{what}: the store has changed");
    match world.builder("/copy").open() {
        Ok(copy) => {
            assert!(contents(&copy) == *model, "{what}: half a copy");
            assert_sound(&copy);
            assert!(copy.recovery().took_new_node_id, "{what}");
            true
        }
        Err(Error::NotFound { .. }) => false,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn a_power_cut_leaves_a_whole_checkpoint_or_none() {
    let world = World::new(1);
    let (db, model) = sample(&world);
    world.vfs.record_steps();
    db.checkpoint("/copy").expect("checkpoint");
    let mut copies = 0;
    let steps = world.vfs.take_steps();
    let count = steps.len();
    for (step, vfs) in steps.into_iter().enumerate() {
        copies += usize::from(check_both(&world, vfs.kill(), &model, &format!("killed at step {step}")));
        for seed in 0..4 {
            let mut random = Random::new(seed * 10_007 + step as u64);
            let cut = vfs.power_cut(|bound| random.below(bound));
            copies += usize::from(check_both(&world, cut, &model, &format!("cut {seed} at step {step}")));
        }
    }
    assert!(copies > 0 && copies < count, "{copies} copies at {count} steps");
    let mut random = Random::new(9);
    assert!(check_both(&world, world.vfs.power_cut(|bound| random.below(bound)), &model, "returned"));
}

#[test]
fn whichever_operation_fails_a_checkpoint_is_whole_or_gone_and_links_fall_back_to_copies() {
    let dry = World::new(1);
    let (db, _) = sample(&dry);
    db.flush().expect("flush");
    let before = dry.vfs.operations(FaultTarget::Changes);
    db.checkpoint("/copy").expect("checkpoint");
    let operations = dry.vfs.operations(FaultTarget::Changes) - before;
    let (mut copied, mut failed) = (0, 0);
    for (kind, stays) in
        [ErrorKind::CrossesDevices, ErrorKind::StorageFull].map(|kind| [(kind, false), (kind, true)]).concat()
    {
        for after in 0..operations {
            let world = World::new(1);
            let (db, model) = sample(&world);
            db.flush().expect("flush");
            world.vfs.inject(Fault { target: FaultTarget::Changes, after, kind, stays });
            let made = db.checkpoint("/copy");
            world.vfs.inject(Fault { target: FaultTarget::Reads, after: u64::MAX, kind, stays: false });
            let what = format!("operation {after} fails with {kind:?}, stays: {stays}");
            let is_there = check_both(&world, world.vfs.kill(), &model, &what);
            match made {
                Ok(made) => {
                    assert!(is_there, "{what}");
                    copied += made.copied_files;
                }
                Err(_) => failed += 1,
            }
            db.put("k", "v").unwrap_or_else(|error| panic!("{what}: the store is not to blame: {error}"));
            if !is_there {
                db.checkpoint("/copy2").unwrap_or_else(|error| panic!("{what}: {error}"));
                if !stays {
                    db.checkpoint("/copy").unwrap_or_else(|error| panic!("{what}: not cleared: {error}"));
                }
            }
        }
    }
    assert!(copied > 3 && failed > operations, "{copied} files copied, {failed} failures");
}

#[test]
fn a_checkpoint_that_is_given_up_while_it_copies_leaves_nothing_behind() {
    let mut given_up = 0;
    for after in 0..12 {
        let world = World::new(1);
        let (db, model) = sample(&world);
        db.flush().expect("flush");
        // If it is the making of a link that fails, that file is copied.
        let kind = ErrorKind::CrossesDevices;
        world.vfs.inject(Fault { target: FaultTarget::Changes, after, kind, stays: false });
        let mut told = None;
        let made = db.checkpoint_with("/copy", |so_far| {
            assert!(so_far.bytes > 0 && so_far.bytes <= so_far.bytes_total, "{so_far:?}");
            told = Some(so_far);
            false
        });
        if told.is_some() {
            assert!(matches!(made, Err(Error::Aborted)), "{made:?}");
            db.checkpoint("/copy").expect("the folder is free");
            given_up += 1;
        }
        check_both(&world, world.vfs.kill(), &model, &format!("operation {after}"));
    }
    assert!(given_up > 1, "only {given_up} copied a file");
}

#[test]
fn checkpoints_beside_a_busy_store_hold_a_prefix() {
    let dir = tempfile::tempdir().expect("a folder");
    let open =
        |path: &Path| Db::builder(path).memtable_bytes(64 << 10).inline_value_max(100).open_or_create();
    let db = open(&dir.path().join("db")).expect("a new store");
    let value = |number: u64| vec![number as u8; if number.is_multiple_of(50) { 4_000 } else { 40 }];
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                db.put((number % 5_000).to_be_bytes(), value(number)).expect("put");
                db.put("last", number.to_be_bytes()).expect("put");
            }
        });
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                db.compact(|_| true).expect("compact");
            }
        });
        for number in 0..8 {
            let before = db.get("last").expect("get").map_or(0, |last| number_in(&last));
            let path = dir.path().join(format!("copy{number}"));
            db.checkpoint(&path).expect("checkpoint");
            let copy = open(&path).expect("open the copy");
            let last = copy.get("last").expect("get").map_or(0, |last| number_in(&last));
            assert!(last >= before, "copy {number} has {last} of {before}");
            for number in last.saturating_sub(4_000).max(1)..=last {
                let found = copy.get((number % 5_000).to_be_bytes()).expect("get").expect("there");
                assert!(*found == value(number) || *found == value(number + 5_000), "{number} of {last}");
            }
            assert_sound(&copy);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_sound(&db);
}

fn number_in(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

/// A file system on which a store is compacted before the first link.
#[derive(Debug, Clone)]
struct CompactedFirst {
    inner: MemoryVfs,
    db: Arc<Mutex<Option<Db>>>,
    compaction: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Vfs for CompactedFirst {
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if let Some(db) = self.db.lock().expect("no panic").take() {
            let (done, is_done) = mpsc::channel();
            let compaction = std::thread::spawn(move || {
                db.compact(|_| true).expect("compact");
                // Nobody listens if it had to wait until the checkpoint was made, as it should have.
                let _ = done.send(());
            });
            *self.compaction.lock().expect("no panic") = Some(compaction);
            let _ = is_done.recv_timeout(Duration::from_millis(300));
        }
        self.inner.link(from, to)
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

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        self.inner.open(path, mode)
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
fn no_file_is_removed_between_a_look_at_the_manifest_and_its_link() {
    let world = World::new(11);
    let vfs = CompactedFirst { inner: world.vfs.clone(), db: Arc::default(), compaction: Arc::default() };
    let environment = Environment { vfs: Arc::new(vfs.clone()), ..world.environment() };
    let db = world.builder("/db").environment(environment).create().expect("a new store");
    let mut model = Model::new();
    for _ in 0..3 {
        change(&db, &mut model, &mut Random::new(11), 30);
        db.flush().expect("flush");
    }
    *vfs.db.lock().expect("no panic") = Some(db.clone());
    db.checkpoint("/copy").expect("the files of the manifest are there");
    let compaction = vfs.compaction.lock().expect("no panic").take().expect("it was begun");
    compaction.join().expect("compacted");
    let copy = world.builder("/copy").open().expect("open the copy");
    assert!(contents(&copy) == model);
    assert_sound(&copy);
}
