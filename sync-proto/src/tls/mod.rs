//! Who may talk to this replica, and how it is known who talks: TLS 1.3 with certificates on both sides, both of one
//! certificate authority, the replica set's. No files, sockets or runtime here: PEM text goes in, configurations for the
//! driver come out (`driver::tokio` moves the bytes).
//!
//! There are no revocation lists: a peer that is to be kept out loses its rights (`rights`), and certificates are short-lived.
//!
//! Easy to get wrong: in TLS 1.3 a client is done with its handshake before the server has looked at its certificate, so
//! a client hears of a refusal only when it first reads.

mod config;
mod error;
mod identity;
mod pem;

pub use config::{ALPN, TlsConfig};
pub use error::{CertificateProblem, ConfigError, ConfigProblem};
pub use pem::PemFile;

pub(crate) use error::{problem_of, refusal_of};
pub(crate) use identity::peer_name;
