//! Syncline: an embedded, ordered, log-structured key-value store that always knows its own digest.

pub mod clock;
mod codec;
mod compaction;
mod db;
mod error;
mod format;
mod gc;
mod hash;
mod index;
mod log;
mod maintenance;
mod manifest;
mod merkle;
mod recovery;
#[cfg(feature = "sync")]
pub mod replica;
mod resolver;
mod store;
mod types;
pub mod vfs;

pub use db::{
    Builder, Db, Entry, EntryDigest, Health, Iter, Keys, Keyspace, Snapshot, Stats, VerifyProgress,
    VerifyReport, WriteBatch,
};
pub use error::{Error, Result};
pub use manifest::{ReplicaSet, SET_KEY_LEN};
pub use recovery::RecoveryReport;
pub use store::{Durability, Environment};
pub use types::{
    Counts, EntryHash, Epoch, Fingerprint, Key, KeyRange, Kind, Location, NodeId, RangeSum, SegmentId, SeqNo,
    Slice, Stamp, ValueDigest,
};
