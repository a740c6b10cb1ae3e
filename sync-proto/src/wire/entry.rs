//! The messages that carry entries: batches, long values in parts, announcements of whole ranges, names for a dry run.
//!
//! Easy to get wrong: only entries cost what the data costs, so they are written against the one before (key prefix,
//! writing node). A batch is written from the start of its message; nothing is shared between batches.

use super::codec::{Decoded, Malformed, Reader, put_bytes, put_clock_after, put_key_after, put_varint};
use crate::limits::{BATCH_COUNT_MAX, CHUNK_LEN, META_LEN_MAX};
use crate::types::{Entry, Kind, Stamp};

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const HAS_META: u8 = 4;
const SAME_NODE: u8 = 8;

/// Everything but the value:
///
/// ```text
/// 1   flags: bit 0 tombstone, 1 expires, 2 has meta, 3 written by the node of the entry before; the others are 0
/// ..  key, against the entry before
/// v   hlc, against the entry before        8   node, unless bit 3        v   expires_at, if bit 1, not 0
/// v   length of meta and meta, if bit 2, not empty
/// ```
fn put_entry(out: &mut Vec<u8>, previous: Option<&Entry>, entry: &Entry) {
    let same_node = previous.is_some_and(|previous| previous.stamp.node == entry.stamp.node);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(entry.kind == Kind::Tombstone, TOMBSTONE)
            | flag(entry.expires_at != 0, EXPIRES)
            | flag(!entry.meta.is_empty(), HAS_META)
            | flag(same_node, SAME_NODE),
    );
    put_key_after(out, previous.map(|previous| previous.key.as_slice()).unwrap_or_default(), &entry.key);
    put_clock_after(out, previous.map_or(0, |previous| previous.stamp.hlc), entry.stamp.hlc);
    if !same_node {
        out.extend_from_slice(&entry.stamp.node.to_le_bytes());
    }
    if entry.expires_at != 0 {
        put_varint(out, entry.expires_at);
    }
    if !entry.meta.is_empty() {
        put_bytes(out, &entry.meta);
    }
}

fn entry(reader: &mut Reader<'_>, previous: Option<&Entry>) -> Decoded<Entry> {
    let flags = reader.u8()?;
    if flags & !(TOMBSTONE | EXPIRES | HAS_META | SAME_NODE) != 0 {
        return Err(Malformed("flags of an entry"));
    }
    let key = reader.key_after(previous.map(|previous| previous.key.as_slice()).unwrap_or_default())?;
    let hlc = reader.clock_after(previous.map_or(0, |previous| previous.stamp.hlc))?;
    let node = match (flags & SAME_NODE != 0, previous) {
        (false, _) => reader.u64()?,
        (true, Some(previous)) => previous.stamp.node,
        (true, None) => return Err(Malformed("no entry before the first")),
    };
    let expires_at = if flags & EXPIRES == 0 { 0 } else { reader.varint()? };
    let meta = if flags & HAS_META == 0 { Vec::new() } else { reader.bytes(META_LEN_MAX)?.to_vec() };
    if (flags & EXPIRES != 0 && expires_at == 0) || (flags & HAS_META != 0 && meta.is_empty()) {
        return Err(Malformed("flag without its field"));
    }
    let kind = if flags & TOMBSTONE == 0 { Kind::Put } else { Kind::Tombstone };
    Ok(Entry { key, stamp: Stamp { hlc, node }, kind, expires_at, meta, value: Vec::new() })
}

/// A batch of entries.
///
/// ```text
/// v   number of entries, at least 1; then for each:
/// ..  everything but the value
/// v   length of the value and the value, unless it is a tombstone
/// ```
pub(crate) fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    put_varint(out, entries.len() as u64);
    let mut previous = None;
    for entry in entries {
        put_entry(out, previous, entry);
        if entry.kind == Kind::Put {
            put_bytes(out, &entry.value);
        }
        previous = Some(entry);
    }
}

/// See [`put_entries`].
pub(crate) fn entries(reader: &mut Reader<'_>) -> Decoded<Vec<Entry>> {
    let count = reader.count(1, BATCH_COUNT_MAX, 4)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut next = entry(reader, entries.last())?;
        if next.kind == Kind::Put {
            next.value = reader.bytes(CHUNK_LEN)?.to_vec();
        }
        entries.push(next);
    }
    Ok(entries)
}

/// The beginning of an entry whose value follows in parts. Nothing else may come before the value is whole.
///
/// ```text
/// ..  everything but the value; not a tombstone
/// v   length of the value, not 0
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueBegin {
    /// With an empty value.
    pub(crate) entry: Entry,
    pub(crate) value_len: u64,
}

impl ValueBegin {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_entry(out, None, &self.entry);
        put_varint(out, self.value_len);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<ValueBegin> {
        let entry = entry(reader, None)?;
        let value_len = reader.varint()?;
        if entry.kind == Kind::Tombstone || value_len == 0 {
            return Err(Malformed("a long value that is none"));
        }
        Ok(ValueBegin { entry, value_len })
    }
}

/// `length varint | bytes`, not empty: the next part of the value begun last.
pub(crate) fn value_part(reader: &mut Reader<'_>) -> Decoded<Vec<u8>> {
    match reader.bytes(CHUNK_LEN)? {
        [] => Err(Malformed("empty part")),
        bytes => Ok(bytes.to_vec()),
    }
}

/// Keys that a dry run found to differ, from the responder to the initiator.
///
/// ```text
/// v   number of names, at least 1; then for each:
/// 1   0 = the initiator lacks the key, 1 = its version is older
/// ..  key, against the one before
/// ```
pub(crate) fn put_names(out: &mut Vec<u8>, names: &[(bool, Vec<u8>)]) {
    put_varint(out, names.len() as u64);
    let mut previous: &[u8] = &[];
    for (newer, key) in names {
        out.push(u8::from(*newer));
        put_key_after(out, previous, key);
        previous = key;
    }
}

/// See [`put_names`].
pub(crate) fn names(reader: &mut Reader<'_>) -> Decoded<Vec<(bool, Vec<u8>)>> {
    let count = reader.count(1, BATCH_COUNT_MAX, 3)?;
    let mut names: Vec<(bool, Vec<u8>)> = Vec::with_capacity(count);
    for _ in 0..count {
        let newer = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("flag of a name")),
        };
        let previous = names.last().map(|(_, key)| key.as_slice()).unwrap_or_default();
        let key = reader.key_after(previous)?;
        names.push((newer, key));
    }
    Ok(names)
}
