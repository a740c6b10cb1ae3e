//! [`World`]: everything that a store sees of the outside, in memory and seeded.
//!
//! Easy to get wrong: a world is a value. Its copy shares the file system until one of the two is given another, as
//! [`World::with`] does with what a kill or a power cut left.

use std::path::Path;
use std::sync::Arc;

use syncline::clock::{ManualClock, SeededEntropy};
use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Builder, Compression, Db, Environment};

/// Puts something between a store and its medium: nothing, or a planted bug.
pub type Layer = fn(MemoryVfs) -> Arc<dyn Vfs>;

/// A world of one seed: a file system in memory, a clock that stands still until moved, seeded randomness.
#[derive(Debug, Clone)]
pub struct World {
    /// The medium.
    pub vfs: MemoryVfs,
    /// The wall clock.
    pub clock: Arc<ManualClock>,
    /// What the store's randomness is made from.
    pub seed: u64,
    /// What stands between the store and the medium.
    pub layer: Layer,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> World {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        World { vfs: MemoryVfs::new(), clock, seed, layer: |vfs| Arc::new(vfs) }
    }

    /// This world with another medium.
    pub fn with(&self, vfs: MemoryVfs) -> World {
        World { vfs, ..self.clone() }
    }

    /// What a store is opened with.
    pub fn environment(&self) -> Environment {
        Environment {
            vfs: (self.layer)(self.vfs.clone()),
            wall_clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(self.seed)),
        }
    }

    /// Options that make a small world exercise everything: tiny memtables, values that stay in the log, no thread, and runs
    /// compressed by every other seed.
    pub fn builder(&self, dir: impl AsRef<Path>) -> Builder {
        Db::builder(dir)
            .environment(self.environment())
            .background(false)
            .memtable_bytes(8 << 10)
            .inline_value_max(200)
            .compression(if self.seed % 2 == 1 { Compression::Lz4 } else { Compression::None })
    }
}
