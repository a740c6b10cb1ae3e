//! The export stream: all entries of a store in one portable sequence of bytes. `db` writes and reads it.
//!
//! ```text
//! 0   16  file header, kind "EXPT"
//! 16      frames: length u32 | CRC-32 u32 over (offset of the frame u64, length u32, payload) | payload
//!
//! payload of the first frame
//!   1 | set id 16 | hash key 32 | bucket bits u8 | epoch length u64 | horizon u64
//! payload of a frame of entries, of 256 KiB and one entry at most; inner keys rise strictly over all of them
//!   2 | entries to the end: flags u8 | inner key byte string | clock u64 | node u64
//!       | [expiry varint, flag 2] | [meta byte string, flag 4] | [value byte string, unless flag 1]
//! payload of the last frame
//!   3 | entry count u64 | fingerprint u128 | live u64 | tombstones u64 | bytes u64
//! flags  1 tombstone | 2 expires | 4 meta
//! ```
//!
//! Easy to get wrong: the stream carries the set's hash key, without which no other store could have the same root, so it is
//! as secret as the store. And it is whole only with its last frame, whose sums the entries must come to.

mod read;
mod write;

pub(crate) use read::StreamReader;
pub(crate) use write::StreamWriter;

use std::io;
use std::path::Path;

use crate::error::Error;

const HEAD: u8 = 1;
const ENTRIES: u8 = 2;
const END: u8 = 3;

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const META: u8 = 4;

/// Bytes before a frame's payload.
const FRAME_LEN: usize = 8;

/// A frame of entries is closed when its payload reaches this many bytes.
const CHUNK_LEN: usize = 256 << 10;

/// The stream's name in errors.
fn name() -> &'static Path {
    Path::new("the export stream")
}

fn io_error(op: &'static str, source: io::Error) -> Error {
    Error::io(op, name(), source)
}

/// The offset is part of the checksum, so that a frame of another place is not taken for this one.
fn checksum(offset: u64, len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
