//! Statistics: what was written is counted once, whatever stops the store, and garbage is what compaction gives back.

use syncline::{Db, Durability, Stats};

use crate::common::World;

/// Overwrites forty keys with rows of 8 bytes of key and 100 or 1,000 of value, and returns the bytes of keys and values. Inner
/// keys have nine bytes of keyspace in front.
fn overwrite(db: &Db, times: u64) -> u64 {
    let mut bytes = 0;
    for number in 0..times {
        let value = vec![number as u8; if number.is_multiple_of(3) { 1_000 } else { 100 }];
        db.put((number % 40).to_be_bytes(), &value).expect("put");
        bytes += 9 + 8 + value.len() as u64;
        while db.step().expect("background work") {}
    }
    bytes
}

fn stats(db: &Db) -> Stats {
    db.stats().expect("stats")
}

#[test]
fn written_bytes_are_counted_once_whatever_stops_the_store() {
    let mut world = World::new(6);
    let mut db = world.builder("/db").create().expect("a new store");
    let mut committed = 0;
    for round in 0..6 {
        committed += overwrite(&db, 150);
        let before = stats(&db).written;
        assert_eq!(before.committed, committed, "round {round}");
        assert!(before.logged > committed && before.flushed > 0, "round {round}: {before:?}");
        match round % 3 {
            0 => db.close().expect("close"),
            1 => {
                db.persist(Durability::Sync).expect("fsync");
                world.vfs = world.vfs.power_cut(|bound| bound / 2);
            }
            _ => world.vfs = world.vfs.kill(),
        }
        db = world.builder("/db").open().expect("reopen");
        let after = stats(&db).written;
        assert_eq!(after.committed, committed, "round {round}");
        assert!(after.logged >= before.logged && after.flushed >= before.flushed, "{before:?}, {after:?}");
    }
    let stats = stats(&db);
    assert!(stats.write_amplification() > 1.5 && stats.write_amplification() < 10.0, "{stats:?}");
}

#[test]
fn garbage_is_what_a_compaction_gives_back() {
    let world = World::new(8);
    let db = world.builder("/db").create().expect("a new store");
    for number in 0..2_000u64 {
        db.put((number % 400).to_be_bytes(), [number as u8; 100]).expect("put");
    }
    db.flush().expect("flush");
    let before = stats(&db);
    db.compact(|_| true).expect("compact");
    let after = stats(&db);
    assert_eq!((after.garbage_bytes(), after.shadowed_entries), (0, 0));
    let given_back = before.run_bytes - after.run_bytes;
    let error = before.garbage_bytes().abs_diff(given_back);
    assert!(
        given_back > 100_000 && error < given_back / 10,
        "{given_back} of {} bytes",
        before.garbage_bytes()
    );
    assert!(after.space_amplification() < before.space_amplification() / 2.0);
    assert!(after.written.merged >= after.run_bytes);
}
