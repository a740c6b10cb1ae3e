//! Watchers: who waits for commits, and the bounded queue that each of them gets.
//!
//! [`Watchers`] stands beside the log behind the commit lock, so a store that nobody watches pays for one look at an empty
//! list, and a watcher misses no commit after the one that it was told it begins after.
//!
//! Easy to get wrong: a commit never waits for a watcher. What a full queue cannot take is left out, and everything after it
//! too until the watcher has heard of the gap, so that there is one gap and not a sieve.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::types::{KeyRange, SeqNo, Stamp};

use super::commit::Write;
use super::feed::{LoggedChange, LoggedCommit};

/// Bytes of keys and values that may wait for one watcher. A commit larger than that is taken if nothing else waits.
const QUEUE_BYTES: usize = 1 << 20;

/// What a waiting change counts for beside its key and value.
const CHANGE_OVERHEAD: usize = 128;

/// All who watch a store. Dropped with it, which ends every watch.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    queues: Vec<Arc<WatchQueue>>,
}

/// The commits that wait for one watcher.
#[derive(Debug)]
pub(crate) struct WatchQueue {
    range: KeyRange,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commits: VecDeque<LoggedCommit>,
    bytes: usize,
    /// The newest commit before the first that was left out, until the watcher hears of it.
    lagging_from: Option<SeqNo>,
    /// No commit will come any more: the store is closed.
    is_ended: bool,
    /// Nobody takes what is queued.
    is_abandoned: bool,
}

/// What a watcher takes out of its queue.
#[derive(Debug)]
pub(crate) enum Watched {
    Commit(LoggedCommit),
    /// Commits after this one were left out.
    Lagged(SeqNo),
    /// The store was closed.
    Ended,
}

impl Watchers {
    /// Begins to watch the inner keys in `range`.
    pub(super) fn add(&mut self, range: KeyRange) -> Arc<WatchQueue> {
        let queue = Arc::new(WatchQueue { range, state: Mutex::default(), changed: Condvar::new() });
        self.queues.push(queue.clone());
        queue
    }

    /// Tells everybody of a commit that readers can see by now.
    pub(super) fn publish(&mut self, seqno: SeqNo, stamp: Stamp, writes: &[Write]) {
        self.queues.retain(|queue| queue.push(seqno, stamp, writes.iter()));
    }

    /// Tells those who watch any of the inner keys in `range` that there are changes of commit `seqno` which they will not be
    /// told one by one.
    pub(super) fn leave_out(&mut self, seqno: SeqNo, range: &KeyRange) {
        for queue in self.queues.iter().filter(|queue| queue.range.overlaps(range)) {
            queue.state.lock().lagging_from.get_or_insert(SeqNo(seqno.0 - 1));
            queue.changed.notify_one();
        }
    }

    /// Whether there is nobody to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.state.lock().is_ended = true;
            queue.changed.notify_all();
        }
    }
}

impl WatchQueue {
    /// Queues what is of interest in a commit. `false` if nobody will ever take it.
    fn push<'a>(&self, seqno: SeqNo, stamp: Stamp, writes: impl Iterator<Item = &'a Write>) -> bool {
        let changes: Vec<_> = writes
            .filter(|write| self.range.contains(&write.key))
            .map(|write| LoggedChange::of(write, stamp))
            .collect();
        let bytes: usize = changes.iter().map(len).sum();
        let mut state = self.state.lock();
        if state.is_abandoned || changes.is_empty() || state.lagging_from.is_some() {
            return !state.is_abandoned;
        }
        if !state.commits.is_empty() && state.bytes + bytes > QUEUE_BYTES {
            state.lagging_from = Some(SeqNo(seqno.0 - 1));
        } else {
            state.bytes += bytes;
            state.commits.push_back(LoggedCommit { seqno, changes });
            self.changed.notify_one();
        }
        true
    }

    /// What comes next, if it is there.
    pub(crate) fn try_take(&self) -> Option<Watched> {
        self.state.lock().take()
    }

    /// Waits for what comes next.
    pub(crate) fn take(&self) -> Watched {
        let mut state = self.state.lock();
        loop {
            if let Some(watched) = state.take() {
                return watched;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Waits for it, but no longer than `timeout`.
    pub(crate) fn take_within(&self, timeout: Duration) -> Option<Watched> {
        let mut state: MutexGuard<'_, State> = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.is_empty(), timeout);
        state.take()
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_ended(&self) -> bool {
        let state = self.state.lock();
        state.is_ended && state.commits.is_empty() && state.lagging_from.is_none()
    }

    /// Nobody will take anything more.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_abandoned = true;
        state.commits.clear();
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.lagging_from.is_none() && !self.is_ended
    }

    fn take(&mut self) -> Option<Watched> {
        if let Some(commit) = self.commits.pop_front() {
            self.bytes -= commit.changes.iter().map(len).sum::<usize>();
            return Some(Watched::Commit(commit));
        }
        if let Some(seqno) = self.lagging_from.take() {
            return Some(Watched::Lagged(seqno));
        }
        self.is_ended.then_some(Watched::Ended)
    }
}

fn len(change: &LoggedChange) -> usize {
    change.key.len() + change.value.len() + CHANGE_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_is_gone_is_forgotten_at_the_next_commit() {
        let mut watchers = Watchers::default();
        let queue = watchers.add(KeyRange::all());
        let write = Write::put(b"", b"key", b"value");
        watchers.publish(SeqNo(1), Stamp::default(), std::slice::from_ref(&write));
        assert_eq!(watchers.queues.len(), 1);
        queue.abandon();
        watchers.publish(SeqNo(2), Stamp::default(), std::slice::from_ref(&write));
        assert!(watchers.queues.is_empty());
        assert!(queue.try_take().is_none());
    }
}
