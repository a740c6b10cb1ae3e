//! The only door to the file system: the traits [`Vfs`], [`WritableFile`], [`ReadableFile`] and [`Staging`].
//!
//! `disk` is the real one; `memory` is one for tests that can be killed, cut from power and made to fail, on the simulated
//! `medium`; `read_only` shows another one without its changes; `map` holds the memory maps and the crate's only `unsafe`. Everything above reaches files through these traits,
//! so that a simulator sees every write.
//!
//! Easy to get wrong: a file's bytes are durable only after its `sync`, its *name* only after `sync_dir` of the folder.

mod disk;
mod map;
mod medium;
mod memory;
mod read_only;
#[cfg(test)]
mod tests;

pub use disk::DiskVfs;
pub use memory::{Fault, FaultTarget, MemoryVfs};
pub(crate) use read_only::{ReadOnlyVfs, staging_word};

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::types::Slice;

/// How immutable files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReadMode {
    /// Through a memory map: no copy, no system call per read.
    #[default]
    Mapped,
    /// Through positioned reads into fresh buffers: for file systems where maps are unsafe or unwanted.
    Plain,
}

/// A file system. Calls are blocking; an `Interrupted` read or write is retried inside.
pub trait Vfs: Send + Sync + fmt::Debug {
    /// Creates the folder and its parents (mode 0700) unless it is there, and makes new names durable.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Names of the files in `dir`, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a new file (mode 0600) for writing, with `allocate` bytes of space reserved that read as zeros.
    /// Fails with `AlreadyExists` if the name is taken.
    fn create(&self, path: &Path, allocate: u64) -> io::Result<Box<dyn WritableFile>>;

    /// Opens a file for positioned reads. In [`ReadMode::Mapped`] its bytes up to the present length must not change
    /// and it must not be truncated while it is open.
    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>>;

    /// Gives the file another name in the same folder, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file a second name, in whatever folder: both stay until each is removed. A file system that cannot fails
    /// with `Unsupported`, which is the default; one that cannot for these two folders, with `CrossesDevices`.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes the name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of the file at `path`, creating it if needed, until the guard is dropped or the process
    /// ends. `None` if somebody else has it. The file is never removed.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>>;

    /// Opens the staging file at `path`, creating it if it is missing; its bytes are kept, and cut or filled with zeros to
    /// `len`. All its space is allocated. Readers beside the one owner open it as an ordinary file: the word, little-endian,
    /// then the staged bytes.
    fn staging(&self, path: &Path, len: usize) -> io::Result<Box<dyn Staging>>;
}

/// A new file while it is being written. Offsets are tracked by the caller; nothing is appended implicitly.
pub trait WritableFile: Send + Sync + fmt::Debug {
    /// Writes all of `bytes` at `offset`. After an error any part may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Asks that bytes which were written be carried to the medium soon, so that a later sync has less to wait for. A hint:
    /// it promises nothing, and what goes wrong the sync tells.
    fn begin_sync(&self, _offset: u64, _len: u64) {}

    /// Makes the file's bytes and length durable. Must not be retried after an error: the pages may be marked clean.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `len` bytes. Only before it is opened for reading.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// A file opened for reading.
#[allow(clippy::len_without_is_empty)]
pub trait ReadableFile: Send + Sync + fmt::Debug {
    /// Length in bytes when it was opened.
    fn len(&self) -> u64;

    /// `len` bytes from `offset`; `UnexpectedEof` if the file ends before.
    fn read(&self, offset: u64, len: usize) -> io::Result<Slice>;

    /// Asks that these bytes be brought into memory, for they are read soon, one after the other. A hint: it promises
    /// nothing, and bytes beyond the end are none.
    fn prefetch(&self, _offset: u64, _len: u64) {}

    /// The whole file if it is mapped, for readers that want to borrow instead of holding a [`Slice`].
    fn mapped(&self) -> Option<&[u8]>;
}

/// A small file whose bytes are written by memory stores: they survive the process from the moment of the store, a
/// power cut never reliably. One word in front of the bytes is written atomically.
pub trait Staging: Send + fmt::Debug {
    /// Number of bytes that can be staged.
    fn capacity(&self) -> usize;

    /// The word.
    fn word(&self) -> u64;

    /// Replaces the word, after every earlier `write` and before every later one.
    fn set_word(&mut self, word: u64);

    /// The staged bytes.
    fn bytes(&self) -> &[u8];

    /// Stores `bytes` at `offset`. The caller keeps within the capacity.
    fn write(&mut self, offset: usize, bytes: &[u8]);
}

/// Holds a file's lock until dropped.
pub trait LockGuard: Send + Sync + fmt::Debug {}
