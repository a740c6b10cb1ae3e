//! [`Worker`]: a thread's sleep and wake-up, and the wait of writers for room.
//!
//! Easy to get wrong: whoever wakes sets the flag before it takes the lock, and the sleeper looks at the flag under the lock,
//! or a wake-up gets lost between the two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Where one thread sleeps.
#[derive(Debug, Default)]
pub(super) struct Worker {
    is_stopping: Mutex<bool>,
    changed: Condvar,
    is_pending: AtomicBool,
}

impl Worker {
    /// Tells the thread that there may be work. Costs one look at a flag as long as it knows.
    pub(super) fn wake(&self) {
        if !self.is_pending.load(Ordering::Relaxed) && !self.is_pending.swap(true, Ordering::AcqRel) {
            let _lock = self.is_stopping.lock();
            self.changed.notify_all();
        }
    }

    /// Ends [`Worker::run`] after its present piece of work.
    pub(super) fn stop(&self) {
        *self.is_stopping.lock() = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.is_stopping.lock()
    }

    /// Works while `work` says that it did some, sleeps until woken, and ends when stopped.
    pub(super) fn run(&self, mut work: impl FnMut() -> bool) {
        loop {
            self.is_pending.store(false, Ordering::Release);
            let worked = work();
            let mut is_stopping = self.is_stopping.lock();
            while !worked && !*is_stopping && !self.is_pending.load(Ordering::Acquire) {
                self.changed.wait(&mut is_stopping);
            }
            if *is_stopping {
                return;
            }
        }
    }

    /// Sleeps for `duration`, less if woken or stopped. For a thread inside [`Worker::run`], and for writers at a worker that
    /// is nobody's.
    pub(super) fn pause(&self, duration: Duration) {
        let mut is_stopping = self.is_stopping.lock();
        if !*is_stopping {
            self.changed.wait_for(&mut is_stopping, duration);
        }
    }

    /// Ends the pauses that are under way.
    pub(super) fn end_pauses(&self) {
        let _lock = self.is_stopping.lock();
        self.changed.notify_all();
    }
}
