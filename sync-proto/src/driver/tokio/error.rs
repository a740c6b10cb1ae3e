//! Why a connection came to no session. What happens within a session is told by its outcome instead.

use std::io;

#[cfg(feature = "tls")]
use crate::tls::{CertificateProblem, problem_of, refusal_of};

/// Why a connection came to no session, on either side of it. Neither replica was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The peer could not be reached, or the connection broke.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The connection, or TLS on it, was not there in time.
    #[error("the connection was not there, or not secured, in time")]
    Timeout,
    /// The source of nonces failed, so that no session could begin.
    #[error("no nonce could be drawn: {0}")]
    Nonce(io::Error),
    /// The peer already runs as many sessions with this server as it may at a time, and was told so.
    #[error("the peer already runs as many sessions as it may at a time")]
    Busy,
    /// The address is no `host:port` that a certificate could be for.
    #[error("{0} is no host and port")]
    Address(String),
    /// The peer does not speak TLS.
    #[cfg(feature = "tls")]
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer speaks TLS, but not this protocol or not this version of it.
    #[cfg(feature = "tls")]
    #[error("the peer does not speak syncline/1 within TLS")]
    Protocol,
    /// This side refuses the peer's certificate.
    #[cfg(feature = "tls")]
    #[error("the peer's certificate is refused: {0}")]
    Certificate(CertificateProblem),
    /// The peer refuses this side's certificate.
    #[cfg(feature = "tls")]
    #[error("the peer refuses this side's certificate: {0}")]
    Refused(CertificateProblem),
    /// Anything else that goes wrong in a TLS handshake, in the words of the library.
    #[cfg(feature = "tls")]
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
}

#[cfg(feature = "tls")]
impl ConnectError {
    /// What a stream's error means.
    pub(super) fn of(error: io::Error) -> ConnectError {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return ConnectError::Io(error);
        };
        match tls {
            rustls::Error::InvalidMessage(_) => ConnectError::NotTls,
            rustls::Error::NoApplicationProtocol
            | rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
                ConnectError::Protocol
            }
            rustls::Error::AlertReceived(alert) => match refusal_of(*alert) {
                Some(problem) => ConnectError::Refused(problem),
                None => ConnectError::Tls(tls.to_string()),
            },
            _ => match problem_of(tls) {
                Some(problem) => ConnectError::Certificate(problem),
                None => ConnectError::Tls(tls.to_string()),
            },
        }
    }
}
