//! The responder's end of connections: accept, secure, find out what the peer may do, and answer one session on each.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::net::TcpListener;
use ::tokio::sync::Semaphore;
use ::tokio::task::JoinSet;
use ::tokio::time::{Instant, timeout};

use super::error::ConnectError;
use super::places::Places;
use super::secure::{ByteStream, Secured, Transport};
use super::stream::{Setup, refuse, respond_with};
use crate::error::PeerReason;
use crate::options::Options;
use crate::replica::Replica;
use crate::rights::PeerName;
use crate::session::Outcome;

/// How many peers are answered at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Greatest number of connections that [`serve`] holds. Further ones wait to be accepted. At least 1.
    pub connections_max: usize,
    /// Greatest number of sessions with one peer, by the name in its certificate. Further ones are refused, and told so, or
    /// one peer could keep all others away. Whoever has no name is not counted.
    pub sessions_per_peer_max: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps { connections_max: 64, sessions_per_peer_max: 4 }
    }
}

/// How long [`serve`] waits after it could not accept a connection, for instance for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served, how, and to whom. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    /// The store, which all sessions share.
    pub replica: Arc<dyn Replica>,
    /// What sessions are answered with. The nonce is not used: each session draws its own.
    pub options: Options,
    /// How to talk to peers, and what each of them may do.
    pub transport: Transport,
    /// How many at a time.
    pub caps: Caps,
    places: Places,
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
    let permits = Arc::new(Semaphore::new(server.caps.connections_max.max(1)));
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
    /// Serves `replica` to whoever the transport's table gives rights, with the default caps.
    pub fn new(replica: Arc<dyn Replica>, options: Options, transport: Transport) -> Server {
        Server { replica, options, transport, caps: Caps::default(), places: Places::default() }
    }

    /// Answers one session on a connection that was accepted elsewhere. Returns who the peer was, if its certificate was
    /// verified, and how the session ended, or why there was none. One deadline runs until the peer has said its hello,
    /// TLS included.
    pub async fn answer<S: ByteStream + 'static>(
        self,
        stream: S,
    ) -> (Option<PeerName>, Result<Outcome, ConnectError>) {
        let opened_at = Instant::now();
        let Server { replica, options, transport, caps, places } = self;
        let options = match transport.nonces.draw() {
            Ok(nonce) => Options { nonce, ..options },
            Err(error) => return (None, Err(error)),
        };
        let securing = timeout(options.limits.handshake_timeout, transport.security.accept(stream));
        match securing.await.unwrap_or(Err(ConnectError::Timeout)) {
            Err(error) => (None, Err(error)),
            Ok(Secured { stream, peer }) => {
                let place = peer.as_ref().map(|peer| places.take(peer, caps.sessions_per_peer_max));
                if matches!(place, Some(None)) {
                    refuse(stream, PeerReason::Busy).await;
                    return (peer, Err(ConnectError::Busy));
                }
                let rights = transport.rights.of(peer.as_ref());
                let setup = Setup { options, rights, throttle: transport.throttle.clone(), opened_at };
                let observer = transport.observer(None, peer.as_ref(), opened_at);
                let outcome = respond_with(stream, replica, setup, observer).await;
                (peer, Ok(outcome))
            }
        }
    }
}
