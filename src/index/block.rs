//! Blocks: the unit in which a run is written, read and checked, about 8 KiB of entries in key order.
//!
//! ```text
//! block = 0   codec u8: 0 for plain, others are for compression
//!         1   count u16, at least 1
//!         3   length of the common key prefix u32
//!         7   number of nodes u8, at most 15
//!         8   base clock u64
//!         16  base seqno u64
//!         24  tags: 1 each, a byte of the key's hash
//!             starts of the entries, from the first one on: u16 each
//!             nodes: u64 each, rising
//!             common key prefix
//!             entries
//!             checksum u32 of everything before
//! entry = rest of the key: length varint, bytes
//!       | flags u8 | clock less base varint | seqno less base varint
//!       | [node u64, if the flags say 15] | [expires_at varint, if flag 2] | [meta: length varint, bytes, if flag 4]
//!       | inline value: what is left of the entry
//!         in the log, if flag 8: segment varint | offset varint | length varint | digest 16
//! flags = 1 tombstone, 2 expires, 4 has meta, 8 value in the log; upper four bits: index of the node, 15 if it follows
//! ```
//!
//! A point lookup compares tags first and keys only where the tag agrees. The digest of an inline value is not stored: it
//! can be computed from the bytes beside it. A block is closed before the entry that would make it longer than
//! [`BLOCK_LEN`], so entries of several always begin within reach of a u16, and one entry of any size has its own block.
//!
//! Easy to get wrong: the bytes have passed a checksum, and still every read of them is bounded.

use std::ops::Range;

use crate::codec::{Malformed, Reader};
use crate::hash::KeyHash;
use crate::types::{Kind, Location, SegmentId, SeqNo, Slice, Stamp, ValueDigest, ValueRef};

use super::entry::{HeadRef, RunValue, StoredHead, StoredValue};

/// A block of several entries is at most about so long, in bytes.
pub(super) const BLOCK_LEN: usize = 8 << 10;

const FIXED_LEN: usize = 24;
const CHECKSUM_LEN: usize = 4;

pub(super) const PLAIN: u8 = 0;

pub(super) const TOMBSTONE: u8 = 1;
pub(super) const EXPIRES: u8 = 2;
pub(super) const META: u8 = 4;
pub(super) const IN_LOG: u8 = 8;
pub(super) const NODE_SHIFT: u32 = 4;

/// The node index that means "the node's number follows", and so the most nodes that a block can list.
pub(super) const NODE_FOLLOWS: usize = 15;

pub(super) fn tag(hash: KeyHash) -> u8 {
    hash.0 as u8
}

/// A block's bytes and where its parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

/// Where the parts of a block lie, apart from its bytes, so that a cursor can hold both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    count: usize,
    prefix_len: usize,
    node_count: usize,
    base_clock: u64,
    base_seqno: u64,
}

impl Layout {
    fn starts_at(&self) -> usize {
        FIXED_LEN + self.count
    }

    fn nodes_at(&self) -> usize {
        self.starts_at() + 2 * self.count
    }

    fn prefix_at(&self) -> usize {
        self.nodes_at() + 8 * self.node_count
    }

    fn entries_at(&self) -> usize {
        self.prefix_at() + self.prefix_len
    }
}

fn without_checksum(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len().saturating_sub(CHECKSUM_LEN)).unwrap_or_default()
}

