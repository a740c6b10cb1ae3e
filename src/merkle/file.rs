//! Merkle files: the buckets of a base, written with the flush that made it and named by the same manifest edit.
//!
//! A *full* file holds every bucket, a *delta* what a flush changed. A base is one full file and the deltas after it, oldest
//! first; [`write_next`] decides which of the two a flush writes.
//!
//! ```text
//! 0   16  file header, kind "MRKL"
//! 16      blocks: length of the payload u32 | CRC-32 u32 of (offset of the block u64, length u32, payload) | payload
//!
//! payload of the first block
//!   form u8 (1 full, 2 delta) | number of this file u64 | flushed seqno u64
//! payload of a block of buckets, of 64 KiB and one bucket at most, sorted by key over all of them
//!   bytes shared with the key before varint | rest of the key, its length before it | level u8 | sums
//!   The first key of a block shares nothing. Level 255 is a bound by decree. Level 254 is a bound that is gone; no sums follow.
//!   sums   sum | number of epochs varint | for each, rising: epoch varint, sum
//!   sum    fingerprint u128 | live varint | tombstones varint | bytes varint
//! payload of the last block
//!   number of buckets in this file u64 | sum of everything once this file is applied
//! ```
//!
//! The store reads these files at opening only. Easy to get wrong: they are derived data. Damage is an error here and leads
//! to a rebuild from the runs, never to a wrong sum.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::base::Base;
use super::bounds::Bound;
use super::buckets::Bucket;
use super::covered;
use crate::codec::{Malformed, Reader, put_len_bytes, put_varint};
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::hash::PREFIX_LEN;
use crate::types::{Counts, Epoch, EpochSums, FileId, Fingerprint, Key, RangeSum, SeqNo};
use crate::vfs::{ReadMode, ReadableFile, Vfs, WritableFile};

/// A block is closed when it reaches this many bytes. Tests have few buckets, and want them in many blocks.
const BLOCK_LEN: usize = if cfg!(test) { 256 } else { 64 << 10 };

/// About the length of a bucket in a file, by which room is made for them: some more take a little longer.
const ENTRY_LEN: usize = 32;

/// Length of the frame before a block's payload.
const FRAME_LEN: usize = 8;

/// The longest bound: an inner key.
const BOUND_LEN_MAX: usize = PREFIX_LEN + Key::LEN_MAX;

/// Level, in a delta, of a bound that is gone.
const REMOVED: u8 = 254;

/// Deltas after which a full file is written however small they are: each costs an opening.
const DELTAS_MAX: usize = 16;

/// A bucket as it stands in a file, or a bound that is gone.
type Entry = (Bound, Option<EpochSums>);

/// Writes file `id`, which turns `previous`, the base in the files `ids`, into `base`, as of the flush of `flushed`: a full
/// file if there is none yet or deltas would outweigh it. Returns the files that hold `base`; the name of the new one is
/// not durable yet.
///
/// # Errors
/// `Io`; the file may be there in part.
pub(crate) fn write_next(
    vfs: &dyn Vfs,
    dir: &Path,
    ids: &[FileId],
    id: FileId,
    flushed: SeqNo,
    previous: &Base,
    base: &Base,
) -> Result<Vec<FileId>> {
    if takes_delta(vfs, dir, ids)? {
        let changes = base.changes_since(previous);
        if changes.len() <= base.bounds().len() / 2 {
            write(vfs, dir, Head { form: Form::Delta, id, flushed }, base.total(), changes.into_iter())?;
            return Ok(ids.iter().copied().chain([id]).collect());
        }
    }
    let entries = base.buckets().map(|bucket| (bucket.bound, Some(bucket.sums)));
    write(vfs, dir, Head { form: Form::Full, id, flushed }, base.total(), entries)?;
    Ok(vec![id])
}

/// Bytes of the newest of these files.
///
/// # Errors
/// `Io`.
pub(crate) fn file_len(vfs: &dyn Vfs, dir: &Path, ids: &[FileId]) -> Result<u64> {
    ids.last().map_or(Ok(0), |&id| open(vfs, &path(dir, id)).map(|file| file.len()))
}

/// Whether there is a full file among these, and the deltas to it are neither too many nor heavier than it.
fn takes_delta(vfs: &dyn Vfs, dir: &Path, ids: &[FileId]) -> Result<bool> {
    let lens = ids.iter().map(|&id| open(vfs, &path(dir, id)).map(|file| file.len()));
    let lens = lens.collect::<Result<Vec<u64>>>()?;
    let Some((full_len, deltas)) = lens.split_first() else { return Ok(false) };
    Ok(deltas.len() < DELTAS_MAX && deltas.iter().sum::<u64>() < *full_len)
}

