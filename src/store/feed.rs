//! [`Feed`]: the log's commits after a cursor, in order, for the change feed.
//!
//! The segments that are not flushed yet and those that retention keeps together hold every commit from some moment on. A
//! feed begins in the segment that has the first commit after its cursor, and checks that each commit is the next one, so
//! whatever is missing is an error and never a gap.
//!
//! Easy to get wrong: a flush may remove segments while a feed is on its way. Those of the log proper are opened at once,
//! for they are few; retained ones only when their turn comes, and one that has gone by then is [`Error::TooOld`].

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::log::{Commit, LogEntry, SegmentCommits};
use crate::manifest::State;
use crate::types::{Kind, SegmentId, SeqNo, Slice, Stamp};

use super::{Durability, Store, Write};

/// A commit as the log has it.
#[derive(Debug, Clone)]
pub(crate) struct LoggedCommit {
    pub(crate) seqno: SeqNo,
    pub(crate) changes: Vec<LoggedChange>,
}

/// One change of a commit.
#[derive(Debug, Clone)]
pub(crate) struct LoggedChange {
    /// The inner key.
    pub(crate) key: Slice,
    pub(crate) kind: Kind,
    pub(crate) stamp: Stamp,
    /// Whether another replica made it.
    pub(crate) is_merged: bool,
    pub(crate) expires_at: u64,
    pub(crate) value: Slice,
}

impl LoggedChange {
    /// The change that `write` made in a commit with this stamp.
    pub(super) fn of(write: &Write, stamp: Stamp) -> LoggedChange {
        LoggedChange {
            key: write.key.clone(),
            kind: write.kind,
            stamp: write.stamp.unwrap_or(stamp),
            is_merged: write.stamp.is_some(),
            expires_at: write.expires_at,
            value: write.value.clone(),
        }
    }
}

/// A position between two commits.
#[derive(Debug)]
pub(crate) struct Feed {
    /// What has still to be read, oldest first.
    segments: VecDeque<Waiting>,
    current: Option<SegmentCommits>,
    /// The newest commit that was handed out.
    last: SeqNo,
    /// The newest commit to hand out.
    through: SeqNo,
}

/// A segment whose turn has not come.
#[derive(Debug)]
enum Waiting {
    Opened(SegmentCommits),
    /// Number, and where its records end.
    Retained(SegmentId, u64),
}

impl Feed {
    /// The newest commit that was handed out, or the cursor that the feed began with.
    pub(crate) fn last(&self) -> SeqNo {
        self.last
    }

    /// The next commit, and `None` when all have been handed out that there were when the feed was made.
    ///
    /// # Errors
    /// `TooOld`, `Corruption`, `Io`.
    pub(crate) fn next(&mut self, store: &Store) -> Result<Option<LoggedCommit>> {
        while self.last < self.through {
            let Some(segment) = &mut self.current else {
                self.current = self.open_next(store)?;
                if self.current.is_none() {
                    self.through = self.last;
                }
                continue;
            };
            let Some(payload) = segment.next()? else {
                self.current = None;
                continue;
            };
            let commit = Commit::decode(&payload)
                .map_err(|_| segment.corruption("a record with a right checksum makes no sense"))?;
            if commit.seqno <= self.last {
                continue;
            }
            if commit.seqno != self.last.next() {
                return Err(segment.corruption("commits before this one are missing"));
            }
            self.last = commit.seqno;
            return Ok(Some(logged(&payload, &commit)));
        }
        Ok(None)
    }

    /// Takes in what was committed since the feed was made. In the segment where it stood it goes on there, without reading
    /// from the beginning again.
    ///
    /// # Errors
    /// As [`Store::feed`].
    pub(crate) fn renew(&mut self, store: &Store, durability: Durability) -> Result<()> {
        let mut feed = store.feed(self.last, durability)?;
        if feed.last == feed.through {
            return Ok(());
        }
        if let Some(Waiting::Opened(next)) = feed.segments.front_mut()
            && let Some((segment, at)) = self.current.as_ref().map(SegmentCommits::position)
            && next.position().0 == segment
        {
            next.seek(at);
        }
        *self = feed;
        Ok(())
    }

    /// The segment whose turn has come.
    fn open_next(&mut self, store: &Store) -> Result<Option<SegmentCommits>> {
        let segment = match self.segments.pop_front() {
            Some(Waiting::Opened(segment)) => segment,
            Some(Waiting::Retained(id, end)) => match store.open_commits(id, end) {
                Err(_) if !store.identity().retained.contains_key(&id) => {
                    return Err(Error::TooOld { oldest: store.oldest_cursor()? });
                }
                opened => opened?,
            },
            // Beside a writer, what is not proven durable in its files is shown by a later refresh.
            None if store.options.read_only => return Ok(None),
            None => return Err(Error::corruption(&store.dir, 0, "the log ends before its newest commit")),
        };
        if segment.previous().is_some_and(|previous| previous > self.last) {
            return Err(segment.corruption("commits before this segment are missing"));
        }
        Ok(Some(segment))
    }
}

