//! What a peer of the set may not say to a store, whatever its session let through.

use sync_proto::{Entry, Kind, Origin, Replica, Stamp};
use syncline::replica::{DbReplica, KeyName, catalogue, inner_prefix};

use crate::common::World;

const ORIGIN: Origin = Origin { node: 7, horizon: 0 };

fn entry(key: &[u8]) -> Entry {
    let stamp = Stamp { hlc: 1_700_000_000_000 << 16, node: 7 };
    Entry { key: key.to_vec(), stamp, kind: Kind::Put, expires_at: 0, meta: Vec::new(), value: vec![1] }
}

#[test]
fn a_key_of_no_replicated_keyspace_and_a_senseless_table_are_refused() {
    let db = World::new(0).builder("/db").create().expect("a new store");
    db.put("key", "value").expect("put");
    let (replica, root) = (DbReplica::new(&db), db.root().expect("root"));
    // A local keyspace, one beyond the replicated ones, and no whole prefix.
    for key in [&b"\0localkey!"[..], b"\x03beyond-it", b"\x01short", b""] {
        assert!(replica.apply(vec![entry(key)], ORIGIN).is_err(), "{}", key.escape_ascii());
    }
    for table in [&b"\xff"[..], b"\x01", b"no table of members at all"] {
        assert!(replica.meet(ORIGIN, Some(table), false, 0).is_err(), "{}", table.escape_ascii());
    }
    assert_eq!(db.root().expect("root"), root);
}

#[test]
fn a_stored_key_is_told_as_its_keyspace_and_the_users_key() {
    let db = World::new(1).builder("/db").create().expect("a new store");
    let other = db.keyspace("other").expect("a keyspace");
    let names = DbReplica::new(&db).key_names().expect("names");
    let stored = inner_prefix(&other, b"key").start;
    assert_eq!(names.name(&stored), KeyName::User { keyspace: Some("other"), key: b"key" });
    let unknown = [&[1, 9, 9, 9, 9, 9, 9, 9, 9][..], b"key"].concat();
    assert_eq!(names.name(&unknown), KeyName::User { keyspace: None, key: b"key" });
    assert_eq!(names.name(&catalogue().start), KeyName::Catalogue);
}
