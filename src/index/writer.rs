//! [`RunWriter`]: writes a run, entry by entry, in key order.
//!
//! ```text
//! 0   16  file header, kind "RUNS"
//! 16      blocks, each followed by the CRC-32 u32 over (offset of the block u64, payload)
//!         index: for each block: first key length varint, bytes | offset varint | payload length varint
//!                then for each block: where its index entry begins, u32 from the start of the index; then block count u32
//!         filter: whole 64-byte lines
//!         properties: entries varint | tombstones varint | least seqno varint | greatest seqno varint
//!                | least key, greatest key: length varint, bytes
//!                | referenced segments varint | for each: segment varint, bytes of values pointed to varint
//! end-64  footer: index offset u64, length u64, CRC u32 | filter offset u64, length u64, CRC u32
//!                | properties offset u64, length u32, CRC u32 | CRC u32 of the footer's bytes before | "RUNF"
//! ```
//!
//! Memory while writing: one block, sixteen bytes per key for the filter and index. Easy to get wrong: the file is durable
//! after [`RunWriter::finish`], its name only after a sync of the folder, which is the caller's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::block::BlockBuilder;
use super::filter;
use crate::codec::{put_len_bytes, put_varint};
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::hash::KeyHash;
use crate::types::{FileId, Head, Kind, SegmentId, SeqNo, ValueRef};
use crate::vfs::{Vfs, WritableFile};

/// A block is closed when it reaches this many bytes.
const BLOCK_LEN: usize = 8 << 10;

/// Bytes that are collected before they are written.
const WRITE_LEN: usize = 256 << 10;

/// Length of the footer in bytes.
pub(super) const FOOTER_LEN: usize = 64;

/// Last bytes of a run.
pub(super) const FOOTER_MAGIC: &[u8; 4] = b"RUNF";

/// What a run tells about itself without its blocks being read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Properties {
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) least_seqno: SeqNo,
    pub(crate) greatest_seqno: SeqNo,
    pub(crate) least_key: Vec<u8>,
    pub(crate) greatest_key: Vec<u8>,
    /// Bytes of large values that heads here point to, by the segment that has them.
    pub(crate) referenced: BTreeMap<SegmentId, u64>,
}

/// A run being written.
#[derive(Debug)]
pub(crate) struct RunWriter {
    path: PathBuf,
    file: Box<dyn WritableFile>,
    /// Bytes not yet written, and where they go.
    pending: Vec<u8>,
    offset: u64,
    block: BlockBuilder,
    index: Vec<u8>,
    index_entries: Vec<u32>,
    filter_hashes: Vec<u64>,
    properties: Properties,
}

/// Offset, length and checksum of one part of the file.
#[derive(Debug, Clone, Copy)]
struct Part {
    offset: u64,
    len: u64,
    checksum: u32,
}

