//! How fast repairs may go: a token bucket whose rate gives way when the foreground suffers. No clock and no waiting
//! here: time goes in, how long to wait comes out. The driver shares one among all sessions of a process.
//!
//! The bucket is kept as the moment at which everything taken so far is paid for (the generic cell rate algorithm, ITU-T
//! I.371), which is one number, never overflows by idling and loses nothing to rounding. The rate is halved when the
//! foreground's latency exceeds its bound and raised by a sixteenth of the limit when it does not: additive increase,
//! multiplicative decrease, as in TCP.
//!
//! Easy to get wrong: what is taken is never refused, only paid for afterwards, so the first taker after a large one waits
//! for it. A session that waits is silent to its peer, so the driver bounds the wait.

use std::time::Duration;

/// So much time's worth may be taken at once after a pause.
const BURST: Duration = Duration::from_secs(1);
/// The rate is adjusted at most once in this time, however often the foreground reports.
const ADJUST_INTERVAL: Duration = Duration::from_secs(1);
/// The rate is never halved below this part of the limit.
const RATE_PARTS_MAX: u64 = 64;
/// The rate rises by this part of the limit.
const RISE_PARTS: u64 = 16;

/// The least limit: at it a whole frame is paid for in a quarter of the time after which its receiver gives up.
pub const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// What a rate limiter keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Bytes of frames, in both directions, that all sessions together move in a second. At least
    /// [`BYTES_PER_SECOND_MIN`]; less is taken for that.
    pub bytes_per_second: u64,
    /// What the foreground's 99th percentile may be before repairs give way.
    pub latency_max: Duration,
}

/// A token bucket with a rate that adapts.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    limit: RateLimit,
    rate: u64,
    paid_at: Duration,
    adjusted_at: Option<Duration>,
}

impl RateLimiter {
    /// A full bucket.
    pub fn new(limit: RateLimit) -> RateLimiter {
        let bytes_per_second = limit.bytes_per_second.max(BYTES_PER_SECOND_MIN);
        let limit = RateLimit { bytes_per_second, ..limit };
        RateLimiter { limit, rate: bytes_per_second, paid_at: Duration::ZERO, adjusted_at: None }
    }

    /// Takes `bytes`, and returns how long to wait before going on.
    pub fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now).saturating_add(cost);
        self.paid_at.saturating_sub(now.saturating_add(BURST))
    }

    /// Hears the foreground's 99th percentile of late, and adjusts the rate. Call it about once a second.
    pub fn report_latency(&mut self, p99: Duration, now: Duration) {
        if self.adjusted_at.is_some_and(|at| now < at.saturating_add(ADJUST_INTERVAL)) {
            return;
        }
        self.adjusted_at = Some(now);
        let limit = self.limit.bytes_per_second;
        self.rate = if p99 > self.limit.latency_max {
            (self.rate / 2).max(limit / RATE_PARTS_MAX).max(1)
        } else {
            self.rate.saturating_add(limit / RISE_PARTS).min(limit)
        };
    }

    /// Bytes per second at present.
    pub fn bytes_per_second(&self) -> u64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::rng::Rng;

    const LIMIT: RateLimit = RateLimit { bytes_per_second: 1 << 20, latency_max: Duration::from_millis(10) };

    #[test]
    fn whoever_waits_as_told_moves_the_rate_and_at_most_one_burst_more_in_any_time() {
        let rate = LIMIT.bytes_per_second as f64;
        for seed in 0..200 {
            let idles = seed % 2 == 0;
            let rng = &mut Rng(seed);
            let mut limiter = RateLimiter::new(LIMIT);
            let (mut now, mut moved) = (Duration::ZERO, 0);
            let mut began = Vec::new();
            for _ in 0..200 {
                began.push((now, moved));
                let bytes = rng.below(2 << 20);
                moved += bytes;
                now += limiter.take(bytes, now);
                for (then, moved_then) in &began {
                    let most = rate * (now - *then + BURST).as_secs_f64() + 1.0;
                    let moved = (moved - moved_then) as f64;
                    assert!(moved <= most, "seed {seed}: {moved} since {then:?}, not {most}");
                }
                if idles && rng.one_in(10) {
                    now += Duration::from_millis(rng.below(5_000));
                }
            }
            assert!(idles || moved as f64 >= rate * now.as_secs_f64(), "seed {seed}: waits for nothing");
        }
    }

    #[test]
    fn a_suffering_foreground_halves_the_rate_and_a_calm_one_wins_it_back() {
        let mut limiter = RateLimiter::new(LIMIT);
        let (slow, fast) = (Duration::from_millis(11), Duration::from_millis(10));
        limiter.report_latency(slow, Duration::from_secs(1));
        limiter.report_latency(slow, Duration::from_millis(1_999));
        assert_eq!(limiter.bytes_per_second(), 512 << 10, "once a second");
        for second in 2..30 {
            limiter.report_latency(slow, Duration::from_secs(second));
        }
        assert_eq!(limiter.bytes_per_second(), 16 << 10, "a repair never stops");
        for second in 30..60 {
            limiter.report_latency(fast, Duration::from_secs(second));
        }
        assert_eq!(limiter.bytes_per_second(), 1 << 20);
    }
}
