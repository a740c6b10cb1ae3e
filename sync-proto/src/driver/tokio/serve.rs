//! The responder's end of connections: accept, secure, find out what the peer may do, and answer one session on each.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::tokio::net::TcpListener;
use ::tokio::sync::Semaphore;
use ::tokio::task::JoinSet;
use ::tokio::time::{Instant, timeout};

use super::error::ConnectError;
use super::secure::{ByteStream, Secured, Transport};
use super::stream::{Setup, respond_with};
use crate::hash::connection_nonce;
use crate::options::Options;
use crate::replica::Replica;
use crate::rights::{PeerName, RightsTable};
use crate::session::Outcome;

/// Greatest number of connections that [`serve`] holds at a time. Further ones wait to be accepted.
pub const CONNECTION_COUNT_MAX: usize = 64;

/// How long [`serve`] waits after it could not accept a connection, for instance for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served, how, and to whom. Cheap to clone; clones count their sessions together, so that no two of them have one
/// nonce.
#[derive(Clone)]
pub struct Server {
    /// The store, which all sessions share.
    pub replica: Arc<dyn Replica>,
    /// What sessions are answered with. The nonce is the seed from which each session's nonce is made; it must be fresh
    /// and unguessable too, and nobody else's seed.
    pub options: Options,
    /// How to talk to peers.
    pub transport: Transport,
    /// What each of them may do.
    pub rights: Arc<RightsTable>,
    /// Sessions begun, those of all clones.
    session_count: Arc<AtomicU64>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// What became of a connection that was accepted.
#[derive(Debug)]
#[non_exhaustive]
pub struct PeerResult {
    /// Where it came from.
    pub address: SocketAddr,
    /// Who it was, if its certificate was verified.
    pub peer: Option<PeerName>,
    /// How the session ended, or why there was none.
    pub result: Result<Outcome, ConnectError>,
}

/// Accepts connections and answers one session on each, until `shutdown` is ready; sessions that still run then are
/// cut. `observer` hears how each connection ended.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    observer: impl Fn(PeerResult) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) {
    let observer = Arc::new(observer);
    let permits = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    let mut sessions = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepting = async {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = ::tokio::select! {
            () = &mut shutdown => break,
            Some(_) = sessions.join_next() => continue,
            accepted = accepting => accepted,
        };
        let Ok((stream, address)) = accepted else {
            ::tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (server, observer) = (server.clone(), Arc::clone(&observer));
        sessions.spawn(async move {
            // Without it small frames wait for each other; the session works all the same.
            let _ = stream.set_nodelay(true);
            let (peer, result) = server.answer(stream).await;
            drop(permit);
            observer(PeerResult { address, peer, result });
        });
    }
    sessions.shutdown().await;
}

impl Server {
    /// Serves `replica` to whoever has `rights`. The nonce of `options` is the seed of its sessions' nonces.
    pub fn new(
        replica: Arc<dyn Replica>,
        options: Options,
        transport: Transport,
        rights: Arc<RightsTable>,
    ) -> Server {
        Server { replica, options, transport, rights, session_count: Arc::default() }
    }

    /// What the next session is answered with: a nonce that no other one has.
    fn next_options(&self) -> Options {
        let count = self.session_count.fetch_add(1, Ordering::Relaxed);
        Options { nonce: connection_nonce(self.options.nonce, count), ..self.options.clone() }
    }

    /// Answers one session on a connection that was accepted elsewhere. Returns who the peer was, if its certificate was
    /// verified, and how the session ended, or why there was none. One deadline runs until the peer has said its hello,
    /// TLS included.
    pub async fn answer<S: ByteStream + 'static>(
        self,
        stream: S,
    ) -> (Option<PeerName>, Result<Outcome, ConnectError>) {
        let opened_at = Instant::now();
        let options = self.next_options();
        let Server { replica, transport, rights, .. } = self;
        let securing = timeout(options.limits.handshake_timeout, transport.security.accept(stream));
        match securing.await.unwrap_or(Err(ConnectError::Timeout)) {
            Err(error) => (None, Err(error)),
            Ok(Secured { stream, peer }) => {
                let rights = rights.of(peer.as_ref());
                let setup = Setup { options, rights, throttle: transport.throttle, opened_at };
                (peer, Ok(respond_with(stream, replica, setup).await))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::tokio::Security;
    use crate::test_model::Model;

    #[test]
    fn clones_of_a_server_answer_with_nonces_of_their_own() {
        let transport = Transport::new(Security::Insecure);
        let server = Server::new(Arc::new(Model::new(1)), Options::new(5), transport, Arc::default());
        let nonces = [server.clone(), server.clone(), server].map(|server| server.next_options().nonce);
        assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2] && nonces[0] != nonces[2], "{nonces:?}");
    }
}
