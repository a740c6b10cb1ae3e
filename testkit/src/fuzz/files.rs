//! Stores whose files were tampered with: a typed error or a store that reads consistently, never a panic, and never memory
//! beyond what the files are long.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Builder, Durability};

use crate::checksums;
use crate::life::{DIR, abandon};
use crate::world::World;

fn builder(world: &World) -> Builder {
    world.builder(DIR).memtable_bytes(4 << 10).inline_value_max(100)
}

/// A store with runs, Merkle files, large values, a log tail and a full ring, as a killed process leaves it.
fn template() -> World {
    static TEMPLATE: OnceLock<MemoryVfs> = OnceLock::new();
    let vfs = TEMPLATE.get_or_init(|| {
        let world = World::new(1);
        let db = builder(&world).create().expect("a new store");
        let other = db.keyspace("other").expect("a keyspace");
        for number in 0..120u32 {
            db.put(number.to_be_bytes(), vec![number as u8; (number % 50 * 8) as usize]).expect("put");
            if number % 5 == 0 {
                other.delete((number / 2).to_be_bytes()).expect("delete");
            }
            if number == 80 {
                while db.step().expect("background work") {}
                db.persist(Durability::Sync).expect("persist");
            }
        }
        let left = world.vfs.kill();
        abandon(&world, db);
        left
    });
    World::new(1).with(vfs.kill())
}

fn files(world: &World, extension: &str) -> Vec<PathBuf> {
    let names = world.vfs.list(Path::new(DIR)).expect("list");
    let wanted = names.into_iter().filter(|name| name.ends_with(extension));
    wanted.map(|name| Path::new(DIR).join(name)).collect()
}

/// Opens what is there and looks at all of it.
fn open(world: &World) {
    let Ok(db) = builder(world).open() else { return };
    let mut count = Some(0);
    for entry in db.iter() {
        count = count.filter(|_| entry.is_ok()).map(|count| count + 1);
        if entry.is_err() {
            break;
        }
    }
    let report = db.verify(&mut |_| true).expect("verify is not stopped");
    // Whatever it opened to, both ways of counting agree, unless damage is met on the way and said so.
    if let (Some(count), true) = (count, report.problems.is_empty()) {
        assert_eq!(db.len().expect("len"), count);
    }
    let _ = db.put(b"more", b"writes");
    let _ = db.flush();
    abandon(world, db);
}

/// The first byte chooses the file, the second the way; the rest replaces the file or patches it (offset u16, mask u8).
fn tamper(world: &World, files: &[PathBuf], data: &[u8], is_repaired: bool) {
    let [file, way, rest @ ..] = data else { return };
    let path = &files[*file as usize % files.len()];
    let mut bytes = world.vfs.bytes(path).unwrap_or_default();
    if way % 4 == 0 {
        let keep = if is_repaired { bytes.len().min(16) } else { 0 };
        bytes.truncate(keep);
        bytes.extend_from_slice(rest);
    } else {
        for patch in rest.chunks_exact(3) {
            let offset = u16::from_le_bytes([patch[0], patch[1]]) as usize;
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= patch[2];
            }
        }
    }
    if is_repaired {
        checksums::repair(path, &mut bytes);
    }
    world.vfs.put(path, &bytes);
}

/// One file is replaced or patched.
pub(super) fn recover(data: &[u8]) {
    let world = template();
    tamper(&world, &files(&world, ""), data, false);
    open(&world);
}

/// The same with checksums made right, so that what lies behind them is reached.
pub(super) fn recover_crc_fixup(data: &[u8]) {
    let world = template();
    tamper(&world, &files(&world, ""), data, true);
    open(&world);
}

/// A run is replaced or patched, its checksums made right.
pub(super) fn run_file(data: &[u8]) {
    let world = template();
    tamper(&world, &files(&world, ".run"), data, true);
    open(&world);
}

/// The manifest is replaced or patched, its checksums made right.
pub(super) fn manifest(data: &[u8]) {
    let world = template();
    tamper(&world, &files(&world, ".manifest"), data, true);
    open(&world);
}

/// Several changes of whole files, six bytes each: kind, file, place u16, length, other file.
pub(super) fn recover_mutate(data: &[u8]) {
    let world = template();
    for change in data.chunks_exact(6).take(8) {
        let files = files(&world, "");
        let file = |index: u8| &files[index as usize % files.len()];
        let (path, other) = (file(change[1]), file(change[5]));
        let mut bytes = world.vfs.bytes(path).unwrap_or_default();
        let place = u16::from_le_bytes([change[2], change[3]]) as usize % bytes.len().max(1);
        let end = bytes.len().min(place + usize::from(change[4]));
        match change[0] % 7 {
            0 => bytes.truncate(place),
            1 => bytes.get_mut(place..end).unwrap_or_default().fill(0),
            2 => bytes.resize(bytes.len() + usize::from(change[4]), change[3]),
            3 if place < end => bytes.rotate_left(place),
            4 => bytes = world.vfs.bytes(other).unwrap_or_default(),
            5 if files.len() > 1 => {
                let _ = world.vfs.remove(path);
                continue;
            }
            _ => {
                let _ = world.vfs.rename(path, other);
                continue;
            }
        }
        world.vfs.put(path, &bytes);
    }
    open(&world);
}
