//! The store answers as the protocol asks of replicas: the protocol's own suite, against it.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine conformance` runs that one alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_proto::conformance::{EntryHasher, Subject, check};
use sync_proto::{KeyRange, ReadLimit, Replica, ReplicaError, ReplicaErrorKind};
use syncline::replica::DbReplica;
use syncline::vfs::Vfs;
use syncline::{Db, ReplicaSet, Result, ScrubOptions, ScrubStep};

use crate::common::{Random, World, seeds};

const DIR: &str = "/store";
/// Spans that damage made unknown.
static LOSSES: AtomicU64 = AtomicU64::new(0);

/// A store in memory, at the protocol's end and at its users'.
struct Store {
    world: World,
    db: Db,
    replica: DbReplica,
    key_start: Vec<u8>,
}

impl Store {
    fn create(node: u64, key_start: &[u8]) -> Store {
        let world = World::new(node);
        let db = world.builder(DIR).create_replica(&set()).expect("a new store");
        Store { world, replica: DbReplica::new(&db), db, key_start: key_start.to_vec() }
    }

    /// The key as its users know it.
    fn users<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        &key[self.key_start.len()..]
    }
}

fn set() -> ReplicaSet {
    // Buckets of four entries: small stores have many.
    let mut set = ReplicaSet::new([5; 16], [6; 32]);
    set.bucket_bits = 2;
    set
}

/// What stands before users' keys in the default keyspace.
fn key_start() -> Vec<u8> {
    let store = Store::create(1, &[]);
    store.db.put("", "").expect("put");
    let everything = ReadLimit { count: 9, bytes: 1 << 20 };
    let replicated = store.replica.info(None).expect("info").replicated;
    let heads = store.replica.pin(0).expect("pinned").heads(&replicated, everything).expect("heads").heads;
    heads.into_iter().map(|head| head.key).next().expect("the key that was put")
}

fn told<T>(result: Result<T>) -> std::result::Result<T, ReplicaError> {
    result.map_err(|error| ReplicaError::new(ReplicaErrorKind::Storage, error))
}

impl Subject for Store {
    fn replica(&self) -> &dyn Replica {
        &self.replica
    }

    fn hasher(&self) -> EntryHasher {
        let replica = self.replica.clone();
        Arc::new(move |entry| replica.entry_hash(entry))
    }

    fn key_start(&self) -> Vec<u8> {
        self.key_start.clone()
    }

    fn put(&self, key: &[u8], value: &[u8]) -> std::result::Result<(), ReplicaError> {
        // Time passes in the store's world, and now and then something becomes a run.
        self.world.clock.advance(3);
        if value.len() == 9 {
            told(self.db.flush())?;
        }
        told(self.db.put(self.users(key), value))
    }

    fn delete(&self, key: &[u8]) -> std::result::Result<(), ReplicaError> {
        told(self.db.delete(self.users(key)))
    }

    fn read_all(&self) -> std::result::Result<BTreeMap<Vec<u8>, Vec<u8>>, ReplicaError> {
        let pairs = self.db.iter().map(|entry| {
            entry.map(|entry| ([&self.key_start[..], &entry.key].concat(), entry.value.to_vec()))
        });
        told(pairs.collect())
    }

    fn lose(self, range: &KeyRange) -> std::result::Result<Store, ReplicaError> {
        let Store { mut world, db, replica, key_start } = self;
        told(db.flush())?;
        drop(replica);
        told(db.close())?;
        let random = &mut Random::new(range.start.iter().map(|byte| u64::from(*byte)).sum());
        let names = world.vfs.list(Path::new(DIR)).expect("list");
        for name in names.iter().filter(|name| name.ends_with(".run")) {
            let path = Path::new(DIR).join(name);
            let len = world.vfs.bytes(&path).expect("listed").len() as u64;
            let damaged = world.with(world.vfs.kill());
            damaged.vfs.flip(&path, random.below(len) as usize, 1).expect("flipped");
            // What makes an opening fail is another matter.
            if damaged.builder(DIR).open_read_only().is_ok() {
                world = damaged;
            }
        }
        let db = told(world.builder(DIR).open())?;
        let mut scrub = db.scrub(ScrubOptions::default().bytes_per_second(0));
        while scrub.step() != ScrubStep::Done {}
        LOSSES.fetch_add(db.unknown_spans().len() as u64, Ordering::Relaxed);
        Ok(Store { replica: DbReplica::new(&db), world, db, key_start })
    }

    fn reopen(self) -> std::result::Result<Store, ReplicaError> {
        let Store { world, db, replica, key_start } = self;
        drop((db, replica));
        let db = told(world.builder(DIR).open())?;
        Ok(Store { replica: DbReplica::new(&db), world, db, key_start })
    }
}

#[test]
fn the_store_conforms_as_a_replica() {
    let key_start = key_start();
    for seed in seeds(400) {
        let checked = check(seed..seed + 1, |node| Store::create(node, &key_start));
        checked.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let losses = LOSSES.load(Ordering::Relaxed);
    assert!(losses > 20 || seeds(400).count() == 1, "only {losses} spans were lost");
}
