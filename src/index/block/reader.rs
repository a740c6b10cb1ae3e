//! [`Block`]: reads the entries of a block.
//!
//! Easy to get wrong: a block's place tells its length in the file, compressed or not and with its checksum; here it is
//! plain and without.

use std::ops::Range;

use crate::codec::{Malformed, Reader};
use crate::hash::KeyHash;
use crate::types::{Kind, Location, SegmentId, SeqNo, Stamp, ValueDigest};

use super::{
    EXPIRES, FIXED_LEN, IN_LOG, META, NODE_FOLLOWS, NODE_SHIFT, PLAIN, PlacedHead, TOMBSTONE, head, tag,
};

/// A block's bytes and where its parts lie.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Block<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
}

/// Where the parts of a block lie, apart from its bytes, so that a cursor can hold both.
#[derive(Debug)]
pub(in crate::index) struct Layout {
    count: usize,
    node_count: usize,
    base_clock: u64,
    base_seqno: u64,
    clock_len: usize,
    seqno_len: usize,
    starts_at: usize,
    nodes_at: usize,
    prefix_at: usize,
    heads_at: usize,
    entries_at: usize,
}

impl Layout {
    /// The layout of the plain block in `bytes`, whose checksum was checked and is not among them.
    pub(in crate::index) fn parse(bytes: &[u8]) -> Result<Layout, Malformed> {
        let fixed = bytes.first_chunk::<FIXED_LEN>().ok_or(Malformed { at: bytes.len() })?;
        // One check for all of them: the compiler knows the length of what this reader reads.
        let mut reader = Reader::new(fixed);
        let (codec, count) = (reader.u8()?, usize::from(reader.u16()?));
        let (prefix_len, node_count) = (reader.u32()? as usize, usize::from(reader.u8()?));
        let (base_clock, base_seqno) = (reader.u64()?, reader.u64()?);
        let (clock_len, seqno_len) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
        let starts_at = FIXED_LEN + count;
        let nodes_at = starts_at + 2 * count;
        let prefix_at = nodes_at + 8 * node_count;
        let heads_at = prefix_at + prefix_len;
        let entries_at = heads_at + 2 * count;
        let is_possible =
            codec == PLAIN && count > 0 && node_count <= NODE_FOLLOWS && entries_at <= bytes.len();
        if !is_possible || clock_len > 8 || seqno_len > 8 {
            return Err(reader.malformed());
        }
        Ok(Layout {
            count,
            node_count,
            base_clock,
            base_seqno,
            clock_len,
            seqno_len,
            starts_at,
            nodes_at,
            prefix_at,
            heads_at,
            entries_at,
        })
    }
}

impl Layout {
    /// Number of entries.
    pub(in crate::index) fn count(&self) -> usize {
        self.count
    }
}

impl<'a> Block<'a> {
    /// The block in `bytes`, with the layout that [`Layout::parse`] found in them.
    pub(in crate::index) fn new(bytes: &'a [u8], layout: &'a Layout) -> Block<'a> {
        Block { bytes, layout }
    }

    /// Number of entries.
    pub(in crate::index) fn count(&self) -> usize {
        self.layout.count
    }

    fn prefix(&self) -> &'a [u8] {
        self.bytes.get(self.layout.prefix_at..self.layout.heads_at).unwrap_or_default()
    }

    /// Where entry `index` lies in the block.
    fn entry_place(&self, index: usize) -> Result<Range<usize>, Malformed> {
        let at = self.layout.starts_at + 2 * index;
        let start = |at: usize| {
            let bytes = self.bytes.get(at..at + 2).and_then(<[u8]>::first_chunk).ok_or(Malformed { at })?;
            Ok(self.layout.entries_at + usize::from(u16::from_le_bytes(*bytes)))
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
    #[inline]
    pub(in crate::index) fn place(
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
    pub(in crate::index) fn has_tag(&self, index: usize, hash: KeyHash) -> bool {
        self.tags().get(index) == Some(&tag(hash))
    }

    /// Whether the head of entry `index` is its key's.
    pub(in crate::index) fn has_head(&self, index: usize) -> Result<bool, Malformed> {
        let at = self.layout.heads_at + 2 * index;
        let stored = self.bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Malformed { at })?;
        Ok(u16::from_le_bytes(*stored) == head(self.key_rest(index)?))
    }

    fn tags(&self) -> &'a [u8] {
        self.bytes.get(FIXED_LEN..self.layout.starts_at).unwrap_or_default()
    }

    /// Where the parts of the head lie of the entry of exactly this key, if there is one.
    #[inline]
    pub(in crate::index) fn find(&self, key: &[u8], hash: KeyHash) -> Result<Option<PlacedHead>, Malformed> {
        let Some(wanted) = key.strip_prefix(self.prefix()) else { return Ok(None) };
        for index in memchr::memchr_iter(tag(hash), self.tags()) {
            let (mut reader, start) = self.reader(index)?;
            if reader.len_bytes(self.bytes.len())? == wanted {
                let mut head = PlacedHead::default();
                self.place_behind_key(reader, start, &mut head)?;
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Number of entries with keys below `key`.
    pub(in crate::index) fn count_below(&self, key: &[u8]) -> Result<usize, Malformed> {
        let Some(wanted) = key.strip_prefix(self.prefix()) else {
            return Ok(if key < self.prefix() { 0 } else { self.count() });
        };
        let wanted_head = head(wanted);
        let heads = self.bytes.get(self.layout.heads_at..self.layout.entries_at).unwrap_or_default();
        let (heads, _) = heads.as_chunks();
        let mut low = heads.partition_point(|head| u16::from_le_bytes(*head) < wanted_head);
        let mut high = heads.partition_point(|head| u16::from_le_bytes(*head) <= wanted_head);
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

    /// What is said by the head of an entry that begins at `start`, by a reader that has passed its key.
    #[inline]
    fn place_behind_key(
        &self,
        mut reader: Reader<'a>,
        start: usize,
        head: &mut PlacedHead,
    ) -> Result<(), Malformed> {
        let flags = reader.u8()?;
        let clock = self.layout.base_clock.checked_add(reader.uint(self.layout.clock_len)?);
        let seqno = self.layout.base_seqno.checked_add(reader.uint(self.layout.seqno_len)?);
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
        let at = self.layout.nodes_at + 8 * index;
        let bytes = self.bytes.get(at..at + 8).and_then(<[u8]>::first_chunk);
        let bytes = bytes.filter(|_| index < self.layout.node_count).ok_or(Malformed { at })?;
        Ok(u64::from_le_bytes(*bytes))
    }
}
