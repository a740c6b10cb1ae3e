//! [`BlockBuilder`]: writes the blocks whose form `block` describes and reads.
//!
//! Entries are copied on their way in, for the least clock, the least sequence number and the nodes of a block stand before
//! its entries and are known only at its end.

use super::block::{BLOCK_LEN, EXPIRES, IN_LOG, META, NODE_FOLLOWS, NODE_SHIFT, PLAIN, TOMBSTONE, tag};
use super::entry::{HeadRef, RunValue};
use super::fences::common_len;
use crate::codec::{put_len_bytes, put_varint};
use crate::hash::KeyHash;
use crate::types::{Kind, Location, SeqNo, Stamp, ValueDigest};

/// What an entry costs beside its key, meta and inline value, usually. It may be up to four times as much, and starts of
/// entries fit a u16 all the same.
const ENTRY_OVERHEAD: usize = 20;

/// Collects the entries of one block. Its buffers are used again for the next.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
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
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an entry would make the block longer than a block of several entries may be.
    pub(super) fn is_full_for(&self, key: &[u8], head: &HeadRef<'_>) -> bool {
        !self.is_empty() && self.len + entry_len(key, head) > BLOCK_LEN
    }

    /// Adds an entry, with a key above all before.
    pub(super) fn push(&mut self, key: &[u8], hash: KeyHash, head: &HeadRef<'_>) {
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
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let prefix_len = match (self.entries.first(), self.entries.last()) {
            (Some(first), Some(last)) => common_len(self.part(first, 0), self.part(last, 0)),
            _ => 0,
        };
        let base_clock = self.entries.iter().map(|entry| entry.stamp.hlc).min().unwrap_or(0);
        let base_seqno = self.entries.iter().map(|entry| entry.seqno.0).min().unwrap_or(0);
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
        out.extend_from_slice(&base_clock.to_le_bytes());
        out.extend_from_slice(&base_seqno.to_le_bytes());
        out.extend(self.entries.iter().map(|entry| entry.tag));
        let starts_at = out.len();
        out.resize(starts_at + 2 * self.entries.len(), 0);
        self.nodes.iter().for_each(|node| out.extend_from_slice(&node.to_le_bytes()));
        out.extend_from_slice(self.bytes.get(..prefix_len).unwrap_or_default());
        let entries_at = out.len();
        for (index, entry) in self.entries.iter().enumerate() {
            let start = ((out.len() - entries_at) as u16).to_le_bytes();
            out[starts_at + 2 * index..][..2].copy_from_slice(&start);
            put_len_bytes(out, &self.part(entry, 0)[prefix_len..]);
            self.put_head(out, entry, base_clock, base_seqno);
        }
        self.bytes.clear();
        self.entries.clear();
        self.nodes.clear();
        self.len = 0;
    }

    fn put_head(&self, out: &mut Vec<u8>, entry: &Pending, base_clock: u64, base_seqno: u64) {
        let meta = self.part(entry, 1);
        let node = self.nodes.binary_search(&entry.stamp.node).unwrap_or(NODE_FOLLOWS);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(entry.kind == Kind::Tombstone, TOMBSTONE)
            | flag(entry.expires_at != 0, EXPIRES)
            | flag(!meta.is_empty(), META)
            | flag(entry.in_log.is_some(), IN_LOG);
        out.push(flags | (node as u8) << NODE_SHIFT);
        put_varint(out, entry.stamp.hlc - base_clock);
        put_varint(out, entry.seqno.0 - base_seqno);
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

fn entry_len(key: &[u8], head: &HeadRef<'_>) -> usize {
    key.len() + head.meta.len() + head.value.inline().len() + ENTRY_OVERHEAD
}
