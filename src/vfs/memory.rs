//! [`MemoryVfs`]: a file system in memory that knows what is durable, for tests.
//!
//! Every file has a *live* image, what the operating system would show, and a *durable* one, what the medium is sure to
//! hold; between them lie the writes that no `sync` has covered yet. Folders likewise, until `sync_dir`. Two copies can
//! be taken at any moment: [`MemoryVfs::kill`], in which the process is gone and the live images stay, and
//! [`MemoryVfs::power_cut`], in which what was not durable is kept, dropped or torn by the sector.
//!
//! Easy to get wrong: a copy shares nothing with the original, so a store that is still open on the original may go on
//! writing without touching the copy.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{LockGuard, ReadMode, ReadableFile, Staging, Vfs, WritableFile};
use crate::types::Slice;

/// The unit in which a power cut tears writes, in bytes.
const SECTOR_LEN: usize = 512;

/// A file system in memory. Clones are the same file system.
#[derive(Debug, Clone, Default)]
pub struct MemoryVfs {
    disk: Arc<Mutex<Disk>>,
}

/// What one operation, counted from now on, is to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The operations before it that succeed: creations, writes, syncs, truncations, renames, removals, folder syncs.
    pub after: u64,
    /// The error that it returns. A write fails half done; a failed sync leaves the pages marked clean, so that the
    /// bytes are shown but never become durable.
    pub kind: ErrorKind,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    live: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    /// Changes of names that no `sync_dir` has covered, in order.
    renames: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    fault: Option<(u64, ErrorKind)>,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Written by memory stores: any sector may be old or new after a power cut, whatever was synced.
    is_staging: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Link { path: PathBuf, inode: u64 },
    Rename { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            NameChange::Link { path, .. }
            | NameChange::Rename { to: path, .. }
            | NameChange::Unlink { path } => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Link { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Rename { from, to } => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            NameChange::Unlink { path } => {
                names.remove(path);
            }
        }
    }
}

fn write_into(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if image.len() < offset + bytes.len() {
        image.resize(offset + bytes.len(), 0);
    }
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write_into(image, *offset, bytes),
            Change::Truncate(len) => image.resize(*len, 0),
        }
    }

    /// The parts of a write that reach the medium independently of each other.
    fn sectors(&self) -> Vec<Change> {
        match self {
            Change::Truncate(_) => vec![self.clone()],
            Change::Write { offset, bytes } => {
                let (mut parts, mut at) = (Vec::new(), 0);
                while at < bytes.len() {
                    let end = (SECTOR_LEN - (offset + at) % SECTOR_LEN + at).min(bytes.len());
                    parts.push(Change::Write { offset: offset + at, bytes: bytes[at..end].to_vec() });
                    at = end;
                }
                parts
            }
        }
    }
}

impl Disk {
    fn inode(&mut self, path: &Path) -> io::Result<u64> {
        self.live.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Counts an operation that changes something, and fails if it is the one that shall.
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.fault {
            Some((at, kind)) if at < self.operations => {
                self.fault = None;
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.renames.push(change);
    }

    fn new_inode(&mut self, path: &Path, live: Vec<u8>, is_staging: bool) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        let unsynced = vec![Change::Truncate(live.len())];
        self.files.insert(inode, Inode { live, unsynced, is_staging, ..Inode::default() });
        self.change_name(NameChange::Link { path: path.to_owned(), inode });
        inode
    }
}

impl MemoryVfs {
    /// An empty file system.
    pub fn new() -> MemoryVfs {
        MemoryVfs::default()
    }

    /// A copy in which the process is gone: locks are free, and everything written is there.
    pub fn kill(&self) -> MemoryVfs {
        let mut disk = self.disk.lock().clone();
        disk.locks.clear();
        disk.fault = None;
        MemoryVfs { disk: Arc::new(Mutex::new(disk)) }
    }

