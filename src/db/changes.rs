//! The change feed: [`Db::changes_since`], what it yields, and how inner keys become keyspaces and keys again.
//!
//! Easy to get wrong: the cursor is the seqno of a *commit*, so a commit is handed out whole: a reader that stopped in the
//! middle of one could not say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Db;
use crate::error::{Error, Result};
use crate::hash::PREFIX_LEN;
use crate::store::{Durability, Feed, LoggedChange, LoggedCommit, Prefix, user_key};
use crate::types::{Kind, SeqNo, Slice, Stamp};

/// All changes that one commit made to replicated keyspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedBatch {
    /// The commit: the cursor to go on from once the batch is dealt with.
    pub seqno: SeqNo,
    /// What it changed, each key once, in no order.
    pub changes: Vec<Change>,
}

/// One key that was set or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Name of the keyspace; `None` only if this store has not learned it yet.
    pub keyspace: Option<Arc<str>>,
    /// The key.
    pub key: Vec<u8>,
    /// Whether it was set or deleted.
    pub kind: Kind,
    /// The new value; empty if it was deleted. Pins up to 256 KiB of the log's bytes: copy what is kept for long.
    pub value: Slice,
    /// Milliseconds since the Unix epoch from which on reads hide it; 0 means never.
    pub expires_at_ms: u64,
    /// When and by whom it was written.
    pub stamp: Stamp,
    /// How it came into this store.
    pub origin: Origin,
}

/// How a change came into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// By a call on this store.
    Local,
    /// From another replica.
    Merged,
}

/// The commits after a cursor, in order. Made by [`Db::changes_since`]; keeps the store open.
///
/// `None` means that nothing more has been committed *yet*: ask again later, and it goes on where it stood, without reading
/// again what it has passed. An error is returned again by every later call.
#[derive(Debug)]
#[must_use = "a feed reads nothing until it is asked for commits"]
pub struct Changes {
    db: Db,
    feed: Feed,
    durability: Durability,
    names: BTreeMap<Prefix, Arc<str>>,
    failed: Option<Error>,
}

impl Db {
    /// What was committed after `cursor`, a seqno that an earlier feed or a [`Snapshot`](super::Snapshot) told, or
    /// [`SeqNo::ZERO`] for everything. With [`Durability::Sync`] only commits that a power cut cannot take back, so that a
    /// follower never holds what the store has lost; [`Db::persist`] brings the newest among them.
    ///
    /// The feed is read from the log, which is kept until it is flushed, and then as long as [`Builder::retain_log_bytes`]
    /// allows. A key that was changed twice comes twice. Begins with a look at each segment between the cursor and the log's
    /// end; every poll writes what the staging ring holds to its file.
    ///
    /// [`Builder::retain_log_bytes`]: super::Builder::retain_log_bytes
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// use syncline::{Db, Durability};
    ///
    /// let db = Db::builder(dir.path().join("store")).retain_log_bytes(1 << 30).create()?;
    /// db.put("apple", "red")?;
    /// // A follower reads everything once, and from then on only what changes.
    /// let snapshot = db.snapshot();
    /// let mut copy: Vec<_> = db.iter().collect::<Result<_, _>>()?;
    /// db.put("plum", "blue")?;
    /// let mut changes = db.changes_since(snapshot.seqno(), Durability::Buffered)?;
    /// let batch = changes.next().expect("one commit")?;
    /// assert_eq!(batch.changes[0].key, b"plum");
    /// assert!(changes.next().is_none());
    /// let cursor = changes.cursor(); // to be kept with the copy
    /// assert!(db.changes_since(cursor, Durability::Buffered)?.next().is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// A store that is open read-only shows, as of its opening or last [refresh](Db::refresh), what is proven durable in its
    /// writer's files: all but the newest commits. `Io` may then mean that the writer has removed a segment meanwhile; refresh
    /// and ask again.
    ///
    /// # Errors
    /// `TooOld` if the log no longer has all of it, or never had: an [ingest](Db::ingest) goes past it, and so does much that a
    /// session streams to a store that retains nothing. Take a snapshot, read it, and go on from its seqno. `InvalidArgument` if
    /// no commit has reached the cursor. `Corruption` if a segment is damaged, `Poisoned`, `Io`.
    pub fn changes_since(&self, cursor: SeqNo, durability: Durability) -> Result<Changes> {
        let feed = self.store().feed(cursor, durability)?;
        Ok(Changes { db: self.clone(), feed, durability, names: self.keyspace_names()?, failed: None })
    }
}

impl Changes {
    /// Everything up to this commit has been yielded: where a later feed goes on.
    pub fn cursor(&self) -> SeqNo {
        self.feed.last()
    }

    fn advance(&mut self) -> Result<Option<CommittedBatch>> {
        let db = self.db.clone();
        let mut is_renewed = false;
        loop {
            match self.feed.next(db.store())? {
                Some(commit) => {
                    let batch = self.batch(commit)?;
                    // A commit that only made a keyspace, say, is none of the user's.
                    if !batch.changes.is_empty() {
                        return Ok(Some(batch));
                    }
                }
                None if is_renewed => return Ok(None),
                None => {
                    self.feed.renew(db.store(), self.durability)?;
                    is_renewed = true;
                }
            }
        }
    }

    fn batch(&mut self, commit: LoggedCommit) -> Result<CommittedBatch> {
        let mut changes = Vec::with_capacity(commit.changes.len());
        for change in commit.changes {
            let Some(prefix) = user_prefix(&change.key) else { continue };
            if !self.names.contains_key(&prefix) {
                self.names = self.db.keyspace_names()?;
            }
            changes.push(Change::new(change, self.names.get(&prefix).cloned()));
        }
        Ok(CommittedBatch { seqno: commit.seqno, changes })
    }
}

impl Iterator for Changes {
    type Item = Result<CommittedBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let next = self.advance();
        self.failed = next.as_ref().err().cloned();
        next.transpose()
    }
}

impl Change {
    pub(super) fn new(change: LoggedChange, keyspace: Option<Arc<str>>) -> Change {
        Change {
            keyspace,
            key: user_key(&change.key).to_vec(),
            kind: change.kind,
            value: change.value,
            expires_at_ms: change.expires_at,
            stamp: change.stamp,
            origin: if change.is_merged { Origin::Merged } else { Origin::Local },
        }
    }
}

/// The keyspace of an inner key, if it is one that users see.
fn user_prefix(key: &[u8]) -> Option<Prefix> {
    let prefix = Prefix(*key.first_chunk::<PREFIX_LEN>()?);
    prefix.is_users().then_some(prefix)
}
