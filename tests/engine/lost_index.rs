//! The Merkle files and a block of a run damaged at once: what is left opens, says which keys it does not know, has the sums of
//! all others, and is its twin's equal once healed.

use std::path::Path;

use syncline::vfs::Vfs;
use syncline::{Db, Error};

use crate::common::World;

const DIR: &str = "/db";
const KEYS: u64 = 600;

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// A store of one run, with a keyspace beside the default one.
fn filled(world: &World) -> Db {
    let db = world.builder(DIR).create().expect("a new store");
    let other = db.keyspace("other").expect("a keyspace");
    for number in 0..KEYS {
        db.put(key(number), [number as u8; 60]).expect("put");
        other.put(key(number), [1]).expect("put");
    }
    db.compact(|_| true).expect("compact");
    db
}

fn twin_of(db: &Db) -> Db {
    let twin = World::new(1).builder("/twin").create_replica(&db.replica_set()).expect("a twin");
    let mut stream = Vec::new();
    db.export(&mut stream, |_| true).expect("export");
    let _ = twin.import(&stream[..], |_| true).expect("import");
    twin
}

/// Flips a bit in the middle of every file of this kind.
fn damage(world: &World, kind: &str) {
    let names = world.vfs.list(Path::new(DIR)).expect("list");
    let damaged = names.iter().filter(|name| name.ends_with(kind)).map(|name| {
        let path = Path::new(DIR).join(name);
        let len = world.vfs.bytes(&path).expect("bytes").len();
        world.vfs.flip(&path, len / 2, 1).expect("flipped");
    });
    assert!(damaged.count() > 0, "there is no {kind}");
}

#[test]
fn without_index_and_a_block_a_store_opens_with_what_it_knows_and_heals() {
    let world = World::new(0);
    let db = filled(&world);
    let (root, twin) = (db.root().expect("root"), twin_of(&db));
    db.close().expect("close");
    damage(&world, ".run");
    damage(&world, ".merkle");

    for opening in 1..=2 {
        let db = world.builder(DIR).open().expect("it opens");
        assert_eq!(db.recovery().merkle_rebuilt, opening == 1, "opening {opening}");
        assert_eq!(db.unknown_spans().len(), 1, "opening {opening}");
        assert!(db.root().is_err(), "a sum of what is not known");
        let (mut known, mut unknown) = (0, 0);
        for keyspace in [db.default_keyspace(), db.keyspace("other").expect("a keyspace")] {
            for number in 0..KEYS {
                match keyspace.get(key(number)) {
                    Ok(Some(_)) => known += 1,
                    Err(Error::Unknown { .. }) => unknown += 1,
                    other => panic!("opening {opening}: key {number} reads as {other:?}"),
                }
            }
        }
        assert!(known > KEYS && unknown > 0, "opening {opening}: {known} known, {unknown} unknown");
        db.close().expect("close");
    }

    let db = world.builder(DIR).open().expect("it opens");
    let _ = db.heal_from(&twin).expect("healed");
    assert_eq!(db.root().expect("root"), root);
    assert_eq!(db.verify(|_| true).expect("verify").problems, Vec::<String>::new());
}

#[test]
fn an_index_rebuilt_at_opening_is_the_same() {
    let world = World::new(2);
    let db = filled(&world);
    let root = db.root().expect("root");
    db.close().expect("close");
    damage(&world, ".merkle");
    let db = world.builder(DIR).open().expect("it opens");
    assert!(db.recovery().merkle_rebuilt);
    assert_eq!(db.root().expect("root"), root);
    assert_eq!(db.keyspace("other").expect("a keyspace").len().expect("len"), KEYS);
}
