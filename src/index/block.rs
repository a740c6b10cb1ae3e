//! Blocks: the unit in which a run is written and read, a few dozen entries in key order.
//!
//! ```text
//! payload = count u32 | tags: 1 each | offsets of the entries in the payload: u32 each
//!         | common key prefix: length varint, bytes
//!         | base clock u64 | base seqno u64 | node table: count varint, u64 each
//!         | entries
//! entry   = rest of the key: length varint, bytes | flags 1 | clock less base varint | seqno less base varint
//!         | node: index into the table varint
//!         | [expires_at varint, if flag 2] | [meta: length varint, bytes, if flag 4]
//!         | value, absent for a tombstone (flag 1):
//!             inline: length varint, bytes
//!             in the log (flag 8): segment varint | offset varint | length varint | digest 16
//! ```
//!
//! The tag is one byte of the key's hash: a point lookup compares tags first and keys only where the tag agrees. An inline
//! value's digest is not stored, for it can be computed from the bytes beside it.
//!
//! Easy to get wrong: a block's bytes were checked by its checksum, but the writer may be a hostile or foreign one, so
//! every read here is bounded all the same.

use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::hash::{KeyHash, SetHasher};
use crate::types::{Head, Kind, Location, SegmentId, SeqNo, Slice, Stamp, ValueDigest, ValueRef};

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const META: u8 = 4;
const IN_LOG: u8 = 8;

/// The tag of a key.
fn tag(hash: KeyHash) -> u8 {
    (hash.0 >> 56) as u8
}

/// Collects entries for one block.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    entries: Vec<(Vec<u8>, u8, Head)>,
    /// About how long the block would be if it ended here.
    len: usize,
}

impl BlockBuilder {
    /// Adds an entry with a key above all before.
    pub(super) fn push(&mut self, key: &[u8], hash: KeyHash, head: Head) {
        let value = match &head.value {
            ValueRef::Inline(value) => value.len(),
            ValueRef::Staged { .. } | ValueRef::Log(_) => 32,
        };
        self.len += key.len() + value + head.meta.len() + 16;
        self.entries.push((key.to_vec(), tag(hash), head));
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn first_key(&self) -> &[u8] {
        self.entries.first().map_or(&[], |(key, ..)| key)
    }

    /// The block's bytes. The builder is empty afterwards.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let entries = std::mem::take(&mut self.entries);
        let prefix_len = match (entries.first(), entries.last()) {
            (Some((first, ..)), Some((last, ..))) => {
                first.iter().zip(last).take_while(|(a, b)| a == b).count()
            }
            _ => 0,
        };
        let base_hlc = entries.iter().map(|(.., head)| head.stamp.hlc).min().unwrap_or(0);
        let base_seqno = entries.iter().map(|(.., head)| head.seqno.0).min().unwrap_or(0);
        let mut nodes: Vec<u64> = entries.iter().map(|(.., head)| head.stamp.node).collect();
        nodes.sort_unstable();
        nodes.dedup();

        let mut out = Vec::with_capacity(self.len + 5 * entries.len() + 64);
        out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        out.extend(entries.iter().map(|(_, tag, _)| tag));
        let offsets_at = out.len();
        out.resize(offsets_at + 4 * entries.len(), 0);
        let prefix = entries.first().and_then(|(first, ..)| first.get(..prefix_len)).unwrap_or_default();
        put_len_bytes(&mut out, prefix);
        out.extend_from_slice(&base_hlc.to_le_bytes());
        out.extend_from_slice(&base_seqno.to_le_bytes());
        put_varint(&mut out, nodes.len() as u64);
        nodes.iter().for_each(|node| out.extend_from_slice(&node.to_le_bytes()));

        for (index, (key, _, head)) in entries.iter().enumerate() {
            let offset = (out.len() as u32).to_le_bytes();
            out[offsets_at + 4 * index..][..4].copy_from_slice(&offset);
            put_len_bytes(&mut out, &key[prefix_len..]);
            let node = nodes.partition_point(|&node| node < head.stamp.node);
            put_head(&mut out, head, base_hlc, base_seqno, node);
        }
        self.len = 0;
        out
    }
}

