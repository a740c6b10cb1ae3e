//! Background work: when to flush, compact and collect. [`Maintenance::step`] does one bounded piece of it; a thread
//! calls it in production, tests call it themselves.
//!
//! Easy to get wrong: flush comes before merge, or writers wait behind a long merge for room; and a commit that finds no
//! room does the flush itself, so that a store without a thread cannot stand still.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::compaction::{Merge, flush_oldest};
use crate::error::Result;
use crate::gc;
use crate::store::Store;

/// Sealed memtables beyond which commits wait for a flush.
const SEALED_MAX: usize = 2;

/// Bytes of runs that one step of a merge reads.
const MERGE_STEP_BYTES: u64 = 1 << 20;

/// The background work of one store.
#[derive(Debug)]
pub(crate) struct Maintenance {
    store: Arc<Store>,
    /// One flush at a time.
    flushing: Mutex<()>,
    /// The merge under way.
    merging: Mutex<Option<Merge>>,
    signal: Mutex<Signal>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Signal {
    is_pending: bool,
    is_stopping: bool,
}

impl Maintenance {
    pub(crate) fn new(store: Arc<Store>) -> Maintenance {
        Maintenance {
            store,
            flushing: Mutex::new(()),
            merging: Mutex::new(None),
            signal: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Does the most urgent bounded piece of work. `false` if there is none.
    ///
    /// # Errors
    /// What the work met; the store is poisoned if files may have changed.
    pub(crate) fn step(&self) -> Result<bool> {
        if self.flush_one()? {
            return Ok(true);
        }
        let mut merging = self.merging.lock();
        if merging.is_none() {
            *merging = Merge::begin(&self.store)?;
        }
        let Some(merge) = merging.as_mut() else { return Ok(false) };
        if merge.step(&self.store, MERGE_STEP_BYTES)? {
            *merging = None;
            drop(merging);
            self.remove_dead_segments()?;
        }
        Ok(true)
    }

    /// Flushes the oldest sealed memtable, if there is one.
    pub(crate) fn flush_one(&self) -> Result<bool> {
        let _flushing = self.flushing.lock();
        if self.store.sealed_count() == 0 {
            return Ok(false);
        }
        flush_oldest(&self.store)?;
        gc::remove_superseded(&self.store)?;
        Ok(true)
    }

    /// Returns when a commit may add to the active memtable: memory stays bounded because whoever fills it waits here,
    /// or does the flush.
    pub(crate) fn make_room(&self) -> Result<()> {
        match self.store.sealed_count() {
            0 => {}
            count => {
                self.wake();
                if count >= SEALED_MAX {
                    self.flush_one()?;
                }
            }
        }
        Ok(())
    }

    /// Flushes everything that is in memory and merges all runs into one.
    pub(crate) fn compact_all(&self, mut go_on: impl FnMut() -> bool) -> Result<()> {
        self.flush_all()?;
        let mut merging = self.merging.lock();
        if let Some(merge) = merging.take() {
            merge.abandon(&self.store)?;
        }
        if let Some(mut merge) = Merge::of_all(&self.store)? {
            while !merge.step(&self.store, MERGE_STEP_BYTES)? {
                if !go_on() {
                    merge.abandon(&self.store)?;
                    return Err(crate::error::Error::Aborted);
                }
            }
        }
        drop(merging);
        self.remove_dead_segments()
    }

    /// Not beside a flush, which removes segments too.
    fn remove_dead_segments(&self) -> Result<()> {
        let _flushing = self.flushing.lock();
        gc::remove_dead_segments(&self.store)
    }

    /// Flushes everything that is in memory.
    pub(crate) fn flush_all(&self) -> Result<()> {
        self.store.seal()?;
        while self.flush_one()? {}
        Ok(())
    }

    /// Leaves nothing to replay and nothing half done. For the end, when no thread works and no commit comes any more.
    ///
    /// # Errors
    /// `Poisoned`, `Io`: the log has whatever was not flushed.
    pub(crate) fn close(&self) -> Result<()> {
        self.flush_all()?;
        if let Some(merge) = self.merging.lock().take() {
            merge.abandon(&self.store)?;
        }
        self.store.trim_log()
    }

    /// Tells the thread that there may be work.
    fn wake(&self) {
        self.signal.lock().is_pending = true;
        self.wake.notify_one();
    }

    /// The thread's life: work while there is some, sleep until woken, end when stopped. After an error the store is
    /// poisoned, and there is nothing more to do until it is reopened.
    pub(crate) fn run(&self) {
        loop {
            let worked = self.step().unwrap_or(false);
            let mut signal = self.signal.lock();
            while !worked && !signal.is_pending && !signal.is_stopping {
                self.wake.wait(&mut signal);
            }
            if signal.is_stopping {
                return;
            }
            signal.is_pending = false;
        }
    }

    /// Ends [`Maintenance::run`] after its present step.
    pub(crate) fn stop(&self) {
        self.signal.lock().is_stopping = true;
        self.wake.notify_all();
    }
}
