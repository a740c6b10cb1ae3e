//! [`Run`]: an immutable sorted file of entries, one version per key, open for reading.
//!
//! Index and filter stay where they are in the mapped file, checked once at open; a block is checked at its first read.
//! A point lookup touches the filter, a binary search over first keys, and one block.
//!
//! Easy to get wrong: damage must come out as `Corruption`, never as "not found". `docs/format.md` shows the layout,
//! `writer` writes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block::Block;
use super::filter;
use super::writer::{FOOTER_LEN, FOOTER_MAGIC, Properties, block_checksum};
use crate::codec::{Malformed, Reader};
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::hash::{KeyHash, PREFIX_LEN, SetHasher};
use crate::types::{FileId, Head, Key, KeyRange, SegmentId, SeqNo, Slice};
use crate::vfs::{ReadMode, ReadableFile, Vfs};

/// The longest inner key.
const KEY_LEN_MAX: usize = Key::LEN_MAX + PREFIX_LEN;

/// The longest block that is believed: a full one and an entry with the longest key and inline value.
const BLOCK_LEN_MAX: usize = 1 << 20;

/// Bytes after a block's payload.
const CHECKSUM_LEN: usize = 4;

/// An open run.
#[derive(Debug)]
pub(crate) struct Run {
    id: FileId,
    path: PathBuf,
    file: Arc<dyn ReadableFile>,
    hasher: Arc<SetHasher>,
    index: Slice,
    index_offset: u64,
    block_count: usize,
    filter: Slice,
    properties: Properties,
    /// One bit per block whose checksum was found right since the run was opened.
    checked: Box<[AtomicU64]>,
}

/// Where a block is.
#[derive(Debug, Clone, Copy)]
struct BlockPlace {
    offset: u64,
    len: usize,
}

impl Run {
    /// Opens run `id` in `dir`, checking header, footer, index, filter and properties.
    ///
    /// # Errors
    /// `UnsupportedVersion`, `Corruption`, `Io`.
    pub(crate) fn open(
        vfs: &dyn Vfs,
        dir: &Path,
        id: FileId,
        mode: ReadMode,
        hasher: Arc<SetHasher>,
    ) -> Result<Run> {
        let path = dir.join(FileKind::Run.name(id.0));
        let file = vfs.open(&path, mode).map_err(|source| Error::io("open", &path, source))?;
        let read = |offset: u64, len: u64| {
            let len =
                usize::try_from(len).map_err(|_| Error::corruption(&path, offset, "longer than memory"))?;
            file.read(offset, len).map_err(|source| Error::io("read", &path, source))
        };
        let header = read(0, file.len().min(HEADER_LEN as u64))?;
        FileKind::Run.check(&path, &header)?;
        let Some(footer_at) = file.len().checked_sub(FOOTER_LEN as u64).filter(|&at| at >= HEADER_LEN as u64)
        else {
            return Err(Error::corruption(&path, file.len(), "the run ends before its footer"));
        };
        let footer = read(footer_at, FOOTER_LEN as u64)?;
        let parts = parse_footer(&footer)
            .map_err(|_| Error::corruption(&path, footer_at, "the footer is damaged"))?;
        let mut slices = Vec::with_capacity(parts.len());
        for (offset, len, checksum) in parts {
            if offset.checked_add(len).is_none_or(|end| end > footer_at) {
                return Err(Error::corruption(&path, footer_at, "the footer points beyond the file"));
            }
            let slice = read(offset, len)?;
            if crc32fast::hash(&slice) != checksum {
                return Err(Error::corruption(
                    &path,
                    offset,
                    "index, filter or properties do not match their checksum",
                ));
            }
            slices.push((offset, slice));
        }
        let [(index_offset, index), (_, filter), (properties_offset, properties)] =
            <[_; 3]>::try_from(slices)
                .map_err(|_| Error::corruption(&path, footer_at, "the footer is damaged"))?;
        let properties = parse_properties(&properties)
            .map_err(|_| Error::corruption(&path, properties_offset, "the properties make no sense"))?;
        let block_count = block_count(&index)
            .map_err(|_| Error::corruption(&path, index_offset, "the index makes no sense"))?;
        let checked = (0..block_count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Run { id, path, file, hasher, index, index_offset, block_count, filter, properties, checked })
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.file.len()
    }

    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The entry of `key`.
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub(crate) fn get(&self, key: &[u8], hash: KeyHash) -> Result<Option<Head>> {
        if !filter::may_contain(&self.filter, filter::filter_hash(hash)) {
            return Ok(None);
        }
        let Some(index) = self.block_of(key)? else { return Ok(None) };
        let (block, place) = self.block(index)?;
        let malformed = |_: Malformed| self.malformed(place.offset);
        match block.find(key, hash).map_err(malformed)? {
            Some(entry) => block.head(entry, &self.hasher).map(Some).map_err(malformed),
            None => Ok(None),
        }
    }

