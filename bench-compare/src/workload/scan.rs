//! Ordered reads. Every value is checked against its key, and the order of the keys.

use crate::Result;
use crate::data::Random;
use crate::engine::{Direction, Engine, Scan};
use crate::measure::Meter;
use crate::workload::Scope;

/// Entries read after a seek.
const SEEK_LEN: usize = 100;

/// Operations of other workloads that take the time of a seek.
const OPS_PER_SEEK: u64 = 20;

/// Passes over the whole store.
const PASSES: usize = 3;

/// Seeks random keys and reads the hundred entries that begin there.
pub fn seeks<E: Engine>(
    engine: &E,
    scope: &Scope,
    mut random: Random,
    direction: Direction,
) -> Result<Meter> {
    let mut meter = Meter::start(1);
    for _ in 0..(scope.ops / OPS_PER_SEEK).max(1) {
        let key = scope.data.key(random.below(scope.entries));
        meter.time(|| checked(engine, scope, Scan { from: Some(&key), direction, limit: SEEK_LEN }))?;
    }
    Ok(meter.stop())
}

/// Reads every entry, several times; an operation is an entry, a latency that of a whole pass.
pub fn whole<E: Engine>(engine: &E, scope: &Scope, direction: Direction) -> Result<Meter> {
    let mut meter = Meter::start(1);
    for _ in 0..PASSES {
        let count = meter.time(|| checked(engine, scope, Scan::all(direction)))?;
        assert_eq!(count as u64, scope.entries, "entries seen by a scan");
        meter.add(scope.entries - 1);
    }
    Ok(meter.stop())
}

fn checked<E: Engine>(engine: &E, scope: &Scope, scan: Scan<'_>) -> Result<usize> {
    let mut last: Option<u128> = None;
    engine.scan(scan, |key, value| {
        scope.data.check(key, value);
        let key = u128::from_be_bytes(key.try_into().expect("a checked key has its length"));
        let is_ordered = last.is_none_or(|last| match scan.direction {
            Direction::Forward => last < key,
            Direction::Backward => last > key,
        });
        assert!(is_ordered, "{key:032x} is out of order");
        last = Some(key);
    })
}
