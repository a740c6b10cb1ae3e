//! Opening, creating and copying stores.
//!
//! Opening reads the manifest, opens runs and Merkle files, and replays what the log holds beyond the last flush through
//! the same function that a live commit runs. It is idempotent: stopped anywhere, the next open finds its sources as
//! they were, until one manifest edit makes its result the new truth (rule of order below).
//!
//! Order: read manifest and log; write what is not proven durable to a fresh segment; fsync it and its name; begin a new
//! manifest, whose first edit says where older segments end; only then take commits (invariant 14). Nothing of that can be
//! spared after a clean close: a segment whose name came through a power cut without its bytes is damage, and so is a
//! manifest whose log begins with a segment that has lost its name.

mod checkpoint;
mod create;
mod merkle;
mod open;
mod read_only;
mod report;

pub(crate) use checkpoint::checkpoint;
pub use checkpoint::{CheckpointProgress, CheckpointReport};
pub(crate) use create::create;
pub(crate) use open::{Opened, open};
pub(crate) use read_only::{open_read_only, refresh};
pub use report::RecoveryReport;
