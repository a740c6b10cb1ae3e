//! A run's file as a whole: where its parts lie, what is said about its entries, and the checksum of every part.
//!
//! ```text
//! 0        16 file header, kind "RUNS"
//! 16          blocks, one after the other (`block`)
//!             filter, a whole number of lines of 64 bytes (`filter`)
//!             block index (`fences`)
//!             properties
//! len - 40    trailer:
//!              0  8 offset of the filter       24  4 checksum of the filter
//!              8  8 offset of the block index  28  4 checksum of the block index
//!             16  8 offset of the properties   32  4 checksum of the properties
//!                                              36  4 checksum of bytes 0..36
//! ```
//!
//! Integers are little-endian. Every part ends where the next one begins. A checksum is the CRC-32 of (file number u64,
//! offset of the part u64, bytes), so that bytes of another run or from another place are not taken for these.
//!
//! Easy to get wrong: the filter is the one part without which a run still answers rightly, so damage there is reported
//! and not fatal. Everything else fails the open.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::format::HEADER_LEN;
use crate::hash::PREFIX_LEN;
use crate::types::{FileId, Key, SegmentId, SeqNo};

use super::fences::FENCE_LEN_MIN;

/// Length of the trailer in bytes.
pub(super) const TRAILER_LEN: usize = 40;

/// The longest inner key.
pub(super) const INNER_KEY_LEN_MAX: usize = PREFIX_LEN + Key::LEN_MAX;

/// Checksum of a part of file `id` that lies at `offset`.
pub(super) fn checksum(id: FileId, offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.0.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// A part of the file and the checksum that it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) range: Range<u64>,
    pub(super) checksum: u32,
}

/// The parts behind the blocks, which end where the filter begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) filter: Part,
    pub(super) fences: Part,
    pub(super) properties: Part,
}

impl Trailer {
    fn parts(&self) -> [&Part; 3] {
        [&self.filter, &self.fences, &self.properties]
    }

    /// The trailer's bytes, in file `id`.
    pub(super) fn encode(&self, id: FileId) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_LEN);
        self.parts().iter().for_each(|part| out.extend_from_slice(&part.range.start.to_le_bytes()));
        self.parts().iter().for_each(|part| out.extend_from_slice(&part.checksum.to_le_bytes()));
        let checksum = checksum(id, self.properties.range.end, &out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The trailer in `bytes`, which lie at `offset` in file `id`.
    pub(super) fn decode(id: FileId, offset: u64, bytes: &[u8]) -> Result<Trailer, Malformed> {
        let mut reader = Reader::new(bytes);
        let starts = [reader.u64()?, reader.u64()?, reader.u64()?, offset];
        let checksums = [reader.u32()?, reader.u32()?, reader.u32()?];
        let sealed = bytes.get(..reader.position()).unwrap_or_default();
        let is_in_order = starts.is_sorted() && starts[0] >= HEADER_LEN as u64;
        if !is_in_order || reader.u32()? != checksum(id, offset, sealed) || !reader.is_at_end() {
            return Err(reader.malformed());
        }
        let part = |at: usize| Part { range: starts[at]..starts[at + 1], checksum: checksums[at] };
        Ok(Trailer { filter: part(0), fences: part(1), properties: part(2) })
    }
}

/// What a run says about its entries.
///
/// ```text
/// properties = blocks varint | entries varint | tombstones varint | least seqno varint | greatest seqno varint
///            | greatest clock value varint | smallest key: length varint, bytes | largest key: the same
///            | number of segments varint | for each, rising: segment varint | bytes of values in it varint
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Properties {
    /// Number of blocks.
    pub(crate) blocks: u64,
    /// Number of entries, tombstones included.
    pub(crate) entries: u64,
    /// Number of tombstones.
    pub(crate) tombstones: u64,
    /// Least and greatest sequence number of the entries; both zero if there are none.
    pub(crate) seqnos: (SeqNo, SeqNo),
    /// Greatest clock value of any stamp.
    pub(crate) clock_max: u64,
    /// Smallest and largest key; both empty if there are none.
    pub(crate) keys: (Vec<u8>, Vec<u8>),
    /// Bytes of the values in the log that entries point to, by segment. A segment that no run names holds no value that
    /// is needed.
    pub(crate) referenced: BTreeMap<SegmentId, u64>,
}

impl Properties {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (first, last) = self.seqnos;
        for number in [self.blocks, self.entries, self.tombstones, first.0, last.0, self.clock_max] {
            put_varint(&mut out, number);
        }
        put_len_bytes(&mut out, &self.keys.0);
        put_len_bytes(&mut out, &self.keys.1);
        put_varint(&mut out, self.referenced.len() as u64);
        for (segment, bytes) in &self.referenced {
            put_varint(&mut out, u64::from(segment.0));
            put_varint(&mut out, *bytes);
        }
        out
    }

    /// The properties in `bytes`, of a run with `blocks_len` bytes of blocks and a block index of `fences_len`. What they say
    /// of numbers is bounded by what the file could hold, so that later allocations by them are.
    pub(super) fn decode(bytes: &[u8], blocks_len: u64, fences_len: u64) -> Result<Properties, Malformed> {
        let mut reader = Reader::new(bytes);
        let (blocks, entries, tombstones) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let seqnos = (SeqNo(reader.varint()?), SeqNo(reader.varint()?));
        let clock_max = reader.varint()?;
        let mut key = || Ok(reader.len_bytes(INNER_KEY_LEN_MAX)?.to_vec());
        let keys = (key()?, key()?);
        let mut referenced = BTreeMap::new();
        for _ in 0..reader.len(bytes.len())? {
            let segment = u32::try_from(reader.varint()?).map_err(|_| reader.malformed())?;
            referenced.insert(SegmentId(segment), reader.varint()?);
        }
        // An entry takes a byte in the file however well its block is compressed: its tag is a byte of a hash.
        let is_possible = blocks <= fences_len / FENCE_LEN_MIN
            && entries <= blocks_len
            && tombstones <= entries
            && (blocks == 0) == (entries == 0);
        if !is_possible || !reader.is_at_end() {
            return Err(reader.malformed());
        }
        Ok(Properties { blocks, entries, tombstones, seqnos, clock_max, keys, referenced })
    }
}
