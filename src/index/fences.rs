//! The block index of a run: a fence key for each block and where the block lies.
//!
//! A block's *fence* is a key at or below its first key and above every key of the block before.
//!
//! ```text
//! fences = for each block: length of the block varint | bytes of its fence that the fence before begins with varint
//!        | rest of its fence: length varint, bytes
//! ```
//!
//! Blocks lie one after the other, so lengths tell places. The index is read once, when the run is opened, into a form in
//! which a search costs two or three cache misses of the processor: eight bytes of each fence as a number, and a table
//! that tells which few of these numbers come into question. The fences of a keyspace begin with the same bytes, which
//! are taken away first, so that the eight bytes beyond differ.
//!
//! Easy to get wrong: the bytes have passed a checksum, and still every read of them is bounded; and a fence may be much
//! longer than its entry in the index, so what it takes in memory is bounded by its block.

use std::ops::Range;

use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::hash::PREFIX_LEN;

/// The least bytes that the index spends on a block, by which a number of blocks can be checked before it is believed.
pub(super) const FENCE_LEN_MIN: u64 = 3;

/// Bytes of a key that a head holds.
const HEAD_LEN: usize = 8;

/// The shortest key above `before` and not above `first`. `before` is below `first`.
pub(super) fn separator<'a>(before: &[u8], first: &'a [u8]) -> &'a [u8] {
    let shared = common_len(before, first);
    first.get(..=shared).unwrap_or(first)
}

/// Length of the common prefix of two keys.
pub(super) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Collects fences in key order: a few bytes for each block of the run.
#[derive(Debug, Default)]
pub(super) struct FencesBuilder {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl FencesBuilder {
    /// Adds the fence of a block of `len` bytes.
    pub(super) fn push(&mut self, fence: &[u8], len: u64) {
        let shared = common_len(&self.last, fence);
        put_varint(&mut self.bytes, len);
        put_varint(&mut self.bytes, shared as u64);
        put_len_bytes(&mut self.bytes, &fence[shared..]);
        self.last.truncate(shared);
        self.last.extend_from_slice(&fence[shared..]);
    }

    /// The index's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads fences one after the other.
struct FencesReader<'a> {
    reader: Reader<'a>,
    fence: Vec<u8>,
}

impl<'a> FencesReader<'a> {
    fn new(bytes: &'a [u8]) -> FencesReader<'a> {
        FencesReader { reader: Reader::new(bytes), fence: Vec::new() }
    }

    /// The length of the next block; then `fence` is its fence. Fences rise, and none is longer than its block.
    fn next(&mut self, is_first: bool) -> Result<u64, Malformed> {
        let len = self.reader.varint()?;
        let shared = self.reader.len(self.fence.len())?;
        let rest = self.reader.len_bytes(self.reader.remaining())?;
        let is_above = self.fence.get(shared..).is_some_and(|before| before < rest);
        self.fence.truncate(shared);
        self.fence.extend_from_slice(rest);
        if (is_above || is_first) && self.fence.len() as u64 <= len {
            Ok(len)
        } else {
            Err(self.reader.malformed())
        }
    }
}

/// The block index of a run, open for searching. Takes about 30 bytes of memory for each block.
#[derive(Debug, Clone)]
pub(super) struct Fences {
    blocks: Vec<BlockFence>,
    /// Where the last block ends.
    end: u64,
    /// What fences have beyond their heads, one after the other. Fences are short, so that is little.
    tails: Vec<u8>,
    sections: Vec<Section>,
    buckets: Vec<u32>,
}

/// A block, and its fence but for the prefix of its section.
#[derive(Debug, Clone)]
struct BlockFence {
    /// The first bytes as a number that orders as they do, filled up with zeros.
    head: u64,
    /// Where the block begins in the file.
    start: u64,
    /// Length of the fence without the prefix.
    len: u32,
    /// Where what lies beyond the head begins in [`Fences::tails`].
    tail_at: u32,
}

/// Neighbouring blocks whose fences begin with as many equal bytes as the keys of a keyspace, or more. The range of their
/// heads is cut into equal *buckets*, about one for each block.
#[derive(Debug, Clone)]
struct Section {
    first_fence: Vec<u8>,
    prefix_len: usize,
    blocks: Range<usize>,
    head_min: u64,
    /// A head less the least one, shifted right by this, is the number of its bucket.
    shift: u32,
    /// Places in [`Fences::buckets`]: for each bucket the first block in it or beyond, and where the section ends.
    buckets: Range<usize>,
}

impl Fences {
    /// The index of `count` blocks, the first of which begins at `start` in the file. `count` was found possible.
    pub(super) fn open(bytes: &[u8], count: usize, start: u64) -> Result<Fences, Malformed> {
        let sections = sections(bytes, count)?;
        let mut reader = FencesReader::new(bytes);
        let mut fences = Fences {
            blocks: Vec::with_capacity(count),
            end: start,
            tails: vec![],
            sections,
            buckets: vec![],
        };
        for section in &mut fences.sections {
            for number in section.blocks.clone() {
                let len = reader.next(number == 0)?;
                let rest = reader.fence.get(section.prefix_len..).unwrap_or_default();
                let (Ok(len_u32), Ok(tail_at), Some(end)) =
                    (rest.len().try_into(), fences.tails.len().try_into(), fences.end.checked_add(len))
                else {
                    return Err(reader.reader.malformed());
                };
                fences.blocks.push(BlockFence { head: head(rest), start: fences.end, len: len_u32, tail_at });
                fences.tails.extend_from_slice(rest.get(HEAD_LEN..).unwrap_or_default());
                fences.end = end;
            }
            section.cut_buckets(&fences.blocks, &mut fences.buckets);
        }
        if reader.reader.is_at_end() { Ok(fences) } else { Err(reader.reader.malformed()) }
    }

