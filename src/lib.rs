//! Syncline: an embedded, ordered, log-structured key-value store that always knows its own digest.

#![allow(dead_code, unused_imports)] // Lifted when the upper storeys stand.

pub mod clock;
mod codec;
mod error;
mod format;
mod hash;
mod index;
mod manifest;
mod types;
pub mod vfs;

pub use error::{Error, Result};
pub use types::{
    Counts, EntryHash, Epoch, Fingerprint, Key, KeyRange, Kind, Location, NodeId, RangeSum, SegmentId, SeqNo,
    Slice, Stamp, ValueDigest,
};
