//! How far the log is durable, and group commit: of all who wait for an fsync, one leads it for everybody.
//!
//! Easy to get wrong: the leader must drain and read the newest sequence number *before* its fsync, outside any lock
//! that commits need during it, and a failed fsync must never be tried again.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::error::Result;
use crate::types::SeqNo;

/// The durable sequence number and those who wait for it.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Changed under the lock, read without.
    durable: AtomicU64,
    is_led: Mutex<bool>,
    changed: Condvar,
}

impl Durable {
    pub(crate) fn new(durable: SeqNo) -> Durable {
        Durable { durable: AtomicU64::new(durable.0), is_led: Mutex::new(false), changed: Condvar::new() }
    }

    /// Every commit up to here survives a power cut.
    pub(crate) fn get(&self) -> SeqNo {
        SeqNo(self.durable.load(Ordering::Acquire))
    }

    /// Notes that everything up to `seqno` has become durable by other means (sealing a segment).
    pub(crate) fn raise(&self, seqno: SeqNo) {
        let _is_led = self.is_led.lock();
        self.durable.fetch_max(seqno.0, Ordering::AcqRel);
        self.changed.notify_all();
    }

    /// Returns once everything up to `seqno` is durable. `sync` makes all commits of its moment durable and returns the
    /// newest of them; it is called by one waiter at a time, and whoever comes meanwhile waits for the next round or
    /// finds itself covered.
    ///
    /// # Errors
    /// What `sync` returned, to the waiter that led; the others try to lead in turn and meet the poisoned store.
    pub(crate) fn wait_for(&self, seqno: SeqNo, sync: impl Fn() -> Result<SeqNo>) -> Result<()> {
        let mut is_led = self.is_led.lock();
        loop {
            if self.get() >= seqno {
                return Ok(());
            }
            if *is_led {
                self.changed.wait(&mut is_led);
                continue;
            }
            *is_led = true;
            drop(is_led);
            let synced = sync();
            is_led = self.is_led.lock();
            *is_led = false;
            self.changed.notify_all();
            self.durable.fetch_max(synced?.0, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    #[test]
    fn waiters_share_one_sync() {
        let durable = Arc::new(Durable::new(SeqNo(0)));
        let syncs = Arc::new(AtomicU64::new(0));
        let start = Arc::new(Barrier::new(9));
        let waiters: Vec<_> = (1..=8)
            .map(|seqno| {
                let (durable, syncs, start) = (durable.clone(), syncs.clone(), start.clone());
                std::thread::spawn(move || {
                    start.wait();
                    durable.wait_for(SeqNo(seqno), || {
                        syncs.fetch_add(1, Ordering::SeqCst);
                        Ok(SeqNo(8))
                    })
                })
            })
            .collect();
        start.wait();
        for waiter in waiters {
            waiter.join().expect("no panic").expect("sync succeeds");
        }
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
        assert_eq!(durable.get(), SeqNo(8));
    }
}
