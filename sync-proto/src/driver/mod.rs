//! Drivers: what runs a session against a replica and a peer. `pump` joins a session and a replica, for any transport;

mod pair;
mod pump;

pub use pair::run_pair;
pub use pump::{Pump, Step};
