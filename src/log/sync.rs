//! [`SyncHandle`]: what an fsync of the log needs, without the writer, so that commits go on meanwhile.
//!
//! Easy to get wrong: commits are durable only when all segments up to theirs are, so a handle covers the sealed ones that
//! no fsync has covered, oldest first, and then the active one. A failed fsync must not be tried again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::error::{Error, Result};
use crate::types::SegmentId;
use crate::vfs::WritableFile;

/// What writer and handles tell each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether any write or fsync has failed.
    has_failed: AtomicBool,
    /// The segments before this one are durable as a whole.
    synced_before: AtomicU32,
}

impl Progress {
    /// Passes `outcome` on, and remembers if it is an error.
    pub(super) fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|_| self.has_failed.store(true, Ordering::Release))
    }

    /// # Errors
    /// `Poisoned` after a failure.
    pub(super) fn check(&self) -> Result<()> {
        match self.has_failed.load(Ordering::Acquire) {
            true => Err(Error::Poisoned { reason: "an earlier write to the log failed".into() }),
            false => Ok(()),
        }
    }

    pub(super) fn synced_before(&self) -> SegmentId {
        SegmentId(self.synced_before.load(Ordering::Acquire))
    }
}

/// The file of a segment, as far as it is written. Durable or not.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    pub(super) id: SegmentId,
    pub(super) path: Arc<Path>,
    pub(super) file: Arc<dyn WritableFile>,
    pub(super) commits_end: u64,
    /// Bytes written.
    pub(super) len: u64,
}

impl SegmentFile {
    /// The segment's number.
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// Where its last commit ends. What follows, a footer, may get lost even if all commits are durable.
    pub(crate) fn commits_end(&self) -> u64 {
        self.commits_end
    }

    /// Gives back what was reserved beyond it. Before anybody maps the file or asks for its length.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn trim(&self) -> Result<()> {
        self.file.truncate(self.len).map_err(|source| Error::io("truncate", &self.path, source))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|source| Error::io("fsync", &self.path, source))
    }
}

/// What an fsync of everything that was drained needs.
#[derive(Debug)]
pub(crate) struct SyncHandle {
    /// Sealed segments that may not be durable, oldest first.
    pub(super) sealed: Vec<SegmentFile>,
    pub(super) active: SegmentFile,
    pub(super) progress: Arc<Progress>,
}

impl SyncHandle {
    /// Makes what was drained durable. Must not be tried again after an error; the writer takes no more then.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut segments = self.sealed.iter().chain([&self.active]);
        self.progress.note(segments.try_for_each(SegmentFile::sync))?;
        self.progress.synced_before.fetch_max(self.active.id.0, Ordering::AcqRel);
        Ok(())
    }
}
