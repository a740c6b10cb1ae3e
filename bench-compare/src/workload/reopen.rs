//! Opening a store again, after a clean close or after its process was killed. The operating system still holds the
//! files in its cache: this measures what the engine does, not the disk.

use crate::Result;
use crate::engine::{Config, Direction, Engine, Scan};
use crate::measure::Meter;
use crate::workload::{Scope, load};

/// Loads a store, says so by `loaded`, and goes on overwriting until the process is killed.
///
/// # Errors
/// The engine's; it does not return otherwise.
pub fn write_until_killed<E: Engine>(config: &Config, scope: &Scope, loaded: impl FnOnce()) -> Result<()> {
    let engine = E::open(config)?;
    load(&engine, scope)?;
    loaded();
    let mut value = Vec::new();
    for number in (0..scope.entries).cycle() {
        let key = scope.data.key(number);
        scope.data.fill_value(&key, 1, &mut value);
        engine.put(&key, &value)?;
    }
    Ok(())
}

/// Opens and closes a store `times`. What is measured ends with the answer to a first read, so that it does not help
/// to put work off. Returns the last store and how many of its entries are missing.
///
/// # Errors
/// The engine's.
pub fn reopen<E: Engine>(config: &Config, scope: &Scope, times: u64) -> Result<(Meter, E, u64)> {
    let mut meter = Meter::start(1);
    loop {
        let open = || -> Result<E> {
            let engine = E::open(config)?;
            engine.get(&scope.data.key(0), |_| {})?;
            Ok(engine)
        };
        let engine = meter.time(open)?;
        if meter.count() == times {
            let meter = meter.stop();
            let found =
                engine.scan(Scan::all(Direction::Forward), |key, value| scope.data.check(key, value))?;
            return Ok((meter, engine, scope.entries - found as u64));
        }
        engine.close()?;
    }
}
