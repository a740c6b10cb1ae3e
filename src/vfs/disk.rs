//! [`DiskVfs`]: the operating system's file system. The only file of the engine that names `std::fs`.
//!
//! Easy to get wrong: space is allocated when a file is made, so that neither a write nor a store into the staging map
//! can find the disk full later; and a lock file is never removed, or two openers could each lock one of the same name.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::map::{FileMap, StagingMap};
use super::{LockGuard, ReadMode, ReadableFile, Staging, Vfs, WritableFile};
use crate::types::Slice;

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskVfs;

impl Vfs for DiskVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // Opening a file is tried again by the standard library when a signal interrupts it; opening a folder is not.
        let entries = loop {
            match std::fs::read_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                entries => break entries?,
            }
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &Path, allocate: u64) -> io::Result<Box<dyn WritableFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        reserve(&file, allocate)?;
        Ok(Box::new(DiskFile(file)))
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        match mode {
            ReadMode::Mapped if len > 0 => Ok(Arc::new(MappedFile::new(FileMap::new(&file)?))),
            _ => Ok(Arc::new(PlainFile { file, len })),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(DiskLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn staging(&self, path: &Path, len: usize) -> io::Result<Box<dyn Staging>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // Written over with its own bytes: a copied folder may have holes in it, and a store into a hole of a full disk
        // would kill the process.
        let file_len = StagingMap::WORD_LEN.checked_add(len).ok_or(io::ErrorKind::StorageFull)?;
        let mut bytes = vec![0; file_len];
        let present =
            usize::try_from(file.metadata()?.len()).map_or(file_len, |present| present.min(file_len));
        if let Some(bytes) = bytes.get_mut(..present) {
            file.read_exact_at(bytes, 0)?;
        }
        file.write_all_at(&bytes, 0)?;
        file.set_len(file_len as u64)?;
        Ok(Box::new(StagingMap::new(&file, len)?))
    }
}

/// Reserves `len` bytes that read as zeros. A file system that cannot reserve only sets the length.
fn reserve(file: &File, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::OPNOTSUPP) => return file.set_len(len),
            Err(error) => return Err(error.into()),
        }
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl WritableFile for DiskFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        // Linux starts the write-back of dirty pages that are not needed any more, and drops only clean ones.
        let _ = rustix::fs::fadvise(
            &self.0,
            offset,
            std::num::NonZeroU64::new(len),
            rustix::fs::Advice::DontNeed,
        );
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

#[derive(Debug)]
struct PlainFile {
    file: File,
    len: u64,
}

impl ReadableFile for PlainFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        // Checked before the buffer is made, so that a length from a damaged file cannot allocate at will.
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Slice::from(bytes))
    }

    fn mapped(&self) -> Option<&[u8]> {
        None
    }
}

/// A mapped file. Slices of it pin the map, each thread's through one of several counters: threads that read the same
/// file would otherwise take one counter from each other's caches with every slice.
#[derive(Debug)]
struct MappedFile {
    map: Arc<FileMap>,
    pins: Box<[Arc<Pin>]>,
}

/// Counters of a mapped file.
const PINS: usize = 16;

/// Keeps a map alive. Aligned so that no two counters share a cache line, or a pair of lines fetched together.
#[derive(Debug)]
#[repr(align(128))]
struct Pin(Arc<FileMap>);

impl AsRef<[u8]> for Pin {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl MappedFile {
    fn new(map: FileMap) -> MappedFile {
        let map = Arc::new(map);
        let pins = (0..PINS).map(|_| Arc::new(Pin(map.clone()))).collect();
        MappedFile { map, pins }
    }

    /// The counter of this thread.
    fn pin(&self) -> Option<&Arc<Pin>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static PIN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PINS);
        self.pins.get(PIN.with(|pin| *pin))
    }
}

impl ReadableFile for MappedFile {
    fn len(&self) -> u64 {
        (*self.map).as_ref().len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        let pin = self.pin().ok_or(io::ErrorKind::UnexpectedEof)?;
        Slice::of(pin.clone(), start..end).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn prefetch(&self, offset: u64, len: u64) {
        if let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) {
            self.map.prefetch(offset, len);
        }
    }

    fn mapped(&self) -> Option<&[u8]> {
        Some((*self.map).as_ref())
    }
}

/// The lock goes with the open file, and that with the process.
#[derive(Debug)]
struct DiskLock {
    _file: File,
}

impl LockGuard for DiskLock {}
