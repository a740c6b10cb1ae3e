//! Export and import: the same root on the other side, whatever is cut off or damaged on the way is refused, and what came
//! before it is whole.

use std::io::{self, ErrorKind, Read, Write};

use syncline::vfs::{Fault, FaultTarget};
use syncline::{Db, Error};

use crate::common::{Random, World, seeds};

/// A store with keyspaces, large values, tombstones, entries that expire, and some of another node.
fn sample(world: &World, seed: u64, count: u64) -> Db {
    let mut random = Random::new(seed);
    let other = World { seed: seed + 1_000, ..World::new(seed) };
    let db = world.builder("/db").create().expect("a new store");
    let origin = other.builder("/db").create_replica(&db.replica_set()).expect("a new store");
    for (db, count) in [(&origin, count / 2), (&db, count)] {
        let keyspaces =
            [db.default_keyspace(), db.keyspace("b").expect("keyspace"), db.keyspace("c").expect("keyspace")];
        for _ in 0..count {
            let keyspace = &keyspaces[random.below(3) as usize];
            let (key, value) = (random.key(200), random.value());
            match random.below(6) {
                0 => keyspace.delete(key).expect("delete"),
                1 => {
                    keyspace.put_expiring(key, value, 1_700_000_000_000 + random.below(10_000)).expect("put")
                }
                _ => keyspace.put(key, value).expect("put"),
            }
            while random.chance(5) && db.step().expect("background work") {}
        }
    }
    let _ = db.import(&export(&origin)[..], &mut |_| true).expect("import");
    db
}

fn export(db: &Db) -> Vec<u8> {
    let mut stream = Vec::new();
    let report = db.export(&mut stream, &mut |_| true).expect("export");
    assert_eq!((report.root, report.bytes), (db.root().expect("root"), stream.len() as u64));
    stream
}

fn contents(db: &Db) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let names = db.keyspaces().expect("keyspaces").into_iter();
    let entries = names.flat_map(|name| {
        let keyspace = db.keyspace(&name).expect("keyspace");
        keyspace
            .iter()
            .map(|entry| entry.expect("an entry"))
            .map(move |entry| (name.clone(), entry.key, entry.value.to_vec()))
            .collect::<Vec<_>>()
    });
    entries.collect()
}

fn assert_sound(db: &Db) {
    assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
}

#[test]
fn an_imported_store_has_the_same_root_and_importing_again_changes_nothing() {
    for seed in seeds(40) {
        let world = World::new(seed);
        let db = sample(&world, seed, 300);
        let stream = export(&db);
        let mut passes = 0;
        let import = |passes: &mut u64| {
            let mut count = |_| {
                *passes += 1;
                true
            };
            world.builder("/copy").import(&stream[..], &mut count).expect("import")
        };
        let (copy, report) = import(&mut passes);
        assert_eq!((report.covered, report.deferred, report.refused), (0, 0, 0), "seed {seed}");
        assert_eq!((report.applied, report.bytes), (report.entries, stream.len() as u64), "seed {seed}");
        assert_eq!(
            (report.root, copy.root().expect("root")),
            (db.root().expect("root"), report.root),
            "seed {seed}"
        );
        assert!(contents(&copy) == contents(&db), "seed {seed}");
        assert_eq!(copy.keyspaces().expect("keyspaces"), ["default", "b", "c"], "seed {seed}");
        for number in 0..200 {
            let key = Random::new(number).key(200);
            assert_eq!(copy.digest(&key).expect("digest"), db.digest(&key).expect("digest"), "seed {seed}");
        }
        assert!(copy.node_id() != db.node_id() && passes > 0, "seed {seed}");
        assert_sound(&copy);
        assert!(export(&copy) == stream, "seed {seed}: equal stores have equal streams");

        copy.put("new", "here").expect("put");
        copy.delete(b"b").expect("delete");
        let root = copy.root().expect("root");
        drop(copy);
        let (copy, report) = import(&mut passes);
        assert_eq!((report.applied, report.covered), (0, report.entries), "seed {seed}: what is newer stays");
        assert_eq!(copy.root().expect("root"), root, "seed {seed}");
    }
}

#[test]
fn a_stream_cut_anywhere_is_refused_and_leaves_what_was_whole() {
    let world = World::new(1);
    let db = world.builder("/db").create().expect("a new store");
    let value = vec![7; 40_000];
    for number in 0..20u64 {
        db.put(number.to_be_bytes(), &value).expect("put");
    }
    let stream = export(&db);
    let mut random = Random::new(1);
    let places = (0..200)
        .chain((0..60).map(|_| random.below(stream.len() as u64) as usize))
        .chain(stream.len() - 100..stream.len());
    let mut partial = 0;
    for cut in places.collect::<Vec<_>>() {
        let world = World::new(2);
        let error = world.builder("/copy").import(&stream[..cut], &mut |_| true).map(drop);
        assert!(matches!(error, Err(Error::Stream { .. })), "cut at {cut}: {error:?}");
        let Ok(copy) = world.builder("/copy").open() else {
            assert!(cut < 300, "cut at {cut}: nothing is left");
            continue;
        };
        assert_sound(&copy);
        let found = contents(&copy);
        assert!(contents(&db).starts_with(&found), "cut at {cut}");
        partial += u64::from(!found.is_empty());
        let report = copy.import(&stream[..], &mut |_| true).expect("import the rest");
        assert_eq!(
            (report.covered, copy.root().expect("root")),
            (found.len() as u64, report.root),
            "cut at {cut}"
        );
    }
    assert!(partial > 20, "only {partial} cuts behind a whole chunk");
}

