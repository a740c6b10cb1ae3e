//! Peers that are slow, silent or half open, in paused time: every wait ends.

use std::time::Duration;

use sync_proto::driver::tokio::{ConnectError, Security, initiate};
use sync_proto::rights::RightsTable;
use sync_proto::{AbortReason, End, Options, PeerReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::authority::{Authority, Valid};
use super::common::Model;
use super::common::rng::diverged;
use super::{Serving, call, server_of, shared, tls};

const HANDSHAKE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_to_a_tls_server_is_left_in_time() {
    let authority = Authority::new();
    let (_, right) = diverged(4);
    let server = server_of(&right, tls(authority.config("right", Valid::Now)), RightsTable::default());
    let (here, there) = duplex(1 << 16);
    let limit = HANDSHAKE + Duration::from_secs(1);
    let (peer, result) = timeout(limit, server.answer(there)).await.expect("left in time");
    assert!(matches!(result, Err(ConnectError::Timeout)), "{result:?}");
    assert_eq!((peer, right.calls()), (None, 0));
    drop(here);
}

#[tokio::test(start_paused = true)]
async fn tls_and_the_hello_share_one_deadline() {
    let authority = Authority::new();
    let (_, right) = diverged(4);
    let server = server_of(&right, tls(authority.config("right", Valid::Now)), RightsTable::default());
    let (here, there) = duplex(1 << 16);
    let client = tls(authority.config("left", Valid::Now));
    let slow = tokio::spawn(async move {
        sleep(Duration::from_secs(4)).await;
        let secured = client.connect(here, "right").await.expect("a handshake");
        // It is secured, and says nothing.
        sleep(IDLE).await;
        drop(secured);
    });
    let limit = HANDSHAKE + Duration::from_secs(1);
    let (peer, result) = timeout(limit, server.answer(there)).await.expect("left in time");
    assert_eq!(peer.expect("a name").as_str(), "left");
    assert_eq!(result.expect("a session").end, End::Aborted(AbortReason::Timeout));
    assert_eq!(right.calls(), 0);
    slow.abort();
}

/// Copies bytes both ways until so many have gone through, and then keeps both ends open and does nothing.
async fn goes_dead(mut a: DuplexStream, mut b: DuplexStream, mut left: usize) {
    let (mut from_a, mut from_b) = ([0; 64], [0; 64]);
    while left > 0 {
        let most = left.min(64);
        left -= tokio::select! {
            Ok(len @ 1..) = a.read(&mut from_a[..most]) => {
                if b.write_all(&from_a[..len]).await.is_err() { break }
                len
            }
            Ok(len @ 1..) = b.read(&mut from_b[..most]) => {
                if a.write_all(&from_b[..len]).await.is_err() { break }
                len
            }
            else => break,
        };
    }
    std::future::pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_dead_after_any_number_of_bytes_ends_both_sides_in_time() {
    let authority = Authority::new();
    for security in [Security::Insecure, tls(authority.config("right", Valid::Now))] {
        for dead_after in (0..12_000).step_by(397) {
            let (left, right) = diverged(4);
            let server = server_of(&right, security.clone(), RightsTable::default());
            let client = match &security {
                Security::Insecure => Security::Insecure,
                _ => tls(authority.config("left", Valid::Now)),
            };
            let (here, a) = duplex(256);
            let (b, there) = duplex(256);
            let pipe = tokio::spawn(goes_dead(a, b, dead_after));
            let calling = async {
                let secured = timeout(HANDSHAKE, client.connect(here, "right")).await;
                match secured {
                    Ok(Ok(secured)) => {
                        let _ = initiate(secured.stream, shared(&left), Options::new(1), |_| ()).await;
                    }
                    Ok(Err(error)) => panic!("{error}"),
                    Err(_) => {}
                }
            };
            // How they end depends on where it went dead; that they end is what matters.
            let both = async { tokio::join!(server.answer(there), calling) };
            // Each side may write into a dead pipe, and then wait for a last word, before it gives up.
            let _ =
                timeout(HANDSHAKE + IDLE * 2, both).await.unwrap_or_else(|_| panic!("{dead_after}: no end"));
            pipe.abort();
        }
    }
}

#[tokio::test]
async fn one_peer_cannot_hold_the_places_of_others_and_is_told_so() {
    let authority = Authority::new();
    let right = Model::new(2);
    let mut server = server_of(&right, tls(authority.config("right", Valid::Now)), RightsTable::default());
    server.caps.sessions_per_peer_max = 2;
    let mut serving = Serving::start(server).await;
    let greedy = || tls(authority.config("greedy", Valid::Now));
    let mut held = Vec::new();
    for _ in 0..2 {
        let stream = TcpStream::connect(&serving.address).await.expect("the server is there");
        held.push(greedy().connect(stream, "127.0.0.1").await.expect("a handshake"));
    }
    // Only the handshakes are known to be over; the server takes the places right after them.
    let mut end = End::Complete;
    for _ in 0..100 {
        if end == End::Complete {
            end = call(&serving.address, &Model::new(1), greedy()).await.expect("connected").end;
        }
    }
    assert_eq!(end, End::Aborted(AbortReason::Peer(PeerReason::Busy)));
    while !matches!(serving.next().await.result, Err(ConnectError::Busy)) {}
    let other = call(&serving.address, &Model::new(1), tls(authority.config("other", Valid::Now))).await;
    assert_eq!(other.expect("connected").end, End::Complete, "others have places of their own");
    drop(held);
    for _ in 0..100 {
        if end != End::Complete {
            end = call(&serving.address, &Model::new(1), greedy()).await.expect("connected").end;
        }
    }
    assert_eq!(end, End::Complete, "places are given back");
}
