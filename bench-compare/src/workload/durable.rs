//! Durable commits, and the raw limit beside them: such figures jump by a factor of ten between machines and minutes, so
//! that one without a probe tells nothing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

use crate::Result;
use crate::engine::Engine;
use crate::measure::Meter;
use crate::workload::{Scope, read};

/// Appends of one probe.
const PROBE_OPS: u64 = 500;

/// A thread ends after this time, so that a slow disk does not take hours.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Up to `total` single puts by several threads, each durable when it returns.
pub fn commits<E: Engine>(engine: &E, scope: &Scope, threads: usize, total: u64) -> Result<Meter> {
    let share = total.min(scope.entries) / threads as u64;
    read::in_threads(threads, |thread| {
        let mut value = Vec::new();
        let (mut meter, start) = (Meter::start(1), Instant::now());
        // One thread's keys are not the eight threads'.
        let first = (threads + thread) as u64 * total;
        for number in (first..first + share).take_while(|_| start.elapsed() < TIME_MAX) {
            let key = scope.data.key(number);
            scope.data.fill_value(&key, 0, &mut value);
            meter.time(|| engine.put(&key, &value))?;
        }
        Ok(meter.stop())
    })
}

/// Appends records of the workload's size to a preallocated file in `dir`, each followed by an fdatasync.
///
/// # Errors
/// Those of the file system.
pub fn probe(dir: &Path, record_len: usize) -> Result<Meter> {
    let path = dir.join("probe");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let record = vec![0x5a; record_len];
    fallocate(&file, FallocateFlags::empty(), 0, PROBE_OPS * record_len as u64)?;
    file.sync_all()?;
    let mut meter = Meter::start(1);
    for number in 0..PROBE_OPS {
        meter.time(|| {
            file.write_all_at(&record, number * record_len as u64)?;
            file.sync_data()
        })?;
    }
    let meter = meter.stop();
    std::fs::remove_file(path)?;
    Ok(meter)
}
