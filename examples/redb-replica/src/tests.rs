//! The redb store conforms, and repairs a Syncline store of its set.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use sync_proto::conformance::{EntryHasher, Subject, check};
use sync_proto::driver::run_pair;
use sync_proto::{End, KeyRange, Kind, Options, Reason, Replica, ReplicaError, ReplicaErrorKind};
use syncline::replica::DbReplica;
use syncline::{Db, ReplicaSet, Resolver};

use crate::replica::RedbReplica;
use crate::set::Set;
use crate::store::Store;

/// A file in memory that outlives the database on it.
#[derive(Debug, Clone)]
struct Medium(Arc<InMemoryBackend>);

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

struct Redb {
    medium: Medium,
    replica: RedbReplica,
}

impl Redb {
    fn open(medium: Medium, node: u64) -> Redb {
        let store = Store::open_on(medium.clone(), Set::new(&set()), node, || 1_700_000_000_000);
        Redb { medium, replica: RedbReplica(Arc::new(store.expect("a store"))) }
    }
}

fn set() -> ReplicaSet {
    let mut set = ReplicaSet::new([5; 16], [6; 32]);
    set.bucket_bits = 2;
    set
}

fn told<T>(result: crate::store::Result<T>) -> Result<T, ReplicaError> {
    result.map_err(|error| ReplicaError::new(ReplicaErrorKind::Storage, error))
}

impl Subject for Redb {
    fn replica(&self) -> &dyn Replica {
        &self.replica
    }

    fn hasher(&self) -> EntryHasher {
        let set = self.replica.0.set.clone();
        Arc::new(move |entry| set.entry_hash(entry))
    }

    fn key_start(&self) -> Vec<u8> {
        self.replica.0.set.key_start("default")
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ReplicaError> {
        told(self.replica.0.write(key, Some(value)))
    }

    fn delete(&self, key: &[u8]) -> Result<(), ReplicaError> {
        told(self.replica.0.write(key, None))
    }

    fn read_all(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReplicaError> {
        let read = || {
            let rows =
                self.replica.0.read()?.rows(&KeyRange::all())?.collect::<crate::store::Result<Vec<_>>>()?;
            let puts = rows.into_iter().map(|row| row.entry).filter(|entry| entry.kind == Kind::Put);
            Ok(puts.map(|entry| (entry.key, entry.value)).collect())
        };
        told(read())
    }

    fn reopen(self) -> Result<Redb, ReplicaError> {
        let Redb { medium, replica } = self;
        drop(replica);
        // A store keeps the id that it was made with.
        Ok(Redb::open(medium, 99))
    }
}

#[test]
fn the_redb_store_conforms_as_a_replica() {
    let create = |node| Redb::open(Medium(Arc::default()), node);
    check(0..300, create).unwrap_or_else(|failure| panic!("{failure}"));
}

/// The greater of two values.
#[derive(Debug)]
struct Greatest;

impl Resolver for Greatest {
    fn name(&self) -> &str {
        "greatest"
    }

    fn merge(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        older.max(newer).to_vec()
    }
}

#[test]
fn what_only_a_resolver_can_merge_is_taken_once_and_then_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let db =
        Db::builder(dir.path().join("syncline")).resolver(Greatest).create_replica(&set()).expect("a store");
    let scores = db.keyspace_with("scores", "greatest").expect("a keyspace");
    scores.put("ann", "7").expect("put");
    // On the clock of today, or the store's stamps would lie in the future.
    let store =
        Store::open(&dir.path().join("redb"), Set::new(&set()), 5, crate::store::system_ms).expect("a store");
    let redb = RedbReplica(Arc::new(store));
    let repair = |nonce| run_pair(&DbReplica::new(&db), &redb, Options::new(nonce), &mut |_| ()).0.end;
    assert_eq!(repair(1), End::Complete);
    scores.put("ann", "8").expect("put");
    match repair(2) {
        End::Partial(reasons) => assert!(reasons.iter().eq([Reason::Refused])),
        end => panic!("{end:?}"),
    }
    assert_eq!(scores.get("ann").expect("get").as_deref(), Some(&b"8"[..]));
}
