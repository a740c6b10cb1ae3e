//! Sessions over any asynchronous byte stream, over TCP, and over TLS: the only part of the crate that knows sockets and
//! reads a clock. [`connect`] and [`serve`] are the two ends of a connection, [`maintain`] visits peers again and again.
//!
//! Easy to get wrong: [`Security::Insecure`] neither encrypts nor authenticates. It is for a network that is your own.

mod connect;
mod error;
mod maintain;
mod nonce;
mod places;
mod secure;
mod serve;
mod stream;
mod throttle;
mod watch;

pub use connect::{connect, probe};
pub use error::ConnectError;
pub use maintain::{Control, Maintenance, PeerStatus, maintain};
pub use nonce::Nonces;
pub use secure::{ByteStream, Secured, Security, Transport};
pub use serve::{Caps, PeerResult, Server, serve};
pub use stream::{initiate, respond};
pub use throttle::Throttle;
pub use watch::{SessionProgress, Watcher};
