//! Records: the payloads of frames.
//!
//! ```text
//! segment header  3 | segment varint | origin
//! origin          0, made by a recovery | newest seqno before it varint
//!                 1, made ahead of its use | durable seqno varint
//! link            4 | newest seqno before the segment varint | commit count varint, checksum u32 of the segment before
//! commit          1 | seqno varint | durable seqno varint | clock u64 | node u64 | entry count varint | entries
//! footer          2 | commit count varint | checksum u32 | newest seqno varint
//! entry           flags 1 | key: length varint, bytes
//!                 | [clock u64, node u64, if flag 8] | [expires_at varint, if flag 2] | [meta: length varint, bytes, if flag 4]
//!                 | [value: length varint, bytes, unless flag 1]
//! flags           1 tombstone | 2 expires | 4 meta | 8 a stamp of its own, for it came from another replica
//! ```
//!
//! Clock and node of a commit stamp all its local entries. The durable seqno is the watermark: every commit up to it was
//! durable when this record was written, so damage below it is corruption and not an unfinished tail. A segment that was
//! made ahead begins with a link: only when it comes into use is it known what it follows.
//!
//! Easy to get wrong: an unlisted type or flag is malformed, for a reader must not guess what it skips.

use smallvec::SmallVec;

use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::hash::PREFIX_LEN;
use crate::types::{Key, Kind, SegmentId, SeqNo, Stamp};

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const META: u8 = 4;
const OWN_STAMP: u8 = 8;

/// Type of a commit record, the first byte of its payload.
pub(super) const COMMIT: u8 = 1;
/// Type of a segment's last record.
pub(super) const FOOTER: u8 = 2;
const SEGMENT_HEADER: u8 = 3;
const LINK: u8 = 4;

const BY_RECOVERY: u8 = 0;
const AHEAD: u8 = 1;

/// One commit. Borrows keys and values from whoever commits, or from the log's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit<'a> {
    pub(crate) seqno: SeqNo,
    /// Every commit up to here was durable when this one was written.
    pub(crate) durable: SeqNo,
    /// Stamp of the entries that have none of their own.
    pub(crate) stamp: Stamp,
    pub(crate) entries: LogEntries<'a>,
}

/// Entries of a commit: most often one, which needs no allocation.
pub(crate) type LogEntries<'a> = SmallVec<[LogEntry<'a>; 1]>;

/// One entry of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) expires_at: u64,
    pub(crate) meta: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Where the value begins in the payload. Set by decoding, passed over by encoding.
    pub(crate) value_at: u32,
}

impl LogEntry<'_> {
    /// Bytes of key, meta and value.
    pub(crate) fn len(&self) -> u64 {
        (self.key.len() + self.meta.len() + self.value.len()) as u64
    }
}

/// What a frame's payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Commit(Commit<'a>),
    Footer { summary: Summary, last: SeqNo },
    SegmentHeader(SegmentHeader),
    Link(Link),
}

/// The first record of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: SegmentId,
    pub(super) origin: Origin,
}

/// Why and when a segment was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A recovery made it; `previous` is the newest commit before its first.
    Recovery { previous: SeqNo },
    /// It was made ahead of its use; commits up to `durable` were durable by then.
    Ahead { durable: SeqNo },
}

/// The second record of a segment that was made ahead: what it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// The newest commit before the segment's first.
    pub(super) previous: SeqNo,
    /// What the footer of the segment before says.
    pub(super) sealed: Summary,
}

/// What a segment's commits come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Summary {
    commits: u64,
    /// The checksums of the commits' frames, folded in order.
    checksum: u32,
}

impl Summary {
    /// Takes in the next commit, whose frame has this checksum.
    pub(super) fn add(&mut self, checksum: u32) {
        self.commits += 1;
        // Any odd multiplier makes the fold depend on the order; this one is 2^32 divided by the golden ratio.
        self.checksum = (self.checksum ^ checksum).wrapping_mul(0x9e37_79b1);
    }

    fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.commits);
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Summary, Malformed> {
        Ok(Summary { commits: reader.varint()?, checksum: reader.u32()? })
    }
}

impl<'a> Commit<'a> {
    /// Most bytes that the commit can take as a payload.
    pub(super) fn encoded_len_max(&self) -> u64 {
        // Varints of an entry: three lengths and the expiry; of the commit: two numbers and the count.
        const ENTRY_MAX: u64 = 1 + 16 + 4 * 10;
        const COMMIT_MAX: u64 = 1 + 16 + 3 * 10;
        let entry = |entry: &LogEntry<'_>| (entry.key.len() + entry.meta.len() + entry.value.len()) as u64;
        COMMIT_MAX + self.entries.iter().map(|each| ENTRY_MAX + entry(each)).sum::<u64>()
    }

