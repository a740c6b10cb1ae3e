//! The Syncline repair protocol: finds out whether two ordered stores are equal in one round trip, and otherwise mends
//! exactly what differs.

#![forbid(unsafe_code)]

mod error;
mod replica;
mod types;

pub use error::{AbortReason, PeerReason, ReplicaError, ReplicaErrorKind};
pub use replica::{
    Applied, ApplyRequest, Children, Cut, Entries, Fetched, Heads, Origin, Piece, RangeEntries, ReadAnswer,
    ReadLimit, ReadRequest, Replica, ReplicaInfo, ValueWriter, serve_read,
};
pub use types::{Entry, Fingerprint, Head, KeyRange, Kind, RangeSum, Stamp};
