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
pub(crate) use entry::{EntryHash, Head, ValueRef};
pub use entry::{Kind, Stamp, ValueDigest};
pub(crate) use ids::{FileId, Location, SegmentId};
pub use ids::{NodeId, SeqNo};
pub use range::{Key, KeyRange};
pub(crate) use range::{prefix_end, successor};
pub(crate) use ranges::Ranges;
pub(crate) use slice::Owner;
pub use slice::Slice;
pub use sum::{Counts, Fingerprint, RangeSum};
pub(crate) use sum::{EntrySum, Epoch, EpochSums};
pub use written::Written;