impl RunWriter {
    /// Begins run `id` in `dir`.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn create(vfs: &dyn Vfs, dir: &Path, id: FileId) -> Result<RunWriter> {
        let path = dir.join(FileKind::Run.name(id.0));
        let file = vfs.create(&path, 0).map_err(|source| Error::io("create", &path, source))?;
        Ok(RunWriter {
            path,
            file,
            pending: FileKind::Run.header().to_vec(),
            offset: 0,
            block: BlockBuilder::default(),
            index: Vec::new(),
            index_entries: Vec::new(),
            filter_hashes: Vec::new(),
            properties: Properties { least_seqno: SeqNo::MAX, ..Properties::default() },
        })
    }

    /// Adds an entry. Keys rise from call to call. A value that is staged is written as its place in the log.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn push(&mut self, key: &[u8], hash: KeyHash, head: Head) -> Result<()> {
        debug_assert!(self.properties.entries == 0 || *key > *self.properties.greatest_key, "keys rise");
        let properties = &mut self.properties;
        if properties.entries == 0 {
            properties.least_key = key.to_vec();
        }
        properties.entries += 1;
        properties.tombstones += u64::from(head.kind == Kind::Tombstone);
        properties.least_seqno = properties.least_seqno.min(head.seqno);
        properties.greatest_seqno = properties.greatest_seqno.max(head.seqno);
        properties.greatest_key.clear();
        properties.greatest_key.extend_from_slice(key);
        if let ValueRef::Staged { location, .. } | ValueRef::Log(location) = &head.value {
            *properties.referenced.entry(location.segment).or_default() += u64::from(location.len);
        }
        self.filter_hashes.push(filter::filter_hash(hash));
        self.block.push(key, hash, head);
        if self.block.len() >= BLOCK_LEN {
            self.close_block()?;
        }
        Ok(())
    }

    /// Bytes written and pending so far.
    pub(crate) fn len(&self) -> u64 {
        self.offset + self.pending.len() as u64
    }

    fn close_block(&mut self) -> Result<()> {
        let offset = self.len();
        self.index_entries.push(self.index.len() as u32);
        put_len_bytes(&mut self.index, self.block.first_key());
        let payload = self.block.finish();
        put_varint(&mut self.index, offset);
        put_varint(&mut self.index, payload.len() as u64);
        self.pending.extend_from_slice(&payload);
        self.pending.extend_from_slice(&block_checksum(offset, &payload).to_le_bytes());
        if self.pending.len() >= WRITE_LEN { self.write_pending() } else { Ok(()) }
    }

    fn write_pending(&mut self) -> Result<()> {
        let written = self.file.write_all_at(self.offset, &self.pending);
        written.map_err(|source| Error::io("write", &self.path, source))?;
        self.offset += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn put_part(&mut self, bytes: &[u8]) -> Part {
        let part = Part { offset: self.len(), len: bytes.len() as u64, checksum: crc32fast::hash(bytes) };
        self.pending.extend_from_slice(bytes);
        part
    }

    /// Writes index, filter and footer and makes the file's bytes durable.
    ///
    /// # Errors
    /// `Io`; the file may be there in part.
    pub(crate) fn finish(mut self) -> Result<Properties> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        let mut index = std::mem::take(&mut self.index);
        let entries = std::mem::take(&mut self.index_entries);
        entries.iter().for_each(|at| index.extend_from_slice(&at.to_le_bytes()));
        index.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        let filter_bytes = filter::build(&std::mem::take(&mut self.filter_hashes));
        let properties = encode_properties(&self.properties);

        let index = self.put_part(&index);
        let filter = self.put_part(&filter_bytes);
        let properties = self.put_part(&properties);
        let mut footer = Vec::with_capacity(FOOTER_LEN);
        for part in [index, filter] {
            footer.extend_from_slice(&part.offset.to_le_bytes());
            footer.extend_from_slice(&part.len.to_le_bytes());
            footer.extend_from_slice(&part.checksum.to_le_bytes());
        }
        footer.extend_from_slice(&properties.offset.to_le_bytes());
        footer.extend_from_slice(&(properties.len as u32).to_le_bytes());
        footer.extend_from_slice(&properties.checksum.to_le_bytes());
        footer.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
        footer.extend_from_slice(FOOTER_MAGIC);
        self.pending.extend_from_slice(&footer);
        self.write_pending()?;
        self.file.sync().map_err(|source| Error::io("fsync", &self.path, source))?;
        Ok(self.properties)
    }
}

/// The offset is part of the checksum, so that a block that landed in another place is not taken for this one.
pub(super) fn block_checksum(offset: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn encode_properties(properties: &Properties) -> Vec<u8> {
    let mut out = Vec::new();
    let numbers =
        [properties.entries, properties.tombstones, properties.least_seqno.0, properties.greatest_seqno.0];
    numbers.into_iter().for_each(|number| put_varint(&mut out, number));
    put_len_bytes(&mut out, &properties.least_key);
    put_len_bytes(&mut out, &properties.greatest_key);
    put_varint(&mut out, properties.referenced.len() as u64);
    for (segment, bytes) in &properties.referenced {
        put_varint(&mut out, u64::from(segment.0));
        put_varint(&mut out, *bytes);
    }
    out
}