    /// Reads everything: checksums, order of keys, counts, and that the filter knows every key.
    ///
    /// # Errors
    /// `Corruption` for the first thing that does not hold, `Io`.
    pub(crate) fn verify(&self) -> Result<()> {
        let mut before: Option<Vec<u8>> = None;
        let mut entries = 0;
        for index in 0..self.block_count {
            // A block whose checksum was right once may have been damaged since.
            self.checked.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            let (block, place) = self.block(index)?;
            for entry in 0..block.count() {
                let key = block.key(entry).map_err(|_| self.malformed(place.offset))?;
                block.head(entry, &self.hasher).map_err(|_| self.malformed(place.offset))?;
                if before.as_ref().is_some_and(|before| *before >= key) {
                    return Err(Error::corruption(&self.path, place.offset, "keys are out of order"));
                }
                let hash = self.hasher.key(&key);
                if !filter::may_contain(&self.filter, filter::filter_hash(hash))
                    || block.find(&key, hash).ok().flatten() != Some(entry)
                {
                    return Err(Error::corruption(
                        &self.path,
                        place.offset,
                        "a key cannot be found by its hash",
                    ));
                }
                before = Some(key);
                entries += 1;
            }
        }
        if entries != self.properties.entries {
            return Err(Error::corruption(&self.path, self.index_offset, "entries are missing"));
        }
        Ok(())
    }

    fn malformed(&self, offset: u64) -> Error {
        Error::corruption(&self.path, offset, "a block with a valid checksum makes no sense")
    }

    fn bad_index(&self) -> Error {
        Error::corruption(&self.path, self.index_offset, "the index makes no sense")
    }

    /// First key and place of block `index`.
    fn index_entry(&self, index: usize) -> Result<(&[u8], BlockPlace), Malformed> {
        let table = self.index.len() - CHECKSUM_LEN - 4 * self.block_count;
        let mut reader = Reader::new(&self.index);
        reader.bytes(table + 4 * index)?;
        let at = reader.u32()? as usize;
        let mut reader = Reader::new(&self.index);
        reader.bytes(at)?;
        let first = reader.len_bytes(KEY_LEN_MAX)?;
        // The reader's borrow is the index's, so the key outlives the reader.
        let (offset, len) = (reader.varint()?, reader.len(BLOCK_LEN_MAX)?);
        Ok((first, BlockPlace { offset, len }))
    }

    /// The block that holds `key` if any does: the last one whose first key is not above it.
    fn block_of(&self, key: &[u8]) -> Result<Option<usize>> {
        let (mut low, mut high) = (0, self.block_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (first, _) = self.index_entry(middle).map_err(|_| self.bad_index())?;
            if first <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }

    /// Reads block `index`, and checks it unless that was done before.
    fn block(&self, index: usize) -> Result<(Block, BlockPlace)> {
        let (_, place) = self.index_entry(index).map_err(|_| self.bad_index())?;
        let bytes = self.file.read(place.offset, place.len + CHECKSUM_LEN);
        let bytes = bytes.map_err(|source| Error::io("read", &self.path, source))?;
        let (payload, checksum) = bytes.split_at(place.len.min(bytes.len()));
        let (word, bit) = (self.checked.get(index / 64), 1 << (index % 64));
        if word.is_none_or(|word| word.load(Ordering::Relaxed) & bit == 0) {
            if block_checksum(place.offset, payload).to_le_bytes() != checksum {
                return Err(Error::corruption(
                    &self.path,
                    place.offset,
                    "a block does not match its checksum",
                ));
            }
            if let Some(word) = word {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        let payload = bytes.sub(0..place.len).unwrap_or_default();
        Ok((Block::parse(payload).map_err(|_| self.malformed(place.offset))?, place))
    }
}

/// Offset, length and checksum of index, filter and properties.
fn parse_footer(footer: &[u8]) -> Result<[(u64, u64, u32); 3], Malformed> {
    let mut reader = Reader::new(footer);
    let index = (reader.u64()?, reader.u64()?, reader.u32()?);
    let filter = (reader.u64()?, reader.u64()?, reader.u32()?);
    let properties = (reader.u64()?, u64::from(reader.u32()?), reader.u32()?);
    let covered = footer.get(..reader.position()).unwrap_or_default();
    if reader.u32()? != crc32fast::hash(covered) || reader.bytes(4)? != FOOTER_MAGIC {
        return Err(reader.malformed());
    }
    Ok([index, filter, properties])
}

fn parse_properties(bytes: &[u8]) -> Result<Properties, Malformed> {
    let mut reader = Reader::new(bytes);
    let (entries, tombstones) = (reader.varint()?, reader.varint()?);
    let (least_seqno, greatest_seqno) = (SeqNo(reader.varint()?), SeqNo(reader.varint()?));
    let least_key = reader.len_bytes(KEY_LEN_MAX)?.to_vec();
    let greatest_key = reader.len_bytes(KEY_LEN_MAX)?.to_vec();
    let mut referenced = std::collections::BTreeMap::new();
    for _ in 0..reader.len(bytes.len())? {
        let segment = u32::try_from(reader.varint()?).map_err(|_| reader.malformed())?;
        referenced.insert(SegmentId(segment), reader.varint()?);
    }
    Ok(Properties { entries, tombstones, least_seqno, greatest_seqno, least_key, greatest_key, referenced })
}

fn block_count(index: &[u8]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(index);
    reader.bytes(index.len().saturating_sub(CHECKSUM_LEN))?;
    let count = reader.u32()? as usize;
    // Every block has a table entry of four bytes and an index entry of three at least.
    if count > index.len() / 7 { Err(reader.malformed()) } else { Ok(count) }
}

/// A position between entries: before entry `entry` of block `block`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    block: usize,
    entry: usize,
}

/// A double-ended walk over a range of a run. It holds the blocks that its two ends stand in.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    range: KeyRange,
    /// `None` until the first step, so that making a cursor reads nothing.
    ends: Option<(Position, Position)>,
    front_block: Option<(usize, Block)>,
    back_block: Option<(usize, Block)>,
}

impl RunCursor {
    pub(crate) fn new(run: Arc<Run>, range: &KeyRange) -> RunCursor {
        RunCursor { run, range: range.clone(), ends: None, front_block: None, back_block: None }
    }

