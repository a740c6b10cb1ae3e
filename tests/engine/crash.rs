//! What a store does of which a write failed, and a history for the tests beside this one. The test kit cuts the power at
//! every step and lets every operation fail: rows F2, F3, F9, F10 and F11 of its fault table.

use std::io::ErrorKind;

use syncline::vfs::{Fault, FaultTarget};
use syncline::{Db, Durability, Error};
use testkit::History;

use crate::common::World;

/// Makes commit `number` of a fixed history.
pub(crate) fn commit(db: &Db, number: u64, durability: Durability) -> Result<(), Error> {
    History::new(0).commit(db, number, durability)
}

/// Checks that the store holds exactly what the first `n` commits leave, and returns `n`.
pub(crate) fn check_prefix(db: &Db) -> u64 {
    History::new(0).check(db, u64::MAX).unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn a_failed_write_poisons_the_store_and_reads_go_on_at_the_durable_state() {
    let world = World::new(5);
    let db = world.builder("/db").create().expect("a new store");
    commit(&db, 1, Durability::Sync).expect("commit");
    commit(&db, 2, Durability::Buffered).expect("commit");
    let kind = ErrorKind::Other;
    world.vfs.inject(Fault { target: FaultTarget::Changes, after: 0, kind, stays: false });
    assert!(matches!(commit(&db, 3, Durability::Sync), Err(Error::Io { op: "write", .. })));
    assert!(matches!(commit(&db, 4, Durability::Buffered), Err(Error::Poisoned { .. })));
    assert!(matches!(db.root(), Err(Error::Poisoned { .. })), "a fingerprint would include what may be lost");
    assert!(matches!(db.persist(Durability::Sync), Err(Error::Poisoned { .. })));
    let last = db.get(b"last").expect("reads go on").expect("there");
    assert_eq!(last, 1u64.to_le_bytes(), "a poisoned store reads at what is durable");
}