    /// Appends the commit's payload to `out`, and tells `placed`, for each entry in order, where in the payload its value
    /// begins and how long it is. The value of a tombstone is empty.
    pub(super) fn encode(&self, out: &mut Vec<u8>, mut placed: impl FnMut(u32, u32)) {
        let start = out.len();
        out.push(COMMIT);
        put_varint(out, self.seqno.0);
        put_varint(out, self.durable.0);
        put_stamp(out, self.stamp);
        put_varint(out, self.entries.len() as u64);
        for entry in &self.entries {
            entry.encode(out);
            let len = entry.value.len();
            placed((out.len() - len - start) as u32, len as u32);
        }
    }

    /// The commit in a payload of the log.
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Commit<'a>, Malformed> {
        match decode(payload)? {
            Record::Commit(commit) => Ok(commit),
            _ => Err(Malformed { at: 0 }),
        }
    }

    fn decode_fields(reader: &mut Reader<'a>) -> Result<Commit<'a>, Malformed> {
        let (seqno, durable) = (SeqNo(reader.varint()?), SeqNo(reader.varint()?));
        let stamp = stamp(reader)?;
        // An entry takes two bytes at least, so the count cannot promise more entries than there is room for.
        let count = reader.len(reader.remaining() / 2)?;
        let entries = (0..count).map(|_| LogEntry::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Commit { seqno, durable, stamp, entries })
    }
}

impl<'a> LogEntry<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        let is_tombstone = self.kind == Kind::Tombstone;
        debug_assert!(!is_tombstone || self.value.is_empty(), "a tombstone has no value");
        let flags = [
            (is_tombstone, TOMBSTONE),
            (self.expires_at != 0, EXPIRES),
            (!self.meta.is_empty(), META),
            (self.stamp.is_some(), OWN_STAMP),
        ];
        out.push(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        put_len_bytes(out, self.key);
        if let Some(stamp) = self.stamp {
            put_stamp(out, stamp);
        }
        if self.expires_at != 0 {
            put_varint(out, self.expires_at);
        }
        if !self.meta.is_empty() {
            put_len_bytes(out, self.meta);
        }
        if !is_tombstone {
            put_len_bytes(out, self.value);
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<LogEntry<'a>, Malformed> {
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
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![SEGMENT_HEADER];
        put_varint(&mut out, u64::from(self.segment.0));
        let (origin, seqno) = match self.origin {
            Origin::Recovery { previous } => (BY_RECOVERY, previous),
            Origin::Ahead { durable } => (AHEAD, durable),
        };
        out.push(origin);
        put_varint(&mut out, seqno.0);
        out
    }

    fn decode(reader: &mut Reader<'_>) -> Result<SegmentHeader, Malformed> {
        let segment = u32::try_from(reader.varint()?).map_err(|_| reader.malformed())?;
        let origin = match (reader.u8()?, SeqNo(reader.varint()?)) {
            (BY_RECOVERY, previous) => Origin::Recovery { previous },
            (AHEAD, durable) => Origin::Ahead { durable },
            _ => return Err(reader.malformed()),
        };
        Ok(SegmentHeader { segment: SegmentId(segment), origin })
    }
}

impl Link {
    /// Appends the link's payload to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(LINK);
        put_varint(out, self.previous.0);
        self.sealed.encode(out);
    }
}

/// Appends the payload of a footer to `out`.
pub(super) fn encode_footer(out: &mut Vec<u8>, summary: Summary, last: SeqNo) {
    out.push(FOOTER);
    summary.encode(out);
    put_varint(out, last.0);
}

/// The record in a frame's payload.
pub(super) fn decode(payload: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut reader = Reader::new(payload);
    let record = match reader.u8()? {
        COMMIT => Record::Commit(Commit::decode_fields(&mut reader)?),
        FOOTER => Record::Footer { summary: Summary::decode(&mut reader)?, last: SeqNo(reader.varint()?) },
        SEGMENT_HEADER => Record::SegmentHeader(SegmentHeader::decode(&mut reader)?),
        LINK => {
            let previous = SeqNo(reader.varint()?);
            Record::Link(Link { previous, sealed: Summary::decode(&mut reader)? })
        }
        _ => return Err(reader.malformed()),
    };
    if reader.is_at_end() { Ok(record) } else { Err(reader.malformed()) }
}

fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.hlc.to_le_bytes());
    out.extend_from_slice(&stamp.node.to_le_bytes());
}

fn stamp(reader: &mut Reader<'_>) -> Result<Stamp, Malformed> {
    Ok(Stamp { hlc: reader.u64()?, node: reader.u64()? })
}
