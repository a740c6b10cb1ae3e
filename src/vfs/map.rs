//! Memory maps: of immutable files for reading, and of the staging file for writing. The crate's only `unsafe`.
#![allow(unsafe_code, clippy::disallowed_types)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use memmap2::{Advice, Mmap, MmapMut, MmapOptions};

use super::Staging;

/// A file mapped for reading.
#[derive(Debug)]
pub(super) struct FileMap(Mmap);

impl FileMap {
    pub(super) fn new(file: &File) -> io::Result<FileMap> {
        // SAFETY: the bytes behind a shared map must not change or go away. `Vfs::open` in mapped mode is called for
        // sealed segments and runs only: files that nobody writes to or truncates again, under names that are never
        // used twice, in a folder that one process has locked. Truncation by another program is named in the README as
        // not survivable.
        let map = unsafe { Mmap::map(file)? };
        // Reads are scattered unless somebody says otherwise by `prefetch`. Without this, one that misses the page cache
        // may bring in megabytes around it, and in little memory that is what throws out the pages that are needed.
        let _ = map.advise(Advice::Random);
        Ok(FileMap(map))
    }

    /// Asks for the bytes, as far as there are any, to be brought into memory.
    pub(super) fn prefetch(&self, offset: usize, len: usize) {
        let len = len.min(self.0.len().saturating_sub(offset));
        // A hint: what is not brought in now is when it is touched.
        let _ = self.0.advise_range(Advice::WillNeed, offset, len);
    }
}

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The staging file mapped for writing: a word, then the staged bytes.
#[derive(Debug)]
pub(super) struct StagingMap(MmapMut);

impl StagingMap {
    /// Bytes of the word at the start of the file.
    pub(super) const WORD_LEN: usize = 8;

    pub(super) fn new(file: &File, len: usize) -> io::Result<StagingMap> {
        // SAFETY: the file was allocated to this length, so no page is missing, and the folder's lock keeps other
        // writers away. A reader that looks at the file meanwhile copies from it and checks what it got.
        Ok(StagingMap(unsafe { MmapOptions::new().len(StagingMap::WORD_LEN + len).map_mut(file)? }))
    }

    fn atomic(&self) -> &AtomicU64 {
        // SAFETY: the map begins on a page boundary and has at least eight bytes, and every access to those goes
        // through this function.
        unsafe { AtomicU64::from_ptr(self.0.as_ptr().cast_mut().cast()) }
    }
}

impl Staging for StagingMap {
    fn capacity(&self) -> usize {
        self.0.len() - StagingMap::WORD_LEN
    }

    fn word(&self) -> u64 {
        u64::from_le(self.atomic().load(Ordering::Acquire))
    }

    fn set_word(&mut self, word: u64) {
        // A process is killed between two instructions, so the order of instructions is all that matters.
        compiler_fence(Ordering::SeqCst);
        self.atomic().store(word.to_le(), Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }

    fn bytes(&self) -> &[u8] {
        self.0.get(StagingMap::WORD_LEN..).unwrap_or_default()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let start = StagingMap::WORD_LEN + offset;
        self.0[start..start + bytes.len()].copy_from_slice(bytes);
        // What a caller does next may be to tell the world, and the bytes must be there before.
        compiler_fence(Ordering::SeqCst);
    }
}
