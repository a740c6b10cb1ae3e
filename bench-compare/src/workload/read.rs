//! Point reads. Every value is checked against its key.

use std::sync::Barrier;

use crate::Result;
use crate::engine::Engine;
use crate::measure::Meter;
use crate::workload::Scope;

/// A read is short beside two looks at the clock, so one of these many is timed.
pub const TIMED_EVERY: u64 = 8;

/// Reads keys that are there.
pub fn hits<E: Engine>(engine: &E, scope: &Scope, numbers: &[u64]) -> Result<Meter> {
    let mut meter = Meter::start(TIMED_EVERY);
    for &number in numbers {
        meter.time(|| hit(engine, scope, number))?;
    }
    Ok(meter.stop())
}

/// Reads keys that are there, all in one view.
pub fn hits_in_view<E: Engine>(engine: &E, scope: &Scope, numbers: &[u64]) -> Result<Meter> {
    let view = engine.view()?;
    let mut meter = Meter::start(TIMED_EVERY);
    for &number in numbers {
        let key = scope.data.key(number);
        let found = meter.time(|| E::get_in(&view, &key, |value| scope.data.check(&key, value)))?;
        assert!(found, "nothing under {key:02x?}, which was written");
    }
    Ok(meter.stop())
}

/// Reads keys that are not there.
pub fn misses<E: Engine>(engine: &E, scope: &Scope, numbers: &[u64]) -> Result<Meter> {
    let mut meter = Meter::start(TIMED_EVERY);
    for &number in numbers {
        let key = scope.data.missing_key(number);
        let found = meter.time(|| engine.get(&key, |_| {}))?;
        assert!(!found, "a value under {key:02x?}, which was never written");
    }
    Ok(meter.stop())
}

/// Reads keys that are there in several threads, each its share of the numbers.
pub fn hits_of_threads<E: Engine>(
    engine: &E,
    scope: &Scope,
    numbers: &[u64],
    threads: usize,
) -> Result<Meter> {
    in_threads(threads, |thread| {
        let share = numbers.len() / threads;
        hits(engine, scope, &numbers[thread * share..(thread + 1) * share])
    })
}

/// Reads one key, which must be there.
pub fn hit<E: Engine>(engine: &E, scope: &Scope, number: u64) -> Result<()> {
    let key = scope.data.key(number);
    let found = engine.get(&key, |value| scope.data.check(&key, value))?;
    assert!(found, "nothing under {key:02x?}, which was written");
    Ok(())
}

/// Runs `work` in several threads that begin together.
pub fn in_threads(threads: usize, work: impl Fn(usize) -> Result<Meter> + Sync) -> Result<Meter> {
    let (barrier, work) = (Barrier::new(threads), &work);
    std::thread::scope(|scope| {
        let spawn = |thread| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                work(thread)
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        let meters =
            running.into_iter().map(|thread| thread.join().expect("a thread of the workload panicked"));
        let meters = meters.collect::<Result<Vec<Meter>>>()?;
        meters.into_iter().reduce(Meter::beside).ok_or_else(|| "no thread was asked for".into())
    })
}
