//! [`BlockBuilder`]: collects the entries of a block and writes it.
//!
//! Easy to get wrong: what entries have in common is known only after the last one, so nothing is written before.

use crate::codec::{put_len_bytes, put_varint};
use crate::hash::KeyHash;
use crate::types::{Kind, ValueRef};

use super::super::entry::{StoredHead, StoredValue};
use super::super::fences::common_len;
use super::{
    BLOCK_LEN, ENTRY_OVERHEAD, EXPIRES, IN_LOG, META, NODE_FOLLOWS, NODE_SHIFT, PLAIN, TOMBSTONE, head, tag,
};

/// Collects the entries of one block.
#[derive(Debug, Default)]
pub(in crate::index) struct BlockBuilder {
    /// The keys one after the other; an entry knows where its own ends.
    keys: Vec<u8>,
    entries: Vec<Pending>,
    len: usize,
}

#[derive(Debug)]
struct Pending {
    key_end: usize,
    tag: u8,
    head: StoredHead,
}

impl BlockBuilder {
    pub(in crate::index) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an entry would make the block longer than a block of several entries may be.
    pub(in crate::index) fn is_full_for(&self, key: &[u8], head: &StoredHead) -> bool {
        !self.is_empty() && self.len + entry_len(key, head) > BLOCK_LEN
    }

    /// Adds an entry, with a key above all before.
    pub(in crate::index) fn push(&mut self, key: &[u8], hash: KeyHash, head: StoredHead) {
        self.len += entry_len(key, &head);
        self.keys.extend_from_slice(key);
        self.entries.push(Pending { key_end: self.keys.len(), tag: tag(hash), head });
    }

    /// Appends the block but for its checksum to `out`, and forgets the entries.
    pub(in crate::index) fn finish(&mut self, out: &mut Vec<u8>) {
        let key_starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.key_end));
        let keys: Vec<&[u8]> =
            key_starts.zip(&self.entries).map(|(start, entry)| &self.keys[start..entry.key_end]).collect();
        let prefix = match (keys.first(), keys.last()) {
            (Some(first), Some(last)) => &first[..common_len(first, last)],
            _ => &[],
        };
        let bases = Bases::of(self.entries.iter().map(|entry| (entry.head.stamp.hlc, entry.head.seqno.0)));
        let mut nodes: Vec<u64> = self.entries.iter().map(|entry| entry.head.stamp.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(NODE_FOLLOWS);

        out.push(PLAIN);
        out.extend_from_slice(&(self.entries.len() as u16).to_le_bytes());
        out.extend_from_slice(&(prefix.len() as u32).to_le_bytes());
        out.push(nodes.len() as u8);
        out.extend_from_slice(&bases.clock.to_le_bytes());
        out.extend_from_slice(&bases.seqno.to_le_bytes());
        out.extend_from_slice(&[bases.clock_len as u8, bases.seqno_len as u8]);
        out.extend(self.entries.iter().map(|entry| entry.tag));
        let starts_at = out.len();
        out.resize(starts_at + 2 * self.entries.len(), 0);
        nodes.iter().for_each(|node| out.extend_from_slice(&node.to_le_bytes()));
        out.extend_from_slice(prefix);
        keys.iter().for_each(|key| out.extend_from_slice(&head(&key[prefix.len()..]).to_le_bytes()));
        let entries_at = out.len();
        for (index, (key, entry)) in keys.iter().zip(&self.entries).enumerate() {
            let start = ((out.len() - entries_at) as u16).to_le_bytes();
            out[starts_at + 2 * index..][..2].copy_from_slice(&start);
            put_len_bytes(out, &key[prefix.len()..]);
            put_head(out, &entry.head, &bases, &nodes);
        }
        self.keys.clear();
        self.entries.clear();
        self.len = 0;
    }
}

/// The least clock and seqno of a block's entries, and how many bytes any of them takes beyond that.
struct Bases {
    clock: u64,
    seqno: u64,
    clock_len: usize,
    seqno_len: usize,
}

impl Bases {
    fn of(entries: impl Iterator<Item = (u64, u64)> + Clone) -> Bases {
        let base_and_len = |numbers: &mut dyn Iterator<Item = u64>| {
            let (min, max) =
                numbers.fold((u64::MAX, 0), |(min, max), number| (min.min(number), max.max(number)));
            let bits = u64::BITS - max.saturating_sub(min).leading_zeros();
            (min, bits.div_ceil(8) as usize)
        };
        let (clock, clock_len) = base_and_len(&mut entries.clone().map(|(clock, _)| clock));
        let (seqno, seqno_len) = base_and_len(&mut entries.map(|(_, seqno)| seqno));
        Bases { clock, seqno, clock_len, seqno_len }
    }
}

fn entry_len(key: &[u8], head: &StoredHead) -> usize {
    key.len() + head.meta.len() + head.inline_len() + ENTRY_OVERHEAD
}

fn put_head(out: &mut Vec<u8>, head: &StoredHead, bases: &Bases, nodes: &[u64]) {
    let node = nodes.binary_search(&head.stamp.node).unwrap_or(NODE_FOLLOWS);
    let flags = [
        (head.kind == Kind::Tombstone, TOMBSTONE),
        (head.expires_at != 0, EXPIRES),
        (!head.meta.is_empty(), META),
        (head.log_location().is_some(), IN_LOG),
    ];
    let flags: u8 = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
    out.push(flags | (node as u8) << NODE_SHIFT);
    out.extend_from_slice(&(head.stamp.hlc - bases.clock).to_le_bytes()[..bases.clock_len]);
    out.extend_from_slice(&(head.seqno.0 - bases.seqno).to_le_bytes()[..bases.seqno_len]);
    if node == NODE_FOLLOWS {
        out.extend_from_slice(&head.stamp.node.to_le_bytes());
    }
    if head.expires_at != 0 {
        put_varint(out, head.expires_at);
    }
    if !head.meta.is_empty() {
        put_len_bytes(out, &head.meta);
    }
    match &head.value {
        StoredValue::Undigested(value) | StoredValue::Digested(ValueRef::Inline(value), _) => {
            out.extend_from_slice(value);
        }
        StoredValue::Digested(ValueRef::Staged { location, .. } | ValueRef::Log(location), digest) => {
            put_varint(out, u64::from(location.segment.0));
            put_varint(out, u64::from(location.offset));
            put_varint(out, u64::from(location.len));
            out.extend_from_slice(&digest.0.to_le_bytes());
        }
    }
}
