//! The public API: [`Db`] and what is reached through it.
//!
//! Everything here is thin: keyspace prefixes are put in front of keys and taken off again, expired entries are hidden,
//! and the work is done by `store` and `maintenance`.

mod batch;
mod builder;
mod changes;
mod conditional;
mod damage;
mod database;
mod default_keyspace;
mod delete_range;
mod heal;
mod horizon;
mod ingest;
mod iter;
mod keyspace;
mod layout;
mod point;
mod scrub;
mod snapshot;
mod stats;
mod transfer;
mod verify;
mod watch;

pub use batch::WriteBatch;
pub use builder::Builder;
pub use changes::{Change, Changes, CommittedBatch, Origin};
pub use conditional::CompareAndSwapError;
pub use damage::{LostValue, UnknownSpan};
pub use database::Db;
pub use delete_range::DeleteProgress;
pub use heal::HealReport;
pub use horizon::{HorizonStatus, MemberStatus};
#[cfg(feature = "sync")]
pub(crate) use iter::key_range;
pub use iter::{Entry, Iter, Keys};
pub use keyspace::{EntryDigest, Keyspace};
pub use layout::{Layout, MerkleLevel, RunLayout, SegmentLayout};
pub use scrub::{Scrub, ScrubOptions, ScrubPosition, ScrubReport, ScrubStep};
pub use snapshot::Snapshot;
pub use stats::{Health, Stats};
pub use transfer::{ExportReport, ImportReport, TransferProgress};
pub use verify::{VerifyProgress, VerifyReport};
pub use watch::{Watch, WatchEvent};
