//! [`StreamReader`]: reads an export stream, chunk by chunk. Nothing in it is believed before its checksum was right, and
//! nothing is allocated from a length that the stream merely claims.

use std::io::{ErrorKind, Read as Input};

use super::{END, ENTRIES, EXPIRES, FRAME_LEN, HEAD, META, TOMBSTONE, checksum, io_error, name};
use crate::codec::{Malformed, Reader};
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::hash::{PREFIX_LEN, SetHasher};
use crate::manifest::{ReplicaSet, SET_KEY_LEN};
use crate::store::{Prepared, Write, replicated};
use crate::types::{Counts, Fingerprint, Key, Kind, RangeSum, Slice, Stamp};

/// Reads an export stream.
#[derive(Debug)]
pub(crate) struct StreamReader<R> {
    input: R,
    /// Bytes read.
    at: u64,
    set: ReplicaSet,
    hasher: SetHasher,
    last_key: Slice,
    count: u64,
    sum: RangeSum,
}

impl<R: Input> StreamReader<R> {
    /// Reads the stream's beginning.
    ///
    /// # Errors
    /// `Stream`, `UnsupportedVersion`, `Io`.
    pub(crate) fn begin(input: R) -> Result<StreamReader<R>> {
        let set = ReplicaSet::new([0; 16], [0; SET_KEY_LEN]);
        let hasher = SetHasher::new(&set.hash_key);
        let (last_key, sum) = (Slice::empty(), RangeSum::ZERO);
        let mut reader = StreamReader { input, at: 0, set, hasher, last_key, count: 0, sum };
        let header = reader.read(HEADER_LEN as u64)?;
        FileKind::Export.check(name(), &header).map_err(|error| match error {
            Error::Corruption { offset, what, .. } => Error::Stream { offset, what },
            error => error,
        })?;
        let at = reader.at;
        let payload = reader.frame()?;
        reader.set = decode_head(&payload).map_err(|malformed| senseless(at, malformed))?;
        reader.hasher = SetHasher::new(&reader.set.hash_key);
        Ok(reader)
    }

    /// The set of the store that was exported.
    pub(crate) fn set(&self) -> &ReplicaSet {
        &self.set
    }

    /// Bytes read so far.
    pub(crate) fn len(&self) -> u64 {
        self.at
    }

    /// Entries read so far, and what they come to.
    pub(crate) fn sum(&self) -> (u64, RangeSum) {
        (self.count, self.sum)
    }

    /// The next entries, each with its own stamp; `None` after the last ones, if the stream was whole.
    ///
    /// # Errors
    /// `Stream` if it is cut off, damaged, or its entries do not come to what its end says; `Io`.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Vec<Write>>> {
        let at = self.at;
        let payload = self.frame()?;
        let senseless = |malformed| senseless(at, malformed);
        let mut reader = Reader::new(&payload);
        match reader.u8().map_err(senseless)? {
            ENTRIES => {
                let mut writes = Vec::new();
                while !reader.is_at_end() {
                    let write = entry(&mut reader).map_err(senseless)?;
                    self.take(&write).ok_or_else(|| senseless(reader.malformed()))?;
                    writes.push(write);
                }
                Ok(Some(writes))
            }
            END => {
                let (count, sum) = end(&mut reader).map_err(senseless)?;
                if (count, sum) == (self.count, self.sum) {
                    Ok(None)
                } else {
                    Err(Error::Stream { offset: at, what: "the entries do not come to what the end says" })
                }
            }
            _ => Err(senseless(Malformed { at: 0 })),
        }
    }

    /// Counts an entry; `None` if its key is impossible here.
    fn take(&mut self, write: &Write) -> Option<()> {
        let user_len = write.key.len().checked_sub(PREFIX_LEN)?;
        let is_next = self.count == 0 || *write.key > *self.last_key;
        if !is_next || user_len > Key::LEN_MAX || !replicated().contains(&write.key) {
            return None;
        }
        let (hasher, stamp) = (&self.hasher, write.stamp?);
        let digest = hasher.value(&write.value);
        let hash =
            hasher.entry(hasher.key(&write.key), stamp, write.kind, write.expires_at, &write.meta, digest);
        let bytes = (user_len + write.value.len()) as u64;
        self.sum += RangeSum::of_entry(hash, write.kind == Kind::Put, bytes);
        self.count += 1;
        self.last_key = write.key.clone();
        Some(())
    }

    /// The payload of the next frame.
    fn frame(&mut self) -> Result<Vec<u8>> {
        let at = self.at;
        let head = self.read(FRAME_LEN as u64)?;
        let mut reader = Reader::new(&head);
        let senseless = |malformed| senseless(at, malformed);
        let (len, found) = (reader.u32().map_err(senseless)?, reader.u32().map_err(senseless)?);
        let payload = self.read(u64::from(len))?;
        if checksum(at, len, &payload) == found {
            Ok(payload)
        } else {
            Err(Error::Stream { offset: at, what: "a frame's checksum does not match" })
        }
    }

    /// The next `len` bytes. Memory is taken as they come.
    fn read(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(len).read_to_end(&mut bytes);
        read.map_err(|source| match source.kind() {
            // What unpackers say of input that is cut off.
            ErrorKind::UnexpectedEof => cut_off(self.at),
            _ => io_error("read", source),
        })?;
        self.at += bytes.len() as u64;
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(cut_off(self.at)) }
    }
}

