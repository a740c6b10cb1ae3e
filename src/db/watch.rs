//! [`Watch`]: changes of a prefix from now on, as they are committed.
//!
//! Where the [change feed](super::Changes) reads the log from any cursor, a watch is handed commits by whoever makes them,
//! and wakes without polling. It keeps nothing on disk.
//!
//! Easy to get wrong: a watch does not keep its store open; when the store is closed, the watch ends.

use std::sync::Arc;
use std::time::Duration;

use super::{Change, CommittedBatch, Db, Keyspace};
use crate::error::Result;
use crate::store::{LoggedCommit, WatchQueue, Watched};
use crate::types::{KeyRange, SeqNo};

/// Changes of the keys with one prefix, from the moment it was made. An iterator that blocks until the next commit of
/// interest, and ends when the store is closed. Made by [`Keyspace::watch`].
#[derive(Debug)]
#[must_use = "a watch ends when it is dropped"]
pub struct Watch {
    queue: Arc<WatchQueue>,
    keyspace: Arc<str>,
    since: SeqNo,
}

/// What a watcher gets to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A commit changed watched keys. It is visible to readers by now; whether it is durable is another question.
    Committed(CommittedBatch),
    /// More waited than a watch keeps (1 MiB of keys and values), or watched keys were [ingested](Keyspace::ingest) or
    /// [healed](crate::Db::heal_from), so commits were left out. The watch goes on with those that are made after this was taken.
    Lagged {
        /// Everything up to this commit was told. [`Db::changes_since`] it has what was left out, if the log is kept long
        /// enough.
        resume_from: SeqNo,
    },
}

impl Keyspace {
    /// Watches the keys that begin with `prefix`, from the next commit on. A store that nobody watches pays nothing for it;
    /// a commit never waits for a watcher.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let db = syncline::Db::builder(dir.path().join("store")).create()?;
    /// use syncline::WatchEvent;
    ///
    /// let watch = db.watch("user/")?;
    /// let watcher = std::thread::spawn(move || {
    ///     let mut seen = Vec::new();
    ///     for event in watch {
    ///         match event {
    ///             WatchEvent::Committed(batch) => seen.extend(batch.changes.into_iter().map(|change| change.key)),
    ///             // Too slow: read again from `resume_from`, or everything anew.
    ///             event => panic!("{event:?}"),
    ///         }
    ///     }
    ///     seen
    /// });
    /// db.put("user/ann", "1")?;
    /// db.put("job/7", "2")?;
    /// drop(db); // closes the store, which ends the watch
    /// assert_eq!(watcher.join().expect("no panic"), [b"user/ann"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Poisoned`; `ReadOnly`, for commits of other processes are not told.
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch> {
        self.db().check_writable()?;
        let range = self.prefix().range(&KeyRange::prefix(prefix.as_ref()));
        let (queue, since) = self.db().store().watch(range)?;
        Ok(Watch { queue, keyspace: self.name().into(), since })
    }
}

impl Db {
    /// [`Keyspace::watch`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch> {
        self.default_keyspace().watch(prefix)
    }
}

impl Watch {
    /// The newest commit before the watch began: what a reader sees at it, and what the watch tells, is everything.
    pub fn since(&self) -> SeqNo {
        self.since
    }

    /// The next event if there is one already, without waiting.
    pub fn try_next(&self) -> Option<WatchEvent> {
        self.event(self.queue.try_take()?)
    }

    /// The next event, waiting no longer than `timeout`. Without one, [`Watch::is_ended`] tells whether to wait for more.
    pub fn next_within(&self, timeout: Duration) -> Option<WatchEvent> {
        self.event(self.queue.take_within(timeout)?)
    }

    /// Whether nothing will come any more: the store was closed, and everything that waited was taken.
    pub fn is_ended(&self) -> bool {
        self.queue.is_ended()
    }

    fn event(&self, watched: Watched) -> Option<WatchEvent> {
        match watched {
            Watched::Commit(commit) => Some(WatchEvent::Committed(self.batch(commit))),
            Watched::Lagged(resume_from) => Some(WatchEvent::Lagged { resume_from }),
            Watched::Ended => None,
        }
    }

    fn batch(&self, commit: LoggedCommit) -> CommittedBatch {
        let changes = commit.changes.into_iter();
        let changes = changes.map(|change| Change::new(change, Some(self.keyspace.clone()))).collect();
        CommittedBatch { seqno: commit.seqno, changes }
    }
}

impl Iterator for Watch {
    type Item = WatchEvent;

    fn next(&mut self) -> Option<WatchEvent> {
        self.event(self.queue.take())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
