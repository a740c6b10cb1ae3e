//! Bugs between a store and its files: an fsync that is left out or tried again, a failure that is not told, an order that is
//! not kept, a checksum that is not looked at.
//!
//! Easy to get wrong: a file bears the name that it was made under. Segments and manifests are made under a temporary one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use syncline::Slice;
use syncline::vfs::{MemoryVfs, ReadableFile, Vfs};

use super::{Bug, Planted};
use crate::checksums;
use crate::hook::{Change, Hook, Hooked, Verdict};

pub(super) const PLANTED: &[Planted] = &[
    Planted {
        name: "commits are acknowledged, and `Complete` said, before the fsync",
        bug: Bug::Files(|vfs| unsynced_later(vfs, |name| name.ends_with(".log.tmp"))),
        rows: &["F2", "F3", "F18"],
        states_max: 20_000,
    },
    Planted {
        name: "edits of the manifest are not synced",
        bug: Bug::Files(|vfs| {
            unsynced_later(vfs, |name| name.ends_with(".tmp") && !name.ends_with(".log.tmp"))
        }),
        rows: &["F2", "F3"],
        states_max: 20_000,
    },
    Planted {
        name: "runs are not synced before they are named",
        bug: Bug::Files(|vfs| unsynced(vfs, |name| name.ends_with(".run"))),
        rows: &["F2", "F3", "F8"],
        states_max: 20_000,
    },
    Planted {
        name: "moved values are not synced before runs point to them",
        bug: Bug::Files(|vfs| unsynced(vfs, |name| name.ends_with(".values"))),
        rows: &["F2", "F3"],
        states_max: 200_000,
    },
    Planted {
        name: "Merkle files are not synced before they are named",
        bug: Bug::Files(|vfs| unsynced(vfs, |name| name.ends_with(".merkle"))),
        rows: &["F2", "F3"],
        states_max: 20_000,
    },
    Planted {
        name: "folders are not synced",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, NoFolderSync))),
        rows: &["F2", "F3"],
        states_max: 20_000,
    },
    Planted {
        name: "old files are removed before the folder is synced",
        bug: Bug::Files(|vfs| {
            Arc::new(Hooked::new(vfs.clone(), RemovalFirst { inner: vfs, ..RemovalFirst::default() }))
        }),
        rows: &["F2"],
        states_max: 100_000,
    },
    Planted {
        name: "a sealed segment is not synced",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, UnsyncedSeal::default()))),
        rows: &["F2"],
        states_max: 100_000,
    },
    Planted {
        name: "a short write is not told",
        bug: Bug::Files(|vfs| {
            Arc::new(Hooked::new(vfs, Silent(|change| matches!(change, Change::Write(..)))))
        }),
        rows: &["F9", "F11"],
        states_max: 5_000,
    },
    Planted {
        name: "a failed fsync is not told",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, Silent(|change| matches!(change, Change::Sync(_)))))),
        rows: &["F9"],
        states_max: 5_000,
    },
    Planted {
        name: "a failed fsync is tried again",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, Again))),
        rows: &["F9"],
        states_max: 5_000,
    },
    Planted {
        name: "a segment is freed while a snapshot needs it",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, Freed::default()))),
        rows: &["F24"],
        states_max: 100_000,
    },
    Planted {
        name: "checksums of the log are not looked at",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, NoChecksum))),
        rows: &["F2"],
        states_max: 50_000,
    },
];

fn unsynced(vfs: MemoryVfs, files: fn(&str) -> bool) -> Arc<dyn Vfs> {
    Arc::new(Hooked::new(vfs, NoSync { files, first: 0, synced: Mutex::default() }))
}

/// The first fsync of each file, before it gets its name, is made.
fn unsynced_later(vfs: MemoryVfs, files: fn(&str) -> bool) -> Arc<dyn Vfs> {
    Arc::new(Hooked::new(vfs, NoSync { files, first: 1, synced: Mutex::default() }))
}

/// Leaves out the fsync of some files, but for the first ones of each.
#[derive(Debug)]
struct NoSync {
    files: fn(&str) -> bool,
    first: u64,
    synced: Mutex<BTreeMap<PathBuf, u64>>,
}

impl Hook for NoSync {
    fn before(&self, change: Change<'_>) -> Verdict {
        let Change::Sync(path) = change else { return Verdict::Go };
        if !(self.files)(&path.to_string_lossy()) {
            return Verdict::Go;
        }
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let count = synced.entry(path.to_owned()).or_default();
        *count += 1;
        if *count > self.first { Verdict::Skip } else { Verdict::Go }
    }
}