fn cut_off(offset: u64) -> Error {
    Error::Stream { offset, what: "the stream is cut off" }
}

fn senseless(frame_at: u64, malformed: Malformed) -> Error {
    let offset = frame_at.saturating_add((FRAME_LEN + malformed.at) as u64);
    Error::Stream { offset, what: "a frame with a right checksum makes no sense" }
}

fn decode_head(payload: &[u8]) -> Result<ReplicaSet, Malformed> {
    let mut reader = Reader::new(payload);
    if reader.u8()? != HEAD {
        return Err(Malformed { at: 0 });
    }
    let (mut id, mut hash_key) = ([0; 16], [0; SET_KEY_LEN]);
    id.copy_from_slice(reader.bytes(16)?);
    hash_key.copy_from_slice(reader.bytes(SET_KEY_LEN)?);
    let (bucket_bits, epoch_len) = (reader.u8()?, reader.u64()?);
    // Until horizons rise, that of a stream says nothing that its reader would do differently.
    reader.u64()?;
    let set = ReplicaSet { id, hash_key, bucket_bits, epoch_len };
    if set.is_possible() && reader.is_at_end() { Ok(set) } else { Err(reader.malformed()) }
}

fn entry(reader: &mut Reader<'_>) -> Result<Write, Malformed> {
    let flags = reader.u8()?;
    if flags & !(TOMBSTONE | EXPIRES | META) != 0 {
        return Err(reader.malformed());
    }
    let key = Slice::from(reader.len_bytes(PREFIX_LEN + Key::LEN_MAX)?);
    let stamp = Some(Stamp { hlc: reader.u64()?, node: reader.u64()? });
    let expires_at = if flags & EXPIRES != 0 { reader.varint()? } else { 0 };
    let meta = if flags & META != 0 { reader.len_bytes(reader.remaining())? } else { &[] };
    let is_tombstone = flags & TOMBSTONE != 0;
    let value = if is_tombstone { &[] } else { reader.len_bytes(reader.remaining())? };
    let kind = if is_tombstone { Kind::Tombstone } else { Kind::Put };
    let (meta, value, prepared) = (Slice::from(meta), Slice::from(value), Prepared::default());
    Ok(Write { key, kind, stamp, expires_at, meta, value, prepared })
}

fn end(reader: &mut Reader<'_>) -> Result<(u64, RangeSum), Malformed> {
    let count = reader.u64()?;
    let fingerprint = Fingerprint(reader.u128()?);
    let counts = Counts { live: reader.u64()?, tombstones: reader.u64()?, bytes: reader.u64()? };
    if reader.is_at_end() { Ok((count, RangeSum { fingerprint, counts })) } else { Err(reader.malformed()) }
}
