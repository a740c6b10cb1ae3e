//! What the engine's tests share: a seeded generator and stores in memory whose time and randomness are seeded too.

use std::sync::Arc;

use syncline::clock::{ManualClock, SeededEntropy};
use syncline::vfs::MemoryVfs;
use syncline::{Builder, Compression, Db, Environment};

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to choose test cases.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A key of a small world, so that keys meet again: mostly short, some with long common prefixes, a few empty or long.
    pub(crate) fn key(&mut self, world: u64) -> Vec<u8> {
        let number = self.below(world);
        match number % 11 {
            0 => number.to_string().into_bytes(),
            1 => [&b"a/common/prefix/of/some/length/"[..], &number.to_be_bytes()].concat(),
            2 if number == 2 => Vec::new(),
            3 if number.is_multiple_of(5) => vec![number as u8; 300 + number as usize],
            4 => vec![0xff; (number % 7) as usize + 1],
            _ => number.to_be_bytes().to_vec(),
        }
    }

    /// A value that is a function of its number, from empty to larger than a run carries.
    pub(crate) fn value(&mut self) -> Vec<u8> {
        let number = self.next();
        let len = match number % 10 {
            0 => 0,
            1..=6 => number / 16 % 40,
            7 | 8 => number / 16 % 400,
            _ => 1000 + number / 16 % 3000,
        };
        number.to_le_bytes().iter().copied().cycle().take(len as usize).collect()
    }
}

/// A world of one seed: a file system in memory, a clock that stands still until moved, seeded randomness.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) vfs: MemoryVfs,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World { vfs: MemoryVfs::new(), clock: Arc::new(ManualClock::new(1_700_000_000_000)), seed }
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment {
            vfs: Arc::new(self.vfs.clone()),
            wall_clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(self.seed)),
        }
    }

    /// Options that make a small world exercise everything: tiny memtables, values that stay in the log, no thread, and runs
    /// compressed by every other seed.
    pub(crate) fn builder(&self, dir: &str) -> Builder {
        Db::builder(dir)
            .environment(self.environment())
            .background(false)
            .memtable_bytes(8 << 10)
            .inline_value_max(200)
            .compression(if self.seed % 2 == 1 { Compression::Lz4 } else { Compression::None })
    }
}

/// The seeds to run: the first `count`, or the one that the environment names.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SYNCLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}
