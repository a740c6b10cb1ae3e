//! The store answers as the protocol asks of replicas: the protocol's own suite, against it.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine conformance` runs that one alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_proto::conformance::{EntryHasher, Subject, check};
use sync_proto::{ReadLimit, Replica, ReplicaError, ReplicaErrorKind};
use syncline::replica::DbReplica;
use syncline::{Db, ReplicaSet, Result};

use crate::common::{World, seeds};

const DIR: &str = "/store";

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
}
