//! From a raw byte stream to one whose peer is known: TLS on either side, or nothing.
//!
//! Easy to get wrong: a server that refuses a handshake has told the client why, and must not destroy that by closing
//! while the client's bytes are unread; and a client that offers no protocol by ALPN passes the handshake, so both sides
//! look at what was agreed afterwards.

use std::sync::Arc;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::time::Instant;

use super::error::ConnectError;
use super::nonce::Nonces;
use super::throttle::Throttle;
use super::watch::{SessionProgress, Watcher};
use crate::rights::{PeerName, RightsTable};
use crate::session::Progress;
#[cfg(feature = "tls")]
use {
    super::stream::linger,
    crate::tls::{ALPN, CertificateProblem, TlsConfig, peer_name},
    rustls::pki_types::ServerName,
    tokio_rustls::{TlsAcceptor, TlsConnector},
};

/// What a session can run over.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// How connections are secured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Security {
    /// Not at all: whoever reaches the address can take part and listen.
    Insecure,
    /// By TLS 1.3 with certificates on both sides.
    #[cfg(feature = "tls")]
    Tls(TlsConfig),
}

/// How this process talks to its peers.
#[derive(Debug, Clone)]
pub struct Transport {
    /// How connections are secured.
    pub security: Security,
    /// How fast their sessions may go, all together.
    pub throttle: Throttle,
    /// What each peer may do, whichever side connects to the other.
    pub rights: Arc<RightsTable>,
    /// Who hears how far its sessions are, if anybody.
    pub watcher: Option<Watcher>,
    /// Where each session's half of its nonce comes from.
    pub nonces: Nonces,
}

impl Transport {
    /// Secured as said, not slowed down, with peers that may do everything.
    pub fn new(security: Security, nonces: Nonces) -> Transport {
        Transport { security, throttle: Throttle::unlimited(), rights: Arc::default(), watcher: None, nonces }
    }

    /// What hears of the progress of a session that began at `opened_at` with the peer at `address`, or called `peer`.
    pub(super) fn observer<'a>(
        &'a self,
        address: Option<&'a str>,
        peer: Option<&'a PeerName>,
        opened_at: Instant,
    ) -> impl Fn(Progress) + 'a {
        move |progress| {
            if let Some(watcher) = &self.watcher {
                watcher.tell(SessionProgress { address, peer, elapsed: opened_at.elapsed(), progress });
            }
        }
    }
}

/// A stream that a session can be run over, and who is at its other end.
pub struct Secured {
    /// The stream.
    pub stream: Box<dyn ByteStream>,
    /// Whose certificate was verified; `None` if nothing is secured.
    pub peer: Option<PeerName>,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Security {
    /// Secures the client's side of a connection to `host`, for which the server's certificate has to be.
    ///
    /// That this succeeds does not mean that the server takes this side's certificate. There is no deadline.
    ///
    /// # Errors
    /// The stream's, and whatever is wrong with the server.
    #[cfg_attr(not(feature = "tls"), allow(unused_variables, reason = "only certificates are for a host"))]
    pub async fn connect<S: ByteStream + 'static>(
        &self,
        stream: S,
        host: &str,
    ) -> Result<Secured, ConnectError> {
        match self {
            Security::Insecure => Ok(Secured { stream: Box::new(stream), peer: None }),
            #[cfg(feature = "tls")]
            Security::Tls(config) => {
                let host = ServerName::try_from(host.to_owned())
                    .map_err(|_| ConnectError::Address(host.to_owned()))?;
                let connecting = TlsConnector::from(Arc::clone(&config.client)).connect(host, stream);
                match connecting.into_fallible().await {
                    Ok(stream) => {
                        let peer = agreed(stream.get_ref().1)?;
                        Ok(Secured { stream: Box::new(stream), peer: Some(peer) })
                    }
                    Err((error, mut stream)) => {
                        linger(&mut stream).await;
                        Err(ConnectError::of(error))
                    }
                }
            }
        }
    }

    /// Secures the server's side of a connection. There is no deadline.
    ///
    /// # Errors
    /// The stream's, and whatever is wrong with the client.
    pub async fn accept<S: ByteStream + 'static>(&self, stream: S) -> Result<Secured, ConnectError> {
        match self {
            Security::Insecure => Ok(Secured { stream: Box::new(stream), peer: None }),
            #[cfg(feature = "tls")]
            Security::Tls(config) => {
                let accepting = TlsAcceptor::from(Arc::clone(&config.server)).accept(stream);
                match accepting.into_fallible().await {
                    Ok(stream) => {
                        let peer = agreed(stream.get_ref().1)?;
                        Ok(Secured { stream: Box::new(stream), peer: Some(peer) })
                    }
                    Err((error, mut stream)) => {
                        linger(&mut stream).await;
                        Err(ConnectError::of(error))
                    }
                }
            }
        }
    }
}

/// The peer's name, once both sides have agreed on the protocol.
#[cfg(feature = "tls")]
fn agreed(connection: &rustls::CommonState) -> Result<PeerName, ConnectError> {
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(ConnectError::Protocol);
    }
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.ok_or(ConnectError::Certificate(CertificateProblem::Missing))?;
    peer_name(certificate).ok_or(ConnectError::Certificate(CertificateProblem::NoName))
}
