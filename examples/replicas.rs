//! Two replicas that keep each other equal, from within a tokio program: one is served, the other one visits it. Between
//! processes and machines it is the same, with `Security::Tls` in place of `Insecure`.
//!
//! Run it with `cargo run --release --example replicas`.

use std::sync::Arc;
use std::time::Duration;

use sync_proto::driver::tokio::{
    Control, Maintenance, PeerStatus, Security, Server, Throttle, Transport, maintain, serve,
};
use sync_proto::rate::RateLimit;
use sync_proto::schedule::ScheduleOptions;
use sync_proto::{Divergence, Options};
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use syncline::{Db, Durability};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

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

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let server = Server {
        replica: Arc::new(DbReplica::new(&b)),
        options: Options::new(draw()?),
        transport: Transport::new(Security::Insecure),
        rights: Arc::default(),
    };
    tokio::spawn(serve(listener, server, |_| (), std::future::pending()));

    // All sessions share this limit. It gives way while `throttle.report_latency` is told that the foreground suffers.
    let limit = RateLimit { bytes_per_second: 10 << 20, latency_max: Duration::from_millis(5) };
    let throttle = Throttle::limited(limit);
    let maintenance = Maintenance {
        replica: Arc::new(DbReplica::new(&a)),
        peers: vec![address],
        options: Options::new(draw()?),
        transport: Transport { throttle, ..Transport::new(Security::Insecure) },
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
