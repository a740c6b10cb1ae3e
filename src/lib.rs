//! Syncline: an embedded, ordered, log-structured key-value store that always knows its own digest, so that two copies
//! of a database find out in one round trip whether they are equal and mend exactly what differs.
//!
#![doc = include_str!("../README.md")]
// Merging foreign entries and cutting at fences is called by sessions alone; both builds stay one engine.
#![cfg_attr(not(feature = "sync"), allow(dead_code))]

#[macro_use]
mod trace;

pub mod clock;
mod codec;
mod compaction;
mod db;
mod error;
mod format;
mod gc;
mod hash;
mod horizon;
mod index;
mod log;
mod maintenance;
mod manifest;
mod merkle;
mod quarantine;
mod recovery;
#[cfg(feature = "sync")]
pub mod replica;
mod resolver;
mod store;
mod stream;
mod types;
pub mod vfs;

pub use db::{
    Builder, Change, Changes, CommittedBatch, CompareAndSwapError, Db, DeleteProgress, Entry, EntryDigest,
    ExportReport, HealReport, Health, HorizonStatus, ImportReport, Iter, Keys, Keyspace, Layout, LostValue,
    MemberStatus, MerkleLevel, Origin, RunLayout, Scrub, ScrubOptions, ScrubPosition, ScrubReport, ScrubStep,
    SegmentLayout, Snapshot, Stats, TransferProgress, UnknownSpan, VerifyProgress, VerifyReport, Watch,
    WatchEvent, WriteBatch,
};
pub use error::{Error, Result};
pub use maintenance::CompactProgress;
pub use manifest::{ReplicaSet, SET_KEY_LEN};
pub use recovery::{CheckpointProgress, CheckpointReport, RecoveryReport};
pub use resolver::{LAST_WRITER_WINS, Resolver};
pub use store::{Durability, Environment};
pub use types::{
    Compression, Counts, Fingerprint, Key, KeyRange, Kind, NodeId, RangeSum, SeqNo, Slice, Stamp,
    ValueDigest, Written,
};

/// The pages of `docs/guide/` whose code is to be true.
#[cfg(all(doctest, feature = "sync"))]
mod guide {
    #[doc = include_str!("../docs/guide/embedding.md")]
    mod embedding {}
    #[doc = include_str!("../docs/guide/replicas.md")]
    mod replicas {}
    #[doc = include_str!("../docs/guide/deleting.md")]
    mod deleting {}
    #[doc = include_str!("../docs/guide/conflicts.md")]
    mod conflicts {}
}
