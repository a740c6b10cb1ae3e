//! The network simulator: several replicas on real engines and simulated disks, their sessions over one seeded network, and
//! one queue of events.
//!
//! `sim` is the world and its queue, `link` one connection with a session at each end, `node` a replica that dies and comes
//! back, `witness` what must be so. `pair` is one session without all that.
//!
//! Easy to get wrong: safety is judged while everything fails, progress only after faults have stopped. A run that mixes the
//! two can blame a fault for what is a bug.

mod link;
mod node;
mod pair;
mod sim;
mod witness;

pub use pair::{session, session_with};
pub use sim::{Faults, Sim};
