//! Blocks: the unit in which a run is written, read and checked, about 8 KiB of entries in key order.
//!
//! ```text
//! block = 0   codec u8: 0; others are those of a compressed block (`compression`)
//!         1   count u16, at least 1
//!         3   length of the common key prefix u32
//!         7   number of nodes u8, at most 15
//!         8   base clock u64
//!         16  base seqno u64
//!         24  bytes of a clock less the base u8, at most 8
//!         25  bytes of a seqno less the base u8, at most 8
//!         26  tags: 1 each, a byte of the key's hash
//!             starts of the entries, from the first one on: u16 each
//!             nodes: u64 each, rising
//!             common key prefix
//!             heads: u16 each, the first two bytes of the rest of the key as a number, filled up with zeros
//!             entries
//!             checksum u32 of everything before
//! entry = rest of the key: length varint, bytes
//!       | flags u8 | clock less base, of the length above | seqno less base, of the length above
//!       | [node u64, if the flags say 15] | [expires_at varint, if flag 2] | [meta: length varint, bytes, if flag 4]
//!       | inline value: what is left of the entry
//!         in the log, if flag 8: segment varint | offset varint | length varint | digest 16
//! flags = 1 tombstone, 2 expires, 4 has meta, 8 value in the log; upper four bits: index of the node, 15 if it follows
//! ```
//!
//! A point lookup compares tags first and keys only where the tag agrees; a seek compares heads first. Either then touches
//! little more than the head of the block and the entry. The digest of an inline value is not stored: it can be computed
//! from the bytes beside it. A block is closed before the entry that would make it longer than [`BLOCK_LEN`], so entries
//! of several always begin within reach of a u16, and one entry of any size has its own block.
//!
//! Easy to get wrong: the bytes have passed a checksum, and still every read of them is bounded.

mod builder;
mod compression;
mod placed;
mod reader;

pub(super) use builder::BlockBuilder;
pub(super) use compression::{Compressor, Undecoded, decompress, is_compressed};
pub(super) use placed::PlacedHead;
pub(super) use reader::{Block, Layout};

use crate::hash::KeyHash;

/// A block of several entries is at most about so long, in bytes.
pub(super) const BLOCK_LEN: usize = 8 << 10;

const FIXED_LEN: usize = 26;

const PLAIN: u8 = 0;

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const META: u8 = 4;
const IN_LOG: u8 = 8;
const NODE_SHIFT: u32 = 4;

/// The node index that means "the node's number follows", and so the most nodes that a block can list.
const NODE_FOLLOWS: usize = 15;

/// What an entry costs beside its key, meta and inline value, usually. It may be up to four times as much, and starts of
/// entries fit a u16 all the same.
const ENTRY_OVERHEAD: usize = 20;

fn tag(hash: KeyHash) -> u8 {
    hash.0 as u8
}

/// The first two bytes of a key as a number that orders as they do.
fn head(rest: &[u8]) -> u16 {
    let mut bytes = rest.iter().copied();
    u16::from_be_bytes([bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)])
}
