//! What peers without all rights may do.

use std::time::Duration;

use sync_proto::driver::tokio::{Control, Maintenance, connect, maintain};
use sync_proto::rights::{PeerName, Rights, RightsTable};
use sync_proto::schedule::ScheduleOptions;
use sync_proto::{AbortReason, End, Options, PeerReason, Reason, ReplicaErrorKind};
use tokio::sync::mpsc;

use super::authority::{Authority, Valid};
use super::common::{Model, entry};
use super::{Serving, call, server_of, shared, tls, transport};

#[tokio::test]
async fn a_peer_that_may_only_read_takes_and_does_not_give() {
    let authority = Authority::new();
    let (left, right) = (Model::new(1), Model::new(2));
    left.put(entry([1, 1], 10, 1, "left's"));
    right.put(entry([1, 2], 20, 2, "right's"));
    let before = right.contents();
    let mut rights = RightsTable::default();
    rights.set(PeerName::new("LEFT"), Rights::READ);
    let security = tls(authority.config("right", Valid::Now));
    let mut serving = Serving::start(server_of(&right, security, rights)).await;

    let outcome = call(&serving.address, &left, tls(authority.config("left", Valid::Now))).await;
    let ends = [outcome.expect("connected").end, serving.next().await.result.expect("a session").end];
    for end in ends {
        let End::Partial(reasons) = end else { panic!("{end:?}") };
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [Reason::ReadOnly]);
    }
    assert_eq!(right.contents(), before);
    assert_eq!(left.contents().len(), 2);

    let outcome = call(&serving.address, &left, tls(authority.config("other", Valid::Now))).await;
    assert_eq!(outcome.expect("connected").end, End::Complete, "others may do everything");
}

#[tokio::test]
async fn a_peer_without_rights_is_told_so_and_the_store_is_not_asked() {
    let authority = Authority::new();
    let (left, right) = (Model::new(1), Model::new(2));
    let mut rights = RightsTable::new(Rights::NONE);
    rights.set(PeerName::new("friend"), Rights::ALL);
    let security = tls(authority.config("right", Valid::Now));
    let mut serving = Serving::start(server_of(&right, security, rights)).await;

    let outcome = call(&serving.address, &left, tls(authority.config("left", Valid::Now))).await;
    assert_eq!(outcome.expect("connected").end, End::Aborted(AbortReason::Peer(PeerReason::Denied)));
    assert!(matches!(serving.next().await.result.expect("a session").end, End::Aborted(_)));
    assert_eq!(right.calls(), 0);

    let outcome = call(&serving.address, &left, tls(authority.config("friend", Valid::Now))).await;
    assert_eq!(outcome.expect("connected").end, End::Complete);
}

#[tokio::test]
async fn a_peer_that_is_visited_may_do_no_more_than_one_that_visits() {
    let authority = Authority::new();
    let (left, right) = (Model::new(1), Model::new(2));
    left.put(entry([1, 1], 10, 1, "left's"));
    right.put(entry([1, 2], 20, 2, "right's"));
    let before = left.contents();
    let security = tls(authority.config("right", Valid::Now));
    let serving = Serving::start(server_of(&right, security, RightsTable::default())).await;
    let granting = |rights| {
        let mut table = RightsTable::new(Rights::ALL);
        table.set(PeerName::new("right"), rights);
        transport(tls(authority.config("left", Valid::Now)), table)
    };

    let refusing = granting(Rights::NONE);
    let visit = connect(&serving.address, &refusing, shared(&left), Options::new(9), |_| ()).await;
    let end = visit.expect("connected").end;
    let End::Aborted(AbortReason::Replica(error)) = end else { panic!("{end:?}") };
    assert_eq!((error.kind, left.calls()), (ReplicaErrorKind::Denied, 0), "it is told nothing");

    let (told, mut ends) = mpsc::unbounded_channel();
    let maintenance = Maintenance {
        replica: shared(&left),
        peers: vec![serving.address.clone()],
        options: Options::new(9),
        transport: granting(Rights::READ),
        schedule: ScheduleOptions {
            every: Duration::from_millis(5),
            jitter_percent: 0,
            visits_max: 1,
            seed: 1,
        },
    };
    let observer = move |_: &_, _, result: &Result<_, _>| {
        // A test that has heard enough is over.
        let _ = told.send(result.as_ref().map(|outcome: &sync_proto::Outcome| outcome.end.clone()).ok());
    };
    tokio::spawn(maintain(maintenance, Control::default(), observer, std::future::pending()));
    let end = ends.recv().await.expect("it runs").expect("connected");
    let End::Partial(reasons) = end else { panic!("{end:?}") };
    assert_eq!(reasons.iter().collect::<Vec<_>>(), [Reason::ReadOnly]);
    assert_eq!((left.contents(), right.contents().len()), (before, 2), "it took, and did not give");
}