fn put_head(out: &mut Vec<u8>, head: &Head, base_hlc: u64, base_seqno: u64, node: usize) {
    let location = match &head.value {
        ValueRef::Inline(_) => None,
        ValueRef::Staged { location, .. } | ValueRef::Log(location) => Some(location),
    };
    let is_tombstone = head.kind == Kind::Tombstone;
    let flags = [
        (is_tombstone, TOMBSTONE),
        (head.expires_at != 0, EXPIRES),
        (!head.meta.is_empty(), META),
        (location.is_some(), IN_LOG),
    ];
    out.push(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
    put_varint(out, head.stamp.hlc - base_hlc);
    put_varint(out, head.seqno.0 - base_seqno);
    put_varint(out, node as u64);
    if head.expires_at != 0 {
        put_varint(out, head.expires_at);
    }
    if !head.meta.is_empty() {
        put_len_bytes(out, &head.meta);
    }
    match &head.value {
        _ if is_tombstone => {}
        ValueRef::Inline(value) => put_len_bytes(out, value),
        ValueRef::Staged { location, .. } | ValueRef::Log(location) => {
            put_varint(out, u64::from(location.segment.0));
            put_varint(out, u64::from(location.offset));
            put_varint(out, u64::from(location.len));
            out.extend_from_slice(&head.digest.0.to_le_bytes());
        }
    }
}

/// A block as read: its bytes and where the parts begin.
#[derive(Debug, Clone)]
pub(super) struct Block {
    bytes: Slice,
    count: usize,
    prefix: Slice,
    base_hlc: u64,
    base_seqno: u64,
    nodes_at: usize,
    node_count: usize,
}

/// Length of the count at the block's start.
const COUNT_LEN: usize = 4;

impl Block {
    /// The block in `bytes`, which holds at least one entry.
    pub(super) fn parse(bytes: Slice) -> Result<Block, Malformed> {
        let mut reader = Reader::new(&bytes);
        let count = reader.u32()? as usize;
        if count == 0 {
            return Err(reader.malformed());
        }
        reader.bytes(count)?;
        reader.bytes(count.checked_mul(4).ok_or(reader.malformed())?)?;
        let len = reader.len(bytes.len())?;
        let prefix_at = reader.position();
        reader.bytes(len)?;
        let (base_hlc, base_seqno) = (reader.u64()?, reader.u64()?);
        let node_count = reader.len(bytes.len() / 8)?;
        let nodes_at = reader.position();
        reader.bytes(8 * node_count)?;
        let prefix = bytes.sub(prefix_at..prefix_at + len).ok_or(reader.malformed())?;
        Ok(Block { count, prefix, base_hlc, base_seqno, nodes_at, node_count, bytes })
    }

    /// Number of entries.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A reader at entry `index`.
    fn entry(&self, index: usize) -> Result<Reader<'_>, Malformed> {
        let mut offsets = Reader::new(&self.bytes);
        offsets.bytes(COUNT_LEN + self.count + 4 * index)?;
        let offset = offsets.u32()? as usize;
        let mut reader = Reader::new(&self.bytes);
        reader.bytes(offset)?;
        Ok(reader)
    }

    /// What entry `index`'s key has beyond the common prefix.
    fn key_rest(&self, index: usize) -> Result<&[u8], Malformed> {
        let mut reader = self.entry(index)?;
        let len = reader.len(self.bytes.len())?;
        let start = reader.position();
        reader.bytes(len)?;
        self.bytes.get(start..start + len).ok_or(reader.malformed())
    }

    /// The key of entry `index`.
    pub(super) fn key(&self, index: usize) -> Result<Vec<u8>, Malformed> {
        Ok([&self.prefix, self.key_rest(index)?].concat())
    }

    /// The first entry whose key is at or after `key`; `count` if there is none.
    pub(super) fn lower_bound(&self, key: &[u8]) -> Result<usize, Malformed> {
        let common = self.prefix.len().min(key.len());
        let (head, rest) = key.split_at(common);
        match head.cmp(self.prefix.get(..common).unwrap_or_default()) {
            std::cmp::Ordering::Less => return Ok(0),
            std::cmp::Ordering::Greater => return Ok(self.count),
            std::cmp::Ordering::Equal if common < self.prefix.len() => return Ok(0),
            std::cmp::Ordering::Equal => {}
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key_rest(middle)? < rest {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The entry of exactly this key.
    pub(super) fn find(&self, key: &[u8], hash: KeyHash) -> Result<Option<usize>, Malformed> {
        let Some(rest) = key.strip_prefix(&*self.prefix) else { return Ok(None) };
        let wanted = tag(hash);
        let tags = self.bytes.get(COUNT_LEN..COUNT_LEN + self.count).unwrap_or_default();
        for (index, _) in tags.iter().enumerate().filter(|(_, tag)| **tag == wanted) {
            if self.key_rest(index)? == rest {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The head of entry `index`; its value and meta share the block's bytes.
    pub(super) fn head(&self, index: usize, hasher: &SetHasher) -> Result<Head, Malformed> {
        let mut reader = self.entry(index)?;
        reader.len_bytes(self.bytes.len())?;
        let flags = reader.u8()?;
        if flags & !(TOMBSTONE | EXPIRES | META | IN_LOG) != 0 {
            return Err(reader.malformed());
        }
        let out_of_range = reader.malformed();
        let hlc = self.base_hlc.checked_add(reader.varint()?).ok_or(out_of_range)?;
        let seqno = self.base_seqno.checked_add(reader.varint()?).ok_or(out_of_range)?;
        let node = self.node(reader.len(self.node_count)?)?;
        let expires_at = if flags & EXPIRES != 0 { reader.varint()? } else { 0 };
        let meta = if flags & META != 0 { self.slice(&mut reader)? } else { Slice::empty() };
        let (kind, digest, value) = if flags & TOMBSTONE != 0 {
            (Kind::Tombstone, hasher.value(&[]), ValueRef::Inline(Slice::empty()))
        } else if flags & IN_LOG != 0 {
            let number =
                |reader: &mut Reader<'_>| u32::try_from(reader.varint()?).map_err(|_| reader.malformed());
            let segment = SegmentId(number(&mut reader)?);
            let location = Location { segment, offset: number(&mut reader)?, len: number(&mut reader)? };
            (Kind::Put, ValueDigest(reader.u128()?), ValueRef::Log(location))
        } else {
            let value = self.slice(&mut reader)?;
            (Kind::Put, hasher.value(&value), ValueRef::Inline(value))
        };
        Ok(Head { seqno: SeqNo(seqno), stamp: Stamp { hlc, node }, kind, expires_at, meta, digest, value })
    }

    /// A byte string at the reader, as a part of the block.
    fn slice(&self, reader: &mut Reader<'_>) -> Result<Slice, Malformed> {
        let len = reader.len(self.bytes.len())?;
        let start = reader.position();
        reader.bytes(len)?;
        self.bytes.sub(start..start + len).ok_or(reader.malformed())
    }

    fn node(&self, index: usize) -> Result<u64, Malformed> {
        let mut nodes = Reader::new(&self.bytes);
        nodes.bytes(self.nodes_at + 8 * index)?;
        if index < self.node_count { nodes.u64() } else { Err(nodes.malformed()) }
    }
}
