//! What is refused: each case by both sides, typed, before either store is touched.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use sync_proto::driver::tokio::{ConnectError, Security, connect};
use sync_proto::rights::RightsTable;
use sync_proto::tls::{ALPN, CertificateProblem as P};
use sync_proto::{AbortReason, End, Options, PeerReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::authority::{Authority, Valid};
use super::common::Model;
use super::common::rng::diverged;
use super::{Serving, call, server_of, shared, tls, transport};

/// A server of a replica that differs from the other one, and that other one.
async fn setup(security: Security) -> (Serving, Model, Model) {
    let (left, right) = diverged(4);
    let serving = Serving::start(server_of(&right, security, RightsTable::default())).await;
    assert_ne!(left.root(), right.root());
    (serving, left, right)
}

fn assert_untouched(models: [&Model; 2]) {
    assert_eq!(models.map(Model::calls), [0, 0], "a store was asked");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_either_side() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    // Each trusts its own authority, so the client is the first to notice.
    let (mut serving, left, right) = setup(tls(ours.config("right", Valid::Now))).await;
    let error = call(&serving.address, &left, tls(theirs.config("left", Valid::Now))).await;
    assert!(matches!(error, Err(ConnectError::Certificate(P::UnknownIssuer))), "{error:?}");
    let error = serving.next().await.result;
    assert!(matches!(error, Err(ConnectError::Refused(P::UnknownIssuer))), "{error:?}");
    // A client that trusts the server's authority, but has its own certificate from elsewhere.
    let stray = ours.config_of(&theirs.certify(&["left"], Valid::Now));
    let error = call(&serving.address, &left, tls(stray)).await;
    assert!(matches!(error, Err(ConnectError::Refused(P::UnknownIssuer))), "{error:?}");
    let error = serving.next().await.result;
    assert!(matches!(error, Err(ConnectError::Certificate(P::UnknownIssuer))), "{error:?}");
    assert_eq!(right.calls(), 0, "the server's store was asked");
    assert!(left.is_durable());
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused_by_either_side() {
    for (valid, problem) in [(Valid::Past, P::Expired), (Valid::Future, P::NotYetValid)] {
        let authority = Authority::new();
        let (mut serving, left, right) = setup(tls(authority.config("right", Valid::Now))).await;
        let error = call(&serving.address, &left, tls(authority.config("left", valid))).await;
        assert!(matches!(error, Err(ConnectError::Refused(P::OutOfTime))), "{error:?}");
        let error = serving.next().await.result;
        assert!(matches!(&error, Err(ConnectError::Certificate(p)) if *p == problem), "{error:?}");
        assert_eq!(right.calls(), 0, "the server's store was asked");

        let (mut serving, left, right) = setup(tls(authority.config("right", valid))).await;
        let error = call(&serving.address, &left, tls(authority.config("left", Valid::Now))).await;
        assert!(matches!(&error, Err(ConnectError::Certificate(p)) if *p == problem), "{error:?}");
        let error = serving.next().await.result;
        assert!(matches!(error, Err(ConnectError::Refused(P::OutOfTime))), "{error:?}");
        assert_untouched([&left, &right]);
    }
}

#[tokio::test]
async fn a_server_whose_certificate_is_for_another_host_is_refused() {
    let authority = Authority::new();
    let elsewhere = authority.config_of(&authority.certify(&["right", "127.0.0.2"], Valid::Now));
    let (serving, left, right) = setup(tls(elsewhere)).await;
    let error = call(&serving.address, &left, tls(authority.config("left", Valid::Now))).await;
    assert!(matches!(error, Err(ConnectError::Certificate(P::WrongName))), "{error:?}");
    assert_untouched([&left, &right]);
}

/// Connects as a client that is not this crate's: the error that it meets when it reads.
async fn foreign_client(address: &str, authority: &Authority, alpn: &[&[u8]], certified: bool) -> io::Error {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let root = rustls::pki_types::pem::PemObject::from_pem_slice(authority.pem().as_bytes());
    roots.add(root.expect("a certificate")).expect("an authority");
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = if certified {
        let own = authority.certify(&["left"], Valid::Now);
        let chain = rustls::pki_types::pem::PemObject::from_pem_slice(own.certificate.as_bytes());
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(own.key.as_bytes());
        let chain = vec![chain.expect("a certificate")];
        builder.with_client_auth_cert(chain, key.expect("a key")).expect("a pair")
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await.expect("the server is there");
    let host = ServerName::try_from("127.0.0.1").expect("an address");
    match TlsConnector::from(Arc::new(config)).connect(host, stream).await {
        Err(error) => error,
        Ok(mut stream) => stream.read_u8().await.expect_err("the server says nothing"),
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let authority = Authority::new();
    let (mut serving, left, right) = setup(tls(authority.config("right", Valid::Now))).await;
    let error = foreign_client(&serving.address, &authority, &[ALPN], false).await;
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    let error = serving.next().await.result;
    assert!(matches!(error, Err(ConnectError::Certificate(P::Missing))), "{error:?}");
    assert_untouched([&left, &right]);
}

#[tokio::test]
async fn a_client_of_another_protocol_or_of_none_is_refused() {
    let authority = Authority::new();
    let (mut serving, left, right) = setup(tls(authority.config("right", Valid::Now))).await;
    for alpn in [&[b"h2".as_slice(), b"syncline/2"][..], &[]] {
        foreign_client(&serving.address, &authority, alpn, true).await;
        let error = serving.next().await.result;
        assert!(matches!(error, Err(ConnectError::Protocol)), "{alpn:?}: {error:?}");
    }
    assert_untouched([&left, &right]);
}

#[tokio::test]
async fn a_peer_of_another_replica_set_is_refused_although_its_certificate_is_good() {
    let authority = Authority::new();
    let (mut serving, mut left, right) = setup(tls(authority.config("right", Valid::Now))).await;
    left.config.set_id = [8; 16];
    let before = (left.contents(), right.contents());
    let outcome = call(&serving.address, &left, tls(authority.config("left", Valid::Now))).await;
    assert_eq!(outcome.expect("connected").end, End::Aborted(AbortReason::Peer(PeerReason::OtherSet)));
    assert_eq!(serving.next().await.result.expect("a session").end, End::Aborted(AbortReason::OtherSet));
    assert_eq!(before, (left.contents(), right.contents()));
    assert_eq!(
        [&left, &right].map(Model::calls),
        [2, 1],
        "only who they are and what the first one has lost was asked"
    );
}

#[tokio::test]
async fn replayed_bytes_of_an_older_session_are_refused() {
    let authority = Authority::new();
    let (mut serving, left, right) = setup(tls(authority.config("right", Valid::Now))).await;
    // Somebody between the two writes down what the client sends.
    let between = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = between.local_addr().expect("bound").to_string();
    let server = serving.address.clone();
    let recorded = tokio::spawn(async move {
        let (client, _) = between.accept().await.expect("a client");
        let server = TcpStream::connect(server).await.expect("the server is there");
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let (mut recorded, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
            recorded.extend_from_slice(&buffer[..len]);
            to_server.write_all(&buffer[..len]).await.expect("the server reads");
        }
        recorded
    });
    let outcome = call(&address, &left, tls(authority.config("left", Valid::Now))).await;
    assert_eq!(outcome.expect("connected").end, End::Complete);
    let _ = serving.next().await.result.expect("a session");
    let recorded = recorded.await.expect("no panic");
    assert!(recorded.len() > 2000, "{}", recorded.len());

    let calls = right.calls();
    let mut replay = TcpStream::connect(&serving.address).await.expect("the server is there");
    // The server may hang up before it has heard everything.
    let _ = replay.write_all(&recorded).await;
    let error = serving.next().await.result;
    assert!(matches!(error, Err(ConnectError::Tls(_))), "{error:?}");
    assert_eq!(right.calls(), calls);
}

#[tokio::test]
async fn plain_tcp_and_tls_do_not_meet() {
    let authority = Authority::new();
    let (mut serving, left, right) = setup(tls(authority.config("right", Valid::Now))).await;
    let outcome = call(&serving.address, &left, Security::Insecure).await.expect("connected");
    assert!(matches!(outcome.end, End::Aborted(_)), "{outcome:?}");
    let error = serving.next().await.result;
    assert!(matches!(error, Err(ConnectError::NotTls)), "{error:?}");
    assert_eq!(right.calls(), 0);

    // The server takes a TLS hello for the beginning of a long frame, so it is the deadline that ends this.
    let (serving, left, right) = setup(Security::Insecure).await;
    let mut options = Options::new(1);
    options.limits.handshake_timeout = Duration::from_millis(100);
    let reaching = transport(tls(authority.config("left", Valid::Now)), RightsTable::default());
    let error = connect(&serving.address, &reaching, shared(&left), options, |_| ()).await;
    assert!(matches!(error, Err(ConnectError::Timeout)), "{error:?}");
    assert_untouched([&left, &right]);
}
