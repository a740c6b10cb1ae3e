//! Checkpoints: a second folder with the same entries, made of the store's immutable files while the store goes on.
//!
//! What the manifest names at one moment is a whole store as of the last flush: runs, Merkle files, and the segments of
//! large values. All of it is linked, or, where links are impossible, opened and then copied; an empty log and a manifest
//! of its own complete it.
//!
//! Easy to get wrong: compaction and gc remove files meanwhile. So they are linked or opened while no manifest edit can be
//! made, which is quick, and copied afterwards, for an open file outlives its name. The manifest comes last: before it the
//! folder holds no store, and it marks the copy as one, so that no two folders write under one node id.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::create::claim;
use crate::error::{Error, Result};
use crate::format::{FileKind, segment_name};
use crate::log::begin_log;
use crate::manifest::{Change, Manifest, State};
use crate::store::Store;
use crate::types::SeqNo;
use crate::vfs::{ReadMode, ReadableFile, Vfs};

/// Bytes that are copied at once.
const COPY_LEN: u64 = 1 << 20;

/// What a checkpoint holds and how it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// The newest commit in it.
    pub seqno: SeqNo,
    /// Files that it shares with the store, as hard links.
    pub linked_files: u64,
    /// Files that were copied because the file system could not link them.
    pub copied_files: u64,
}

/// How far a checkpoint has come that has to copy files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointProgress {
    /// Bytes copied so far.
    pub bytes: u64,
    /// Bytes to copy.
    pub bytes_total: u64,
}

/// A file that has to be copied, held open.
struct Source {
    from: PathBuf,
    to: PathBuf,
    file: Arc<dyn ReadableFile>,
    len: u64,
}

/// Makes a copy of `store`, as of its last flush, in the folder `target`. `progress` is called for every megabyte that is copied,
/// and gives it up by `false`.
///
/// # Errors
/// `Occupied`, `Locked`, `Aborted`, `Io`; whatever was made is removed again. The store itself is as it was.
pub(crate) fn checkpoint(
    store: &Store,
    target: &Path,
    progress: &mut dyn FnMut(CheckpointProgress) -> bool,
) -> Result<CheckpointReport> {
    let vfs = &*store.options.environment.vfs;
    let _lock = claim(vfs, target)?;
    fill(store, target, progress).inspect_err(|_| clear(vfs, target))
}

fn fill(
    store: &Store,
    target: &Path,
    progress: &mut dyn FnMut(CheckpointProgress) -> bool,
) -> Result<CheckpointReport> {
    let vfs = &store.options.environment.vfs;
    let mut linked_files = 0;
    let (mut state, sources) = store.while_files_stay(|state| {
        let mut sources = Vec::new();
        for (name, len) in immutable_files(state) {
            let (from, to) = (store.dir.join(&name), target.join(&name));
            match vfs.link(&from, &to) {
                Ok(()) => linked_files += 1,
                Err(error) if asks_for_a_copy(error.kind()) => {
                    let file = vfs.open(&from, ReadMode::Plain);
                    let file = file.map_err(|source| Error::io("open", &from, source))?;
                    let len = len.unwrap_or(u64::MAX).min(file.len());
                    sources.push(Source { from, to, file, len });
                }
                Err(source) => return Err(Error::io("link", &to, source)),
            }
        }
        Ok((state.clone(), sources))
    })?;
    let bytes_total = sources.iter().map(|source| source.len).sum();
    let mut so_far = CheckpointProgress { bytes: 0, bytes_total };
    for source in &sources {
        source.copy(&**vfs, |bytes| {
            so_far.bytes += bytes;
            progress(so_far)
        })?;
    }
    // All commits are in the runs, so the log is an empty one. The names of all files become durable with its own.
    state.log_ends.clear();
    state.retained.clear();
    state.feed_from = SeqNo::ZERO;
    begin_log(&**vfs, target, state.log_start, state.flushed)?;
    state.apply(&Change::MarkedAsCopy);
    let seqno = state.flushed;
    Manifest::begin(vfs.clone(), target, state, 0)?;
    Ok(CheckpointReport { seqno, linked_files, copied_files: sources.len() as u64 })
}

/// Names of the files that hold the flushed commits, and how many bytes count if those are not all.
fn immutable_files(state: &State) -> Vec<(String, Option<u64>)> {
    let runs = state.runs.iter().map(|id| (FileKind::Run.name(id.0), None));
    let merkle = state.merkle.iter().map(|id| (FileKind::Merkle.name(id.0), None));
    let segments = state.value_segments.iter();
    let segments = segments.map(|(id, &len)| (segment_name(*id), Some(len)));
    runs.chain(merkle).chain(segments).collect()
}

/// Whether a link failed because there can be none, and not because something is wrong.
fn asks_for_a_copy(kind: ErrorKind) -> bool {
    // File systems without links refuse them by any of these, depending on the system.
    matches!(
        kind,
        ErrorKind::CrossesDevices
            | ErrorKind::Unsupported
            | ErrorKind::PermissionDenied
            | ErrorKind::TooManyLinks
    )
}

impl Source {
    /// `copied` is told how many bytes more there are, and gives it up by `false`.
    fn copy(&self, vfs: &dyn Vfs, mut copied: impl FnMut(u64) -> bool) -> Result<()> {
        let to = vfs.create(&self.to, self.len).map_err(|source| Error::io("create", &self.to, source))?;
        let mut at = 0;
        while at < self.len {
            let len = (self.len - at).min(COPY_LEN);
            let bytes = self.file.read(at, len as usize);
            let bytes = bytes.map_err(|source| Error::io("read", &self.from, source))?;
            to.write_all_at(at, &bytes).map_err(|source| Error::io("write", &self.to, source))?;
            at += len;
            if !copied(len) {
                return Err(Error::Aborted);
            }
        }
        to.sync().map_err(|source| Error::io("fsync", &self.to, source))
    }
}

/// Removes what an attempt that failed has made, as far as that is possible; the failure itself is what the caller is told.
fn clear(vfs: &dyn Vfs, target: &Path) {
    let names = vfs.list(target).unwrap_or_default();
    // The folder was empty before. Without its manifest it holds no store, however far this comes.
    let kinds = [FileKind::Manifest, FileKind::Merkle, FileKind::Run, FileKind::Segment, FileKind::Values];
    let made = |kind: FileKind| names.iter().filter(move |name| kind.id_in(name).is_some());
    let unfinished = names.iter().filter(|name| name.ends_with(".tmp"));
    for name in kinds.into_iter().flat_map(made).chain(unfinished) {
        let _ = vfs.remove(&target.join(name));
    }
    let _ = vfs.sync_dir(target);
}
