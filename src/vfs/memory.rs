//! [`MemoryVfs`]: a file system in memory that knows what is durable, for tests.
//!
//! It can be copied as a killed process leaves it ([`MemoryVfs::kill`]) or as a power cut does ([`MemoryVfs::power_cut`]),
//! now or before any recorded step; and it can be told to fail an operation ([`MemoryVfs::inject`]) or to damage a byte
//! ([`MemoryVfs::flip`]).
//!
//! Easy to get wrong: a copy shares nothing with the original, so a store that is still open on the original may go on
//! writing without touching the copy.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::medium::{Change, Inode, Medium};
use super::{LockGuard, ReadMode, ReadableFile, Staging, Vfs, WritableFile};
use crate::types::{Owner, Slice};

/// A file system in memory. Clones are the same file system.
#[derive(Debug, Clone, Default)]
pub struct MemoryVfs {
    shared: Arc<Mutex<Shared>>,
}

/// An operation that is to fail, and how.
///
/// A failing write leaves half of its bytes. A failing sync marks the pages clean, so that their bytes are shown but never
/// become durable. Other failing operations do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which operations are counted, and may fail.
    pub target: FaultTarget,
    /// How many of them still succeed.
    pub after: u64,
    /// The error that the next one returns.
    pub kind: ErrorKind,
    /// Whether all later ones fail as well, as on a full disk.
    pub stays: bool,
}

/// The operations that a [`Fault`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultTarget {
    /// Creations, writes, syncs, truncations, renames, removals, folder syncs.
    Changes,
    /// Opening files for reading, reading them, listing folders.
    Reads,
}

#[derive(Debug, Default)]
struct Shared {
    medium: Medium,
    locks: BTreeSet<PathBuf>,
    changes: u64,
    reads: u64,
    fault: Option<Fault>,
    steps: Option<Vec<Medium>>,
}

impl Shared {
    fn step(&mut self) {
        if let Some(steps) = &mut self.steps {
            steps.push(self.medium.clone());
        }
    }

    /// Counts an operation, and fails if it is one that shall.
    fn operate(&mut self, target: FaultTarget) -> io::Result<()> {
        match target {
            FaultTarget::Changes => {
                self.step();
                self.changes += 1;
            }
            FaultTarget::Reads => self.reads += 1,
        }
        let Some(fault) = self.fault.as_mut().filter(|fault| fault.target == target) else { return Ok(()) };
        let kind = fault.kind;
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        if !fault.stays {
            self.fault = None;
        }
        Err(kind.into())
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.medium.inode(path).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl From<Medium> for MemoryVfs {
    fn from(medium: Medium) -> MemoryVfs {
        MemoryVfs { shared: Arc::new(Mutex::new(Shared { medium, ..Shared::default() })) }
    }
}

impl MemoryVfs {
    /// An empty file system.
    pub fn new() -> MemoryVfs {
        MemoryVfs::default()
    }

    /// A copy in which the process is gone: locks are free, and everything written is there.
    pub fn kill(&self) -> MemoryVfs {
        self.shared.lock().medium.clone().into()
    }

    /// A copy in which the power has gone. Of what was not durable, `choose(n)`, which returns a number below `n`, decides
    /// what is kept, dropped, or torn by the sector of 512 bytes.
    pub fn power_cut(&self, mut choose: impl FnMut(u64) -> u64) -> MemoryVfs {
        let medium = self.shared.lock().medium.clone();
        medium.power_cut(&mut choose).into()
    }

    /// From now on, keeps a copy of the whole file system before every change, memory stores into a staging file
    /// included, and in the middle of every write.
    pub fn record_steps(&self) {
        self.shared.lock().steps = Some(Vec::new());
    }

    /// Number of copies so far: what was returned to a caller before this moment is in every later copy.
    pub fn step_count(&self) -> usize {
        self.shared.lock().steps.as_ref().map_or(0, Vec::len)
    }

    /// Ends the recording and hands out its copies, in order.
    pub fn take_steps(&self) -> Vec<MemoryVfs> {
        let steps = self.shared.lock().steps.take().unwrap_or_default();
        steps.into_iter().map(MemoryVfs::from).collect()
    }

    /// Number of operations of this kind so far, by which a [`Fault`] can be placed.
    pub fn operations(&self, target: FaultTarget) -> u64 {
        let shared = self.shared.lock();
        match target {
            FaultTarget::Changes => shared.changes,
            FaultTarget::Reads => shared.reads,
        }
    }

    /// Makes a later operation fail. Replaces a fault that has not struck yet.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().fault = Some(fault);
    }

    /// Changes bits of one byte on the medium, as one that fails would.
    ///
    /// # Errors
    /// `NotFound`, `UnexpectedEof`.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let inode = shared.inode(path)?;
        let flipped = shared.medium.image_mut(inode).and_then(|image| image.flip(offset, mask));
        flipped.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Gives a file these bytes, durably, creating it if needed.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.shared.lock().medium.put(path, bytes);
    }

    /// The bytes of a file as the operating system shows them. Not counted as a read.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let shared = self.shared.lock();
        let inode = shared.inode(path)?;
        Ok(shared.medium.image(inode).map(|image| image.live().to_vec()).unwrap_or_default())
    }
}

