//! [`BlockBuilder`]: writes blocks.
//!
//! Entries are copied on their way in, for the least clock, the least sequence number and the nodes of a block stand before
//! its entries and are known only at its end.

use super::super::entry::{HeadRef, RunValue};
use super::super::fences::common_len;
use super::{
    BLOCK_LEN, ENTRY_OVERHEAD, EXPIRES, IN_LOG, META, NODE_FOLLOWS, NODE_SHIFT, PLAIN, TOMBSTONE, head, tag,
};
use crate::codec::{put_len_bytes, put_varint};
use crate::hash::KeyHash;
use crate::types::{Kind, Location, SeqNo, Stamp, ValueDigest};

/// Collects the entries of one block. Its buffers are used again for the next.
#[derive(Debug, Default)]
pub(in crate::index) struct BlockBuilder {
    /// Key, meta and inline value of each entry, one after the other.
    bytes: Vec<u8>,
    entries: Vec<Pending>,
    nodes: Vec<u64>,
    len: usize,
}

#[derive(Debug)]
struct Pending {
    seqno: SeqNo,
    stamp: Stamp,
    expires_at: u64,
    /// Where in the builder's bytes its key, its meta and its value begin and the value ends.
    starts: [usize; 4],
    kind: Kind,
    tag: u8,
    in_log: Option<(Location, ValueDigest)>,
}

impl BlockBuilder {
    pub(in crate::index) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an entry would make the block longer than a block of several entries may be.
    pub(in crate::index) fn is_full_for(&self, key: &[u8], head: &HeadRef<'_>) -> bool {
        !self.is_empty() && self.len + entry_len(key, head) > BLOCK_LEN
    }

    /// Adds an entry, with a key above all before.
    pub(in crate::index) fn push(&mut self, key: &[u8], hash: KeyHash, head: &HeadRef<'_>) {
        self.len += entry_len(key, head);
        let mut starts = [self.bytes.len(); 4];
        let parts = [key, head.meta, head.value.inline()];
        for (part, end) in parts.into_iter().zip(1..) {
            self.bytes.extend_from_slice(part);
            starts[end] = self.bytes.len();
        }
        let &HeadRef { seqno, stamp, kind, expires_at, value, .. } = head;
        let in_log = match value {
            RunValue::Inline(_) => None,
            RunValue::Log(location, digest) => Some((location, digest)),
        };
        self.entries.push(Pending { seqno, stamp, expires_at, starts, kind, tag: tag(hash), in_log });
    }

    fn part(&self, entry: &Pending, part: usize) -> &[u8] {
        &self.bytes[entry.starts[part]..entry.starts[part + 1]]
    }

    /// Appends the block but for its checksum to `out`, and forgets the entries.
    pub(in crate::index) fn finish(&mut self, out: &mut Vec<u8>) {
        let prefix_len = match (self.entries.first(), self.entries.last()) {
            (Some(first), Some(last)) => common_len(self.part(first, 0), self.part(last, 0)),
            _ => 0,
        };
        let clocks = Delta::of(self.entries.iter().map(|entry| entry.stamp.hlc));
        let seqnos = Delta::of(self.entries.iter().map(|entry| entry.seqno.0));
        for entry in &self.entries {
            if let Err(at) = self.nodes.binary_search(&entry.stamp.node) {
                self.nodes.insert(at, entry.stamp.node);
            }
        }
        self.nodes.truncate(NODE_FOLLOWS);

        out.push(PLAIN);
        out.extend_from_slice(&(self.entries.len() as u16).to_le_bytes());
        out.extend_from_slice(&(prefix_len as u32).to_le_bytes());
        out.push(self.nodes.len() as u8);
        out.extend_from_slice(&clocks.base.to_le_bytes());
        out.extend_from_slice(&seqnos.base.to_le_bytes());
        out.extend_from_slice(&[clocks.len as u8, seqnos.len as u8]);
        out.extend(self.entries.iter().map(|entry| entry.tag));
        let starts_at = out.len();
        out.resize(starts_at + 2 * self.entries.len(), 0);
        self.nodes.iter().for_each(|node| out.extend_from_slice(&node.to_le_bytes()));
        out.extend_from_slice(self.bytes.get(..prefix_len).unwrap_or_default());
        let heads = self.entries.iter().map(|entry| head(&self.part(entry, 0)[prefix_len..]));
        heads.for_each(|head| out.extend_from_slice(&head.to_le_bytes()));
        let entries_at = out.len();
        for (index, entry) in self.entries.iter().enumerate() {
            let start = ((out.len() - entries_at) as u16).to_le_bytes();
            out[starts_at + 2 * index..][..2].copy_from_slice(&start);
            put_len_bytes(out, &self.part(entry, 0)[prefix_len..]);
            self.put_head(out, entry, &clocks, &seqnos);
        }
        self.bytes.clear();
        self.entries.clear();
        self.nodes.clear();
        self.len = 0;
    }

    fn put_head(&self, out: &mut Vec<u8>, entry: &Pending, clocks: &Delta, seqnos: &Delta) {
        let meta = self.part(entry, 1);
        let node = self.nodes.binary_search(&entry.stamp.node).unwrap_or(NODE_FOLLOWS);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(entry.kind == Kind::Tombstone, TOMBSTONE)
            | flag(entry.expires_at != 0, EXPIRES)
            | flag(!meta.is_empty(), META)
            | flag(entry.in_log.is_some(), IN_LOG);
        out.push(flags | (node as u8) << NODE_SHIFT);
        clocks.put(out, entry.stamp.hlc);
        seqnos.put(out, entry.seqno.0);
        if node == NODE_FOLLOWS {
            out.extend_from_slice(&entry.stamp.node.to_le_bytes());
        }
        if entry.expires_at != 0 {
            put_varint(out, entry.expires_at);
        }
        if !meta.is_empty() {
            put_len_bytes(out, meta);
        }
        out.extend_from_slice(self.part(entry, 2));
        if let Some((location, digest)) = entry.in_log {
            put_varint(out, u64::from(location.segment.0));
            put_varint(out, u64::from(location.offset));
            put_varint(out, u64::from(location.len));
            out.extend_from_slice(&digest.0.to_le_bytes());
        }
    }
}

/// How some numbers are stored: each less the least one, in as many bytes as the greatest takes.
struct Delta {
    base: u64,
    len: usize,
}

impl Delta {
    fn of(numbers: impl Iterator<Item = u64>) -> Delta {
        let (min, max) = numbers.fold((u64::MAX, 0), |(min, max), number| (min.min(number), max.max(number)));
        let bits = u64::BITS - max.saturating_sub(min).leading_zeros();
        Delta { base: min, len: bits.div_ceil(8) as usize }
    }

    fn put(&self, out: &mut Vec<u8>, number: u64) {
        out.extend_from_slice(&(number - self.base).to_le_bytes()[..self.len]);
    }
}

fn entry_len(key: &[u8], head: &HeadRef<'_>) -> usize {
    key.len() + head.meta.len() + head.value.inline().len() + ENTRY_OVERHEAD
}
