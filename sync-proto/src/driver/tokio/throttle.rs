//! A rate limiter that all sessions of a process share, and the waiting that it asks for.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::tokio::time::{Instant, sleep};

use crate::rate::{RateLimit, RateLimiter};

/// Slows sessions down to a rate, or does not. Clones share the rate.
#[derive(Debug, Clone)]
pub struct Throttle(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    limiter: Mutex<RateLimiter>,
    began_at: Instant,
}

impl Throttle {
    /// Slows nothing down.
    pub fn unlimited() -> Throttle {
        Throttle(None)
    }

    /// Keeps all sessions together to `limit`.
    pub fn limited(limit: RateLimit) -> Throttle {
        let limiter = Mutex::new(RateLimiter::new(limit));
        Throttle(Some(Arc::new(Shared { limiter, began_at: Instant::now() })))
    }

    /// Hears how the foreground has been doing, and gives way or wins back: see [`RateLimiter::report_latency`].
    pub fn report_latency(&self, p99: Duration) {
        if let Some(shared) = &self.0 {
            shared.lock().report_latency(p99, shared.began_at.elapsed());
        }
    }

    /// Bytes per second at present, if there is a limit.
    pub fn bytes_per_second(&self) -> Option<u64> {
        self.0.as_ref().map(|shared| shared.lock().bytes_per_second())
    }

    /// Waits until `len` bytes are paid for, but no longer than `wait_max`.
    pub(super) async fn pay(&self, len: usize, wait_max: Duration) {
        let Some(shared) = &self.0 else { return };
        let wait = shared.lock().take(len as u64, shared.began_at.elapsed()).min(wait_max);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, RateLimiter> {
        self.limiter.lock().expect("nothing panics while it holds the lock")
    }
}
