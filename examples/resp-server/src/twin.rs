//! The other end: sessions with the twin, answered when it visits and begun on a schedule.
//!
//! Easy to get wrong: both directions of a session are repaired, so one twin that visits is enough; two that do find each
//! other equal most of the time.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sync_proto::Options;
use sync_proto::driver::tokio::{
    Control, Maintenance, Nonces, Security, Server, Throttle, Transport, maintain, serve,
};
use sync_proto::rate::RateLimit;
use sync_proto::schedule::ScheduleOptions;
use syncline::Db;
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::latency::Latencies;

/// What sessions move in a second as long as clients do not wait, and how long what a client sends may take meanwhile, one time
/// in a hundred (within a factor of two).
const LIMIT: RateLimit = RateLimit { bytes_per_second: 64 << 20, latency_max: Duration::from_millis(5) };

/// What keeps this store and its twin equal.
pub(crate) struct Twin {
    pub(crate) db: Db,
    pub(crate) peer: Option<SocketAddr>,
    /// From one visit to the next.
    pub(crate) every: Duration,
    pub(crate) control: Control,
    /// How long clients wait: sessions give way to them.
    pub(crate) latencies: Arc<Latencies>,
}

impl Twin {
    /// Answers visits, and visits, for good.
    pub(crate) async fn run(self, listener: TcpListener) -> io::Result<()> {
        let replica = Arc::new(DbReplica::new(&self.db));
        let throttle = Throttle::limited(LIMIT);
        let transport =
            Transport { throttle: throttle.clone(), ..Transport::new(Security::Insecure, Nonces::new(draw)) };
        let server = Server::new(replica.clone(), Options::default(), transport.clone());
        let maintenance = Maintenance {
            replica,
            peers: self.peer.iter().map(SocketAddr::to_string).collect(),
            options: Options::default(),
            transport,
            schedule: ScheduleOptions { every: self.every, jitter_percent: 20, visits_max: 1, seed: draw()? },
        };
        tokio::join!(
            serve(listener, server, |_| (), pending()),
            maintain(maintenance, self.control, |_, _, _| (), pending()),
            give_way(throttle, self.latencies),
        );
        Ok(())
    }
}

/// Tells the limit of the sessions every second how long clients wait.
async fn give_way(throttle: Throttle, latencies: Arc<Latencies>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        throttle.report_latency(latencies.take_p99().unwrap_or_default());
    }
}

/// A fresh and unguessable number.
fn draw() -> io::Result<u64> {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