    /// A copy in which the power has gone: of what was not durable, `choose(n)` (a number below `n`) decides what is kept.
    pub fn power_cut(&self, mut choose: impl FnMut(u64) -> u64) -> MemoryVfs {
        let mut disk = self.disk.lock().clone();
        disk.locks.clear();
        disk.fault = None;
        // Names: all, none, a prefix, or any subset of the changes since the last folder sync.
        let renames = std::mem::take(&mut disk.renames);
        let (mode, cut) = (choose(4), choose(renames.len() as u64 + 1));
        disk.live = std::mem::take(&mut disk.durable);
        for (index, change) in renames.iter().enumerate() {
            let is_kept = match mode {
                0 => false,
                1 => true,
                2 => (index as u64) < cut,
                _ => choose(2) == 0,
            };
            if is_kept {
                change.apply(&mut disk.live);
            }
        }
        disk.durable = disk.live.clone();
        let used: BTreeSet<u64> = disk.live.values().copied().collect();
        disk.files.retain(|inode, _| used.contains(inode));
        for file in disk.files.values_mut() {
            file.cut(&mut choose);
        }
        MemoryVfs { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Operations so far that changed something, by which a [`Fault`] is placed.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Makes one later operation fail.
    pub fn inject(&self, fault: Fault) {
        let mut disk = self.disk.lock();
        disk.fault = Some((disk.operations + fault.after, fault.kind));
    }

    /// Changes one byte of a file, as a failing medium would.
    ///
    /// # Errors
    /// `NotFound`, `UnexpectedEof`.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let inode = disk.inode(path)?;
        let file = disk.files.get_mut(&inode).ok_or(ErrorKind::NotFound)?;
        *file.live.get_mut(offset).ok_or(ErrorKind::UnexpectedEof)? ^= mask;
        if let Some(byte) = file.durable.get_mut(offset) {
            *byte ^= mask;
        }
        Ok(())
    }

    /// Gives a file these bytes, durable, creating it if needed.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut disk = self.disk.lock();
        let inode = match disk.live.get(path) {
            Some(&inode) => inode,
            None => disk.new_inode(path, Vec::new(), false),
        };
        disk.durable.insert(path.to_owned(), inode);
        disk.files.insert(inode, Inode { live: bytes.to_vec(), durable: bytes.to_vec(), ..Inode::default() });
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut disk = self.disk.lock();
        let inode = disk.inode(path)?;
        Ok(disk.files.get(&inode).map(|file| file.live.clone()).unwrap_or_default())
    }
}

impl Inode {
    /// What a power cut leaves of the file.
    fn cut(&mut self, choose: &mut impl FnMut(u64) -> u64) {
        let live = std::mem::take(&mut self.live);
        let unsynced = std::mem::take(&mut self.unsynced);
        if self.is_staging {
            self.durable.resize(live.len(), 0);
            for (old, new) in self.durable.chunks_mut(SECTOR_LEN).zip(live.chunks(SECTOR_LEN)) {
                if choose(2) == 0 {
                    old.copy_from_slice(new);
                }
            }
        } else {
            let (mode, cut) = (choose(4), choose(unsynced.len() as u64 + 1));
            for (index, change) in unsynced.iter().enumerate() {
                match mode {
                    0 => break,
                    1 => change.apply(&mut self.durable),
                    2 if index as u64 >= cut => break,
                    2 if (index as u64) + 1 < cut => change.apply(&mut self.durable),
                    _ => change
                        .sectors()
                        .iter()
                        .filter(|_| choose(2) == 0)
                        .for_each(|part| part.apply(&mut self.durable)),
                }
            }
        }
        self.live = self.durable.clone();
    }
}

impl Vfs for MemoryVfs {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        let inside = disk.live.keys().filter(|path| path.parent() == Some(dir));
        let names =
            inside.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        Ok(names.collect())
    }

