//! Time and randomness as arguments: the traits through which a store is given both, and the hybrid logical clock.
//!
//! `system` is the only place that asks the operating system; tests pass a [`ManualClock`] and a [`SeededEntropy`].

mod hybrid;
mod manual;
mod system;

use std::fmt;
use std::io;

pub(crate) use hybrid::HybridClock;
pub use manual::{ManualClock, SeededEntropy};
pub use system::{SystemClock, SystemEntropy};

/// Wall time.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch. May jump in either direction.
    fn now_ms(&self) -> u64;
}

/// Randomness, for identifiers and secrets.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes` with unpredictable ones.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}