impl Vfs for MemoryVfs {
    /// There are no folders: a file may have any path.
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut shared = self.shared.lock();
        shared.operate(FaultTarget::Reads)?;
        Ok(shared.medium.names_in(dir))
    }

    fn create(&self, path: &Path, allocate: u64) -> io::Result<Box<dyn WritableFile>> {
        let mut shared = self.shared.lock();
        if shared.medium.inode(path).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        shared.operate(FaultTarget::Changes)?;
        let allocate = usize::try_from(allocate).map_err(|_| ErrorKind::StorageFull)?;
        let inode = shared.medium.create(path, allocate, false);
        Ok(Box::new(MemoryFile { shared: self.shared.clone(), inode }))
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        let mut shared = self.shared.lock();
        shared.operate(FaultTarget::Reads)?;
        let inode = shared.inode(path)?;
        let owner: Owner = match shared.medium.image(inode) {
            Some(image) => image.live().clone(),
            None => return Err(ErrorKind::NotFound.into()),
        };
        let len = (*owner).as_ref().len();
        let bytes = Slice::of(owner, 0..len).unwrap_or_default();
        Ok(Arc::new(MemoryReader { shared: self.shared.clone(), bytes, mode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.inode(from)?;
        shared.operate(FaultTarget::Changes)?;
        shared.medium.rename(from, to);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let inode = shared.inode(from)?;
        if shared.medium.inode(to).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        shared.operate(FaultTarget::Changes)?;
        shared.medium.link(inode, to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.inode(path)?;
        shared.operate(FaultTarget::Changes)?;
        shared.medium.unlink(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.operate(FaultTarget::Changes)?;
        shared.medium.sync_names(dir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut shared = self.shared.lock();
        if shared.medium.inode(path).is_none() {
            shared.operate(FaultTarget::Changes)?;
            shared.medium.create(path, 0, false);
        }
        if !shared.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock { shared: self.shared.clone(), path: path.to_owned() })))
    }

    fn staging(&self, path: &Path, len: usize) -> io::Result<Box<dyn Staging>> {
        let mut shared = self.shared.lock();
        shared.operate(FaultTarget::Changes)?;
        let file_len = len.checked_add(WORD_LEN).ok_or(ErrorKind::StorageFull)?;
        let inode = match shared.medium.inode(path) {
            Some(inode) => inode,
            None => shared.medium.create(path, file_len, true),
        };
        let Some(image) = shared.medium.image_mut(inode) else { return Err(ErrorKind::NotFound.into()) };
        if image.live().len() != file_len {
            image.change(Change::Truncate(file_len));
        }
        let bytes = image.live().to_vec();
        Ok(Box::new(MemoryStaging { shared: self.shared.clone(), inode, bytes }))
    }
}

#[derive(Debug)]
struct MemoryFile {
    shared: Arc<Mutex<Shared>>,
    inode: Inode,
}

impl MemoryFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.operate(FaultTarget::Changes)?;
        if let Some(image) = shared.medium.image_mut(self.inode) {
            image.change(change);
        }
        Ok(())
    }
}

impl WritableFile for MemoryFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let outcome = shared.operate(FaultTarget::Changes);
        let offset = usize::try_from(offset).map_err(|_| ErrorKind::StorageFull)?;
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let write = |shared: &mut Shared, offset, bytes: &[u8]| {
            if let Some(image) = shared.medium.image_mut(self.inode) {
                image.change(Change::Write { offset, bytes: bytes.to_vec() });
            }
        };
        write(&mut shared, offset, first);
        outcome?;
        shared.step();
        write(&mut shared, offset + first.len(), rest);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let outcome = shared.operate(FaultTarget::Changes);
        if let Some(image) = shared.medium.image_mut(self.inode) {
            match outcome {
                Ok(()) => image.sync(),
                Err(_) => image.forget_dirty(),
            }
        }
        outcome
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| ErrorKind::StorageFull)?;
        self.change(Change::Truncate(len))
    }
}

#[derive(Debug)]
struct MemoryReader {
    shared: Arc<Mutex<Shared>>,
    bytes: Slice,
    mode: ReadMode,
}

impl ReadableFile for MemoryReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        self.shared.lock().operate(FaultTarget::Reads)?;
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).ok_or(ErrorKind::UnexpectedEof)?;
        self.bytes.sub(start..end).ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    fn mapped(&self) -> Option<&[u8]> {
        (self.mode == ReadMode::Mapped).then_some(&*self.bytes)
    }
}

/// Bytes of the word before the staged ones.
const WORD_LEN: usize = 8;

/// Keeps a copy of the bytes to lend out, and writes through to the file.
#[derive(Debug)]
struct MemoryStaging {
    shared: Arc<Mutex<Shared>>,
    inode: Inode,
    bytes: Vec<u8>,
}

impl MemoryStaging {
    fn store(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        let mut shared = self.shared.lock();
        shared.step();
        if let Some(image) = shared.medium.image_mut(self.inode) {
            image.store(offset, bytes);
        }
    }
}

impl Staging for MemoryStaging {
    fn capacity(&self) -> usize {
        self.bytes.len() - WORD_LEN
    }

    fn word(&self) -> u64 {
        self.bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
    }

    fn set_word(&mut self, word: u64) {
        if let Some(image) = self.shared.lock().medium.image_mut(self.inode) {
            image.remember();
        }
        self.store(0, &word.to_le_bytes());
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(WORD_LEN..).unwrap_or_default()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        self.store(WORD_LEN + offset, first);
        self.store(WORD_LEN + offset + first.len(), rest);
    }
}

#[derive(Debug)]
struct MemoryLock {
    shared: Arc<Mutex<Shared>>,
    path: PathBuf,
}

impl LockGuard for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.shared.lock().locks.remove(&self.path);
    }
}
