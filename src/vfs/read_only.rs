//! [`ReadOnlyVfs`]: a file system as a reader beside its writer sees it. Reads go through; changes are accepted and go
//! nowhere, so that an opening for reading runs the same recovery as one for writing.
//!
//! Easy to get wrong: nothing that was changed can be read back; recovery never does. And the staging file has an owner who
//! writes to it at this moment: the word in front of its bytes is read before and after them, and they are taken only if
//! it stands still.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::{LockGuard, ReadMode, ReadableFile, Staging, Vfs, WritableFile};

/// Readings of the staging file after which its owner is too quick for us.
const READINGS_MAX: usize = 1000;

/// Length of the word before the staged bytes.
const WORD_LEN: usize = 8;

/// Another file system without its changes.
#[derive(Debug)]
pub(crate) struct ReadOnlyVfs {
    inner: Arc<dyn Vfs>,
}

impl ReadOnlyVfs {
    pub(crate) fn new(inner: Arc<dyn Vfs>) -> ReadOnlyVfs {
        ReadOnlyVfs { inner }
    }
}

impl Vfs for ReadOnlyVfs {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create(&self, _: &Path, _: u64) -> io::Result<Box<dyn WritableFile>> {
        Ok(Box::new(Nowhere))
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<Arc<dyn ReadableFile>> {
        self.inner.open(path, mode)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Takes no lock: readers and the writer do not know of each other.
    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        Ok(Some(Box::new(Nowhere)))
    }

    /// A copy of the staging file as it stood at one moment; zeros if there is none.
    fn staging(&self, path: &Path, len: usize) -> io::Result<Box<dyn Staging>> {
        let mut bytes = vec![0; len];
        let file = match self.inner.open(path, ReadMode::Plain) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Box::new(StagingCopy { word: 0, bytes }));
            }
            file => file?,
        };
        let staged = usize::try_from(file.len()).unwrap_or(usize::MAX).saturating_sub(WORD_LEN).min(len);
        for _ in 0..READINGS_MAX {
            let word = word_in(&*file)?;
            let found = file.read(WORD_LEN as u64, staged)?;
            if word_in(&*file)? == word {
                bytes.iter_mut().zip(&*found).for_each(|(place, byte)| *place = *byte);
                return Ok(Box::new(StagingCopy { word, bytes }));
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

/// The word of the staging file at `path`, by which a move of its base can be seen; zero if there is no such file.
pub(crate) fn staging_word(vfs: &dyn Vfs, path: &Path) -> io::Result<u64> {
    match vfs.open(path, ReadMode::Plain) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        file => word_in(&*file?),
    }
}

fn word_in(file: &dyn ReadableFile) -> io::Result<u64> {
    // A file that is just being made is shorter.
    if file.len() < WORD_LEN as u64 {
        return Ok(0);
    }
    Ok(file.read(0, WORD_LEN)?.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)))
}

/// Takes every change, and is a lock that locks nothing.
#[derive(Debug)]
struct Nowhere;

impl WritableFile for Nowhere {
    fn write_all_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl LockGuard for Nowhere {}

/// What the staging file held.
#[derive(Debug)]
struct StagingCopy {
    word: u64,
    bytes: Vec<u8>,
}

impl Staging for StagingCopy {
    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    fn word(&self) -> u64 {
        self.word
    }

    fn set_word(&mut self, word: u64) {
        self.word = word;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Recovery stages nothing, and what is read-only takes no commits.
    fn write(&mut self, _: usize, _: &[u8]) {}
}
