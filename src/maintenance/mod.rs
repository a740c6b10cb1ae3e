//! Background work: when to flush, compact and collect. [`Maintenance::step`] does one bounded piece of it; threads do it in
//! production, one for flushes, one for merges, one for what seals and flushes will need, and tests call it themselves.
//!
//! Commits that come in faster than flushes can take them are slowed down a little, long before there is no room (see
//! `pressure`); the same if merges lag so far behind that runs pile up.
//!
//! Easy to get wrong: a flush waits for no merge, or writers would wait for it too; a merge gives way to shorter ones among
//! the runs that came in since it began, or they would pile up meanwhile; and a commit that finds no room at all does the
//! flush itself, so that a store without threads cannot stand still.

mod pressure;
mod tokens;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::compaction::{self, Healed, Merge, Received, flush_oldest};
use crate::error::{Error, Result};
use crate::gc;
use crate::index::RUNS_MAX;
use crate::store::{Backlog, Prefix, Store, Write, one_of_each};
use crate::types::{FileId, KeyRange};
use pressure::Pressure;
pub(crate) use tokens::TokenBucket;
use worker::Worker;

/// Sealed memtables beside which the active one may not be filled up.
const SEALED_MAX: usize = 2;

/// Runs beyond which commits are slowed down: the inputs of a long merge and of shorter ones beside it stand all together.
const RUNS_FREE: usize = 2 * RUNS_MAX;

/// Bytes that one step of a merge writes, unless a memtable is smaller.
const MERGE_STEP_BYTES: u64 = 1 << 20;

/// Waits shorter than this, in nanoseconds, are put off until together they are longer: nobody can sleep for less.
const WAIT_MIN: u64 = 1_000_000;

/// The longest time after which a limited merge looks again whether it may still take its time.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// How far a merge of everything has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactProgress {
    /// Bytes of the merged run so far.
    pub bytes: u64,
    /// Bytes of the runs that go into it: it gets no longer, unless they are compressed and it is not.
    pub bytes_total: u64,
}

/// What one thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// What seals and flushes will need, ahead of them: apart from flushes, which take long when commits come in fastest.
    Ahead,
    Flush,
    Merge,
}

/// The background work of one store.
#[derive(Debug)]
pub(crate) struct Maintenance {
    store: Arc<Store>,
    /// One flush at a time.
    flushing: Mutex<()>,
    /// The merges under way, each among newer runs than the one before. The last one goes on.
    merging: Mutex<Vec<Merge>>,
    /// One merge of everything at a time.
    compacting: Mutex<()>,
    preparer: Worker,
    flusher: Worker,
    merger: Worker,
    /// Where writers wait.
    room: Worker,
    /// Nanoseconds that writers are to wait and have not yet.
    owed: AtomicU64,
}

impl Maintenance {
    pub(crate) fn new(store: Arc<Store>) -> Maintenance {
        Maintenance {
            store,
            flushing: Mutex::new(()),
            merging: Mutex::default(),
            compacting: Mutex::new(()),
            preparer: Worker::default(),
            flusher: Worker::default(),
            merger: Worker::default(),
            room: Worker::default(),
            owed: AtomicU64::new(0),
        }
    }

    /// Does the most urgent bounded piece of work. `false` if there is none.
    ///
    /// # Errors
    /// What the work met; the store is poisoned if files may have changed.
    pub(crate) fn step(&self) -> Result<bool> {
        Ok(self.make_segment_ahead()? || self.flush_one()? || self.merge_step()?)
    }

    /// Makes the log segment that the next seal needs, if it is time for that: no commit waits for it then.
    fn make_segment_ahead(&self) -> Result<bool> {
        let is_wanted = self.store.backlog().wants_segment;
        if is_wanted {
            self.store.make_segment_ahead()?;
        }
        Ok(is_wanted)
    }

    /// Flushes the oldest sealed memtable, if there is one.
    fn flush_one(&self) -> Result<bool> {
        self.flush_if(|backlog| backlog.sealed > 0)
    }

    /// Flushes the oldest sealed memtable, if that is still wanted once no other flush is under way.
    fn flush_if(&self, is_wanted: impl Fn(&Backlog) -> bool) -> Result<bool> {
        let _flushing = self.flushing.lock();
        if !is_wanted(&self.store.backlog()) {
            return Ok(false);
        }
        flush_oldest(&self.store)?;
        gc::remove_superseded(&self.store)?;
        self.merger.wake();
        self.room.end_pauses();
        Ok(true)
    }

    /// Goes on with the shortest merge under way, or begins one. `false` if none is worth it.
    fn merge_step(&self) -> Result<bool> {
        let mut merging = self.merging.lock();
        if let Some(merge) = Merge::begin(&self.store, merging.last())? {
            merging.push(merge);
        }
        let Some(merge) = merging.last_mut() else { return Ok(false) };
        if merge.step(&self.store, self.merge_step_bytes())? {
            merging.pop();
            drop(merging);
            self.remove_dead_segments()?;
            self.room.end_pauses();
        }
        Ok(true)
    }

