//! Records: the payloads of frames.
//!
//! ```text
//! segment header  3 | segment varint | newest seqno before it varint | made by a recovery: 0 or 1
//! commit          1 | seqno varint | durable seqno varint | clock u64 | node u64 | entry count varint | entries
//! footer          2 | commit count varint | newest seqno varint
//! entry           flags 1 | key: length varint, bytes
//!                 | [clock u64, node u64, if flag 8] | [expires_at varint, if flag 2] | [meta: length varint, bytes, if flag 4]
//!                 | [value: length varint, bytes, unless flag 1]
//! flags           1 tombstone | 2 expires | 4 meta | 8 a stamp of its own, for it came from another replica
//! ```
//!
//! Clock and node of a commit stamp all its local entries. The durable seqno is the watermark: every commit up to it was
//! durable when this record was written, so damage below it is corruption and not an unfinished tail.

use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::hash::PREFIX_LEN;
use crate::types::{Key, Kind, SegmentId, SeqNo, Stamp};

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const META: u8 = 4;
const OWN_STAMP: u8 = 8;

const COMMIT: u8 = 1;
const FOOTER: u8 = 2;
const SEGMENT_HEADER: u8 = 3;

/// One commit. Borrows keys and values from whoever commits, or from the log's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit<'a> {
    pub(crate) seqno: SeqNo,
    /// Every commit up to here was durable when this one was written.
    pub(crate) durable: SeqNo,
    /// Stamp of the entries that have none of their own.
    pub(crate) stamp: Stamp,
    pub(crate) entries: Vec<LogEntry<'a>>,
}

/// One entry of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) expires_at: u64,
    pub(crate) meta: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Where the value begins in the payload. Set by decoding; encoding returns it.
    pub(crate) value_at: u32,
}

/// What a frame's payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    SegmentHeader { segment: SegmentId, previous: SeqNo, by_recovery: bool },
    Commit(Commit<'a>),
    Footer { commits: u64, last: SeqNo },
}

/// Appends the bytes of a commit to `out` and tells where, from `out`'s present end, each entry's value begins.
pub(super) fn encode_commit(out: &mut Vec<u8>, commit: &Commit<'_>) -> Vec<u32> {
    let start = out.len();
    out.push(COMMIT);
    put_varint(out, commit.seqno.0);
    put_varint(out, commit.durable.0);
    put_stamp(out, commit.stamp);
    put_varint(out, commit.entries.len() as u64);
    let put_entry = |entry: &LogEntry<'_>| {
        let is_tombstone = entry.kind == Kind::Tombstone;
        let flags = [
            (is_tombstone, TOMBSTONE),
            (entry.expires_at != 0, EXPIRES),
            (!entry.meta.is_empty(), META),
            (entry.stamp.is_some(), OWN_STAMP),
        ];
        out.push(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        put_len_bytes(out, entry.key);
        if let Some(stamp) = entry.stamp {
            put_stamp(out, stamp);
        }
        if entry.expires_at != 0 {
            put_varint(out, entry.expires_at);
        }
        if !entry.meta.is_empty() {
            put_len_bytes(out, entry.meta);
        }
        if !is_tombstone {
            put_len_bytes(out, entry.value);
        }
        (out.len() - entry.value.len() - start) as u32
    };
    commit.entries.iter().map(put_entry).collect()
}

pub(super) fn encode_segment_header(segment: SegmentId, previous: SeqNo, by_recovery: bool) -> Vec<u8> {
    let mut out = vec![SEGMENT_HEADER];
    put_varint(&mut out, u64::from(segment.0));
    put_varint(&mut out, previous.0);
    out.push(u8::from(by_recovery));
    out
}

pub(super) fn encode_footer(commits: u64, last: SeqNo) -> Vec<u8> {
    let mut out = vec![FOOTER];
    put_varint(&mut out, commits);
    put_varint(&mut out, last.0);
    out
}

fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.hlc.to_le_bytes());
    out.extend_from_slice(&stamp.node.to_le_bytes());
}

/// The record in a frame's payload.
pub(super) fn decode(payload: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut reader = Reader::new(payload);
    let record = match reader.u8()? {
        COMMIT => Record::Commit(decode_commit(&mut reader)?),
        FOOTER => Record::Footer { commits: reader.varint()?, last: SeqNo(reader.varint()?) },
        SEGMENT_HEADER => {
            let segment = u32::try_from(reader.varint()?).map_err(|_| reader.malformed())?;
            let previous = SeqNo(reader.varint()?);
            let by_recovery = reader.u8()? != 0;
            Record::SegmentHeader { segment: SegmentId(segment), previous, by_recovery }
        }
        _ => return Err(reader.malformed()),
    };
    if reader.is_at_end() { Ok(record) } else { Err(reader.malformed()) }
}

fn decode_commit<'a>(reader: &mut Reader<'a>) -> Result<Commit<'a>, Malformed> {
    let (seqno, durable) = (SeqNo(reader.varint()?), SeqNo(reader.varint()?));
    let stamp = stamp(reader)?;
    // An entry takes two bytes at least, so the count cannot make us allocate more than a multiple of what is there.
    let count = reader.len(reader.remaining() / 2)?;
    let entries = (0..count).map(|_| decode_entry(reader)).collect::<Result<_, _>>()?;
    Ok(Commit { seqno, durable, stamp, entries })
}

fn decode_entry<'a>(reader: &mut Reader<'a>) -> Result<LogEntry<'a>, Malformed> {
    let flags = reader.u8()?;
    if flags & !(TOMBSTONE | EXPIRES | META | OWN_STAMP) != 0 {
        return Err(reader.malformed());
    }
    let key = reader.len_bytes(Key::LEN_MAX + PREFIX_LEN)?;
    let own_stamp = if flags & OWN_STAMP != 0 { Some(stamp(reader)?) } else { None };
    let expires_at = if flags & EXPIRES != 0 { reader.varint()? } else { 0 };
    let meta = if flags & META != 0 { reader.len_bytes(reader.remaining())? } else { &[] };
    let is_tombstone = flags & TOMBSTONE != 0;
    let value = if is_tombstone { &[] } else { reader.len_bytes(reader.remaining())? };
    let kind = if is_tombstone { Kind::Tombstone } else { Kind::Put };
    let value_at = (reader.position() - value.len()) as u32;
    Ok(LogEntry { key, kind, stamp: own_stamp, expires_at, meta, value, value_at })
}

fn stamp(reader: &mut Reader<'_>) -> Result<Stamp, Malformed> {
    Ok(Stamp { hlc: reader.u64()?, node: reader.u64()? })
}
