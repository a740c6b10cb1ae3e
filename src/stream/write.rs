//! [`StreamWriter`]: writes an export stream, entry by entry.

use std::io::Write as Output;

use super::{CHUNK_LEN, END, ENTRIES, EXPIRES, FRAME_LEN, HEAD, META, TOMBSTONE, checksum, io_error};
use crate::codec::{put_len_bytes, put_varint};
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::manifest::ReplicaSet;
use crate::types::{Head, Kind, RangeSum};

/// Writes an export stream. Without [`StreamWriter::finish`] it is not whole.
#[derive(Debug)]
pub(crate) struct StreamWriter<W> {
    output: W,
    /// Bytes written.
    at: u64,
    /// The frame that is being filled, with room for its head.
    frame: Vec<u8>,
    count: u64,
}

impl<W: Output> StreamWriter<W> {
    /// Begins the stream of a store of `set`.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn begin(output: W, set: &ReplicaSet, horizon: u64) -> Result<StreamWriter<W>> {
        let mut writer = StreamWriter { output, at: 0, frame: Vec::new(), count: 0 };
        writer.write(&FileKind::Export.header())?;
        writer.open(HEAD);
        writer.frame.extend_from_slice(&set.id);
        writer.frame.extend_from_slice(&set.hash_key);
        writer.frame.push(set.bucket_bits);
        writer.frame.extend_from_slice(&set.epoch_len.to_le_bytes());
        writer.frame.extend_from_slice(&horizon.to_le_bytes());
        writer.close()?;
        writer.open(ENTRIES);
        Ok(writer)
    }

    /// Writes one entry: its inner key, above the one before, its head, and its value.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn push(&mut self, key: &[u8], head: &Head, value: &[u8]) -> Result<()> {
        if self.frame.len() >= CHUNK_LEN {
            self.close()?;
            self.open(ENTRIES);
        }
        let is_tombstone = head.kind == Kind::Tombstone;
        let flags =
            [(is_tombstone, TOMBSTONE), (head.expires_at != 0, EXPIRES), (!head.meta.is_empty(), META)];
        self.frame.push(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        put_len_bytes(&mut self.frame, key);
        self.frame.extend_from_slice(&head.stamp.hlc.to_le_bytes());
        self.frame.extend_from_slice(&head.stamp.node.to_le_bytes());
        if head.expires_at != 0 {
            put_varint(&mut self.frame, head.expires_at);
        }
        if !head.meta.is_empty() {
            put_len_bytes(&mut self.frame, &head.meta);
        }
        if !is_tombstone {
            put_len_bytes(&mut self.frame, value);
        }
        self.count += 1;
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> u64 {
        self.at
    }

    /// Ends the stream with the sum of all entries, and returns its length in bytes.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn finish(mut self, sum: &RangeSum) -> Result<u64> {
        self.close()?;
        self.open(END);
        self.frame.extend_from_slice(&self.count.to_le_bytes());
        self.frame.extend_from_slice(&sum.fingerprint.0.to_le_bytes());
        for count in [sum.counts.live, sum.counts.tombstones, sum.counts.bytes] {
            self.frame.extend_from_slice(&count.to_le_bytes());
        }
        self.close()?;
        self.output.flush().map_err(|source| io_error("write", source))?;
        Ok(self.at)
    }

    fn open(&mut self, kind: u8) {
        self.frame.clear();
        self.frame.extend_from_slice(&[0; FRAME_LEN]);
        self.frame.push(kind);
    }

    fn close(&mut self) -> Result<()> {
        let mut frame = std::mem::take(&mut self.frame);
        let (room, payload) = frame.split_at_mut(FRAME_LEN);
        let too_long = |_| Error::CommitTooLarge { len: payload.len() as u64, max: u64::from(u32::MAX) };
        let len = u32::try_from(payload.len()).map_err(too_long)?;
        let (len_room, checksum_room) = room.split_at_mut(4);
        len_room.copy_from_slice(&len.to_le_bytes());
        checksum_room.copy_from_slice(&checksum(self.at, len, payload).to_le_bytes());
        self.write(&frame)?;
        self.frame = frame;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(|source| io_error("write", source))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
