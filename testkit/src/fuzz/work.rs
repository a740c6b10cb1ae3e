//! Inputs as operations: a store against a `BTreeMap`, with reopening, kills and power cuts among the operations. Sums are
//! compared with those made from scratch, by `verify`.

use std::collections::BTreeMap;

use syncline::{Builder, Db, Durability};

use crate::history::History;
use crate::life::{DIR, abandon};
use crate::random::Random;
use crate::stop::Stop;
use crate::world::World;

/// Operations of one input. More would only make it slower.
const OPERATIONS_MAX: usize = 300;

fn builder(world: &World) -> Builder {
    world.builder(DIR).memtable_bytes(2 << 10)
}

fn check(db: &Db, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let found: Result<BTreeMap<_, _>, _> =
        db.iter().map(|entry| entry.map(|entry| (entry.key, entry.value.to_vec()))).collect();
    assert!(found.expect("scan") == *model, "the store is not the map");
    assert_eq!(db.len().expect("len"), model.len() as u64);
    assert_eq!(db.verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
}

/// Two bytes an operation: what, and on what.
pub(super) fn ops(data: &[u8]) {
    let mut world = World::new(1);
    let mut db = builder(&world).create().expect("a new store");
    let mut model = BTreeMap::new();
    for operation in data.chunks_exact(2).take(OPERATIONS_MAX) {
        let (what, on) = (operation[0], operation[1]);
        let key = vec![on; usize::from(on % 4)];
        match what {
            0..=119 => {
                let value = [what; 300][..usize::from(what) * 5 / 2].to_vec();
                db.put(&key, &value).expect("put");
                model.insert(key, value);
            }
            120..=179 => {
                db.delete(&key).expect("delete");
                model.remove(&key);
            }
            180..=189 => {
                db.default_keyspace().delete_range(&key[..]..).expect("delete");
                model.retain(|other, _| *other < key);
            }
            190..=219 => drop(db.step().expect("background work")),
            220..=229 => db.flush().expect("flush"),
            230..=234 => db.compact(|_| true).expect("compact"),
            235..=244 => {
                let left = world.with(world.vfs.kill());
                abandon(&world, db);
                world = left;
                db = builder(&world).open().expect("open after a kill");
                check(&db, &model);
            }
            _ => {
                db.close().expect("close");
                db = builder(&world).open().expect("open after closing");
                check(&db, &model);
            }
        }
    }
    check(&db, &model);
    abandon(&world, db);
}

/// A byte an operation: commits of a history, work, and stops of every kind.
pub(super) fn ops_crash(data: &[u8]) {
    let (mut world, history) = (World::new(1), History::new(1));
    let mut db = builder(&world).create().expect("a new store");
    let (mut last, mut tried, mut durable) = (0, 0, 0);
    for (index, operation) in (0u64..).zip(data.iter().take(OPERATIONS_MAX)) {
        match operation {
            0..=119 => {
                last += 1;
                history.commit(&db, last, Durability::Buffered).expect("commit");
            }
            120..=169 => {
                last += 1;
                history.commit(&db, last, Durability::Sync).expect("commit");
                durable = last;
            }
            170..=209 => drop(db.step().expect("background work")),
            210..=224 => {
                db.flush().expect("flush");
                durable = last;
            }
            _ => {
                let stop = Stop::ALL[usize::from(*operation) % Stop::ALL.len()];
                let left = stop.apply(&world.vfs, &mut Random::new(index));
                abandon(&world, db);
                world = world.with(left);
                db = builder(&world).open().expect("open after a stop");
                let least = if stop == Stop::Kill { last } else { durable };
                tried = tried.max(last);
                last = history.check(&db, tried).unwrap_or_else(|problem| panic!("{stop}: {problem}"));
                assert!(last >= least, "{stop}: {last} commits are there, {least} were acknowledged");
                durable = last;
            }
        }
    }
    abandon(&world, db);
}
