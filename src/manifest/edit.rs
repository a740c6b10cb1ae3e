//! One durable change of the manifest's state, and its bytes.
//!
//! ```text
//! edit    = changes, one after the other; one edit is one frame and takes effect whole or not at all
//! change  = tag 1 | fields
//!   1 Opened         node u64 | opens varint
//!   2 MarkedAsCopy
//!   3 Horizon        hlc u64
//!   4 Flushed        seqno varint | clock floor u64 | log start varint
//!   5 LogEnd         segment varint | end varint
//!   6 ValueSegment   segment varint | length varint
//!   7 RemoveValueSegment  segment varint
//!   8 Runs           count varint | file number varint each, newest first
//!   9 Merkle         count varint | file number varint each, full file first
//!  10 NextFile       file number varint
//!  11 Written        committed varint | logged varint | flushed varint | merged varint
//!  12 RetainLog      bytes varint
//!  13 Retained       segment varint | end varint | file length varint
//!  14 RetainedFrom   segment varint
//!  15 FeedFrom       seqno varint
//!  16 Table          length varint | what the horizon's table knows more
//!  17 Hole           file number varint | key range: what of a run is passed over
//!  18 Unknown        key range | floor u64
//!  19 Known          key range
//!  20 LostValue      key: length varint, bytes | hlc u64 | node u64 | digest u128
//!  21 FoundValue     key: length varint, bytes
//!  32 Compression    codec u8: 0 none, 1 LZ4, 2 Zstandard | level u8, 0 unless the codec is 2
//! key range = start: length varint, bytes | 0, or 1 and the end: length varint, bytes
//! ```
//!
//! A tag that is not listed makes the edit malformed: a reader must not guess what it skipped.

use super::state::Retained;
use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::horizon::Table;
use crate::quarantine::LostValue;
use crate::types::{Compression, FileId, KeyRange, NodeId, SegmentId, SeqNo, Stamp, ValueDigest, Written};

/// Bytes of the greatest table.
const TABLE_LEN_MAX: usize = 64 << 20;

/// One change of the manifest's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The store was opened for writing for the `opens`-th time, as `node`.
    Opened { node: NodeId, opens: u64 },
    /// The directory is a copy, and takes a new node id at its first writable open.
    MarkedAsCopy,
    /// The horizon rose.
    Horizon(u64),
    /// All commits up to `seqno` are in the runs; the log is needed from `log_start` on.
    Flushed { seqno: SeqNo, clock_floor: u64, log_start: SegmentId },
    /// A recovery closed `segment`: bytes from `end` on are never read again.
    LogEnd { segment: SegmentId, end: u64 },
    /// A segment below the log's start stays, for the large values in its first `len` bytes.
    ValueSegment { segment: SegmentId, len: u64 },
    /// That segment is not needed any more.
    RemoveValueSegment(SegmentId),
    /// The whole list of runs, newest first.
    Runs(Vec<FileId>),
    /// The whole list of Merkle files.
    Merkle(Vec<FileId>),
    /// Numbers below this one have been given out.
    NextFile(FileId),
    /// Flushed segments are kept for the change feed up to this many bytes.
    RetainLog(u64),
    /// A segment below the log's start stays for the change feed.
    Retained { segment: SegmentId, retained: Retained },
    /// The segments before this one stay for it no more.
    RetainedFrom(SegmentId),
    /// The change feed begins after this commit, for an ingest that is not in the log came with it.
    FeedFrom(SeqNo),
    /// The horizon's table knows this as well.
    Table(Table),
    /// What a run has in this range is passed over: it is damaged, or was replaced when its span was healed.
    Hole { run: FileId, range: KeyRange },
    /// Entries of this span that are stamped `floor` (clock units) or lower are unknown.
    Unknown { span: KeyRange, floor: u64 },
    /// The keys of this range are known again.
    Known(KeyRange),
    /// The large value of a key's entry is damaged.
    LostValue { key: Vec<u8>, value: LostValue },
    /// It is there again, or of no interest any more.
    FoundValue(Vec<u8>),
    /// How blocks of new runs are stored.
    Compression(Compression),
    /// Bytes written until now, for statistics.
    Written(Written),
}