/// Leaves out the fsync of folders.
#[derive(Debug)]
struct NoFolderSync;

impl Hook for NoFolderSync {
    fn before(&self, change: Change<'_>) -> Verdict {
        match change {
            Change::SyncDir(_) => Verdict::Skip,
            _ => Verdict::Go,
        }
    }
}

/// Syncs a folder only after the next removal in it.
#[derive(Debug, Default)]
struct RemovalFirst {
    inner: MemoryVfs,
    waiting: Mutex<Option<PathBuf>>,
}

impl Hook for RemovalFirst {
    fn before(&self, change: Change<'_>) -> Verdict {
        match change {
            Change::SyncDir(dir) => {
                *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(dir.to_owned());
                Verdict::Skip
            }
            _ => Verdict::Go,
        }
    }

    fn after(
        &self,
        change: Change<'_>,
        result: io::Result<()>,
        _: &dyn Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let waiting = || self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Change::Remove(_) = change
            && let Some(dir) = waiting()
        {
            self.inner.sync_dir(&dir)?;
        }
        result
    }
}

/// Leaves out the fsync of every segment but the one that was written last.
#[derive(Debug, Default)]
struct UnsyncedSeal {
    written: Mutex<Option<PathBuf>>,
}

impl Hook for UnsyncedSeal {
    fn before(&self, change: Change<'_>) -> Verdict {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_segment = |path: &Path| path.to_string_lossy().contains(".log");
        match change {
            Change::Write(path, ..) if is_segment(path) => *written = Some(path.to_owned()),
            Change::Sync(path) if is_segment(path) && written.as_deref() != Some(path) => {
                return Verdict::Skip;
            }
            _ => {}
        }
        Verdict::Go
    }
}

/// Keeps some failures to itself.
#[derive(Debug)]
struct Silent(fn(Change<'_>) -> bool);

impl Hook for Silent {
    fn after(
        &self,
        change: Change<'_>,
        result: io::Result<()>,
        _: &dyn Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        if (self.0)(change) { Ok(()) } else { result }
    }
}

/// Tries a failed fsync again.
#[derive(Debug)]
struct Again;

impl Hook for Again {
    fn after(
        &self,
        change: Change<'_>,
        result: io::Result<()>,
        again: &dyn Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        match change {
            Change::Sync(_) if result.is_err() => again(),
            _ => result,
        }
    }
}

/// Frees what is removed at once, though somebody has it open.
#[derive(Debug, Default)]
struct Freed {
    removed: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Hook for Freed {
    fn before(&self, change: Change<'_>) -> Verdict {
        if let Change::Remove(path) = change {
            self.removed.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        }
        Verdict::Go
    }

    fn opened(&self, path: &Path, file: Arc<dyn ReadableFile>) -> io::Result<Arc<dyn ReadableFile>> {
        match path.extension().is_some_and(|extension| extension == "log" || extension == "values") {
            true => Ok(Arc::new(FreedFile { file, path: path.to_owned(), removed: self.removed.clone() })),
            false => Ok(file),
        }
    }
}

#[derive(Debug)]
struct FreedFile {
    file: Arc<dyn ReadableFile>,
    path: PathBuf,
    removed: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl ReadableFile for FreedFile {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        match self.removed.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.path) {
            true => Ok(Slice::from(vec![0; len])),
            false => self.file.read(offset, len),
        }
    }

    fn mapped(&self) -> Option<&[u8]> {
        None
    }
}

/// Makes every checksum of a segment right before it is read, which is as if nobody looked at them.
#[derive(Debug)]
struct NoChecksum;

impl Hook for NoChecksum {
    fn opened(&self, path: &Path, file: Arc<dyn ReadableFile>) -> io::Result<Arc<dyn ReadableFile>> {
        if path.extension().is_none_or(|extension| extension != "log") {
            return Ok(file);
        }
        let len = usize::try_from(file.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = file.read(0, len)?.to_vec();
        checksums::repair(path, &mut bytes);
        Ok(Arc::new(Repaired(Slice::from(bytes))))
    }
}

/// Bytes that stand in for a file's.
#[derive(Debug)]
pub(super) struct Repaired(pub(super) Slice);

impl ReadableFile for Repaired {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0.get(start..end).map(Slice::from).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn mapped(&self) -> Option<&[u8]> {
        Some(&self.0)
    }
}