    /// Where the last block ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The number of the block that holds `key` if the run does: the last one whose fence is at or below it. `None` if
    /// the key is below every fence.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let after = self.sections.partition_point(|section| section.first_fence.as_slice() <= key);
        let section = self.sections.get(after.checked_sub(1)?)?;
        let Some(wanted) = key.strip_prefix(section.prefix()) else {
            // It is not below the section's first fence, so it is above all of them.
            return section.blocks.end.checked_sub(1);
        };
        let wanted_head = head(wanted);
        let (mut low, mut high) = section.bucket(wanted_head, &self.buckets)?;
        while low < high {
            let middle = low + (high - low) / 2;
            if self.is_above(self.blocks.get(middle)?, wanted_head, wanted) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low.checked_sub(1)
    }

    fn is_above(&self, block: &BlockFence, wanted_head: u64, wanted: &[u8]) -> bool {
        if block.head != wanted_head {
            return block.head > wanted_head;
        }
        // Of two keys that are equal but for zeros that fill up the head, the shorter one is less.
        let len = (block.len as usize).min(HEAD_LEN).cmp(&wanted.len().min(HEAD_LEN));
        len.then_with(|| self.tail(block).cmp(wanted.get(HEAD_LEN..).unwrap_or_default())).is_gt()
    }

    fn tail(&self, block: &BlockFence) -> &[u8] {
        let (start, len) = (block.tail_at as usize, (block.len as usize).saturating_sub(HEAD_LEN));
        self.tails.get(start..start + len).unwrap_or_default()
    }

    /// Where block `number` lies in the file, if there is one.
    pub(super) fn place(&self, number: usize) -> Option<Range<u64>> {
        let start = self.blocks.get(number)?.start;
        Some(start..self.blocks.get(number + 1).map_or(self.end, |next| next.start))
    }

    /// The number of the block that byte `offset` of the file lies in, if it lies in one.
    pub(super) fn number_at(&self, offset: u64) -> Option<usize> {
        let after = self.blocks.partition_point(|block| block.start <= offset);
        after.checked_sub(1).filter(|_| offset < self.end)
    }

    /// The fence of block `number`, if there is one.
    pub(super) fn fence(&self, number: usize) -> Option<Vec<u8>> {
        let block = self.blocks.get(number)?;
        let section =
            self.sections.get(self.sections.partition_point(|section| section.blocks.end <= number))?;
        let head = block.head.to_be_bytes();
        let head = head.get(..(block.len as usize).min(HEAD_LEN)).unwrap_or_default();
        Some([section.prefix(), head, self.tail(block)].concat())
    }
}

impl Section {
    fn prefix(&self) -> &[u8] {
        self.first_fence.get(..self.prefix_len).unwrap_or_default()
    }

    /// Cuts the heads of the section's blocks, which are the last ones of `blocks`, into buckets.
    fn cut_buckets(&mut self, blocks: &[BlockFence], buckets: &mut Vec<u32>) {
        let blocks = blocks.get(self.blocks.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return };
        self.head_min = first.head;
        let width = last.head.saturating_sub(first.head);
        self.shift = (u64::BITS - width.leading_zeros()).saturating_sub(blocks.len().ilog2());
        let start = buckets.len();
        for (number, block) in (self.blocks.start as u32..).zip(blocks) {
            // The block is the first one for the buckets up to its own that have none yet.
            buckets.resize((start + self.bucket_of(block.head) + 1).max(buckets.len()), number);
        }
        buckets.push(self.blocks.end as u32);
        self.buckets = start..buckets.len();
    }

    fn bucket_of(&self, head: u64) -> usize {
        head.saturating_sub(self.head_min).checked_shr(self.shift).unwrap_or(0) as usize
    }

    /// The blocks in the bucket of `head`: those before are not above it, those behind are.
    fn bucket(&self, head: u64, buckets: &[u32]) -> Option<(usize, usize)> {
        let buckets = buckets.get(self.buckets.clone())?;
        let bucket = self.bucket_of(head).min(buckets.len().checked_sub(2)?);
        Some((*buckets.get(bucket)? as usize, *buckets.get(bucket + 1)? as usize))
    }
}

/// The first bytes as a number that orders as they do.
pub(super) fn head(rest: &[u8]) -> u64 {
    if let Some(head) = rest.first_chunk() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; HEAD_LEN];
    head.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(head)
}

/// The sections of `count` fences, without buckets yet. Only as true as the fences rise, which is left to whoever reads
/// them next.
fn sections(bytes: &[u8], count: usize) -> Result<Vec<Section>, Malformed> {
    let mut sections: Vec<Section> = Vec::new();
    let mut reader = Reader::new(bytes);
    for number in 0..count {
        reader.varint()?;
        let shared = reader.len(bytes.len())?;
        let rest = reader.len_bytes(reader.remaining())?;
        match sections.last_mut() {
            Some(section) if shared >= PREFIX_LEN => {
                // Fences rise, so no two of them have more in common than any two neighbours between them.
                section.prefix_len = section.prefix_len.min(shared);
                section.blocks.end = number + 1;
            }
            last => {
                let before = last.map_or(&[][..], |section| &section.first_fence);
                let before = before.get(..shared).ok_or_else(|| reader.malformed())?;
                let first_fence = [before, rest].concat();
                sections.push(Section {
                    prefix_len: first_fence.len(),
                    first_fence,
                    blocks: number..number + 1,
                    head_min: 0,
                    shift: 0,
                    buckets: 0..0,
                });
            }
        }
    }
    Ok(sections)
}
