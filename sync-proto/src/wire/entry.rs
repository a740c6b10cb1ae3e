//! The messages that carry entries: batches, long values in parts, announcements of whole ranges, names for a dry run.
//!
//! Easy to get wrong: only entries cost what the data costs, so they are written against the one before (key prefix,
//! writing node). A batch is written from the start of its message; nothing is shared between batches.

use super::codec::{
    Decoded, Malformed, Reader, put_bytes, put_clock_after, put_key_after, put_key_of_len_after, put_varint,
};
use crate::limits::{BATCH_COUNT_MAX, CHUNK_LEN, META_LEN_MAX};
use crate::types::{Entry, Kind, Stamp};

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const HAS_META: u8 = 4;
const SAME_NODE: u8 = 8;
const SAME_KEY_LEN: u8 = 16;
const SAME_VALUE_LEN: u8 = 32;
const FLAGS: u8 = TOMBSTONE | EXPIRES | HAS_META | SAME_NODE | SAME_KEY_LEN | SAME_VALUE_LEN;

/// Everything but the value:
///
/// ```text
/// 1   flags: bit 0 tombstone, 1 expires, 2 has meta; as the entry before: 3 node, 4 length of the key, 5 length of the value,
///     which a tombstone does not say; the others are 0
/// ..  key, against the entry before; if bit 4, without its length
/// v   hlc, against the entry before        8   node, unless bit 3        v   expires_at, if bit 1, not 0
/// v   length of meta and meta, if bit 2, not empty
/// ```
fn put_entry(out: &mut Vec<u8>, previous: Option<&Entry>, entry: &Entry) {
    let same_node = previous.is_some_and(|previous| previous.stamp.node == entry.stamp.node);
    let same_key_len = previous.is_some_and(|previous| previous.key.len() == entry.key.len());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(entry.kind == Kind::Tombstone, TOMBSTONE)
            | flag(entry.expires_at != 0, EXPIRES)
            | flag(!entry.meta.is_empty(), HAS_META)
            | flag(same_node, SAME_NODE)
            | flag(same_key_len, SAME_KEY_LEN)
            | flag(has_same_value_len(previous, entry), SAME_VALUE_LEN),
    );
    let put_key = if same_key_len { put_key_of_len_after } else { put_key_after };
    put_key(out, previous.map(|previous| previous.key.as_slice()).unwrap_or_default(), &entry.key);
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

/// Whether the length of the value goes without saying.
fn has_same_value_len(previous: Option<&Entry>, entry: &Entry) -> bool {
    let is_put = entry.kind == Kind::Put;
    is_put && previous.is_some_and(|previous| previous.value.len() == entry.value.len())
}

/// The entry without its value, and the length of the value if that is known already.
fn entry(reader: &mut Reader<'_>, previous: Option<&Entry>) -> Decoded<(Entry, Option<usize>)> {
    let flags = reader.u8()?;
    let has = |flag: u8| flags & flag != 0;
    if flags & !FLAGS != 0 || (has(TOMBSTONE) && has(SAME_VALUE_LEN)) {
        return Err(Malformed("flags of an entry"));
    }
    if previous.is_none() && has(SAME_NODE | SAME_KEY_LEN | SAME_VALUE_LEN) {
        return Err(Malformed("no entry before the first"));
    }
    let before = previous.map(|previous| previous.key.as_slice()).unwrap_or_default();
    let key = if has(SAME_KEY_LEN) { reader.key_of_len_after(before)? } else { reader.key_after(before)? };
    let value_len = previous.filter(|_| has(SAME_VALUE_LEN)).map(|previous| previous.value.len());
    let hlc = reader.clock_after(previous.map_or(0, |previous| previous.stamp.hlc))?;
    let node = match previous.filter(|_| has(SAME_NODE)) {
        Some(previous) => previous.stamp.node,
        None => reader.u64()?,
    };
    let expires_at = if has(EXPIRES) { reader.varint()? } else { 0 };
    let meta = if has(HAS_META) { reader.bytes(META_LEN_MAX)?.to_vec() } else { Vec::new() };
    if (has(EXPIRES) && expires_at == 0) || (has(HAS_META) && meta.is_empty()) {
        return Err(Malformed("flag without its field"));
    }
    let kind = if has(TOMBSTONE) { Kind::Tombstone } else { Kind::Put };
    Ok((Entry { key, stamp: Stamp { hlc, node }, kind, expires_at, meta, value: Vec::new() }, value_len))
}

/// A batch of entries.
///
/// ```text
/// v   number of entries, at least 1; then for each:
/// ..  everything but the value
/// v   length of the value, unless bit 5        ..  the value; neither of a tombstone
/// ```
pub(crate) fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    put_varint(out, entries.len() as u64);
    let mut previous = None;
    for entry in entries {
        put_entry(out, previous, entry);
        match has_same_value_len(previous, entry) {
            true => out.extend_from_slice(&entry.value),
            false if entry.kind == Kind::Put => put_bytes(out, &entry.value),
            false => {}
        }
        previous = Some(entry);
    }
}

/// See [`put_entries`].
pub(crate) fn entries(reader: &mut Reader<'_>) -> Decoded<Vec<Entry>> {
    let count = reader.count(1, BATCH_COUNT_MAX, 3)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for _ in 0..count {
        let (mut next, value_len) = entry(reader, entries.last())?;
        next.value = match value_len {
            Some(len) => reader.take(len)?.to_vec(),
            None if next.kind == Kind::Put => reader.bytes(CHUNK_LEN)?.to_vec(),
            None => Vec::new(),
        };
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
        let (entry, _) = entry(reader, None)?;
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
