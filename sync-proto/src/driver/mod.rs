//! Drivers: what runs a session against a replica and a peer. `pump` joins a session and a replica, for any transport;
//! `pair` repairs two replicas within one process; `tokio` does it over any asynchronous byte stream.
//!
//! The only part of the crate that calls a [`crate::Replica`], and, in `tokio`, the only one that knows time and sockets.

mod pair;
mod pump;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use pair::run_pair;
pub use pump::{Pump, Step};