/// Reads the base that the files `ids` hold, a full one and its deltas, which must describe the flush of `flushed`. No file
/// holds the base of no entries.
///
/// # Errors
/// `Corruption` if a file is damaged or they do not belong together, `UnsupportedVersion`, `Io`.
pub(crate) fn load(vfs: &dyn Vfs, dir: &Path, ids: &[FileId], flushed: SeqNo) -> Result<Base> {
    let (mut entries, mut described) = (Vec::<Entry>::new(), None);
    for (index, &id) in ids.iter().enumerate().rev() {
        let file = read(vfs, dir, id, if index == 0 { Form::Full } else { Form::Delta })?;
        described = described.or(Some((file.flushed, file.total)));
        entries = if entries.is_empty() { file.entries } else { merge(entries, file.entries) };
    }
    let described = described.unwrap_or((SeqNo::ZERO, RangeSum::ZERO));
    let buckets = entries.into_iter().filter_map(|(bound, sums)| Some(Bucket { bound, sums: sums? }));
    let base = Base::new(buckets.collect());
    if described != (flushed, base.total()) {
        let file = path(dir, ids.last().copied().unwrap_or_default());
        let what = "the Merkle files do not hold the sums of the last flush";
        return Err(Error::corruption(&file, HEADER_LEN as u64, what));
    }
    Ok(base)
}

/// What two files hold together; of one key the newer one's entry. Each is in order.
fn merge(newer: Vec<Entry>, older: Vec<Entry>) -> Vec<Entry> {
    let mut merged = Vec::with_capacity(newer.len() + older.len());
    let mut newer = newer.into_iter().peekable();
    for entry in older {
        while let Some(earlier) = newer.next_if(|(bound, _)| bound.key < entry.0.key) {
            merged.push(earlier);
        }
        merged.push(newer.next_if(|(bound, _)| bound.key == entry.0.key).unwrap_or(entry));
    }
    merged.extend(newer);
    merged
}

fn path(dir: &Path, id: FileId) -> PathBuf {
    dir.join(FileKind::Merkle.name(id.0))
}

fn open(vfs: &dyn Vfs, path: &Path) -> Result<Arc<dyn ReadableFile>> {
    vfs.open(path, ReadMode::Plain).map_err(|source| Error::io("open", path, source))
}

fn write(
    vfs: &dyn Vfs,
    dir: &Path,
    head: Head,
    total: RangeSum,
    entries: impl Iterator<Item = Entry>,
) -> Result<()> {
    let path = path(dir, head.id);
    let file = vfs.create(&path, 0).map_err(|source| Error::io("create", &path, source))?;
    let mut blocks = BlockWriter { path, file, offset: 0, payload: Vec::new() };
    blocks.write(&FileKind::Merkle.header())?;
    head.put(&mut blocks.payload);
    blocks.close()?;
    let (mut before, mut count) = (Vec::new(), 0u64);
    for (bound, sums) in entries {
        put_entry(&mut blocks.payload, &before, &bound, sums.as_ref());
        (before, count) = (bound.key, count + 1);
        if blocks.payload.len() >= BLOCK_LEN {
            blocks.close()?;
            before.clear();
        }
    }
    if !blocks.payload.is_empty() {
        blocks.close()?;
    }
    blocks.payload.extend_from_slice(&count.to_le_bytes());
    put_sum(&mut blocks.payload, &total);
    blocks.close()?;
    blocks.file.sync().map_err(|source| Error::io("fsync", &blocks.path, source))
}

/// Whether a file holds every bucket or what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Full = 1,
    Delta = 2,
}

/// What the first block says.
#[derive(Debug, Clone, Copy)]
struct Head {
    form: Form,
    id: FileId,
    flushed: SeqNo,
}

impl Head {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.form as u8);
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.flushed.0.to_le_bytes());
    }

    /// Reads the head of file `id`, which is to have this form.
    fn read(payload: &[u8], form: Form, id: FileId) -> Result<Head, Malformed> {
        let mut reader = Reader::new(payload);
        let is_as_named = reader.u8()? == form as u8 && FileId(reader.u64()?) == id;
        let flushed = SeqNo(reader.u64()?);
        if is_as_named && reader.is_at_end() {
            Ok(Head { form, id, flushed })
        } else {
            Err(reader.malformed())
        }
    }
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
        let written = self.file.write_all_at(self.offset, bytes);
        written.map_err(|source| Error::io("write", &self.path, source))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes the collected payload as one block.
    fn close(&mut self) -> Result<()> {
        let payload = std::mem::take(&mut self.payload);
        let len = u32::try_from(payload.len()).expect("a block is closed at 64 KiB and one bucket");
        let mut block = Vec::with_capacity(FRAME_LEN + payload.len());
        block.extend_from_slice(&len.to_le_bytes());
        block.extend_from_slice(&block_checksum(self.offset, len, &payload).to_le_bytes());
        block.extend_from_slice(&payload);
        self.write(&block)
    }
}

