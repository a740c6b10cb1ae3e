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

/// How many of the ways to read a key are answered.
fn answers(db: &Db) -> usize {
    let keyspace = db.keyspace("default").expect("a keyspace");
    let snapshot = db.snapshot();
    let is_refused = |error: &Error| matches!(error, Error::NotServing { .. });
    let outcomes = [
        db.get("key").map(drop),
        db.contains_key("key").map(drop),
        db.digest("key").map(drop),
        keyspace.compare_and_swap("key", Some(b"another"), None).map(drop),
        snapshot.get(&keyspace, "key").map(drop),
        db.iter().next().map_or(Ok(()), |entry| entry.map(drop)),
        snapshot.iter(&keyspace).next_back().map_or(Ok(()), |entry| entry.map(drop)),
    ];
    assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(is_refused), "{outcomes:?}");
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

#[test]
fn a_joining_an_expelled_and_a_restored_store_answer_no_reads() {
    let worlds = [World::new(1), World::new(2)];
    let first = worlds[0].builder("/db").create().expect("a new store");
    first.put("key", vec![7; 300 << 10]).expect("put");
    let second = worlds[1].builder("/db").create_replica(&first.replica_set()).expect("a replica");
    first.admit(second.node_id()).expect("admit");
    assert_eq!(answers(&second), 7, "it has not heard of a set");
    // Until it is cut the session gets as far as the tables of members.
    let cut_at = (1..).find(|&frames| {
        let _ = session(&second, &first, frames, frames);
        answers(&second) == 0
    });
    assert!(cut_at.is_some_and(|frames| frames < 8), "{cut_at:?}");
    assert!(second.root().is_ok() && second.verify(&mut |_| true).is_ok(), "tools go on");
    second.persist(syncline::Durability::Sync).expect("persist");
    let joining = worlds[1].with(worlds[1].vfs.kill()).builder("/db").open().expect("open");
    assert_eq!(answers(&joining), 0, "it knows so after a restart");

    assert_eq!(session(&second, &first, 100, u64::MAX).0.end, End::Complete);
    assert_eq!(answers(&second), 7, "it holds everything");

    // A copy of an earlier day has forgotten what the second has told the first.
    let image = worlds[1].vfs.kill();
    let mut world = worlds[1].with(image.kill());
    let mut reopened = world.builder("/db").open().expect("open");
    for _ in 0..2 {
        world = world.with(world.vfs.kill());
        reopened = world.builder("/db").open().expect("open");
    }
    assert_eq!(session(&reopened, &first, 101, u64::MAX).0.end, End::Complete);
    let restored = worlds[1].with(image).builder("/db").open().expect("open");
    assert_eq!(answers(&restored), 7, "it does not know yet");
    assert!(matches!(session(&restored, &first, 102, u64::MAX).0.end, End::Aborted(_)));
    assert_eq!(answers(&restored), 0);

    first.expel(second.node_id()).expect("expel");
    assert_eq!(answers(&reopened), 7, "it has not heard of it");
    assert!(matches!(session(&reopened, &first, 103, u64::MAX).0.end, End::Aborted(_)));
    assert_eq!(answers(&reopened), 0);
    assert_eq!(answers(&first), 7);
}
