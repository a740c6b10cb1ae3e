//! [`Stop`]: a way in which a machine stops, what it leaves of the medium, and what must be there afterwards. The explorer
//! stops stores in each way at every step, the simulated network its replicas.
//!
//! Easy to get wrong: a killed process loses nothing that was written, synced or not.

use std::fmt;

use syncline::vfs::MemoryVfs;

use crate::life::Promise;
use crate::random::Random;

/// A way in which a machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The process is killed: everything written stays.
    Kill,
    /// The power is cut, and everything reached the medium just before.
    Kept,
    /// The power is cut, and of what was not synced nothing reached the medium.
    Dropped,
    /// The power is cut, and of what was not synced each file and folder kept all, nothing, the first changes, or any sectors of
    /// 512 bytes and any subset of names; the staging ring any mixture of older sectors.
    Mixed,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stop::Kill => "killed",
            Stop::Kept => "power cut, all kept",
            Stop::Dropped => "power cut, unsynced dropped",
            Stop::Mixed => "power cut, unsynced torn and reordered",
        })
    }
}

impl Stop {
    /// The ways in which every step is stopped.
    pub const ALL: [Stop; 5] = [Stop::Kill, Stop::Kept, Stop::Dropped, Stop::Mixed, Stop::Mixed];

    /// What it leaves of `vfs`.
    pub fn apply(self, vfs: &MemoryVfs, random: &mut Random) -> MemoryVfs {
        match self {
            Stop::Kill => vfs.kill(),
            Stop::Kept => vfs.power_cut(|bound| 1.min(bound.saturating_sub(1))),
            Stop::Dropped => vfs.power_cut(|_| 0),
            Stop::Mixed => vfs.power_cut(|bound| random.below(bound)),
        }
    }

    /// The least commit that must be there.
    pub fn least(self, promise: Promise) -> u64 {
        match self {
            Stop::Kill => promise.returned,
            _ => promise.durable,
        }
    }
}
