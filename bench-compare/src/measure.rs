//! Clocks and meters: latencies of operations, memory of this process, disk space of a folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quanta::Clock;
use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// Operations between two looks at the memory of the process.
const MEMORY_EVERY: u64 = 1 << 16;

/// Counts operations and measures the latency of each, or of each `every`-th where the clock would cost too much of it.
#[derive(Debug)]
pub struct Meter {
    every: u64,
    count: u64,
    /// Latencies in ticks of the clock, turned into nanoseconds only when asked for.
    ticks: Histogram<u64>,
    /// The processor's counter: two looks at the system's clock would cost three times as much.
    clock: Clock,
    /// Most anonymous memory seen.
    anon_bytes: u64,
    start: Instant,
    elapsed: Duration,
    cpu_start: Duration,
    cpu: Duration,
}

impl Meter {
    /// A meter that starts now.
    pub fn start(every: u64) -> Meter {
        let ticks = Histogram::new_with_bounds(1, 1 << 44, 2).expect("the bounds are an hour and 1 %");
        Meter {
            every,
            count: 0,
            ticks,
            clock: Clock::new(),
            anon_bytes: 0,
            start: Instant::now(),
            elapsed: Duration::ZERO,
            cpu_start: cpu_time(),
            cpu: Duration::ZERO,
        }
    }

    /// Runs one operation.
    pub fn time<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        if self.count.is_multiple_of(MEMORY_EVERY) {
            self.anon_bytes = self.anon_bytes.max(Memory::now().anon_bytes);
        }
        self.count += 1;
        if !self.count.is_multiple_of(self.every) {
            return operation();
        }
        let start = self.clock.raw();
        let result = operation();
        self.ticks.saturating_record(self.clock.raw() - start);
        result
    }

    /// Stops the meter.
    pub fn stop(mut self) -> Meter {
        self.elapsed = self.start.elapsed();
        self.cpu = cpu_time() - self.cpu_start;
        self
    }

    /// Adds what a meter measured at the same time, in another thread.
    pub fn beside(self, other: Meter) -> Meter {
        let (elapsed, cpu) = (self.elapsed.max(other.elapsed), self.cpu.max(other.cpu));
        self.join(other, elapsed, cpu)
    }

    /// Adds what a meter measured at another time.
    pub fn then(self, other: Meter) -> Meter {
        let (elapsed, cpu) = (self.elapsed + other.elapsed, self.cpu + other.cpu);
        self.join(other, elapsed, cpu)
    }

    fn join(mut self, other: Meter, elapsed: Duration, cpu: Duration) -> Meter {
        self.count += other.count;
        self.ticks.add(&other.ticks).expect("all histograms have the same bounds");
        self.anon_bytes = self.anon_bytes.max(other.anon_bytes);
        (self.elapsed, self.cpu) = (elapsed, cpu);
        self
    }

    /// Counts `more` operations that were timed as one.
    pub fn add(&mut self, more: u64) {
        self.count += more;
    }

    /// Operations counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Operations per second from start to stop.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the process for each operation, in microseconds: on a busy machine it says more than the rate.
    pub fn cpu_us_per_op(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }

    /// A quantile of the latencies, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.clock.delta_as_nanos(0, self.ticks.value_at_quantile(quantile)) as f64 / 1e3
    }

    /// Most anonymous memory seen between operations.
    pub fn anon_bytes(&self) -> u64 {
        self.anon_bytes
    }
}

/// Processor time that all threads of this process have taken.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("processor time is positive and whole")
}

/// Memory of this process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Most resident memory since the last [`Memory::forget_peak`], mapped files included.
    pub peak_bytes: u64,
    /// Resident memory that no file backs (RssAnon and RssShmem).
    pub anon_bytes: u64,
}

impl Memory {
    /// As the kernel tells it.
    pub fn now() -> Memory {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.unwrap_or(0) << 10
        };
        Memory { peak_bytes: bytes("VmHWM"), anon_bytes: bytes("RssAnon") + bytes("RssShmem") }
    }

    /// Makes the present memory the peak, where the kernel allows it; where not, a peak includes earlier workloads.
    pub fn forget_peak() {
        let _ = fs::write("/proc/self/clear_refs", "5");
    }
}

/// Bytes that the files below a folder take on disk, preallocated ones included.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A file that the engine has removed meanwhile takes nothing.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}
