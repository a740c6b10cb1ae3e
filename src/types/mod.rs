//! The words of the engine: small values without behaviour of their own that every layer speaks in.
//! Nothing here does I/O. Numbers that could be confused with each other are types of their own.

mod compression;
mod entry;
mod ids;
mod range;
mod ranges;
mod slice;
mod sum;
mod written;

pub use compression::Compression;
pub use entry::{EntryHash, Kind, Stamp, ValueDigest};
pub(crate) use entry::{Head, ValueRef};
pub(crate) use ids::FileId;
pub use ids::{Location, NodeId, SegmentId, SeqNo};
pub use range::{Key, KeyRange};
pub(crate) use range::{prefix_end, successor};
pub(crate) use ranges::Ranges;
pub(crate) use slice::Owner;
pub use slice::Slice;
pub use sum::{Counts, Epoch, Fingerprint, RangeSum};
pub(crate) use sum::{EntrySum, EpochSums};
pub use written::Written;
