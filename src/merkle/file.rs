//! Merkle files: the buckets of a base, written with the flush that made it and named by the same manifest edit.
//!
//! A *full* file holds every bucket, a *delta* the buckets that a flush changed or added. A base is one full file and the
//! deltas after it, oldest first; once the deltas outweigh the full file, the next flush writes a full one.
//!
//! ```text
//! 0   16  file header, kind "MRKL"
//! 16      blocks: length u32 | CRC-32 u32 over (offset of the block u64, payload) | payload of at most 64 KiB and one bucket
//!   first block    form u8 (1 full, 2 delta) | flushed seqno u64 | bucket count u64
//!   further ones   buckets: bytes shared with the start before, varint | rest of the start, length and bytes | level u8
//!                  | sum | number of epochs varint | for each: epoch varint, sum
//!   sum            fingerprint 16 | live varint | tombstones varint | bytes varint
//! ```
//!
//! The first bucket of a block shares nothing. Easy to get wrong: these files are derived data. Damage is an error here
//! and leads to a rebuild from the runs, never to a wrong sum.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::base::{Base, Bucket};
use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::types::{Counts, Epoch, EpochSums, FileId, Fingerprint, Key, RangeSum, SeqNo};
use crate::vfs::{ReadMode, Vfs, WritableFile};

/// A block is closed when it reaches this many bytes.
const BLOCK_LEN: usize = 64 << 10;

/// The longest block that is believed: a full one and one bucket with a key of the greatest length and many epochs.
const BLOCK_LEN_MAX: usize = 4 << 20;

/// Length of the frame before a block's payload.
const FRAME_LEN: usize = 8;

/// The longest start of a bucket: an inner key.
const START_LEN_MAX: usize = Key::LEN_MAX + crate::hash::PREFIX_LEN;

/// Whether a file holds every bucket or the changed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Full = 1,
    Delta = 2,
}

/// Writes every bucket of `base` to file `id`, durable but for its name. Returns its length in bytes.
///
/// # Errors
/// `Io`; the file may be there in part.
pub(crate) fn write_full(vfs: &dyn Vfs, dir: &Path, id: FileId, flushed: SeqNo, base: &Base) -> Result<u64> {
    write(vfs, dir, id, flushed, Form::Full, &base.buckets().collect::<Vec<_>>())
}

/// Writes the buckets of `base` that `previous` does not have so. Returns the file's length in bytes.
///
/// # Errors
/// As [`write_full`].
pub(crate) fn write_delta(
    vfs: &dyn Vfs,
    dir: &Path,
    id: FileId,
    flushed: SeqNo,
    previous: &Base,
    base: &Base,
) -> Result<u64> {
    write(vfs, dir, id, flushed, Form::Delta, &base.changed_since(previous))
}

fn write(
    vfs: &dyn Vfs,
    dir: &Path,
    id: FileId,
    flushed: SeqNo,
    form: Form,
    buckets: &[&Bucket],
) -> Result<u64> {
    let path = dir.join(FileKind::Merkle.name(id.0));
    let file = vfs.create(&path, 0).map_err(|source| Error::io("create", &path, source))?;
    let mut blocks = BlockWriter { path, file, offset: 0, payload: Vec::new() };
    blocks.write(&FileKind::Merkle.header())?;
    blocks.payload.push(form as u8);
    blocks.payload.extend_from_slice(&flushed.0.to_le_bytes());
    blocks.payload.extend_from_slice(&(buckets.len() as u64).to_le_bytes());
    blocks.close()?;
    let mut before: &[u8] = &[];
    for bucket in buckets {
        put_bucket(&mut blocks.payload, before, bucket);
        before = &bucket.start;
        if blocks.payload.len() >= BLOCK_LEN {
            blocks.close()?;
            before = &[];
        }
    }
    if !blocks.payload.is_empty() {
        blocks.close()?;
    }
    blocks.file.sync().map_err(|source| Error::io("fsync", &blocks.path, source))?;
    Ok(blocks.offset)
}

#[derive(Debug)]
struct BlockWriter {
    path: PathBuf,
    file: Box<dyn WritableFile>,
    offset: u64,
    payload: Vec<u8>,
}

impl BlockWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(self.offset, bytes)
            .map_err(|source| Error::io("write", &self.path, source))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes the collected payload as one block.
    fn close(&mut self) -> Result<()> {
        let payload = std::mem::take(&mut self.payload);
        let mut block = Vec::with_capacity(FRAME_LEN + payload.len());
        block.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        block.extend_from_slice(&block_checksum(self.offset, &payload).to_le_bytes());
        block.extend_from_slice(&payload);
        self.write(&block)
    }
}

