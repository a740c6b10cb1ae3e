//! What an opening found and did.

use crate::types::SeqNo;

/// What an opening found and did. Nothing in it is an error; what could not be opened is returned as one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The newest commit that was in the runs already.
    pub flushed: SeqNo,
    /// The newest commit after replay.
    pub last: SeqNo,
    /// Commits replayed from the log.
    pub replayed_commits: u64,
    /// Of them, those that came from the staging ring: written by a process that was killed.
    pub ring_commits: u64,
    /// Bytes of an unfinished record at the log's end that were cut off. No commit in them was acknowledged as durable.
    pub torn_bytes: u64,
    /// Bytes of an unfinished edit at the manifest's end that were left out.
    pub torn_manifest_bytes: u64,
    /// Whether the Merkle index had to be rebuilt because its files were damaged.
    pub merkle_rebuilt: bool,
    /// Whether the directory turned out to be a copy and took a node id of its own.
    pub took_new_node_id: bool,
}
