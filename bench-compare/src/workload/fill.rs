//! Writing: into an empty store, over a loaded one, and deleting.

use crate::Result;
use crate::data::Key;
use crate::engine::Engine;
use crate::measure::Meter;
use crate::workload::Scope;

/// Entries of a batch where the batch's size is not the point.
const LOAD_BATCH: usize = 1_000;

/// Ascending keys in batches.
pub fn sequential<E: Engine>(engine: &E, scope: &Scope) -> Result<Meter> {
    batches_of(engine, scope, LOAD_BATCH, |number| scope.data.ascending_key(number))
}

/// Random keys in batches of `len`.
pub fn batches<E: Engine>(engine: &E, scope: &Scope, len: usize) -> Result<Meter> {
    batches_of(engine, scope, len, |number| scope.data.key(number))
}

/// Brings a store to what [`singles`] leaves, as fast as it goes.
///
/// # Errors
/// The engine's.
pub fn load<E: Engine>(engine: &E, scope: &Scope) -> Result<()> {
    batches(engine, scope, LOAD_BATCH).map(drop)
}

fn batches_of<E: Engine>(
    engine: &E,
    scope: &Scope,
    len: usize,
    key_of: impl Fn(u64) -> Key,
) -> Result<Meter> {
    let mut batch: Vec<(Key, Vec<u8>)> = vec![Default::default(); len];
    let mut meter = Meter::start(1);
    let mut next = 0;
    while next < scope.entries {
        let count = (scope.entries - next).min(len as u64);
        for ((key, value), number) in batch.iter_mut().zip(next..next + count) {
            *key = key_of(number);
            scope.data.fill_value(key, 0, value);
        }
        let entries = batch.iter().take(count as usize).map(|(key, value)| (&key[..], &value[..]));
        meter.time(|| engine.put_batch(entries))?;
        meter.add(count - 1);
        next += count;
    }
    engine.catch_up()?;
    Ok(meter.stop())
}

/// One put for each number, with values of `version`.
pub fn singles<E: Engine>(
    engine: &E,
    scope: &Scope,
    numbers: impl Iterator<Item = u64>,
    version: u64,
) -> Result<Meter> {
    let mut value = Vec::new();
    let mut meter = Meter::start(1);
    for number in numbers {
        let key = scope.data.key(number);
        scope.data.fill_value(&key, version, &mut value);
        meter.time(|| engine.put(&key, &value))?;
    }
    engine.catch_up()?;
    Ok(meter.stop())
}

/// One delete for each number.
pub fn deletes<E: Engine>(engine: &E, scope: &Scope, numbers: &[u64]) -> Result<Meter> {
    let mut meter = Meter::start(1);
    for &number in numbers {
        let key = scope.data.key(number);
        meter.time(|| engine.delete(&key))?;
    }
    engine.catch_up()?;
    Ok(meter.stop())
}