impl Store {
    /// The commits after `cursor`: all that are visible, or only those that survive a power cut.
    ///
    /// # Errors
    /// `TooOld`; `InvalidArgument` for a cursor that no commit has reached; `Poisoned`, `Corruption`, `Io`.
    pub(crate) fn feed(&self, cursor: SeqNo, durability: Durability) -> Result<Feed> {
        self.check_poison()?;
        let visible = self.views.visible();
        if cursor > visible {
            return Err(Error::invalid(format!(
                "the cursor {} is of another store, or of commits that a power cut took back; the newest is {}",
                cursor.0, visible.0
            )));
        }
        let through = match durability {
            Durability::Buffered => visible,
            Durability::Sync => visible.min(self.durable.get()),
        };
        let segments = if cursor < through { self.segments_after(cursor)? } else { VecDeque::new() };
        Ok(Feed { segments, current: None, last: cursor, through })
    }

    /// The segments that have the commits after `cursor`.
    fn segments_after(&self, cursor: SeqNo) -> Result<VecDeque<Waiting>> {
        // No edit can be made meanwhile, so no segment that this state names goes away.
        let manifest = self.structure.lock();
        let state = manifest.state();
        if cursor < state.feed_from {
            return Err(Error::TooOld { oldest: state.feed_from });
        }
        // A segment's file may be longer than its records until it is flushed.
        let (active, ends) = {
            let mut writer = self.writer.lock();
            self.poison.check()?;
            self.poison.note(writer.log.drain())?;
            let active = writer.log.position();
            let sealed =
                writer.sealed.iter().map(|sealed| (sealed.segment.id(), sealed.segment.commits_end()));
            let mut ends = state.log_ends.clone();
            ends.extend(sealed.chain([active]));
            (active.0, ends)
        };
        let mut segments = VecDeque::new();
        let mut oldest = state.flushed;
        let unflushed = self.segments_from(state.log_start)?;
        // A reader's own active segment is nowhere, and its writer may have made one of that number.
        let is_there = |id: &&SegmentId| **id < active || (**id == active && !self.options.read_only);
        for &id in unflushed.iter().filter(is_there).rev() {
            let Some(&end) = ends.get(&id) else { continue };
            let segment = self.open_commits(id, end)?;
            let Some(previous) = segment.previous() else { continue };
            oldest = previous;
            segments.push_front(Waiting::Opened(segment));
            if oldest <= cursor {
                return Ok(segments);
            }
        }
        for (&id, retained) in state.retained.iter().rev() {
            let Some(previous) = self.open_commits(id, retained.end)?.previous() else { continue };
            oldest = previous;
            segments.push_front(Waiting::Retained(id, retained.end));
            if oldest <= cursor {
                return Ok(segments);
            }
        }
        Err(Error::TooOld { oldest })
    }

    /// The least cursor that a feed can begin with.
    fn oldest_cursor(&self) -> Result<SeqNo> {
        let manifest = self.structure.lock();
        let &State { ref retained, flushed, feed_from, .. } = manifest.state();
        for (&id, retained) in retained {
            if let Some(previous) = self.open_commits(id, retained.end)?.previous() {
                return Ok(previous.max(feed_from));
            }
        }
        // What the log proper begins with may be staged only.
        Ok(flushed.max(feed_from))
    }

    fn open_commits(&self, id: SegmentId, end: u64) -> Result<SegmentCommits> {
        SegmentCommits::open(&*self.options.environment.vfs, &self.dir, id, end)
    }
}

/// The commit in `payload`, whose values share the payload's memory.
fn logged(payload: &Slice, commit: &Commit<'_>) -> LoggedCommit {
    let change = |entry: &LogEntry<'_>| {
        let value_at = entry.value_at as usize;
        LoggedChange {
            key: Slice::from(entry.key),
            kind: entry.kind,
            stamp: entry.stamp.unwrap_or(commit.stamp),
            is_merged: entry.stamp.is_some(),
            expires_at: entry.expires_at,
            value: payload.sub(value_at..value_at + entry.value.len()).unwrap_or_default(),
        }
    };
    LoggedCommit { seqno: commit.seqno, changes: commit.entries.iter().map(change).collect() }
}
