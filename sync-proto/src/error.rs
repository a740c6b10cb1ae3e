//! Why a session ends without success, and what a replica says when it cannot answer.
//!
//! Both travel: the side that ends a session tells the other one the reason by its code (`wire::message`), so a reason
//! carries no text of this machine. Text for people stays in [`ReplicaError::detail`], which never leaves the process.

use std::fmt;

/// Why a replica could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct ReplicaError {
    /// What to do about it.
    pub kind: ReplicaErrorKind,
    /// The store's own words, for people of this side.
    pub detail: String,
}

/// What kind of trouble a replica is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplicaErrorKind {
    /// Reading or writing failed. Nothing is promised of what was being applied; a later session may succeed.
    Storage,
    /// The store refuses work until it is reopened.
    Poisoned,
    /// Part of the data is damaged, so that the sums of the range are unknown.
    Unknown,
    /// The store was closed while the session ran.
    Closed,
    /// The peer has no right to what it asked for.
    Denied,
}

impl fmt::Display for ReplicaErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplicaErrorKind::Storage => "the store failed",
            ReplicaErrorKind::Poisoned => "the store refuses work until it is reopened",
            ReplicaErrorKind::Unknown => "part of the store is damaged",
            ReplicaErrorKind::Closed => "the store was closed",
            ReplicaErrorKind::Denied => "it is not allowed",
        })
    }
}

impl ReplicaError {
    /// An error of `kind` in the words of the store.
    pub fn new(kind: ReplicaErrorKind, detail: impl fmt::Display) -> ReplicaError {
        ReplicaError { kind, detail: detail.to_string() }
    }
}

/// Why a session was ended before its time. What was applied until then stays applied; running another session is
/// always safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AbortReason {
    /// The two sides have no protocol version in common.
    #[error(
        "no common protocol version: this side speaks {ours_min} to {ours_max}, the peer {theirs_min} to {theirs_max}"
    )]
    Version {
        /// Least version of this side.
        ours_min: u8,
        /// Greatest version of this side.
        ours_max: u8,
        /// Least version of the peer.
        theirs_min: u8,
        /// Greatest version of the peer.
        theirs_max: u8,
    },
    /// The peer belongs to another replica set.
    #[error("the peer belongs to another replica set")]
    OtherSet,
    /// The peer has another hash key or other parameters of the set.
    #[error("the peer hashes with another key or other parameters")]
    OtherHashKey,
    /// The peer has this store's own node id: one of them is a copy that must take a new one.
    #[error("both stores have the same node id; one is a copy and must take a new id")]
    SameNode,
    /// The peer sent bytes that are no message.
    #[error("the peer sent a malformed message ({0})")]
    Malformed(&'static str),
    /// The peer sent a message that is legal in itself but not here.
    #[error("the peer broke the protocol ({0})")]
    Protocol(&'static str),
    /// The session met a limit, or went on without making progress.
    #[error("the session met a limit ({0})")]
    Limit(&'static str),
    /// The peer was silent for too long.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection ended early.
    #[error("the connection ended before the session did")]
    Closed,
    /// This side's replica failed.
    #[error("this side's replica failed: {0}")]
    Replica(ReplicaError),
    /// This side's replica contradicted itself: heads and sums of one snapshot do not agree.
    #[error("this side's replica contradicts itself ({0})")]
    Inconsistent(&'static str),
    /// The peer ended the session and said why.
    #[error("the peer ended the session: {0}")]
    Peer(PeerReason),
}

/// The reason that a peer gave for ending the session: one byte on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerReason {
    /// It belongs to another replica set.
    OtherSet,
    /// It has another hash key or other parameters.
    OtherHashKey,
    /// It has the same node id.
    SameNode,
    /// It could not read a message of this side.
    Malformed,
    /// It holds that this side broke the protocol.
    Protocol,
    /// It met a limit.
    Limit,
    /// It waited for too long.
    Timeout,
    /// Its replica failed.
    Replica,
    /// Its replica refuses work until it is reopened.
    Poisoned,
    /// Its replica is damaged.
    Unknown,
    /// It gives this side no right to what was asked for.
    Denied,
    /// It already runs as many sessions with this side as it does at a time.
    Busy,
    /// A reason that this version does not know.
    Other(u8),
}

impl PeerReason {
    /// The code on the wire.
    pub(crate) fn code(self) -> u8 {
        match self {
            PeerReason::OtherSet => 2,
            PeerReason::OtherHashKey => 3,
            PeerReason::SameNode => 4,
            PeerReason::Malformed => 5,
            PeerReason::Protocol => 6,
            PeerReason::Limit => 7,
            PeerReason::Timeout => 8,
            PeerReason::Replica => 9,
            PeerReason::Poisoned => 10,
            PeerReason::Unknown => 11,
            PeerReason::Denied => 12,
            PeerReason::Busy => 13,
            PeerReason::Other(code) => code,
        }
    }

    /// The reason with this code.
    pub(crate) fn from_code(code: u8) -> PeerReason {
        match code {
            2 => PeerReason::OtherSet,
            3 => PeerReason::OtherHashKey,
            4 => PeerReason::SameNode,
            5 => PeerReason::Malformed,
            6 => PeerReason::Protocol,
            7 => PeerReason::Limit,
            8 => PeerReason::Timeout,
            9 => PeerReason::Replica,
            10 => PeerReason::Poisoned,
            11 => PeerReason::Unknown,
            12 => PeerReason::Denied,
            13 => PeerReason::Busy,
            code => PeerReason::Other(code),
        }
    }
}

impl fmt::Display for PeerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerReason::OtherSet => "it belongs to another replica set",
            PeerReason::OtherHashKey => "it hashes with another key or other parameters",
            PeerReason::SameNode => {
                "it has the same node id; one of the two is a copy and must take a new id"
            }
            PeerReason::Malformed => "it could not read a message",
            PeerReason::Protocol => "it holds that this side broke the protocol",
            PeerReason::Limit => "it met a limit",
            PeerReason::Timeout => "it waited for too long",
            PeerReason::Replica => "its store failed",
            PeerReason::Poisoned => "its store refuses work until it is reopened",
            PeerReason::Unknown => "part of its store is damaged",
            PeerReason::Denied => "it gives this side no right to that",
            PeerReason::Busy => "it already runs as many sessions with this side as it does at a time",
            PeerReason::Other(code) => return write!(f, "reason {code}"),
        })
    }
}
