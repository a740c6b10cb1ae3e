//! Keyspaces and what they may be given to: batches and snapshots of their own store, and names that two of them have.

use sync_proto::End;
use syncline::{Builder, Db, Durability, Error, KeyRange, Keyspace, LAST_WRITER_WINS, ReplicaSet};

use crate::common::{Union, World};
use crate::converge::session;

/// A store and a replica of it, which has the same keyspaces under the same prefixes.
fn twins() -> (Db, Db) {
    let db = World::new(1).builder("/db").create().expect("a store");
    let replica = World::new(2).builder("/db").create_replica(&db.replica_set()).expect("a replica");
    (db, replica)
}

fn fruit(db: &Db) -> Keyspace {
    db.keyspace("fruit").expect("a keyspace")
}

fn is_refused<T>(result: syncline::Result<T>) -> bool {
    matches!(result, Err(Error::InvalidArgument { .. }))
}

#[test]
fn a_batch_is_refused_by_another_store_than_its_keyspaces() {
    let (db, replica) = twins();
    let mut batch = db.batch();
    batch.put(&fruit(&db), "apple", "red").expect("put");
    assert!(is_refused(batch.put(&fruit(&replica), "plum", "blue")));
    assert!(is_refused(batch.delete(&fruit(&replica), "plum")));
    batch.put(&fruit(&db.clone()), "pear", "green").expect("a keyspace of the same store, opened again");
    assert!(is_refused(replica.write(batch.clone(), Durability::Buffered)));
    assert_eq!(batch.len(), 2);
    assert!(fruit(&replica).is_empty().expect("length"));
    db.write(batch, Durability::Buffered).expect("its own store takes it");
    assert_eq!(fruit(&db).len().expect("length"), 2);
}

#[test]
fn a_snapshot_shows_nothing_of_another_stores_keyspaces() {
    let (db, replica) = twins();
    fruit(&db).put("apple", "red").expect("put");
    fruit(&replica).put("apple", "green").expect("put");
    let (snapshot, foreign) = (db.snapshot(), fruit(&replica));
    assert!(is_refused(snapshot.get(&foreign, "apple")));
    assert!(is_refused(snapshot.contains_key(&foreign, "apple")));
    assert!(is_refused(snapshot.digest(&foreign, "apple")));
    let mut range = snapshot.range::<&[u8]>(&foreign, ..).skip_unknown();
    let mut prefixed = snapshot.prefix_iter(&foreign, "a");
    for _ in 0..2 {
        assert!(is_refused(range.advance()) && is_refused(range.next_back().expect("an error")));
        assert!(is_refused(prefixed.next().expect("an error")));
    }
    assert_eq!(snapshot.get(&fruit(&db), "apple").expect("get").as_deref(), Some(&b"red"[..]));
}

#[test]
fn of_two_keyspaces_with_one_name_the_caller_says_which_one_is_meant() {
    let (worlds, union) = ([World::new(1), World::new(2)], |builder: Builder| builder.resolver(Union));
    let db = union(worlds[0].builder("/db")).create().expect("a store");
    let replica = union(worlds[1].builder("/db")).create_replica(&db.replica_set()).expect("a replica");
    db.keyspace("tags").expect("without a resolver").put("plum", [3]).expect("put");
    replica.keyspace_with("tags", "union").expect("with one").put("plum", [1]).expect("put");
    assert!(matches!(db.keyspace_with("tags", "union"), Err(Error::Ambiguous { .. })));
    assert!(matches!(replica.keyspace_with("tags", LAST_WRITER_WINS), Err(Error::Ambiguous { .. })));
    assert_eq!(session(&db, &replica, 1, u64::MAX).0.end, End::Complete);
    for db in [&db, &replica] {
        assert!(
            matches!(db.keyspace("tags"), Err(Error::Ambiguous { resolvers, .. }) if resolvers.len() == 2)
        );
        let [plain, merged] =
            [LAST_WRITER_WINS, "union"].map(|resolver| db.keyspace_with("tags", resolver).expect("named"));
        plain.put("plum", [3]).expect("put");
        merged.put("plum", [2]).expect("put");
        assert_eq!(plain.get("plum").expect("get").as_deref(), Some(&[3][..]));
        assert_eq!(merged.get("plum").expect("get").as_deref(), Some(&[1, 2][..]));
    }
    assert_eq!(db.keyspace_with("default", LAST_WRITER_WINS).expect("there by decree").name(), "default");
    assert!(is_refused(db.keyspace_with("default", "union")));
}

#[test]
fn what_no_store_can_be_opened_with_is_refused_before_anything_is_written() {
    let world = World::new(1);
    let refused = |builder: Builder, set: &ReplicaSet| {
        assert!(is_refused(builder.create_replica(set)));
        assert!(matches!(world.builder("/db").open(), Err(Error::NotFound { .. })));
    };
    let set = ReplicaSet::new([1; 16], [2; 32]);
    let (mut too_large, mut endless) = (set.clone(), set.clone());
    too_large.bucket_bits = 33;
    endless.epoch_len = 0;
    refused(world.builder("/db"), &too_large);
    refused(world.builder("/db"), &endless);
    refused(world.builder("/db").resolver(Union).resolver(Union), &set);
    refused(world.builder("/db").resolver(Reserved), &set);
    world.builder("/db").resolver(Union).create_replica(&set).expect("nothing is wrong with that");
    assert!(is_refused(world.builder("/db").resolver(Reserved).open()));
    assert!(is_refused(world.builder("/db").resolver(Reserved).open_read_only()));
}

/// A resolver with the name of having none.
#[derive(Debug)]
struct Reserved;

impl syncline::Resolver for Reserved {
    fn name(&self) -> &str {
        LAST_WRITER_WINS
    }

    fn merge(&self, _key: &[u8], _older: &[u8], newer: &[u8]) -> Vec<u8> {
        newer.to_vec()
    }
}

#[test]
fn an_entry_that_never_expires_is_not_put_as_an_expiring_one() {
    let db = World::new(1).builder("/db").create().expect("a store");
    assert!(is_refused(fruit(&db).put_expiring("apple", "red", 0)));
    assert!(is_refused(db.batch().put_expiring(&fruit(&db), "apple", "red", 0)));
    assert_eq!(fruit(&db).get("apple").expect("get"), None);
}

#[test]
fn an_entry_expires_however_it_was_put() {
    let world = World::new(1);
    let db = world.builder("/db").create().expect("a store");
    let expires_at_ms = 1_700_000_000_000 + 1_000;
    let mut batch = db.batch();
    batch.put_expiring(&db.default_keyspace(), "apple", "red", expires_at_ms).expect("put");
    db.write(batch, Durability::Buffered).expect("written");
    db.put_expiring("pear", "green", expires_at_ms).expect("put");
    let range = KeyRange::new("apple", Some(b"pear\0".to_vec()));
    for is_there in [true, false] {
        for key in ["apple", "pear"] {
            assert_eq!(db.contains_key(key).expect("known"), is_there, "{key}");
            let digest = db.digest(key).expect("known").expect("an entry");
            assert_eq!(digest.expires_at_ms, expires_at_ms);
        }
        let keys = db.snapshot().iter(&db.default_keyspace()).count();
        assert_eq!((keys, db.range(range.clone()).count()), if is_there { (2, 2) } else { (0, 0) });
        world.clock.advance(1_000);
    }
}