impl<'a> Block<'a> {
    /// The block in `bytes`, whose checksum was checked.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Block<'a>, Malformed> {
        let bytes = without_checksum(bytes);
        let mut reader = Reader::new(bytes);
        let codec = reader.u8()?;
        let layout = Layout {
            count: usize::from(reader.u16()?),
            prefix_len: reader.u32()? as usize,
            node_count: usize::from(reader.u8()?),
            base_clock: reader.u64()?,
            base_seqno: reader.u64()?,
        };
        if codec != PLAIN
            || layout.count == 0
            || layout.node_count > NODE_FOLLOWS
            || layout.entries_at() > bytes.len()
        {
            return Err(reader.malformed());
        }
        Ok(Block { bytes, layout })
    }

    /// The block of a layout that [`Block::parse`] made of the same bytes.
    pub(super) fn resume(bytes: &'a [u8], layout: Layout) -> Block<'a> {
        Block { bytes: without_checksum(bytes), layout }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Number of entries.
    pub(super) fn count(&self) -> usize {
        self.layout.count
    }

    fn prefix(&self) -> &'a [u8] {
        self.bytes.get(self.layout.prefix_at()..self.layout.entries_at()).unwrap_or_default()
    }

    /// Where entry `index` lies in the block.
    fn entry_place(&self, index: usize) -> Result<Range<usize>, Malformed> {
        let at = self.layout.starts_at() + 2 * index;
        let start = |at: usize| {
            let bytes = self.bytes.get(at..at + 2).and_then(<[u8]>::first_chunk).ok_or(Malformed { at })?;
            Ok(self.layout.entries_at() + usize::from(u16::from_le_bytes(*bytes)))
        };
        let end = if index + 1 < self.layout.count { start(at + 2)? } else { self.bytes.len() };
        Ok(start(at)?..end)
    }

    /// A reader of entry `index`, and where in the block it begins.
    fn reader(&self, index: usize) -> Result<(Reader<'a>, usize), Malformed> {
        let range = self.entry_place(index)?;
        let start = range.start;
        let bytes = self.bytes.get(range).ok_or(Malformed { at: start })?;
        Ok((Reader::new(bytes), start))
    }

    /// What the key of entry `index` has beyond the common prefix.
    fn key_rest(&self, index: usize) -> Result<&'a [u8], Malformed> {
        self.reader(index)?.0.len_bytes(self.bytes.len())
    }

    /// Puts the key of entry `index` into `key` and what its head says into `head`.
    pub(super) fn place(
        &self,
        index: usize,
        key: &mut Vec<u8>,
        head: &mut PlacedHead,
    ) -> Result<(), Malformed> {
        let (mut reader, start) = self.reader(index)?;
        let rest = reader.len_bytes(self.bytes.len())?;
        key.clear();
        key.extend_from_slice(self.prefix());
        key.extend_from_slice(rest);
        self.place_behind_key(reader, start, head)
    }

    /// The tag of entry `index`.
    pub(super) fn has_tag(&self, index: usize, hash: KeyHash) -> bool {
        self.tags().get(index) == Some(&tag(hash))
    }

    fn tags(&self) -> &'a [u8] {
        self.bytes.get(FIXED_LEN..self.layout.starts_at()).unwrap_or_default()
    }

    /// The entry of exactly this key.
    pub(super) fn find(&self, key: &[u8], hash: KeyHash) -> Result<Option<usize>, Malformed> {
        let Some(rest) = key.strip_prefix(self.prefix()) else { return Ok(None) };
        for index in memchr::memchr_iter(tag(hash), self.tags()) {
            if self.key_rest(index)? == rest {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Number of entries with keys below `key`.
    pub(super) fn count_below(&self, key: &[u8]) -> Result<usize, Malformed> {
        let Some(wanted) = key.strip_prefix(self.prefix()) else {
            return Ok(if key < self.prefix() { 0 } else { self.count() });
        };
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key_rest(middle)? < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The head of entry `index`. `slice` makes slices of the block's bytes.
    pub(super) fn head(
        &self,
        index: usize,
        slice: impl Fn(Range<usize>) -> Option<Slice>,
    ) -> Result<StoredHead, Malformed> {
        let (mut reader, start) = self.reader(index)?;
        reader.len_bytes(self.bytes.len())?;
        let mut head = PlacedHead::default();
        self.place_behind_key(reader, start, &mut head)?;
        head.stored(slice).ok_or(Malformed { at: start })
    }

    /// What is said by the head of an entry that begins at `start`, by a reader that has passed its key.
    fn place_behind_key(
        &self,
        mut reader: Reader<'a>,
        start: usize,
        head: &mut PlacedHead,
    ) -> Result<(), Malformed> {
        let flags = reader.u8()?;
        let clock = self.layout.base_clock.checked_add(reader.varint()?);
        let seqno = self.layout.base_seqno.checked_add(reader.varint()?);
        let (Some(hlc), Some(seqno)) = (clock, seqno) else { return Err(reader.malformed()) };
        let node = match usize::from(flags >> NODE_SHIFT) {
            NODE_FOLLOWS => reader.u64()?,
            index => self.node(index)?,
        };
        head.seqno = SeqNo(seqno);
        head.stamp = Stamp { hlc, node };
        head.kind = if flags & TOMBSTONE != 0 { Kind::Tombstone } else { Kind::Put };
        head.expires_at = if flags & EXPIRES != 0 { reader.varint()? } else { 0 };
        let len = if flags & META != 0 { reader.len(self.bytes.len())? } else { 0 };
        let at = start + reader.position();
        reader.bytes(len)?;
        head.meta = at..at + len;
        head.in_log = None;
        if flags & IN_LOG != 0 {
            let mut number = || u32::try_from(reader.varint()?).map_err(|_| reader.malformed());
            let (segment, offset, len) = (SegmentId(number()?), number()?, number()?);
            head.in_log = Some((Location { segment, offset, len }, ValueDigest(reader.u128()?)));
            if !reader.is_at_end() {
                return Err(reader.malformed());
            }
        }
        let at = start + reader.position();
        head.value = at..at + reader.remaining();
        Ok(())
    }

    fn node(&self, index: usize) -> Result<u64, Malformed> {
        let at = self.layout.nodes_at() + 8 * index;
        let bytes = self.bytes.get(at..at + 8).and_then(<[u8]>::first_chunk);
        let bytes = bytes.filter(|_| index < self.layout.node_count).ok_or(Malformed { at })?;
        Ok(u64::from_le_bytes(*bytes))
    }
}

/// What an entry says beside its key, and where in its block the rest lies. Made to be written over: a walk does that for
/// every entry, and moving something so large would take it as long as everything else.
#[derive(Debug, Clone)]
pub(super) struct PlacedHead {
    seqno: SeqNo,
    stamp: Stamp,
    kind: Kind,
    expires_at: u64,
    meta: Range<usize>,
    /// Empty if the value is in the log.
    value: Range<usize>,
    in_log: Option<(Location, ValueDigest)>,
}

impl Default for PlacedHead {
    fn default() -> PlacedHead {
        PlacedHead {
            seqno: SeqNo::ZERO,
            stamp: Stamp::default(),
            kind: Kind::Put,
            expires_at: 0,
            meta: 0..0,
            value: 0..0,
            in_log: None,
        }
    }
}

impl PlacedHead {
    /// Where in the block the value is, or in the log.
    pub(super) fn value(&self) -> Result<Range<usize>, (Location, ValueDigest)> {
        self.in_log.map_or_else(|| Ok(self.value.clone()), Err)
    }

    /// As [`StoredHead::is_visible`].
    pub(super) fn is_visible(&self, now_ms: u64) -> bool {
        self.kind == Kind::Put && (self.expires_at == 0 || self.expires_at > now_ms)
    }

    /// The head, borrowed from the block's bytes.
    pub(super) fn borrowed<'a>(&self, block: &'a [u8]) -> HeadRef<'a> {
        let part = |range: &Range<usize>| block.get(range.clone()).unwrap_or_default();
        let &PlacedHead { seqno, stamp, kind, expires_at, .. } = self;
        let value = match self.in_log {
            Some((location, digest)) => RunValue::Log(location, digest),
            None => RunValue::Inline(part(&self.value)),
        };
        HeadRef { seqno, stamp, kind, expires_at, meta: part(&self.meta), value }
    }

    /// The head with slices of the block's bytes, which `slice` makes; `None` if it cannot.
    pub(super) fn stored(&self, slice: impl Fn(Range<usize>) -> Option<Slice>) -> Option<StoredHead> {
        let slice =
            |range: &Range<usize>| if range.is_empty() { Some(Slice::empty()) } else { slice(range.clone()) };
        Some(StoredHead {
            seqno: self.seqno,
            stamp: self.stamp,
            kind: self.kind,
            expires_at: self.expires_at,
            meta: slice(&self.meta)?,
            value: match self.in_log {
                Some((location, digest)) => StoredValue::Digested(ValueRef::Log(location), digest),
                None => StoredValue::Undigested(slice(&self.value)?),
            },
        })
    }
}
