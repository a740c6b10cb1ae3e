//! Connections that are secured by TLS: what gets through, and everything that is refused before the store is touched.

#[path = "../common/mod.rs"]
mod common;

mod authority;
mod deadlines;
mod pem;
mod refused;
mod rights;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use authority::{Authority, Valid};
use common::rng::diverged;
use common::{Model, entry};
use sync_proto::driver::tokio::{
    ConnectError, Nonces, PeerResult, Security, Server, Transport, connect, serve,
};
use sync_proto::rights::RightsTable;
use sync_proto::tls::TlsConfig;
use sync_proto::{End, Options, Outcome, Replica};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn shared(model: &Model) -> Arc<dyn Replica> {
    Arc::new(model.clone())
}

fn server_of(model: &Model, security: Security, rights: RightsTable) -> Server {
    Server::new(shared(model), Options::new(5), transport(security, rights))
}

fn transport(security: Security, rights: RightsTable) -> Transport {
    let count = AtomicU64::new(5);
    let nonces = Nonces::new(move || Ok(count.fetch_add(1, Ordering::Relaxed)));
    Transport { rights: Arc::new(rights), ..Transport::new(security, nonces) }
}

/// A server on a port of its own, which ends with the test, and what becomes of its connections.
struct Serving {
    address: String,
    results: mpsc::UnboundedReceiver<PeerResult>,
}

impl Serving {
    async fn start(server: Server) -> Serving {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (results, received) = mpsc::unbounded_channel();
        let observer = move |result| {
            // A test that has heard enough is over.
            let _ = results.send(result);
        };
        tokio::spawn(serve(listener, server, observer, std::future::pending()));
        Serving { address, results: received }
    }

    /// What became of the next connection.
    async fn next(&mut self) -> PeerResult {
        self.results.recv().await.expect("the server runs")
    }
}

async fn call(address: &str, model: &Model, security: Security) -> Result<Outcome, ConnectError> {
    let transport = transport(security, RightsTable::default());
    connect(address, &transport, shared(model), Options::new(9), |_| ()).await
}

fn tls(config: TlsConfig) -> Security {
    Security::Tls(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_one_authority_converge_and_know_each_others_names() {
    let authority = Authority::new();
    for seed in 0..10 {
        let (left, right) = diverged(seed);
        let security = tls(authority.config("Right.example", Valid::Now));
        let mut serving = Serving::start(server_of(&right, security, RightsTable::default())).await;
        let config = authority.config("left", Valid::Now);
        assert_eq!(config.name().as_str(), "left");
        let outcome = call(&serving.address, &left, tls(config)).await.expect("connected");
        assert_eq!(outcome.end, End::Complete, "seed {seed}");
        assert_eq!(left.root(), right.root(), "seed {seed}");
        let answered = serving.next().await;
        assert_eq!(answered.peer.expect("a name").as_str(), "left");
        assert_eq!(answered.result.expect("a session").end, End::Complete, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_peers_at_a_time_share_one_store() {
    const PEER_COUNT: u8 = 16;
    let authority = Authority::new();
    let hub = Model::new(100);
    let serving = server_of(&hub, tls(authority.config("hub", Valid::Now)), RightsTable::default());
    let serving = Serving::start(serving).await;
    let peers: Vec<Model> = (0..PEER_COUNT).map(|number| Model::new(u64::from(number) + 1)).collect();
    for (number, peer) in (0..).zip(&peers) {
        peer.put(entry([1, number], 10, peer.config.node, "v"));
    }
    // First everybody gives, then everybody takes what the others gave.
    for _ in 0..2 {
        let mut sessions = tokio::task::JoinSet::new();
        for (number, peer) in peers.clone().into_iter().enumerate() {
            let security = tls(authority.config(&format!("peer-{number}"), Valid::Now));
            let address = serving.address.clone();
            sessions.spawn(async move { call(&address, &peer, security).await.expect("connected").end });
        }
        for end in sessions.join_all().await {
            assert_eq!(end, End::Complete);
        }
    }
    assert_eq!(hub.contents().len(), usize::from(PEER_COUNT));
    for peer in peers {
        assert_eq!(peer.root(), hub.root());
    }
}
