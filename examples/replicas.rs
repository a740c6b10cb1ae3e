//! Two replicas that keep each other equal, from within a tokio program: one is served, the other one visits it, over TLS with
//! certificates of an authority that is made here. Between processes and machines it is the same.
//!
//! Run it with `cargo run --release --example replicas`.
//!
//! Easy to get wrong: a certificate says who a peer is (its first DNS name) and where it may be found (all of its names and
//! addresses). What it may do is said by the server's table of rights.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use sync_proto::driver::tokio::{
    Control, Maintenance, Nonces, PeerStatus, Security, Server, Throttle, Transport, maintain, serve,
};
use sync_proto::rate::RateLimit;
use sync_proto::rights::{PeerName, Rights, RightsTable};
use sync_proto::schedule::ScheduleOptions;
use sync_proto::tls::{PemFile, TlsConfig};
use sync_proto::{Divergence, Options};
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use syncline::{Db, Durability};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The replica set's authority, as `syncline cert ca` makes it.
fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// What the peer called `name` connects and serves with: a certificate for that name and this host.
fn secured(
    name: &str,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<Security, Box<dyn std::error::Error>> {
    let mut params = CertificateParams::new([name.to_owned(), "127.0.0.1".to_owned()])?;
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?.pem();
    let file = |name, text| PemFile { name, text };
    let config = TlsConfig::from_pem(
        file("certificate", certificate.as_bytes()),
        file("key", key.serialize_pem().as_bytes()),
        file("authority", authority.pem().as_bytes()),
    )?;
    Ok(Security::Tls(config))
}

/// A fresh and unguessable number.
fn draw() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let a = Db::builder(dir.path().join("a")).create()?;
    let b = Db::builder(dir.path().join("b")).create_replica(&a.replica_set())?;
    for number in 0..1000 {
        a.put(format!("fruit-{number}"), "from a")?;
        b.put(format!("herb-{number}"), "from b")?;
    }

    let authority = authority()?;
    // Each session has a nonce of its own.
    let nonces = Nonces::new(draw);
    // Whoever has a certificate may read; a may write as well.
    let mut rights = RightsTable::new(Rights::READ);
    rights.set(PeerName::new("a"), Rights::ALL);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let transport =
        Transport { rights: Arc::new(rights), ..Transport::new(secured("b", &authority)?, nonces.clone()) };
    let replica = Arc::new(DbReplica::new(&b));
    let server = Server::new(replica, Options::default(), transport);
    tokio::spawn(serve(listener, server, |_| (), std::future::pending()));

    // All sessions share this limit. It gives way while `throttle.report_latency` is told that the foreground suffers.
    let limit = RateLimit { bytes_per_second: 10 << 20, latency_max: Duration::from_millis(5) };
    let throttle = Throttle::limited(limit);
    let maintenance = Maintenance {
        replica: Arc::new(DbReplica::new(&a)),
        peers: vec![address],
        options: Options::default(),
        transport: Transport { throttle, ..Transport::new(secured("a", &authority)?, nonces) },
        schedule: ScheduleOptions {
            every: Duration::from_millis(100),
            jitter_percent: 10,
            visits_max: 1,
            seed: draw()?,
        },
    };
    // The control pauses visits and resumes them, and knows how far each peer is from this replica.
    let control = Control::default();
    let (told, mut divergences) = mpsc::unbounded_channel();
    let observer = move |peer: &PeerStatus, _, _: &_| {
        // Nobody listens any more once the example is over.
        let _ = told.send(peer.divergence);
    };
    tokio::spawn(maintain(maintenance, control, observer, std::future::pending()));
    while divergences.recv().await.is_some_and(|divergence| divergence != Divergence::Equal) {}

    println!("both hold {} entries", a.len()?);
    assert_eq!(a.root()?, b.root()?);
    a.persist(Durability::Sync)?;
    b.persist(Durability::Sync)?;
    Ok(())
}
