//! A long value that a peer sends in parts: only if exactly what was announced came is it taken, and nothing is left of the rest.

use std::path::Path;

use sync_proto::{Entry, Kind, Origin, Replica, Stamp};
use syncline::Db;
use syncline::replica::{DbReplica, inner_prefix};
use syncline::vfs::Vfs;

use crate::common::World;

const ORIGIN: Origin = Origin { node: 7, horizon: 0 };

/// What the peer sends before the value: nothing of it yet.
fn entry(db: &Db) -> Entry {
    let key = inner_prefix(&db.default_keyspace(), b"key").start;
    let stamp = Stamp { hlc: 1_700_000_000_000 << 16, node: 7 };
    Entry { key, stamp, kind: Kind::Put, expires_at: 0, meta: Vec::new(), value: Vec::new() }
}

#[test]
fn a_value_is_taken_only_if_all_of_it_came_and_no_more() {
    let world = World::new(0);
    let db = world.builder("/db").create().expect("a new store");
    let replica = DbReplica::new(&db);
    let begin = |len| replica.begin_value(entry(&db), len, ORIGIN);
    let leaves_nothing = |what: &str| {
        assert_eq!(db.get("key").expect("get"), None, "{what}");
        let names = world.vfs.list(Path::new("/db")).expect("list");
        assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{what}: {names:?}");
    };

    assert!(begin((1 << 30) + 1).is_err(), "a value longer than any may be");
    leaves_nothing("too long");

    let mut writer = begin(5).expect("begun");
    writer.append(b"val").expect("three of five bytes");
    assert!(writer.append(b"ues").is_err(), "a sixth byte");
    drop(writer);
    leaves_nothing("more than announced");

    let mut writer = begin(5).expect("begun");
    writer.append(b"val").expect("three of five bytes");
    assert!(writer.commit().is_err(), "two bytes are missing");
    leaves_nothing("less than announced");

    let mut writer = begin(5).expect("begun");
    writer.append(b"val").expect("three of five bytes");
    writer.append(b"ue").expect("the others");
    assert_eq!(writer.commit().expect("committed").applied, 1);
    assert_eq!(db.get("key").expect("get").as_deref(), Some(&b"value"[..]));
}
