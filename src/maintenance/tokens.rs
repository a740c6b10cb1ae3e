//! [`TokenBucket`]: how much work may be done at a rate. Pure arithmetic; merges and scrubs ask it how long to wait.
//!
//! A token is a byte. The bucket fills at the rate up to the burst, and work takes what it did afterwards, so that nobody has
//! to know before how much that will be: it may go into debt, and whoever comes next waits until that is paid.
//!
//! Easy to get wrong: the clock is the wall's. One that jumps ahead fills the bucket and no more, and one that goes back
//! counts as one that stood still.

use std::time::Duration;

/// Bytes that may be worked on now.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    /// Not zero.
    per_second: u64,
    burst: u64,
    /// Thousandths of a token, which a millisecond adds `per_second` of. Less than nothing is debt.
    level: i128,
    filled_at_ms: u64,
}

impl TokenBucket {
    /// A full bucket that gives `per_second` bytes on average and at most about `burst` at once, one at least of each.
    pub(crate) fn new(per_second: u64, burst: u64, now_ms: u64) -> TokenBucket {
        let (per_second, burst) = (per_second.max(1), burst.max(1));
        TokenBucket { per_second, burst, level: i128::from(burst) * 1000, filled_at_ms: now_ms }
    }

    /// How long to wait until something may be done; `None` if it may be now.
    pub(crate) fn wait(&mut self, now_ms: u64) -> Option<Duration> {
        let passed = now_ms.saturating_sub(self.filled_at_ms);
        self.filled_at_ms = now_ms;
        let full = i128::from(self.burst) * 1000;
        self.level = (self.level + i128::from(self.per_second) * i128::from(passed)).min(full);
        let missing = u64::try_from(1000 - self.level).ok().filter(|missing| *missing > 0)?;
        Some(Duration::from_millis(missing.div_ceil(self.per_second)))
    }

    /// Takes what was done.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub(i128::from(bytes) * 1000);
    }

    /// Forgets the debt.
    pub(crate) fn forgive(&mut self) {
        self.level = self.level.max(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number below `bound`, by SplitMix64.
    fn below(state: &mut u64, bound: u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % bound.max(1)
    }

    #[test]
    fn whoever_waits_as_told_gets_the_rate_and_never_more_whatever_the_clock_does() {
        for seed in 0..300 {
            let mut random = seed;
            let mut below = |bound| below(&mut random, bound);
            let (rate, burst) = (1 + below(1 << (4 + seed % 30)), below(100_000));
            let mut now = 1_700_000_000_000 + below(1_000);
            let mut bucket = TokenBucket::new(rate, burst, now);
            // Milliseconds that the bucket knows of, bytes done, and the largest piece.
            let (mut passed, mut done, mut piece_max) = (0u128, 0u128, 0);
            for _ in 0..200 {
                match below(4) {
                    0 => now -= below(5_000),
                    1 => {
                        let idle = below(100);
                        (now, passed) = (now + idle, passed + u128::from(idle));
                    }
                    _ => {}
                }
                if let Some(wait) = bucket.wait(now) {
                    // A millisecond less would not do.
                    let wait = wait.as_millis() as u64;
                    assert!(bucket.wait(now + wait - 1).is_some(), "seed {seed}");
                    assert!(bucket.wait(now + wait).is_none(), "seed {seed}: waited {wait} ms in vain");
                    (now, passed) = (now + wait, passed + u128::from(wait));
                }
                let piece = below(1 << (seed % 20));
                bucket.take(piece);
                (done, piece_max) = (done + u128::from(piece), piece.max(piece_max));
                let most =
                    u128::from(burst.max(1)) + u128::from(rate) * passed / 1000 + u128::from(piece_max);
                assert!(done <= most, "seed {seed}: {done} bytes of {most}");
            }
        }
    }

    #[test]
    fn what_nobody_used_is_there_at_once_and_debt_can_be_forgiven() {
        let mut bucket = TokenBucket::new(1_000, 5_000, 0);
        bucket.take(5_000);
        assert_eq!(bucket.wait(0), Some(Duration::from_millis(1)));
        assert_eq!(bucket.wait(100_000), None, "a long idle time fills it");
        bucket.take(4_999);
        assert_eq!(bucket.wait(100_000), None, "and no more than its burst");
        bucket.take(2_001);
        assert_eq!(bucket.wait(100_000), Some(Duration::from_millis(2_001)));
        bucket.forgive();
        assert_eq!(bucket.wait(100_000), Some(Duration::from_millis(1)));
    }
}
