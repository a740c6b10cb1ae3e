//! A steady load: one engine overwrites random keys of a loaded store for minutes, as fast as it can or at a given rate,
//! and a line tells of every second. It shows what a mean hides: stalls, and space and memory that grow.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::{Data, KEY_LEN, Random};
use crate::engine::{Config, Engine};
use crate::measure::{Memory, Meter, disk_bytes};
use crate::workload::{self, Scope};

/// Operations between two looks at the clock that paces them.
const BURST: u64 = 64;

/// One second of the load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Second {
    /// Name of the engine.
    pub engine: String,
    /// The second, from 0.
    pub second: u64,
    /// Overwrites in it, per second.
    pub ops_per_s: f64,
    /// Latencies in microseconds.
    pub p50_us: f64,
    /// The same.
    pub p99_us: f64,
    /// The same.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Bytes on disk over bytes of keys and values.
    pub space_amplification: f64,
    /// Bytes that this process has written, over bytes of keys and values overwritten, both since the load began. What is
    /// written through a memory map does not count.
    pub write_amplification: f64,
    /// Resident memory that no file backs, in bytes.
    pub anon_bytes: u64,
}

/// What is overwritten, for how long, and how fast.
#[derive(Debug)]
pub struct Load {
    /// Entries of the store.
    pub entries: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Seconds.
    pub seconds: u64,
    /// Operations per second; `None` is as fast as they go.
    pub rate: Option<u64>,
    /// Seed of keys and choices.
    pub seed: u64,
}

/// Loads a store in `dir` and overwrites it; tells `each` of every second.
///
/// # Errors
/// The engine's.
pub fn run<E: Engine>(dir: &Path, load: &Load, mut each: impl FnMut(Second)) -> Result<()> {
    let config = Config { dir: dir.join("store"), durable: false, compress: false, without_index: false };
    let data = Data::new(load.seed, load.value_bytes);
    let scope = Scope { data, entries: load.entries, ops: load.entries, seed: load.seed };
    let engine = E::open(&config)?;
    workload::load(&engine, &scope)?;
    engine.settle()?;

    let record_bytes = (KEY_LEN + load.value_bytes) as u64;
    let (written_before, start) = (bytes_written()?, Instant::now());
    let (mut random, mut value, mut count) = (Random::new(load.seed), Vec::new(), 0u64);
    for second in 0..load.seconds {
        let mut meter = Meter::start(1);
        while start.elapsed() < Duration::from_secs(second + 1) {
            if load.rate.is_some_and(|rate| count as f64 > start.elapsed().as_secs_f64() * rate as f64) {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            for _ in 0..BURST {
                let key = scope.data.key(random.below(load.entries));
                scope.data.fill_value(&key, count, &mut value);
                meter.time(|| engine.put(&key, &value))?;
                count += 1;
            }
        }
        let (meter, user_bytes) = (meter.stop(), load.entries * record_bytes);
        each(Second {
            engine: E::NAME.to_owned(),
            second,
            ops_per_s: meter.rate(),
            p50_us: meter.quantile_us(0.5),
            p99_us: meter.quantile_us(0.99),
            p999_us: meter.quantile_us(0.999),
            max_us: meter.quantile_us(1.0),
            space_amplification: disk_bytes(&config.dir)? as f64 / user_bytes as f64,
            write_amplification: (bytes_written()? - written_before) as f64 / (count * record_bytes) as f64,
            anon_bytes: Memory::now().anon_bytes,
        });
    }
    engine.close()
}

/// Bytes that this process has passed to writing system calls.
fn bytes_written() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    bytes.ok_or_else(|| "the kernel does not say how much this process wrote".into())
}
