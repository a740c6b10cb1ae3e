//! [`Latencies`]: how long commands that came together took of late, so that repairs give way when clients wait.
//!
//! Used by `client`, which notes them, and by `twin`, which reports the 99th percentile to the limit of its sessions.
//!
//! Easy to get wrong: the percentile is of what was noted since it was asked for the last time, not of all time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A histogram of durations: bucket `n` counts those from 2^n to 2^(n + 1) nanoseconds.
#[derive(Debug)]
pub(crate) struct Latencies([AtomicU64; 64]);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Latencies {
    /// Notes how long something took.
    pub(crate) fn note(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        if let Some(bucket) = self.0.get(nanos.ilog2() as usize) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The 99th percentile of what was noted since the last call, at most twice too high; `None` if nothing was.
    pub(crate) fn take_p99(&self) -> Option<Duration> {
        let counts = self.0.each_ref().map(|bucket| bucket.swap(0, Ordering::Relaxed));
        let all: u64 = counts.iter().sum();
        let mut above = all / 100;
        let bucket = counts.iter().rposition(|&count| {
            let is_here = count > above;
            above = above.saturating_sub(count);
            is_here
        })?;
        Some(Duration::from_nanos(1u64.checked_shl(bucket as u32 + 1).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_is_slower_and_the_next_question_is_of_what_comes_next() {
        let latencies = Latencies::default();
        assert_eq!(latencies.take_p99(), None);
        (0..99).for_each(|_| latencies.note(Duration::from_nanos(1_000)));
        latencies.note(Duration::from_secs(1));
        assert_eq!(latencies.take_p99(), Some(Duration::from_nanos(1_024)));
        (0..98).for_each(|_| latencies.note(Duration::from_nanos(1_000)));
        (0..2).for_each(|_| latencies.note(Duration::from_secs(1)));
        assert_eq!(latencies.take_p99(), Some(Duration::from_nanos(1 << 30)));
        assert_eq!(latencies.take_p99(), None);
    }
}
