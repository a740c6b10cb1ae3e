//! [`RunWriter`]: writes a new run from entries in key order, in one pass.
//!
//! Memory: one block, a buffer of [`WRITE_LEN`] or [`LARGE_WRITE_LEN`], the block index (about 8 bytes per block) and the filter, which is sized
//! by an upper bound of the number of entries and folded at the end, so that no list of hashes is kept (`filter`).
//!
//! Easy to get wrong: the file is durable when [`RunWriter::finish`] returns, its name is not: fsync the folder, and only
//! then name the run in a manifest edit. A writer dropped before leaves a file that nobody names; removing it is the
//! caller's business.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::hash::KeyHash;
use crate::types::{Compression, FileId, Kind, SeqNo};
use crate::vfs::{Vfs, WritableFile};

use super::block::{BLOCK_LEN, BlockBuilder, Compressor};
use super::entry::{HeadRef, RunValue};
use super::fences::{FencesBuilder, separator};
use super::filter::FilterBuilder;
use super::layout::{Part, Properties, Trailer, checksum};

/// Bytes that are collected before they are written.
const WRITE_LEN: usize = 256 << 10;

/// As much is written at a time of a run of [`LARGE_ENTRIES`] and more: where the system can, it keeps whole writes of this
/// length in large pages, and reads from there find memory a tenth sooner. Shorter runs are soon merged, and writing from a
/// buffer that is no longer in the processor's caches costs them a tenth of a merge.
const LARGE_WRITE_LEN: usize = 2 << 20;
const LARGE_ENTRIES: usize = 1 << 19;

/// A run while it is being written.
#[derive(Debug)]
pub(crate) struct RunWriter {
    id: FileId,
    path: PathBuf,
    file: Box<dyn WritableFile>,
    /// Bytes not yet written, which begin at `written` in the file.
    buffer: Vec<u8>,
    written: u64,
    write_len: usize,
    block: BlockBuilder,
    compressor: Compressor,
    /// Fence of the block that is being collected.
    fence: Vec<u8>,
    last_key: Vec<u8>,
    filter: FilterBuilder,
    fences: FencesBuilder,
    properties: Properties,
}

impl RunWriter {
    /// Begins run `id` in folder `dir`, for at most about `entries_max` entries, its blocks stored as `compression` says.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn create(
        vfs: &dyn Vfs,
        dir: &Path,
        id: FileId,
        entries_max: usize,
        compression: Compression,
    ) -> Result<RunWriter> {
        let path = dir.join(FileKind::Run.name(id.0));
        let file = vfs.create(&path, 0).map_err(|source| Error::io("create", &path, source))?;
        let write_len = if entries_max < LARGE_ENTRIES { WRITE_LEN } else { LARGE_WRITE_LEN };
        // With room for what a usual block adds to a buffer that is nearly full, or it would become twice as long.
        let mut buffer = Vec::with_capacity(write_len + 2 * BLOCK_LEN);
        buffer.extend_from_slice(&FileKind::Run.header());
        Ok(RunWriter {
            id,
            path,
            file,
            buffer,
            written: 0,
            write_len,
            block: BlockBuilder::default(),
            compressor: Compressor::new(compression),
            fence: Vec::new(),
            last_key: Vec::new(),
            filter: FilterBuilder::new(entries_max),
            fences: FencesBuilder::default(),
            properties: Properties::default(),
        })
    }

    /// Adds the entry of the next key. Keys rise strictly; `hash` is the key's.
    ///
    /// # Errors
    /// `Io`; the writer is of no more use.
    pub(crate) fn push(&mut self, key: &[u8], hash: KeyHash, head: HeadRef<'_>) -> Result<()> {
        debug_assert!(self.properties.entries == 0 || *self.last_key < *key, "keys rise strictly");
        if self.block.is_full_for(key, &head) {
            self.close_block()?;
        }
        if self.block.is_empty() {
            // The very first fence is the whole key: shortened it would be a byte long, and a section of its own.
            let is_first = self.properties.entries == 0;
            let fence = if is_first { key } else { separator(&self.last_key, key) };
            self.fence.clear();
            self.fence.extend_from_slice(fence);
        }
        self.properties.add(key, &head);
        self.filter.insert(hash);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.block.push(key, hash, &head);
        Ok(())
    }

    /// The last key that was added; empty before the first.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Bytes of the file so far.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn close_block(&mut self) -> Result<()> {
        let offset = self.len();
        self.properties.blocks += 1;
        let start = self.buffer.len();
        self.block.finish(&mut self.buffer);
        // No fence is longer than its block: that bounds what readers take for it.
        self.compressor.compress(&mut self.buffer, start, self.fence.len());
        let checksum = checksum(self.id, offset, self.buffer.get(start..).unwrap_or_default());
        self.buffer.extend_from_slice(&checksum.to_le_bytes());
        self.fences.push(&self.fence, self.len() - offset);
        // Every write begins at a multiple of its length.
        while self.buffer.len() >= self.write_len {
            self.write(self.write_len)?;
        }
        Ok(())
    }

    /// Writes the first `len` bytes of the buffer.
    fn write(&mut self, len: usize) -> Result<()> {
        let bytes = self.buffer.get(..len).unwrap_or_default();
        let written = self.file.write_all_at(self.written, bytes);
        written.map_err(|source| Error::io("write", &self.path, source))?;
        self.file.begin_sync(self.written, len as u64);
        self.written += len as u64;
        self.buffer.drain(..len);
        Ok(())
    }

    fn put_part(&mut self, bytes: &[u8]) -> Result<Part> {
        let start = self.len();
        self.buffer.extend_from_slice(bytes);
        self.write(self.buffer.len())?;
        Ok(Part { range: start..self.len(), checksum: checksum(self.id, start, bytes) })
    }

    /// Writes what is left and fsyncs the file. Returns what the run says about its entries.
    ///
    /// # Errors
    /// `Io`: the file may be there in part.
    pub(crate) fn finish(mut self) -> Result<Properties> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        self.properties.keys.1 = std::mem::take(&mut self.last_key);
        let fences = std::mem::take(&mut self.fences).finish();
        let filter = std::mem::replace(&mut self.filter, FilterBuilder::new(0)).finish();
        let properties = self.properties.encode();
        let trailer = Trailer {
            filter: self.put_part(&filter)?,
            fences: self.put_part(&fences)?,
            properties: self.put_part(&properties)?,
        };
        self.put_part(&trailer.encode(self.id))?;
        self.file.sync().map_err(|source| Error::io("fsync", &self.path, source))?;
        Ok(self.properties)
    }
}

impl Properties {
    /// Counts an entry; keys come in rising order.
    pub(super) fn add(&mut self, key: &[u8], head: &HeadRef<'_>) {
        if self.entries == 0 {
            self.keys.0 = key.to_vec();
            self.seqnos = (SeqNo::MAX, SeqNo::ZERO);
        }
        self.entries += 1;
        self.tombstones += u64::from(head.kind == Kind::Tombstone);
        self.seqnos = (self.seqnos.0.min(head.seqno), self.seqnos.1.max(head.seqno));
        self.clock_max = self.clock_max.max(head.stamp.hlc);
        if let RunValue::Log(location, _) = head.value {
            *self.referenced.entry(location.segment).or_default() += u64::from(location.len);
        }
    }
}