    fn create(&self, path: &Path, allocate: u64) -> io::Result<Box<dyn WritableFile>> {
        let mut disk = self.disk.lock();
        if disk.live.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        disk.operate()?;
        let inode = disk.new_inode(path, vec![0; allocate as usize], false);
        Ok(Box::new(MemoryFile { disk: self.disk.clone(), inode }))
    }

    fn open(&self, path: &Path, _: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        Ok(Arc::new(MemoryReader(Slice::from(self.bytes(path)?))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.inode(from)?;
        disk.operate()?;
        disk.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.inode(path)?;
        disk.operate()?;
        disk.change_name(NameChange::Unlink { path: path.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.operate()?;
        let (covered, rest) =
            std::mem::take(&mut disk.renames).into_iter().partition(|change| change.folder() == Some(dir));
        disk.renames = rest;
        let covered: Vec<NameChange> = covered;
        covered.iter().for_each(|change| change.apply(&mut disk.durable));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut disk = self.disk.lock();
        if !disk.live.contains_key(path) {
            disk.operate()?;
            disk.new_inode(path, Vec::new(), false);
        }
        if !disk.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock { disk: self.disk.clone(), path: path.to_owned() })))
    }

    fn staging(&self, path: &Path, len: usize) -> io::Result<Box<dyn Staging>> {
        let mut disk = self.disk.lock();
        let inode = match disk.live.get(path).copied() {
            Some(inode) if disk.files.get(&inode).is_some_and(|file| file.live.len() == WORD_LEN + len) => {
                inode
            }
            Some(inode) => {
                disk.operate()?;
                disk.files.insert(
                    inode,
                    Inode { live: vec![0; WORD_LEN + len], is_staging: true, ..Inode::default() },
                );
                inode
            }
            None => {
                disk.operate()?;
                disk.new_inode(path, vec![0; WORD_LEN + len], true)
            }
        };
        let bytes = disk.files.get(&inode).map(|file| file.live.clone()).unwrap_or_default();
        Ok(Box::new(MemoryStaging { disk: self.disk.clone(), inode, bytes }))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
}

impl MemoryFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let outcome = disk.operate();
        let Some(file) = disk.files.get_mut(&self.inode) else { return Ok(()) };
        let change = match (&outcome, change) {
            (Err(_), Change::Write { offset, bytes }) => {
                Change::Write { offset, bytes: bytes[..bytes.len() / 2].to_vec() }
            }
            (Err(_), Change::Truncate(_)) => return outcome,
            (Ok(()), change) => change,
        };
        change.apply(&mut file.live);
        file.unsynced.push(change);
        outcome
    }
}

impl WritableFile for MemoryFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write { offset: offset as usize, bytes: bytes.to_vec() })
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let outcome = disk.operate();
        if let Some(file) = disk.files.get_mut(&self.inode) {
            file.unsynced.clear();
            if outcome.is_ok() {
                file.durable.clone_from(&file.live);
            }
        }
        outcome
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Change::Truncate(len as usize))
    }
}

#[derive(Debug)]
struct MemoryReader(Slice);

impl ReadableFile for MemoryReader {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Slice> {
        let start = offset as usize;
        let end = start.checked_add(len).ok_or(ErrorKind::UnexpectedEof)?;
        self.0.sub(start..end).ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    fn mapped(&self) -> Option<&[u8]> {
        Some(&self.0)
    }
}

/// Bytes of the word before the staged ones.
const WORD_LEN: usize = 8;

/// Keeps a copy of the bytes to lend out, and writes through to the file.
#[derive(Debug)]
struct MemoryStaging {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    bytes: Vec<u8>,
}

impl MemoryStaging {
    fn store(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        if let Some(file) = self.disk.lock().files.get_mut(&self.inode) {
            write_into(&mut file.live, offset, bytes);
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
        self.store(0, &word.to_le_bytes());
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(WORD_LEN..).unwrap_or_default()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.store(WORD_LEN + offset, bytes);
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl LockGuard for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}