/// The bytes of an edit.
pub(crate) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut out = Vec::new();
    for change in changes {
        match change {
            Change::Opened { node, opens } => {
                out.push(1);
                out.extend_from_slice(&node.0.to_le_bytes());
                put_varint(&mut out, *opens);
            }
            Change::MarkedAsCopy => out.push(2),
            Change::Horizon(horizon) => {
                out.push(3);
                out.extend_from_slice(&horizon.to_le_bytes());
            }
            Change::Flushed { seqno, clock_floor, log_start } => {
                out.push(4);
                put_varint(&mut out, seqno.0);
                out.extend_from_slice(&clock_floor.to_le_bytes());
                put_varint(&mut out, u64::from(log_start.0));
            }
            Change::LogEnd { segment, end } => put_segment(&mut out, 5, *segment, Some(*end)),
            Change::ValueSegment { segment, len } => put_segment(&mut out, 6, *segment, Some(*len)),
            Change::RemoveValueSegment(segment) => put_segment(&mut out, 7, *segment, None),
            Change::Runs(files) => put_files(&mut out, 8, files),
            Change::Merkle(files) => put_files(&mut out, 9, files),
            Change::NextFile(next) => {
                out.push(10);
                put_varint(&mut out, next.0);
            }
            Change::RetainLog(bytes) => {
                out.push(12);
                put_varint(&mut out, *bytes);
            }
            Change::Retained { segment, retained } => {
                put_segment(&mut out, 13, *segment, Some(retained.end));
                put_varint(&mut out, retained.file_len);
            }
            Change::RetainedFrom(segment) => put_segment(&mut out, 14, *segment, None),
            Change::FeedFrom(seqno) => {
                out.push(15);
                put_varint(&mut out, seqno.0);
            }
            Change::Table(table) => {
                out.push(16);
                put_len_bytes(&mut out, &table.to_bytes());
            }
            Change::Hole { run, range } => {
                out.push(17);
                put_varint(&mut out, run.0);
                put_range(&mut out, range);
            }
            Change::Unknown { span, floor } => {
                out.push(18);
                put_range(&mut out, span);
                out.extend_from_slice(&floor.to_le_bytes());
            }
            Change::Known(range) => {
                out.push(19);
                put_range(&mut out, range);
            }
            Change::LostValue { key, value: LostValue { stamp, digest } } => {
                out.push(20);
                put_len_bytes(&mut out, key);
                out.extend_from_slice(&stamp.hlc.to_le_bytes());
                out.extend_from_slice(&stamp.node.to_le_bytes());
                out.extend_from_slice(&digest.0.to_le_bytes());
            }
            Change::FoundValue(key) => {
                out.push(21);
                put_len_bytes(&mut out, key);
            }
            Change::Compression(compression) => {
                let (codec, level) = compression.code();
                out.extend_from_slice(&[32, codec, level]);
            }
            Change::Written(written) => {
                out.push(11);
                let Written { committed, logged, flushed, merged } = *written;
                for bytes in [committed, logged, flushed, merged] {
                    put_varint(&mut out, bytes);
                }
            }
        }
    }
    out
}

