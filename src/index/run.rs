//! [`Run`]: reads one immutable sorted file of the index.
//!
//! Opening checks trailer, properties, block index and filter; a block's checksum is checked when it is first read after
//! that, and never again while the file is mapped, for mapped bytes do not change. In plain mode every read brings new
//! bytes, so every read checks.
//!
//! Blocks that are stored compressed are decoded for every read, but for a few that were looked up last (`decoded`).
//!
//! Easy to get wrong: a slice of a value pins the whole mapped file or the decoded block, and a damaged block is an error, never "not found".

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::Malformed;
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::hash::{KeyHash, SetHasher};
use crate::types::{FileId, Ranges, Slice};
use crate::vfs::{ReadMode, ReadableFile, Vfs};

use super::block::{Block, Layout, Undecoded, decompress, is_compressed};
use super::decoded::DecodedBlocks;
use super::fences::Fences;
use super::filter;
use super::found::{Found, Frame};
use super::layout::{Part, Properties, TRAILER_LEN, Trailer, checksum};
use super::read_ahead::ReadAhead;

/// One immutable sorted file of the index, open for reading.
#[derive(Debug)]
pub(crate) struct Run {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn ReadableFile>,
    pub(super) hasher: Arc<SetHasher>,
    pub(super) filter: Slice,
    pub(super) fences: Fences,
    pub(super) properties: Properties,
    /// One bit for each block whose checksum was right.
    pub(super) checked: Box<[AtomicU64]>,
    /// Plain forms of compressed blocks.
    pub(super) decoded: DecodedBlocks,
    /// Why the filter is not used, if it is damaged.
    pub(super) filter_damage: Option<Error>,
    /// Where lookups and walks find nothing.
    pub(super) holes: Ranges<()>,
}

