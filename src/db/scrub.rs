//! [`Scrub`]: reads everything again, little by little, to find damage while there still is a replica to repair it from.
//!
//! Runs are taken in the order of their numbers, block by block, each with the large values that it points to. A merge gives
//! its result a greater number, so whatever is moved before its turn is met later. Nothing waits here: a step says how long
//! the caller should, by a bucket of tokens that fills with the environment's time.
//!
//! Easy to get wrong: no view is held between two steps, or a scrub of days would keep every file that compaction removes.

use std::sync::Arc;
use std::time::Duration;

use super::Db;
use crate::error::Error;
use crate::index::{HeadRef, Run, RunValue};
use crate::maintenance::TokenBucket;
use crate::quarantine::LostValue;
use crate::store::View;

/// Bytes after which a step ends.
const STEP_BYTES: u64 = 256 << 10;

/// Damaged places that a report names; more are counted only.
const DAMAGE_MAX: usize = 1000;

/// Choices for a scrub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubOptions {
    /// Bytes to read in a second, on average; a second's worth may be read at once. 0 means as fast as it goes. Default:
    /// 16 MiB.
    pub bytes_per_second: u64,
    /// Where to begin. Default: at the beginning.
    pub begin_at: ScrubPosition,
}

impl Default for ScrubOptions {
    fn default() -> ScrubOptions {
        ScrubOptions { bytes_per_second: 16 << 20, begin_at: ScrubPosition::default() }
    }
}

impl ScrubOptions {
    /// Sets [`ScrubOptions::bytes_per_second`].
    #[must_use]
    pub fn bytes_per_second(self, bytes_per_second: u64) -> ScrubOptions {
        ScrubOptions { bytes_per_second, ..self }
    }

    /// Sets [`ScrubOptions::begin_at`].
    #[must_use]
    pub fn begin_at(self, begin_at: ScrubPosition) -> ScrubOptions {
        ScrubOptions { begin_at, ..self }
    }
}

/// How far a scrub has come; good for going on after a restart. The default is the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ScrubPosition {
    /// Number of the run to check next, or the least above it that there is.
    pub run: u64,
    /// Number of the block in it.
    pub block: u64,
}

/// What a scrub has read and found so far.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    /// Blocks of runs that were read.
    pub blocks: u64,
    /// Large values that were read.
    pub values: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// What is damaged or could not be read, with file and offset. The first thousand places.
    pub damage: Vec<Error>,
    /// Number of damaged places.
    pub damage_count: u64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScrubStep {
    /// Call again; something was read.
    Again,
    /// Call again after this time; the rate is used up.
    Wait(Duration),
    /// Everything was read.
    Done,
}

/// A scrub under way. It reads what its steps are called for and does nothing in between.
///
/// ```
/// # fn main() -> syncline::Result<()> {
/// # let dir = tempfile::tempdir().expect("a folder");
/// use syncline::{Db, ScrubOptions, ScrubStep};
/// let db = Db::builder(dir.path()).open_or_create()?;
/// db.put("apple", "red")?;
/// db.flush()?;
/// let mut scrub = db.scrub(ScrubOptions::default());
/// loop {
///     match scrub.step() {
///         ScrubStep::Wait(time) => std::thread::sleep(time),
///         ScrubStep::Done => break,
///         _ => {}
///     }
/// }
/// assert_eq!(scrub.report().damage_count, 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a scrub reads nothing until it is stepped"]
pub struct Scrub {
    db: Db,
    /// None if it goes as fast as it can.
    bucket: Option<TokenBucket>,
    position: ScrubPosition,
    report: ScrubReport,
}

impl Scrub {
    pub(super) fn new(db: Db, options: ScrubOptions) -> Scrub {
        let rate = options.bytes_per_second;
        let bucket = (rate > 0).then(|| TokenBucket::new(rate, rate, db.now_ms()));
        Scrub { db, bucket, position: options.begin_at, report: ScrubReport::default() }
    }

    /// Where the next step begins.
    pub fn position(&self) -> ScrubPosition {
        self.position
    }

    /// What was read and found since this scrub was begun.
    pub fn report(&self) -> &ScrubReport {
        &self.report
    }

    /// Bytes of all runs and of the large values in use: what a whole scrub reads at this moment, about.
    pub fn total_bytes(&self) -> u64 {
        let sizes = self.db.store().sizes();
        sizes.run_bytes.saturating_add(sizes.value_live_bytes)
    }

    /// Reads some blocks, up to about 256 KiB and one value, unless it is too early for that. Damage goes to the report.
    pub fn step(&mut self) -> ScrubStep {
        let now_ms = self.db.now_ms();
        if let Some(wait) = self.bucket.as_mut().and_then(|bucket| bucket.wait(now_ms)) {
            return ScrubStep::Wait(wait);
        }
        let (view, _) = self.db.store().read_point();
        let before = self.report.bytes;
        while self.report.bytes - before < STEP_BYTES {
            let Some(run) = self.run(&view) else { return ScrubStep::Done };
            let block = if run.id().0 == self.position.run { self.position.block } else { 0 };
            if block == 0 {
                self.parts(&run);
            }
            if block < run.properties().blocks {
                self.block(&view, &run, block);
            }
            let is_last = block + 1 >= run.properties().blocks;
            self.position = if is_last {
                ScrubPosition { run: run.id().0 + 1, block: 0 }
            } else {
                ScrubPosition { run: run.id().0, block: block + 1 }
            };
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(self.report.bytes - before);
        }
        ScrubStep::Again
    }

    /// The run that the position is in or before.
    fn run(&self, view: &View) -> Option<Arc<Run>> {
        let runs = view.levels.runs().iter().filter(|run| run.id().0 >= self.position.run);
        runs.min_by_key(|run| run.id()).cloned()
    }

    /// Checks what of a run is no block: opening it again reads all of that.
    fn parts(&mut self, run: &Run) {
        let store = self.db.store();
        let vfs = &*store.options.environment.vfs;
        let opened =
            Run::open(vfs, &store.dir, run.id(), store.options.read_mode, store.measure.hasher.clone());
        match opened {
            Ok(opened) => self.note(opened.filter_damage().cloned()),
            // Merged with others since the step began: what became of it comes later.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.note(Some(error)),
        }
    }

    fn block(&mut self, view: &View, run: &Run, block: u64) {
        let store = self.db.store().clone();
        let mut values = Vec::new();
        self.report.blocks += 1;
        let each = |key: &[u8], head: HeadRef<'_>| {
            if let RunValue::Log(location, digest) = head.value {
                values.push((key.to_vec(), head.stamp, location, digest));
            }
        };
        match run.recheck(block, each) {
            Ok(len) => self.report.bytes += len,
            Err(error) => {
                self.report.bytes += 1;
                // Should that fail, the store is poisoned, and the damage is met again.
                let _ = store.quarantine(&error);
                self.note(Some(error));
            }
        }
        let mut lost = Vec::new();
        for (key, stamp, location, digest) in values {
            self.report.values += 1;
            self.report.bytes += u64::from(location.len);
            let damage = view.log_value(location, digest, &store.measure.hasher).err();
            if matches!(damage, Some(Error::Corruption { .. })) {
                lost.push((key, LostValue { stamp, digest }));
            }
            self.note(damage);
        }
        let _ = store.lose_values(lost);
    }

    fn note(&mut self, damage: Option<Error>) {
        let Some(damage) = damage else { return };
        self.report.damage_count += 1;
        if self.report.damage.len() < DAMAGE_MAX {
            self.report.damage.push(damage);
        }
    }
}