/// The offset is part of the checksum, so that a block that landed in another place is not taken for this one.
fn block_checksum(offset: u64, len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn put_entry(out: &mut Vec<u8>, before: &[u8], bound: &Bound, sums: Option<&EpochSums>) {
    let shared = before.iter().zip(&bound.key).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_len_bytes(out, bound.key.get(shared..).unwrap_or_default());
    let Some(sums) = sums else { return out.push(REMOVED) };
    out.push(bound.level);
    put_sum(out, &sums.total);
    put_varint(out, sums.ending.len() as u64);
    for (epoch, sum) in &sums.ending {
        put_varint(out, epoch.0);
        put_sum(out, sum);
    }
}

fn entry(reader: &mut Reader<'_>, before: &[u8]) -> Result<Entry, Malformed> {
    let shared = reader.len(before.len())?;
    let rest = reader.len_bytes(BOUND_LEN_MAX.saturating_sub(shared))?;
    let key = [before.get(..shared).unwrap_or_default(), rest].concat();
    let level = reader.u8()?;
    if level == REMOVED {
        return Ok((Bound { key, level }, None));
    }
    let mut sums = EpochSums { total: sum(reader)?, ..EpochSums::default() };
    for _ in 0..reader.len(reader.remaining())? {
        sums.ending.insert(Epoch(reader.varint()?), sum(reader)?);
    }
    Ok((Bound { key, level }, Some(sums)))
}

fn put_sum(out: &mut Vec<u8>, sum: &RangeSum) {
    out.extend_from_slice(&sum.fingerprint.0.to_le_bytes());
    put_varint(out, sum.counts.live);
    put_varint(out, sum.counts.tombstones);
    put_varint(out, sum.counts.bytes);
}

fn sum(reader: &mut Reader<'_>) -> Result<RangeSum, Malformed> {
    let fingerprint = Fingerprint(reader.u128()?);
    let (live, tombstones, bytes) = (reader.varint()?, reader.varint()?, reader.varint()?);
    Ok(RangeSum { fingerprint, counts: Counts { live, tombstones, bytes } })
}

/// What one file holds.
#[derive(Debug)]
struct Contents {
    flushed: SeqNo,
    entries: Vec<Entry>,
    /// Of the base that it is the last file of.
    total: RangeSum,
}

/// Reads file `id`, which is to have this form.
fn read(vfs: &dyn Vfs, dir: &Path, id: FileId, form: Form) -> Result<Contents> {
    let path = path(dir, id);
    let file = open(vfs, &path)?;
    let len = usize::try_from(file.len());
    let len = len.map_err(|_| Error::corruption(&path, 0, "a Merkle file does not fit memory"))?;
    let bytes = file.read(0, len).map_err(|source| Error::io("read", &path, source))?;
    FileKind::Merkle.check(&path, &bytes)?;

    let malformed = |at| Error::corruption(&path, at, "a Merkle block with a valid checksum makes no sense");
    let mut blocks = Blocks { path: &path, bytes: &bytes, at: HEADER_LEN };
    let head = Head::read(blocks.next()?, form, id).map_err(|_| malformed(HEADER_LEN as u64))?;
    let mut entries: Vec<Entry> = Vec::with_capacity(bytes.len() / ENTRY_LEN);
    loop {
        let at = blocks.at as u64;
        let mut reader = Reader::new(blocks.next()?);
        if blocks.is_at_end() {
            let count = reader.u64().map_err(|_| malformed(at))?;
            let total = sum(&mut reader).map_err(|_| malformed(at))?;
            if count != entries.len() as u64 || !reader.is_at_end() {
                return Err(malformed(at));
            }
            return Ok(Contents { flushed: head.flushed, entries, total });
        }
        let first = entries.len();
        while !reader.is_at_end() {
            let last = entries.last().map_or(&[][..], |(last, _)| &last.key);
            let before = if entries.len() > first { last } else { &[] };
            let entry = entry(&mut reader, before).map_err(|_| malformed(at))?;
            let is_after = entries.is_empty() || last < &entry.0.key[..];
            if !is_after || !covered().contains(&entry.0.key) {
                return Err(malformed(at));
            }
            entries.push(entry);
        }
    }
}

/// The blocks of a file, one after the other.
struct Blocks<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Blocks<'a> {
    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The payload of the next block.
    fn next(&mut self) -> Result<&'a [u8]> {
        let at = self.at as u64;
        let damaged =
            || Error::corruption(self.path, at, "a Merkle block is cut off or its checksum does not match");
        let mut reader = Reader::new(self.bytes.get(self.at..).unwrap_or_default());
        let frame = (|| {
            let (len, checksum) = (reader.u32()?, reader.u32()?);
            let payload = reader.bytes(len as usize)?;
            Ok::<_, Malformed>((len, checksum, payload))
        })();
        let (len, checksum, payload) = frame.map_err(|_| damaged())?;
        if block_checksum(at, len, payload) != checksum {
            return Err(damaged());
        }
        self.at += reader.position();
        Ok(payload)
    }
}
