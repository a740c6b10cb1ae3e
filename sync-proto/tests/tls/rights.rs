//! What peers without all rights may do.

use sync_proto::rights::{PeerName, Rights, RightsTable};
use sync_proto::{AbortReason, End, PeerReason, Reason};

use super::authority::{Authority, Valid};
use super::common::{Model, entry};
use super::{Serving, call, server_of, tls};

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
