//! Compressed blocks: a whole plain block behind five bytes.
//!
//! ```text
//! compressed = codec u8: 1 LZ4 (block format), 2 Zstandard (one frame) | length of the plain block u32 | compressed bytes
//! ```
//!
//! A block is stored so only if that saves an eighth of it, for every read pays with a decoded copy; the first byte of any
//! block tells which it is. Easy to get wrong: the bytes have passed a checksum, and still nothing is allocated by the
//! length that they tell before that is found to be one that a writer makes.

use super::PLAIN;
use crate::codec::{Malformed, Reader};
use crate::types::Compression;

/// A plain block longer than this, which holds a single entry, is not compressed: nothing longer is ever decoded.
const PLAIN_LEN_MAX: usize = 256 << 10;

/// Length of what stands before the compressed bytes.
const HEAD_LEN: usize = 5;

/// What codecs want to have for bytes that cannot be compressed, beside an eighth of those: they refuse less.
const CODEC_ROOM: usize = 128;

const LZ4: u8 = 1;
const ZSTD: u8 = 2;

/// Why a compressed block has no plain form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) enum Undecoded {
    /// It makes no sense.
    Malformed(Malformed),
    /// This build lacks the codec.
    #[cfg_attr(all(feature = "lz4", feature = "zstd"), allow(dead_code))]
    Unsupported,
}

impl From<Malformed> for Undecoded {
    fn from(malformed: Malformed) -> Undecoded {
        Undecoded::Malformed(malformed)
    }
}

/// Compresses plain blocks, one after the other.
#[derive(Debug, Default)]
pub(in crate::index) struct Compressor {
    compression: Compression,
    buffer: Vec<u8>,
}

impl Compressor {
    pub(in crate::index) fn new(compression: Compression) -> Compressor {
        Compressor { compression, buffer: Vec::new() }
    }

    /// Replaces the plain block that `out` has from `start` on by its compressed form, if that is worth it and at least
    /// `len_min` bytes long.
    pub(in crate::index) fn compress(&mut self, out: &mut Vec<u8>, start: usize, len_min: usize) {
        let Some(plain) = out.get(start..) else { return };
        let len_max = plain.len() - plain.len() / 8;
        if self.compression == Compression::None || len_max <= HEAD_LEN || plain.len() > PLAIN_LEN_MAX {
            return;
        }
        let room = plain.len() + plain.len() / 8 + CODEC_ROOM;
        self.buffer.resize(room.max(self.buffer.len()), 0);
        let Some(len) = encode(self.compression, plain, &mut self.buffer) else { return };
        if (len_min..=len_max).contains(&(HEAD_LEN + len)) {
            let plain_len = plain.len() as u32;
            out.truncate(start);
            out.push(self.compression.code().0);
            out.extend_from_slice(&plain_len.to_le_bytes());
            out.extend_from_slice(self.buffer.get(..len).unwrap_or_default());
        }
    }
}

/// Whether the block is stored compressed.
pub(in crate::index) fn is_compressed(block: &[u8]) -> bool {
    block.first().is_some_and(|codec| *codec != PLAIN)
}

/// The plain form of a compressed block. Costs an allocation of its length, which is bounded.
pub(in crate::index) fn decompress(block: &[u8]) -> Result<Vec<u8>, Undecoded> {
    let mut reader = Reader::new(block);
    let (codec, len) = (reader.u8()?, reader.u32()? as usize);
    if !(1..=PLAIN_LEN_MAX).contains(&len) {
        return Err(reader.malformed().into());
    }
    let malformed = reader.malformed();
    let mut plain = vec![0; len];
    let decoded = decode(codec, reader.bytes(reader.remaining())?, &mut plain)?;
    if decoded == Some(len) && !is_compressed(&plain) { Ok(plain) } else { Err(malformed.into()) }
}

/// The length of `plain` compressed into `out`; `None` if it does not fit, or this build lacks the codec.
#[cfg_attr(not(any(feature = "lz4", feature = "zstd")), allow(unused_variables))]
fn encode(compression: Compression, plain: &[u8], out: &mut [u8]) -> Option<usize> {
    match compression {
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4_flex::block::compress_into(plain, out).ok(),
        #[cfg(feature = "zstd")]
        Compression::Zstd(level) => zstd::bulk::compress_to_buffer(plain, out, i32::from(level)).ok(),
        _ => None,
    }
}

/// How many bytes `compressed` came to in `plain`; `None` if it makes no sense or comes to more than that holds.
#[cfg_attr(not(any(feature = "lz4", feature = "zstd")), allow(unused_variables))]
fn decode(codec: u8, compressed: &[u8], plain: &mut [u8]) -> Result<Option<usize>, Undecoded> {
    match codec {
        #[cfg(feature = "lz4")]
        LZ4 => Ok(lz4_flex::block::decompress_into(compressed, plain).ok()),
        #[cfg(feature = "zstd")]
        ZSTD => Ok(zstd::bulk::decompress_to_buffer(compressed, plain).ok()),
        #[cfg(not(feature = "lz4"))]
        LZ4 => Err(Undecoded::Unsupported),
        #[cfg(not(feature = "zstd"))]
        ZSTD => Err(Undecoded::Unsupported),
        _ => Ok(None),
    }
}
