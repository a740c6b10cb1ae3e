//! Who has sessions with whom once a set is founded. What then becomes of deleted keys is row F17 of the test kit.

use sync_proto::{End, Origin, Replica};
use syncline::replica::DbReplica;
use syncline::{Db, Error};

use crate::common::World;
use crate::converge::session;

#[test]
fn strangers_and_expelled_nodes_have_no_session_once_a_set_is_founded() {
    let worlds = [World::new(1), World::new(2), World::new(3)];
    let first = worlds[0].builder("/db").create().expect("a new store");
    let replica =
        |world: &World| world.builder("/db").create_replica(&first.replica_set()).expect("a replica");
    let (second, stranger) = (replica(&worlds[1]), replica(&worlds[2]));
    first.admit(second.node_id()).expect("admit");
    let ends = |left: &Db, right: &Db, nonce| {
        let (left, right) = session(left, right, nonce, u64::MAX);
        [left.end, right.end].map(|end| matches!(end, End::Complete))
    };
    assert_eq!(ends(&second, &first, 1), [true, true]);
    assert_eq!(ends(&first, &second, 10), [true, true]);
    let (equal, _) = session(&second, &first, 11, u64::MAX);
    assert!(equal.report.legs == 2 && equal.report.metadata_bytes <= 200, "{:?}", equal.report);
    assert_eq!(ends(&stranger, &first, 2), [false, false]);
    first.expel(second.node_id()).expect("expel");
    assert_eq!(ends(&second, &first, 3), [false, false]);
    assert_eq!(ends(&first, &second, 4), [false, false]);
    assert!(matches!(first.admit(second.node_id()), Err(Error::InvalidArgument { .. })));
    assert_eq!(first.horizon_status().held_by, [], "who was expelled holds nothing");
}

#[test]
fn a_session_proves_nothing_of_what_was_closed_after_its_root_was_told() {
    let worlds = [World::new(1), World::new(2)];
    let first = worlds[0].builder("/db").create().expect("a new store");
    let second = worlds[1].builder("/db").create_replica(&first.replica_set()).expect("a replica");
    first.admit(second.node_id()).expect("admit");
    for nonce in [1, 10] {
        let (left, right) = session(&second, &first, nonce, u64::MAX);
        assert_eq!([left.end, right.end], [End::Complete, End::Complete]);
    }
    let replica = DbReplica::new(&first);
    let told = replica.info(None).expect("what the hello says");
    let table = DbReplica::new(&second).table().expect("a table");
    let proof = || {
        let peer = Origin { node: second.node_id().0, horizon: 0 };
        replica.meet(peer, Some(&table), false, told.members_checksum).expect("a meeting").proof
    };
    assert!(!proof().is_empty());
    let hours_ms = 24 * 3_600_000;
    worlds[0].clock.advance(2 * hours_ms);
    first.close_through((1_700_000_000_000 + hours_ms) << 16).expect("close");
    assert!(proof().is_empty(), "what was closed since is not in the root");
}