    fn merge_step_bytes(&self) -> u64 {
        MERGE_STEP_BYTES.min(self.store.options.memtable_bytes as u64)
    }

    /// Returns when a commit of so many bytes may add to the active memtable: memory and runs stay bounded because whoever
    /// adds to them waits here, or does the flush. Costs next to nothing if nothing lags behind.
    ///
    /// # Errors
    /// What a flush met.
    pub(crate) fn make_room(&self, bytes: impl FnOnce() -> u64) -> Result<()> {
        let backlog = self.store.backlog();
        if backlog.wants_segment {
            self.preparer.wake();
        }
        if backlog.sealed == 0 && backlog.runs <= RUNS_FREE {
            return Ok(());
        }
        if backlog.sealed > 0 {
            self.flusher.wake();
        }
        if self.store.options.background {
            self.slow_down(self.pressure(&backlog).wait(bytes()));
        }
        let is_full = |backlog: &Backlog| {
            backlog.sealed >= SEALED_MAX && backlog.active >= self.store.options.memtable_bytes
        };
        while is_full(&self.store.backlog()) {
            self.flush_if(is_full)?;
        }
        Ok(())
    }

    /// Makes the caller wait for what all writers together owe, if that is long enough to be waited for.
    fn slow_down(&self, nanos: u64) {
        let owed = self.owed.fetch_add(nanos, Ordering::Relaxed).saturating_add(nanos);
        if owed >= WAIT_MIN {
            let taken = self.owed.swap(0, Ordering::Relaxed);
            self.room.pause(Duration::from_nanos(taken));
        }
    }

    fn pressure(&self, backlog: &Backlog) -> Pressure {
        let memtable_bytes = self.store.options.memtable_bytes;
        Pressure {
            memory: backlog.active + backlog.sealed * memtable_bytes,
            memory_max: (SEALED_MAX + 1) * memtable_bytes,
            runs: backlog.runs,
            runs_free: RUNS_FREE,
        }
    }

    /// Flushes everything that is in memory and merges all runs into one.
    ///
    /// # Errors
    /// `Aborted` if `progress`, which is told after every step, says so; what the work met.
    pub(crate) fn compact_all(&self, mut progress: impl FnMut(CompactProgress) -> bool) -> Result<()> {
        let _compacting = self.compacting.lock();
        self.flush_all()?;
        let Some(id) = self.begin_merge_of_all()? else { return self.remove_dead_segments() };
        let place = |merging: &[Merge]| merging.iter().position(|merge| merge.id() == id);
        let so_far = |merging: &[Merge]| {
            let (bytes, bytes_total) = merging.get(place(merging)?)?.progress();
            Some(CompactProgress { bytes, bytes_total })
        };
        loop {
            self.merge_step()?;
            let so_far = so_far(&self.merging.lock());
            let Some(so_far) = so_far else { return Ok(()) };
            if progress(so_far) {
                continue;
            }
            let mut merging = self.merging.lock();
            if let Some(place) = place(&merging) {
                merging.remove(place).abandon(&self.store)?;
                return Err(Error::Aborted);
            }
        }
    }

    /// The number of the run that is to hold everything, unless one does.
    fn begin_merge_of_all(&self) -> Result<Option<FileId>> {
        let mut merging = self.merging.lock();
        for merge in merging.drain(..) {
            merge.abandon(&self.store)?;
        }
        merging.extend(Merge::of_all(&self.store)?);
        Ok(merging.first().map(Merge::id))
    }

    /// Not beside a flush, which removes segments too.
    fn remove_dead_segments(&self) -> Result<()> {
        let _flushing = self.flushing.lock();
        gc::remove_dead_segments(&self.store)
    }

    /// Flushes everything that is in memory.
    ///
    /// # Errors
    /// What a flush met.
    pub(crate) fn flush_all(&self) -> Result<()> {
        self.store.seal()?;
        while self.flush_one()? {}
        Ok(())
    }

