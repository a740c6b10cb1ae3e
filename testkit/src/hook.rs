//! [`Hooked`]: a file system with somebody at its door, who may answer in its place. Planted bugs, processes that die at
//! their n-th operation and reads that come in pieces are each a [`Hook`] of a few lines.
//!
//! Easy to get wrong: a hook that says [`Verdict::Skip`] makes the caller believe that it was done.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncline::vfs::{LockGuard, ReadMode, ReadableFile, Staging, Vfs, WritableFile};

/// An operation that changes files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// A new file.
    Create(&'a Path),
    /// Bytes, at an offset.
    Write(&'a Path, u64, &'a [u8]),
    /// An fsync of a file.
    Sync(&'a Path),
    /// A file is cut, or lengthened, to a length.
    Truncate(&'a Path, u64),
    /// From, to.
    Rename(&'a Path, &'a Path),
    /// From, to.
    Link(&'a Path, &'a Path),
    /// A name is removed.
    Remove(&'a Path),
    /// An fsync of a folder.
    SyncDir(&'a Path),
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Go,
    /// It is not done, and said to be.
    Skip,
}

/// Who stands at the door.
pub trait Hook: Send + Sync + fmt::Debug {
    /// Asked before `change`, of all but creations, which are always done.
    fn before(&self, change: Change<'_>) -> Verdict {
        let _ = change;
        Verdict::Go
    }

    /// Told how `change` went; what it returns is what the caller hears. `again` does it once more.
    fn after(
        &self,
        change: Change<'_>,
        result: io::Result<()>,
        again: &dyn Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let _ = (change, again);
        result
    }

    /// What a reader of `path` gets.
    fn opened(&self, path: &Path, file: Arc<dyn ReadableFile>) -> io::Result<Arc<dyn ReadableFile>> {
        let _ = path;
        Ok(file)
    }
}

/// A file system behind a hook.
#[derive(Debug, Clone)]
pub struct Hooked {
    inner: Arc<dyn Vfs>,
    hook: Arc<dyn Hook>,
}

impl Hooked {
    /// Puts `hook` before `inner`.
    pub fn new(inner: impl Vfs + 'static, hook: impl Hook + 'static) -> Hooked {
        Hooked { inner: Arc::new(inner), hook: Arc::new(hook) }
    }
}

fn pass(hook: &dyn Hook, change: Change<'_>, make: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
    match hook.before(change) {
        Verdict::Skip => Ok(()),
        Verdict::Go => hook.after(change, make(), make),
    }
}

impl Vfs for Hooked {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create(&self, path: &Path, allocate: u64) -> io::Result<Box<dyn WritableFile>> {
        self.hook.before(Change::Create(path));
        let file = self.inner.create(path, allocate)?;
        Ok(Box::new(HookedFile { file, path: path.to_owned(), hook: self.hook.clone() }))
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        self.hook.opened(path, self.inner.open(path, mode)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        pass(&*self.hook, Change::Rename(from, to), &|| self.inner.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        pass(&*self.hook, Change::Link(from, to), &|| self.inner.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        pass(&*self.hook, Change::Remove(path), &|| self.inner.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        pass(&*self.hook, Change::SyncDir(dir), &|| self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.inner.lock(path)
    }

    fn staging(&self, path: &Path, len: usize) -> io::Result<Box<dyn Staging>> {
        self.inner.staging(path, len)
    }
}

/// A file keeps the name that it was made under, though it may have got another one since.
#[derive(Debug)]
struct HookedFile {
    file: Box<dyn WritableFile>,
    path: PathBuf,
    hook: Arc<dyn Hook>,
}

impl WritableFile for HookedFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let change = Change::Write(&self.path, offset, bytes);
        pass(&*self.hook, change, &|| self.file.write_all_at(offset, bytes))
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        self.file.begin_sync(offset, len);
    }

    fn sync(&self) -> io::Result<()> {
        pass(&*self.hook, Change::Sync(&self.path), &|| self.file.sync())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        pass(&*self.hook, Change::Truncate(&self.path, len), &|| self.file.truncate(len))
    }
}