/// The changes in `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Change>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut changes = Vec::new();
    while !reader.is_at_end() {
        changes.push(match reader.u8()? {
            1 => Change::Opened { node: NodeId(reader.u64()?), opens: reader.varint()? },
            2 => Change::MarkedAsCopy,
            3 => Change::Horizon(reader.u64()?),
            4 => Change::Flushed {
                seqno: SeqNo(reader.varint()?),
                clock_floor: reader.u64()?,
                log_start: segment(&mut reader)?,
            },
            5 => Change::LogEnd { segment: segment(&mut reader)?, end: reader.varint()? },
            6 => Change::ValueSegment { segment: segment(&mut reader)?, len: reader.varint()? },
            7 => Change::RemoveValueSegment(segment(&mut reader)?),
            8 => Change::Runs(files(&mut reader)?),
            9 => Change::Merkle(files(&mut reader)?),
            10 => Change::NextFile(FileId(reader.varint()?)),
            12 => Change::RetainLog(reader.varint()?),
            13 => Change::Retained {
                segment: segment(&mut reader)?,
                retained: Retained { end: reader.varint()?, file_len: reader.varint()? },
            },
            14 => Change::RetainedFrom(segment(&mut reader)?),
            16 => {
                let bytes = reader.len_bytes(TABLE_LEN_MAX)?;
                Change::Table(Table::from_bytes(bytes).map_err(|_| reader.malformed())?)
            }
            15 => Change::FeedFrom(SeqNo(reader.varint()?)),
            11 => Change::Written(Written {
                committed: reader.varint()?,
                logged: reader.varint()?,
                flushed: reader.varint()?,
                merged: reader.varint()?,
            }),
            17 => Change::Hole { run: FileId(reader.varint()?), range: range(&mut reader)? },
            18 => Change::Unknown { span: range(&mut reader)?, floor: reader.u64()? },
            19 => Change::Known(range(&mut reader)?),
            20 => {
                let key = reader.len_bytes(reader.remaining())?.to_vec();
                let stamp = Stamp { hlc: reader.u64()?, node: reader.u64()? };
                Change::LostValue { key, value: LostValue { stamp, digest: ValueDigest(reader.u128()?) } }
            }
            21 => Change::FoundValue(reader.len_bytes(reader.remaining())?.to_vec()),
            32 => {
                let compression = Compression::of_code(reader.u8()?, reader.u8()?);
                Change::Compression(compression.ok_or_else(|| reader.malformed())?)
            }
            _ => return Err(reader.malformed()),
        });
    }
    Ok(changes)
}

fn put_segment(out: &mut Vec<u8>, tag: u8, segment: SegmentId, number: Option<u64>) {
    out.push(tag);
    put_varint(out, u64::from(segment.0));
    if let Some(number) = number {
        put_varint(out, number);
    }
}

fn put_files(out: &mut Vec<u8>, tag: u8, files: &[FileId]) {
    out.push(tag);
    put_varint(out, files.len() as u64);
    for file in files {
        put_varint(out, file.0);
    }
}

fn segment(reader: &mut Reader<'_>) -> Result<SegmentId, Malformed> {
    let id = reader.varint()?;
    u32::try_from(id).map(SegmentId).map_err(|_| reader.malformed())
}

fn files(reader: &mut Reader<'_>) -> Result<Vec<FileId>, Malformed> {
    // Each number takes a byte at least, so the count cannot make us allocate more than the edit is long.
    let count = reader.len(reader.remaining())?;
    (0..count).map(|_| reader.varint().map(FileId)).collect()
}

fn put_range(out: &mut Vec<u8>, range: &KeyRange) {
    put_len_bytes(out, &range.start);
    out.push(u8::from(range.end.is_some()));
    range.end.iter().for_each(|end| put_len_bytes(out, end));
}

fn range(reader: &mut Reader<'_>) -> Result<KeyRange, Malformed> {
    let start = reader.len_bytes(reader.remaining())?.to_vec();
    let end = match reader.u8()? {
        0 => None,
        1 => Some(reader.len_bytes(reader.remaining())?.to_vec()),
        _ => return Err(reader.malformed()),
    };
    Ok(KeyRange { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as they are on disk: whoever changes them needs a new version of the format.
    #[test]
    fn changes_of_the_quarantine_keep_their_bytes() {
        let range = KeyRange::new(*b"ab", Some(b"c".to_vec()));
        let value = LostValue { stamp: Stamp { hlc: 3, node: 4 }, digest: ValueDigest(5) };
        let changes = [
            Change::Hole { run: FileId(300), range: range.clone() },
            Change::Unknown { span: range, floor: 0x0102 },
            Change::Known(KeyRange::new(*b"x", None)),
            Change::LostValue { key: b"k".to_vec(), value },
            Change::FoundValue(b"k".to_vec()),
        ];
        let mut golden =
            b"\x11\xac\x02\x02ab\x01\x01c\x12\x02ab\x01\x01c\x02\x01\0\0\0\0\0\0\x13\x01x\0".to_vec();
        golden.extend_from_slice(b"\x14\x01k\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05");
        golden.extend_from_slice(&[0; 15]);
        golden.extend_from_slice(b"\x15\x01k");
        assert_eq!(encode(&changes), golden);
        assert_eq!(decode(&golden).expect("just encoded"), changes);
        let whole = |len: usize| decode(&golden[..len]).is_ok();
        assert_eq!((0..=golden.len()).filter(|len| whole(*len)).count(), 6, "cut between changes alone");
    }
}