/// The offset is part of the checksum, so that a block that landed in another place is not taken for this one.
fn block_checksum(offset: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn put_bucket(out: &mut Vec<u8>, before: &[u8], bucket: &Bucket) {
    let shared = before.iter().zip(&bucket.start).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_len_bytes(out, bucket.start.get(shared..).unwrap_or_default());
    out.push(bucket.level);
    put_sum(out, &bucket.sums.total);
    put_varint(out, bucket.sums.ending.len() as u64);
    for (epoch, sum) in &bucket.sums.ending {
        put_varint(out, epoch.0);
        put_sum(out, sum);
    }
}

fn put_sum(out: &mut Vec<u8>, sum: &RangeSum) {
    out.extend_from_slice(&sum.fingerprint.0.to_le_bytes());
    put_varint(out, sum.counts.live);
    put_varint(out, sum.counts.tombstones);
    put_varint(out, sum.counts.bytes);
}

fn bucket(reader: &mut Reader<'_>, before: &[u8]) -> Result<Bucket, Malformed> {
    let shared = reader.len(before.len())?;
    let rest = reader.len_bytes(START_LEN_MAX - shared.min(START_LEN_MAX))?;
    let start = [before.get(..shared).unwrap_or_default(), rest].concat().into_boxed_slice();
    let level = reader.u8()?;
    let mut sums = EpochSums { total: sum(reader)?, ..EpochSums::default() };
    for _ in 0..reader.len(reader.remaining())? {
        let epoch = Epoch(reader.varint()?);
        sums.ending.insert(epoch, sum(reader)?);
    }
    Ok(Bucket { start, level, sums })
}

fn sum(reader: &mut Reader<'_>) -> Result<RangeSum, Malformed> {
    let fingerprint = Fingerprint(reader.u128()?);
    let (live, tombstones, bytes) = (reader.varint()?, reader.varint()?, reader.varint()?);
    Ok(RangeSum { fingerprint, counts: Counts { live, tombstones, bytes } })
}

/// Reads the base that `files` (a full file, then deltas) describe as of the flush of `flushed`.
///
/// # Errors
/// `Corruption` if any file is damaged or they do not belong together, `UnsupportedVersion`, `Io`.
pub(crate) fn load(vfs: &Arc<dyn Vfs>, dir: &Path, files: &[FileId], flushed: SeqNo) -> Result<Base> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut described = SeqNo::ZERO;
    for (index, id) in files.iter().enumerate() {
        let path = dir.join(FileKind::Merkle.name(id.0));
        let form = if index == 0 { Form::Full } else { Form::Delta };
        let file = vfs.open(&path, ReadMode::Plain).map_err(|source| Error::io("open", &path, source))?;
        let len =
            usize::try_from(file.len()).map_err(|_| Error::corruption(&path, 0, "longer than memory"))?;
        let bytes = file.read(0, len).map_err(|source| Error::io("read", &path, source))?;
        let (seqno, part) = decode(&path, &bytes, form)?;
        if seqno < described {
            return Err(Error::corruption(&path, HEADER_LEN as u64, "a delta is older than what it changes"));
        }
        described = seqno;
        buckets = overlay(buckets, part);
    }
    if described != flushed {
        let path = dir.join(files.last().map_or_else(String::new, |id| FileKind::Merkle.name(id.0)));
        return Err(Error::corruption(&path, HEADER_LEN as u64, "describes another moment than the runs"));
    }
    Ok(Base::new(buckets))
}

/// `buckets` with those of `delta` put in their places; both in key order.
fn overlay(buckets: Vec<Bucket>, delta: Vec<Bucket>) -> Vec<Bucket> {
    let mut merged = Vec::with_capacity(buckets.len() + delta.len());
    let mut delta = delta.into_iter().peekable();
    for bucket in buckets {
        while delta.peek().is_some_and(|changed| changed.start < bucket.start) {
            merged.extend(delta.next());
        }
        match delta.next_if(|changed| changed.start == bucket.start) {
            Some(changed) => merged.push(changed),
            None => merged.push(bucket),
        }
    }
    merged.extend(delta);
    merged
}

fn decode(path: &Path, bytes: &[u8], form: Form) -> Result<(SeqNo, Vec<Bucket>)> {
    FileKind::Merkle.check(path, bytes)?;
    let mut at = HEADER_LEN;
    let malformed =
        |at: usize| Error::corruption(path, at as u64, "a Merkle block with a valid checksum makes no sense");
    let mut head = Reader::new(next_block(path, bytes, &mut at)?);
    let (found, seqno, count) =
        (|| Ok((head.u8()?, head.u64()?, head.u64()?)))().map_err(|_: Malformed| malformed(HEADER_LEN))?;
    if found != form as u8 || !head.is_at_end() {
        return Err(malformed(HEADER_LEN));
    }
    let mut buckets: Vec<Bucket> = Vec::new();
    while at < bytes.len() {
        let start = at;
        let mut reader = Reader::new(next_block(path, bytes, &mut at)?);
        let mut before: Box<[u8]> = Box::default();
        while !reader.is_at_end() {
            let bucket = bucket(&mut reader, &before).map_err(|_| malformed(start))?;
            if buckets.last().is_some_and(|last| last.start >= bucket.start) {
                return Err(Error::corruption(path, start as u64, "buckets are out of order"));
            }
            before.clone_from(&bucket.start);
            buckets.push(bucket);
        }
    }
    if buckets.len() as u64 != count {
        return Err(Error::corruption(path, at as u64, "buckets are missing at the end"));
    }
    Ok((SeqNo(seqno), buckets))
}

/// The payload of the block at `at`, which moves to the block after it.
fn next_block<'a>(path: &Path, bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8]> {
    let damaged = || Error::corruption(path, *at as u64, "a Merkle block's checksum does not match");
    let mut reader = Reader::new(bytes.get(*at..).unwrap_or_default());
    let (len, checksum) = (reader.u32().map_err(|_| damaged())?, reader.u32().map_err(|_| damaged())?);
    let len = usize::try_from(len).ok().filter(|&len| len <= BLOCK_LEN_MAX).ok_or_else(damaged)?;
    let payload = reader.bytes(len).map_err(|_| damaged())?;
    if block_checksum(*at as u64, payload) != checksum {
        return Err(damaged());
    }
    *at += FRAME_LEN + len;
    Ok(payload)
}