    /// The next entry from the front.
    ///
    /// # Errors
    /// `Corruption`, `Io`; the cursor has not moved.
    pub(crate) fn next(&mut self) -> Result<Option<(Vec<u8>, Head)>> {
        let (front, back) = self.ends()?;
        if front >= back {
            return Ok(None);
        }
        let block = load(&self.run, &mut self.front_block, front.block)?;
        let entry = read(&self.run, block, front)?;
        let after = Position { entry: front.entry + 1, ..front };
        let front =
            if after.entry < block.count() { after } else { Position { block: front.block + 1, entry: 0 } };
        self.ends = Some((front, back));
        Ok(Some(entry))
    }

    /// The next entry from the back.
    ///
    /// # Errors
    /// As [`RunCursor::next`].
    pub(crate) fn next_back(&mut self) -> Result<Option<(Vec<u8>, Head)>> {
        let (front, back) = self.ends()?;
        if front >= back {
            return Ok(None);
        }
        let at = match back.entry.checked_sub(1) {
            Some(entry) => Position { entry, ..back },
            None => {
                let block = back.block.saturating_sub(1);
                let count = load(&self.run, &mut self.back_block, block)?.count();
                Position { block, entry: count - 1 }
            }
        };
        let entry = read(&self.run, load(&self.run, &mut self.back_block, at.block)?, at)?;
        self.ends = Some((front, at));
        Ok(Some(entry))
    }

    fn ends(&mut self) -> Result<(Position, Position)> {
        if let Some(ends) = self.ends {
            return Ok(ends);
        }
        let front = self.seek(&self.range.start.clone())?;
        let back = match self.range.end.clone() {
            Some(end) => self.seek(&end)?,
            None => Position { block: self.run.block_count, entry: 0 },
        };
        self.ends = Some((front, back));
        Ok((front, back))
    }

    /// The position before the first entry at or after `key`.
    fn seek(&mut self, key: &[u8]) -> Result<Position> {
        let Some(index) = self.run.block_of(key)? else { return Ok(Position { block: 0, entry: 0 }) };
        let (block, place) = self.run.block(index)?;
        let entry = block.lower_bound(key).map_err(|_| self.run.malformed(place.offset))?;
        if entry < block.count() {
            Ok(Position { block: index, entry })
        } else {
            Ok(Position { block: index + 1, entry: 0 })
        }
    }
}

fn load<'a>(run: &Run, held: &'a mut Option<(usize, Block)>, index: usize) -> Result<&'a Block> {
    if held.as_ref().is_none_or(|(at, _)| *at != index) {
        *held = Some((index, run.block(index)?.0));
    }
    held.as_ref().map(|(_, block)| block).ok_or_else(|| run.bad_index())
}

fn read(run: &Run, block: &Block, at: Position) -> Result<(Vec<u8>, Head)> {
    let entry = block.key(at.entry).and_then(|key| Ok((key, block.head(at.entry, &run.hasher)?)));
    entry.map_err(|_| run.bad_index())
}
