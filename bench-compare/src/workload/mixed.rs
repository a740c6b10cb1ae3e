//! Reads and changes mixed as YCSB does: workloads A, B and F, with Zipf-distributed keys.

use crate::Result;
use crate::data::Random;
use crate::engine::Engine;
use crate::measure::Meter;
use crate::workload::{Scope, read};

/// What share reads, and whether a change reads first.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Reads in a hundred operations.
    pub read_percent: u64,
    /// Whether a change is a read and a write of the same key.
    pub modify: bool,
}

/// Runs the mix. A latency is that of a whole operation, so of two calls where a change reads first.
pub fn run<E: Engine>(engine: &E, scope: &Scope, mut random: Random, mix: Mix) -> Result<Meter> {
    let numbers = random.zipf(scope.entries, scope.ops);
    let mut value = Vec::new();
    let mut meter = Meter::start(read::TIMED_EVERY);
    for (version, &number) in numbers.iter().enumerate() {
        if random.below(100) < mix.read_percent {
            meter.time(|| read::hit(engine, scope, number))?;
            continue;
        }
        let key = scope.data.key(number);
        scope.data.fill_value(&key, version as u64, &mut value);
        meter.time(|| {
            if mix.modify {
                read::hit(engine, scope, number)?;
            }
            engine.put(&key, &value)
        })?;
    }
    engine.catch_up()?;
    Ok(meter.stop())
}