#[test]
fn no_damaged_bit_goes_through() {
    let world = World::new(3);
    let stream = export(&sample(&world, 3, 30));
    let (mut random, mut refused) = (Random::new(3), 0);
    for at in 0..stream.len().min(1_500) {
        let mut damaged = stream.clone();
        let place = if at < 200 { at } else { random.below(stream.len() as u64) as usize };
        damaged[place] ^= 1 << random.below(8);
        let copy = World::new(4);
        match copy.builder("/copy").import(&damaged[..], &mut |_| true) {
            Err(Error::Stream { .. }) => refused += 1,
            Err(Error::UnsupportedVersion { .. }) => assert!((8..12).contains(&place), "byte {place}"),
            other => panic!("byte {place}: {other:?}"),
        }
    }
    assert!(refused > 1_000);
}

/// The frames of a stream: where each begins, and how long its payload is.
fn frames(stream: &[u8]) -> Vec<(usize, usize)> {
    let mut frames = Vec::new();
    let mut at = 16;
    while let Some(len) = stream[at..].first_chunk() {
        let len = u32::from_le_bytes(*len) as usize;
        frames.push((at, len));
        at += 8 + len;
    }
    frames
}

/// Makes the checksum of the frame at `at` right.
fn seal(stream: &mut [u8], at: usize, len: usize) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(at as u64).to_le_bytes());
    hasher.update(&(len as u32).to_le_bytes());
    hasher.update(&stream[at + 8..at + 8 + len]);
    stream[at + 4..at + 8].copy_from_slice(&hasher.finalize().to_le_bytes());
}

#[test]
fn what_is_behind_a_right_checksum_is_not_believed_either() {
    let world = World::new(7);
    let stream = export(&sample(&world, 7, 30));
    let frames = frames(&stream);
    let mut random = Random::new(7);
    let (mut senseless, mut sums) = (0, 0);
    // Any value of a byte of an entry, of the number of entries or of the sums; what the head says is nobody's to check.
    for &(at, len) in frames.iter().skip(1) {
        for _ in 0..1_500 {
            let mut damaged = stream.clone();
            let place = at + 8 + random.below(len as u64) as usize;
            damaged[place] ^= 1 + random.below(255) as u8;
            seal(&mut damaged, at, len);
            match World::new(8).builder("/copy").import(&damaged[..], &mut |_| true) {
                Err(Error::Stream { what, .. }) if what.contains("makes no sense") => senseless += 1,
                Err(Error::Stream { what, .. }) if what.contains("come to") => sums += 1,
                other => panic!("byte {place}: {other:?}"),
            }
        }
    }
    assert!(senseless > 100 && sums > 1_000, "{senseless} senseless, {sums} with other sums");
    // Of the head, that it is one, and what a set may be.
    for (place, value) in [(0, 2), (49, 200)] {
        let (at, len) = frames[0];
        let mut damaged = stream.clone();
        damaged[at + 8 + place] = value;
        seal(&mut damaged, at, len);
        let imported = World::new(8).builder("/copy").import(&damaged[..], &mut |_| true);
        assert!(matches!(imported, Err(Error::Stream { .. })), "byte {place} of the head: {imported:?}");
    }
}

#[test]
fn a_stream_of_another_set_and_a_failing_pipe_are_typed_errors() {
    let (world, other) = (World::new(5), World::new(6));
    let db = sample(&world, 5, 20);
    let stream = export(&db);
    let stranger = other.builder("/db").create().expect("a new store");
    let root = stranger.root().expect("root");
    assert!(matches!(stranger.import(&stream[..], &mut |_| true), Err(Error::InvalidArgument { .. })));
    assert_eq!(stranger.root().expect("root"), root);

    struct Broken(usize);
    impl Write for Broken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
    for after in 0..4 {
        assert!(matches!(db.export(Broken(after), &mut |_| true), Err(Error::Io { op: "write", .. })));
    }
    let broken = (&stream[..100]).chain(Broken(0));
    assert!(matches!(db.import(broken, &mut |_| true), Err(Error::Io { op: "read", .. })));
    assert!(matches!(db.import(&stream[..], &mut |_| false), Err(Error::Aborted)));
}

#[test]
fn whichever_operation_fails_an_import_can_be_done_again() {
    let world = World::new(7);
    let stream = export(&sample(&world, 7, 150));
    let dry = World::new(8);
    drop(dry.builder("/copy").import(&stream[..], &mut |_| true).expect("import"));
    let operations = dry.vfs.operations(FaultTarget::Changes);
    assert!(operations > 15, "only {operations} operations");
    for after in 0..operations {
        let world = World::new(8);
        world.vfs.inject(Fault {
            target: FaultTarget::Changes,
            after,
            kind: ErrorKind::StorageFull,
            stays: false,
        });
        let first = world.builder("/copy").import(&stream[..], &mut |_| true).map(drop);
        let mut random = Random::new(after);
        for vfs in [world.vfs.kill(), world.vfs.power_cut(|bound| random.below(bound))] {
            let again = World { vfs, ..world.clone() };
            let (copy, report) = again
                .builder("/copy")
                .import(&stream[..], &mut |_| true)
                .unwrap_or_else(|error| panic!("operation {after}: {error}"));
            assert_eq!(copy.root().expect("root"), report.root, "operation {after}");
            assert!(first.is_err() || report.applied == 0, "operation {after}: a returned import is durable");
            assert_sound(&copy);
        }
    }
}
