//! Connections that are secured by TLS: what gets through, and everything that is refused before the store is touched.

#[path = "../common/mod.rs"]
mod common;

mod authority;
mod deadlines;
mod pem;
mod refused;
mod rights;

use std::sync::Arc;

use authority::{Authority, Valid};
use common::Model;
use common::rng::diverged;
use sync_proto::driver::tokio::{ConnectError, PeerResult, Security, Server, Transport, connect, serve};
use sync_proto::rights::RightsTable;
use sync_proto::tls::TlsConfig;
use sync_proto::{End, Options, Outcome, Replica};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn shared(model: &Model) -> Arc<dyn Replica> {
    Arc::new(model.clone())
}

fn server_of(model: &Model, security: Security, rights: RightsTable) -> Server {
    Server {
        replica: shared(model),
        options: Options::new(5),
        transport: Transport::new(security),
        rights: Arc::new(rights),
    }
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
        // The observer is told by reference; whoever receives has the only copy.
        let observer = move |result: &PeerResult| {
            let PeerResult { address, peer, result } = result;
            let result = match result {
                Ok(outcome) => Ok(outcome.clone()),
                Err(error) => Err(copy(error)),
            };
            // A test that has heard enough is over.
            let _ = results.send(PeerResult { address: *address, peer: peer.clone(), result });
        };
        tokio::spawn(serve(listener, server, observer, std::future::pending()));
        Serving { address, results: received }
    }

    /// What became of the next connection.
    async fn next(&mut self) -> PeerResult {
        self.results.recv().await.expect("the server runs")
    }
}

/// An error that holds no other one, again.
fn copy(error: &ConnectError) -> ConnectError {
    match error {
        ConnectError::Certificate(problem) => ConnectError::Certificate(problem.clone()),
        ConnectError::Refused(problem) => ConnectError::Refused(problem.clone()),
        ConnectError::NotTls => ConnectError::NotTls,
        ConnectError::Protocol => ConnectError::Protocol,
        ConnectError::Timeout => ConnectError::Timeout,
        other => ConnectError::Tls(other.to_string()),
    }
}

async fn call(address: &str, model: &Model, security: Security) -> Result<Outcome, ConnectError> {
    connect(address, &Transport::new(security), shared(model), Options::new(9), |_| ()).await
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
