//! The operating system's wall clock and randomness: the only place that asks for either.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Entropy, WallClock};

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A clock set before 1970 counts as 1970: stamps still rise through the counter.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> 16)
    }
}

/// The system's cryptographic randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::from)
    }
}
