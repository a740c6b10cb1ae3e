//! The Syncline repair protocol: finds out whether two ordered stores are equal in one round trip, and otherwise mends
//! exactly what differs.

#![forbid(unsafe_code)]

mod answers;
pub mod conformance;
mod divergence;
pub mod driver;
mod error;
mod hash;
mod healing;
pub mod limits;
mod options;
pub mod rate;
mod reed_solomon;
mod replica;
pub mod rights;
pub mod schedule;
mod session;
mod sketch;
#[cfg(feature = "tls")]
pub mod tls;
mod types;
mod wire;

// The model that integration tests and examples use, for tests that look inside.
#[cfg(test)]
extern crate self as sync_proto;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod test_model;

pub use divergence::Divergence;
pub use error::{AbortReason, PeerReason, ReplicaError, ReplicaErrorKind};
pub use healing::{Healing, Lost};
pub use limits::Limits;
pub use options::{Mode, Options, Versions};
pub use replica::{
    Applied, ApplyRequest, Children, Cut, Entries, EntryWriter, Fetched, Heads, Meeting, Origin, Piece,
    RangeEntries, ReadAnswer, ReadLimit, ReadRequest, Replica, ReplicaInfo, ReplicaReader, ValueWriter,
    serve_read,
};
pub use session::{
    Answer, Difference, End, Input, Outcome, Output, Progress, Reason, Reasons, Report, Session,
};
pub use types::{Entry, Fingerprint, Head, KeyRange, Kind, Moves, RangeSum, Stamp};
pub use wire::frame::{FRAME_HEADER_LEN, payload_len};
