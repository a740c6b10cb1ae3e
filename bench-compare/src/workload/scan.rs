//! Ordered reads. Every value is checked against its key, and the order of the keys.

use crate::Result;
use crate::engine::{Direction, Engine};
use crate::measure::Meter;
use crate::workload::Scope;

/// Entries read after a seek.
const SEEK_LEN: usize = 100;

/// Passes over the whole store.
const PASSES: usize = 3;

/// For each number, seeks its key and reads the hundred entries that begin there.
pub fn seeks<E: Engine>(engine: &E, scope: &Scope, numbers: &[u64], direction: Direction) -> Result<Meter> {
    let mut meter = Meter::start(1);
    for &number in numbers {
        let key = scope.data.key(number);
        meter.time(|| checked(engine, scope, Some(&key), direction, SEEK_LEN))?;
    }
    Ok(meter.stop())
}

/// Reads every entry, several times; an operation is an entry, a latency that of a whole pass.
pub fn whole<E: Engine>(engine: &E, scope: &Scope, direction: Direction) -> Result<Meter> {
    let mut meter = Meter::start(1);
    for _ in 0..PASSES {
        let count = meter.time(|| checked(engine, scope, None, direction, usize::MAX))?;
        assert_eq!(count as u64, scope.entries, "entries seen by a scan");
        meter.add(scope.entries - 1);
    }
    Ok(meter.stop())
}

fn checked<E: Engine>(
    engine: &E,
    scope: &Scope,
    from: Option<&[u8]>,
    direction: Direction,
    limit: usize,
) -> Result<usize> {
    let mut last: Option<u128> = None;
    engine.scan(from, direction, limit, |key, value| {
        scope.data.check(key, value);
        let key = u128::from_be_bytes(key.try_into().expect("a checked key has its length"));
        let is_ordered = last.is_none_or(|last| match direction {
            Direction::Forward => last < key,
            Direction::Backward => last > key,
        });
        assert!(is_ordered, "{key:032x} is out of order");
        last = Some(key);
    })
}
