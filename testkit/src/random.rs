//! [`Random`]: a seeded generator, and what tests draw from it. Used by everything here and by the engine's tests.
//!
//! Easy to get wrong: a test draws from one generator only and nothing else decides, or its seed does not replay it.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to choose test cases.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1))
    }

    /// The next number, any of 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True `percent` times of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `things`, which are not empty.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len() as u64) as usize]
    }

    /// A key of a small world, so that keys meet again: mostly short, some with long common prefixes, a few empty or long.
    pub fn key(&mut self, world: u64) -> Vec<u8> {
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
    pub fn value(&mut self) -> Vec<u8> {
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

/// The seeds that a test runs: the first `count`, or the one that the environment variable `SYNCLINE_SEED` names.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SYNCLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}
