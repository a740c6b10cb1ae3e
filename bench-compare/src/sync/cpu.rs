//! [`Cpu`]: processor time of one side, where both run on one thread in turns.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Adds up the processor time, user and system, of calls on this thread. Threads that these start are not seen.
#[derive(Debug, Default)]
pub struct Cpu(Duration);

impl Cpu {
    /// Runs `work` and adds its time.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = thread_time();
        let result = work();
        self.0 += thread_time() - start;
        result
    }

    /// The sum, in milliseconds.
    pub fn ms(&self) -> f64 {
        self.0.as_secs_f64() * 1e3
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("processor time is positive and whole")
}
