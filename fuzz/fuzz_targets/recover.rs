//! Opening a store whose files were tampered with: a typed error or a store that reads consistently, never a panic, and
//! never memory beyond what the files are long.
//!
//! Input: one byte chooses the file, one the way, the rest replaces the file or patches it (offset u16, mask u8).
#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use syncline::clock::{ManualClock, SeededEntropy};
use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Builder, Db, Durability, Environment};

const DIR: &str = "/db";

fn builder(vfs: &MemoryVfs) -> Builder {
    let environment = Environment {
        vfs: Arc::new(vfs.clone()),
        wall_clock: Arc::new(ManualClock::new(1_700_000_000_000)),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    Db::builder(DIR).environment(environment).background(false).memtable_bytes(4 << 10).inline_value_max(100)
}

/// A store with runs, Merkle files, large values, a log tail and a full ring, as a killed process leaves it.
fn template() -> &'static MemoryVfs {
    static TEMPLATE: OnceLock<MemoryVfs> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let vfs = MemoryVfs::new();
        let db = builder(&vfs).create().expect("a new store");
        let other = db.keyspace("other").expect("a keyspace");
        for number in 0..200u32 {
            db.put(number.to_be_bytes(), vec![number as u8; (number % 50 * 8) as usize]).expect("put");
            if number % 5 == 0 {
                other.delete((number / 2).to_be_bytes()).expect("delete");
            }
            if number == 150 {
                while db.step().expect("background work") {}
                db.persist(Durability::Sync).expect("persist");
            }
        }
        vfs.kill()
    })
}

fuzz_target!(|data: &[u8]| {
    let [file, way, rest @ ..] = data else { return };
    let vfs = template().kill();
    let names = vfs.list(Path::new(DIR)).expect("list");
    let name = &names[*file as usize % names.len()];
    let path = Path::new(DIR).join(name);
    if way % 2 == 0 {
        vfs.put(&path, rest);
    } else {
        for patch in rest.chunks_exact(3) {
            let offset = u16::from_le_bytes([patch[0], patch[1]]) as usize;
            let _ = vfs.flip(&path, offset, patch[2]);
        }
    }
    let Ok(db) = builder(&vfs).open() else { return };
    // Whatever it opened to, both ways of counting must agree, unless damage is met on the way and said so.
    let mut count = 0;
    for entry in db.iter() {
        match entry {
            Ok(_) => count += 1,
            Err(_) => return,
        }
    }
    let report = db.verify(&mut |_| true).expect("verify is not stopped");
    if report.problems.is_empty() {
        assert_eq!(db.len().expect("len"), count);
    }
    let _ = db.put(b"more", b"writes");
});