    /// Takes in entries of one keyspace, in rising order of keys, as a run of their own; returns how many. Flushes wait
    /// meanwhile.
    ///
    /// # Errors
    /// As [`compaction::ingest`], and what a flush met.
    pub(crate) fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        prefix: &Prefix,
        entries: impl Iterator<Item = Result<(K, V)>>,
    ) -> Result<u64> {
        let _flushing = self.flushing.lock();
        let started = self.store.start_ingest(0)?;
        for _ in 0..started.sealed_before() {
            flush_oldest(&self.store)?;
        }
        let count = compaction::ingest(&self.store, self.store.ingest_job(started), prefix, entries)?;
        gc::remove_superseded(&self.store)?;
        self.flusher.wake();
        self.merger.wake();
        Ok(count)
    }

    /// Takes in what a peer has streamed, durably and at once. `false`, and nothing has changed, if any of it would have to be
    /// merged or refused. Flushes wait meanwhile.
    ///
    /// # Errors
    /// What the work met.
    pub(crate) fn take_in(&self, received: &Received) -> Result<bool> {
        let _flushing = self.flushing.lock();
        let started = self.store.start_ingest(received.newest)?;
        for _ in 0..started.sealed_before() {
            flush_oldest(&self.store)?;
        }
        let is_taken = compaction::take_in(&self.store, self.store.ingest_job(started), received)?;
        gc::remove_superseded(&self.store)?;
        self.flusher.wake();
        self.merger.wake();
        Ok(is_taken)
    }

    /// Replaces what is left of `range`, all of which is unknown, by `entries`, which are all that a replica has of it that
    /// ends after `cut` (clock units); then it is known. Flushes and merges wait meanwhile.
    ///
    /// # Errors
    /// `InvalidArgument` if `range` is not unknown or an entry lies outside; what the work met.
    pub(crate) fn heal(&self, range: &KeyRange, entries: Vec<Write>, cut: u64) -> Result<Healed> {
        let _flushing = self.flushing.lock();
        let mut merging = self.merging.lock();
        self.store.check_poison()?;
        if !self.store.unknown().ranges().covers(range) {
            return Err(Error::invalid("only keys that are unknown can be healed"));
        }
        if entries.iter().any(|write| !range.contains(&write.key)) {
            return Err(Error::invalid("an entry lies outside of what it should heal"));
        }
        let resolving = self.store.resolving_to_heal(&entries)?;
        let (entries, refused) = one_of_each(entries, &resolving, &self.store.measure);
        if refused > 0 {
            return Err(Error::invalid("a resolver is not at hand that healing has to merge by"));
        }
        let clocks = entries.iter().filter_map(|write| write.stamp).map(|stamp| stamp.hlc);
        self.store.take_horizon(cut)?;
        let started = self.store.start_ingest(clocks.max().unwrap_or_default())?;
        for _ in 0..started.sealed_before() {
            flush_oldest(&self.store)?;
        }
        let healed =
            compaction::heal(&self.store, self.store.ingest_job(started), range, &entries, cut, &resolving)?;
        merging.iter_mut().for_each(|merge| merge.healed(range));
        gc::remove_superseded(&self.store)?;
        self.flusher.wake();
        self.merger.wake();
        Ok(healed)
    }

    /// Leaves nothing to replay and nothing half done. For the end, when no thread works and no commit comes any more.
    ///
    /// # Errors
    /// `Poisoned`, `Io`: the log has whatever was not flushed.
    pub(crate) fn close(&self) -> Result<()> {
        self.flush_all()?;
        for merge in self.merging.lock().drain(..) {
            merge.abandon(&self.store)?;
        }
        self.store.trim_log()
    }

    /// A thread's life, until [`Maintenance::stop`]. After an error the store is poisoned, or something in it cannot be read;
    /// then the thread sleeps until there is new work, and whoever needs its work meets the error.
    pub(crate) fn run(&self, work: Work) {
        match work {
            Work::Ahead => self.preparer.run(|| {
                let worked = self.make_segment_ahead().unwrap_or(false);
                if worked {
                    // What cannot be read the flush meets again.
                    let _ = self.store.settle_ahead();
                }
                worked
            }),
            Work::Flush => self.flusher.run(|| self.flush_one().unwrap_or(false)),
            Work::Merge => {
                let mut bucket = self.limit();
                self.merger.run(|| {
                    let worked = self.merge_step().unwrap_or(false);
                    if let Some(bucket) = bucket.as_mut().filter(|_| worked) {
                        self.keep_to_limit(bucket);
                    }
                    worked
                });
            }
        }
    }

    /// What merges may write, if there is a limit.
    fn limit(&self) -> Option<TokenBucket> {
        let options = &self.store.options;
        let per_second = options.background_bytes_per_second?;
        let burst = options.background_burst_bytes.unwrap_or(per_second);
        Some(TokenBucket::new(per_second, burst, self.store.now_ms()))
    }

    /// Takes a step of a merge from the bucket, and waits until that is paid, as long as nothing piles up.
    fn keep_to_limit(&self, bucket: &mut TokenBucket) {
        let patience = || self.pressure(&self.store.backlog()).patience();
        bucket.take((self.merge_step_bytes() as f64 * patience()) as u64);
        while let Some(wait) = bucket.wait(self.store.now_ms()) {
            if patience() == 0.0 {
                return bucket.forgive();
            }
            if self.merger.is_stopping() {
                return;
            }
            self.merger.pause(wait.min(PAUSE_MAX));
        }
    }

    /// Ends the threads after what they are doing.
    pub(crate) fn stop(&self) {
        self.preparer.stop();
        self.flusher.stop();
        self.merger.stop();
    }
}