impl Run {
    /// Opens run `id` in folder `dir`.
    ///
    /// # Errors
    /// `Corruption` if anything but the filter or a block is damaged, `UnsupportedVersion`, `Io`.
    pub(crate) fn open(
        vfs: &dyn Vfs,
        dir: &Path,
        id: FileId,
        mode: ReadMode,
        hasher: Arc<SetHasher>,
    ) -> Result<Run> {
        let path = dir.join(FileKind::Run.name(id.0));
        let file = vfs.open(&path, mode).map_err(|source| Error::io("open", &path, source))?;
        let read = |range: Range<u64>| {
            let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            file.read(range.start, len).map_err(|source| Error::io("read", &path, source))
        };
        let too_short =
            || Error::corruption(&path, file.len(), "the run is shorter than its header and trailer");
        let trailer_at = file.len().checked_sub(TRAILER_LEN as u64).ok_or_else(too_short)?;
        FileKind::Run.check(&path, &read(0..HEADER_LEN as u64)?)?;
        let trailer = Trailer::decode(id, trailer_at, &read(trailer_at..file.len())?)
            .map_err(|_| Error::corruption(&path, trailer_at, "the run's trailer is damaged"))?;
        // The parts behind the blocks are read whole, now.
        file.prefetch(trailer.filter.range.start, trailer_at.saturating_sub(trailer.filter.range.start));
        let part = |part: &Part, what: &'static str| {
            let bytes = read(part.range.clone())?;
            let is_right = checksum(id, part.range.start, &bytes) == part.checksum;
            if is_right { Ok(bytes) } else { Err(Error::corruption(&path, part.range.start, what)) }
        };
        let fences = part(&trailer.fences, "the run's block index is damaged")?;
        let properties = part(&trailer.properties, "the run's properties are damaged")?;
        let (filter, filter_damage) = match part(&trailer.filter, "the run's filter is damaged") {
            Ok(filter) => (filter, None),
            Err(damage) => (Slice::empty(), Some(damage)),
        };
        let blocks_end = trailer.filter.range.start;
        let blocks_len = blocks_end.saturating_sub(HEADER_LEN as u64);
        let properties = Properties::decode(&properties, blocks_len, fences.len() as u64).map_err(|_| {
            Error::corruption(&path, trailer.properties.range.start, "the run's properties make no sense")
        })?;
        // Bounded by the length of the index just now.
        let fences = Fences::open(&fences, properties.blocks as usize, HEADER_LEN as u64);
        let fences = fences.ok().filter(|fences| fences.end() == blocks_end).ok_or_else(|| {
            Error::corruption(&path, trailer.fences.range.start, "the run's block index makes no sense")
        })?;
        let words = properties.blocks.div_ceil(64);
        let checked = (0..words).map(|_| AtomicU64::new(0)).collect();
        let (decoded, holes) = (DecodedBlocks::default(), Ranges::default());
        Ok(Run { id, path, file, hasher, filter, fences, properties, checked, decoded, filter_damage, holes })
    }

    /// The run's number.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Where the run lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The hash functions of its keys and values.
    pub(super) fn hasher(&self) -> &Arc<SetHasher> {
        &self.hasher
    }

    /// Length of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.file.len()
    }

    /// Bytes of the filter.
    pub(crate) fn filter_len(&self) -> usize {
        self.filter.len()
    }

    /// What the run says about its entries.
    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
    }

    /// What `use_it` makes of the entry of `key`, tombstones included, whatever the filter says; it answers `None` if it finds
    /// the block damaged. Costs one search of the block index and one of a block.
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    #[inline]
    pub(super) fn find<T>(
        &self,
        key: &[u8],
        hash: KeyHash,
        use_it: impl FnOnce(&Found<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.find_block(key) {
            Some(number) => self.find_in(number, key, hash, use_it),
            None => Ok(None),
        }
    }

    /// As [`Run::find`], in the block that [`Run::find_block`] found.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub(super) fn find_in<T>(
        &self,
        number: usize,
        key: &[u8],
        hash: KeyHash,
        use_it: impl FnOnce(&Found<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let frame = self.frame(number)?;
        touch_lines(frame.bytes(), LINES_OF_LOOKUP);
        let use_found = || {
            let layout = Layout::parse(frame.bytes())?;
            let Some(head) = Block::new(frame.bytes(), &layout).find(key, hash)? else { return Ok(None) };
            let found = Found { head, frame: &frame, hasher: &self.hasher };
            use_it(&found).map(Some).ok_or(Malformed { at: 0 })
        };
        use_found().map_err(|malformed| self.malformed_block(number, malformed))
    }

    /// Why the filter is not used, if it was found damaged. The run answers rightly without it, but slower.
    pub(crate) fn filter_damage(&self) -> Option<&Error> {
        self.filter_damage.as_ref()
    }

    /// Number of blocks.
    pub(super) fn block_count(&self) -> usize {
        // Bounded by the length of the index when the run was opened.
        self.properties.blocks as usize
    }

    /// The number of the block that holds `key` if any does that is not passed over.
    pub(super) fn find_block(&self, key: &[u8]) -> Option<usize> {
        let number = self.fences.find(key)?;
        if !self.holes.is_empty() && self.is_hole(key, number) { None } else { Some(number) }
    }

    /// The number of the block that a walk to or from `key` comes to.
    pub(super) fn block_at(&self, key: &[u8]) -> Option<usize> {
        self.fences.find(key)
    }

    /// The fence of block `number`: a key at or below all of its keys and above those of the block before.
    pub(super) fn fence(&self, number: usize) -> Option<Vec<u8>> {
        self.fences.fence(number)
    }

    /// The plain block `number`, its checksum checked, for a lookup. One that is stored compressed is kept for the next.
    ///
    /// # Errors
    /// `Corruption`, `UnsupportedCodec`, `Io`.
    #[inline]
    pub(super) fn frame(&self, number: usize) -> Result<Frame<'_>> {
        let stored = self.stored(number)?;
        if !is_compressed(stored.bytes()) { Ok(stored) } else { self.decoded(number, stored.bytes()) }
    }

    #[cold]
    fn decoded(&self, number: usize, stored: &[u8]) -> Result<Frame<'_>> {
        if let Some(kept) = self.decoded.get(number) {
            return Ok(Frame::Read(kept));
        }
        let block = self.decode(number, stored)?;
        self.decoded.keep(number, &block);
        Ok(Frame::Read(block))
    }

    /// The plain block `number`, its checksum checked, to be held on to by a walk.
    ///
    /// # Errors
    /// As [`Run::frame`].
    pub(super) fn block(&self, number: usize) -> Result<Slice> {
        let stored = self.stored(number)?;
        if !is_compressed(stored.bytes()) {
            return stored.slice(0..stored.bytes().len()).ok_or_else(|| self.no_block());
        }
        self.decoded.get(number).map_or_else(|| self.decode(number, stored.bytes()), Ok)
    }

    /// As [`Run::block`], but as the medium has it now.
    ///
    /// # Errors
    /// As there.
    pub(super) fn recheck_block(&self, number: usize) -> Result<Slice> {
        let place = self.fences.place(number).ok_or_else(|| self.no_block())?;
        let stored = self.read_checked(&place)?;
        if is_compressed(&stored) { self.decode(number, &stored) } else { Ok(stored) }
    }

    /// Block `number` as it is stored, its checksum checked and left out.
    #[inline]
    fn stored(&self, number: usize) -> Result<Frame<'_>> {
        let place = self.fences.place(number).ok_or_else(|| self.no_block())?;
        let Some(bytes) = self.mapped(&place) else { return self.read_checked(&place).map(Frame::Read) };
        // Mapped bytes stay as they were.
        if !self.is_checked(number) {
            self.check_mapped(number, place.start, bytes)?;
        }
        let bytes = bytes.split_last_chunk::<CHECKSUM_LEN>().map_or(&[][..], |(bytes, _)| bytes);
        Ok(Frame::Mapped { bytes, file: &*self.file, offset: place.start })
    }

    /// Checks a block at its first read since the opening.
    #[cold]
    fn check_mapped(&self, number: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        // It touches every page, and likely none is in memory.
        self.file.prefetch(offset, bytes.len() as u64);
        self.check(offset, bytes)?;
        self.set_checked(number);
        Ok(())
    }

    /// The block at `place` as the medium has it, its checksum checked and left out.
    fn read_checked(&self, place: &Range<u64>) -> Result<Slice> {
        let len = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
        let read = self.file.read(place.start, len);
        let read = read.map_err(|source| Error::io("read", &self.path, source))?;
        self.check(place.start, &read)?;
        read.sub(0..len.saturating_sub(CHECKSUM_LEN)).ok_or_else(|| self.no_block())
    }

    fn decode(&self, number: usize, stored: &[u8]) -> Result<Slice> {
        match decompress(stored) {
            Ok(plain) => Ok(Slice::from(plain)),
            Err(Undecoded::Malformed(malformed)) => Err(self.malformed_block(number, malformed)),
            Err(Undecoded::Unsupported) => Err(Error::UnsupportedCodec { path: self.path.clone() }),
        }
    }

    fn mapped(&self, place: &Range<u64>) -> Option<&[u8]> {
        let (start, end) = (usize::try_from(place.start).ok()?, usize::try_from(place.end).ok()?);
        self.file.mapped()?.get(start..end)
    }

    /// Begins to fetch what a seek in block `number` will look at, if there is such a block and the file is mapped.
    pub(super) fn touch(&self, number: usize) {
        let block = self.fences.place(number).and_then(|place| self.mapped(&place));
        touch_lines(block.unwrap_or_default(), LINES_OF_SEEK);
    }

    /// Begins to fetch what a walk will read that goes over from block `before` to block `number`.
    pub(super) fn read_ahead(&self, ahead: &mut ReadAhead, before: usize, number: usize) {
        let Some(place) = self.fences.place(number) else { return };
        let fetch = match number > before {
            true => ahead.forward(&place),
            false => ahead.backward(&place),
        };
        if let Some(fetch) = fetch {
            self.file.prefetch(fetch.start, fetch.end - fetch.start);
        }
    }

    fn check(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let is_right = bytes.split_last_chunk().is_some_and(|(covered, stored)| {
            checksum(self.id, offset, covered) == u32::from_le_bytes(*stored)
        });
        if is_right { Ok(()) } else { Err(self.corruption(offset, "a block's checksum does not match")) }
    }

    fn is_checked(&self, number: usize) -> bool {
        let word = self.checked.get(number / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (number % 64)) != 0
    }

    fn set_checked(&self, number: usize) {
        if let Some(word) = self.checked.get(number / 64) {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
    }

    /// Damage to a block's inner structure although its checksum was right.
    pub(super) fn malformed_block(&self, number: usize, malformed: Malformed) -> Error {
        // Where in a compressed block it was is not known.
        let at = (malformed.at as u64).min(self.block_len(number).saturating_sub(1));
        let offset = self.block_offset(number).saturating_add(at);
        self.corruption(offset, "a block with a valid checksum makes no sense")
    }

    fn no_block(&self) -> Error {
        self.corruption(self.fences.end(), "there is no such block")
    }

    /// Damage that was found at `offset`.
    pub(super) fn corruption(&self, offset: u64, what: &'static str) -> Error {
        Error::corruption(&self.path, offset, what)
    }

    /// Where block `number` begins in the file.
    pub(super) fn block_offset(&self, number: usize) -> u64 {
        self.fences.place(number).map_or(0, |place| place.start)
    }

    /// Length of block `number` in the file, checksum included.
    pub(super) fn block_len(&self, number: usize) -> u64 {
        self.fences.place(number).map_or(0, |place| place.end - place.start)
    }

    /// The number of the block that byte `offset` of the file lies in.
    pub(super) fn block_number_at(&self, offset: u64) -> Option<usize> {
        self.fences.number_at(offset)
    }

    /// Reads the word where the filter is asked for the key.
    pub(super) fn touch_filter(&self, hash: KeyHash) -> u64 {
        filter::touch(&self.filter, hash)
    }

    /// Whether the filter lets the key pass.
    pub(super) fn may_contain(&self, hash: KeyHash) -> bool {
        filter::may_contain(&self.filter, hash)
    }
}

/// Length of a block's checksum in bytes.
const CHECKSUM_LEN: usize = 4;

/// Cache lines at the beginning of a usual block that a lookup looks at, and that a seek does.
const LINES_OF_LOOKUP: usize = 4;
const LINES_OF_SEEK: usize = 6;

/// Begins to fetch the first lines of a block all at once: what a search needs next lies in one after the other, and each
/// would be waited for by itself.
fn touch_lines(block: &[u8], lines: usize) {
    let touched = block.iter().step_by(64).take(lines).fold(0, |touched, byte| touched ^ byte);
    std::hint::black_box(touched);
}
