//! [`SyncRow`]: what one repair cost, one line of JSON.

use serde::{Deserialize, Serialize};

use super::case::Shape;

/// What one repair by one protocol cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyncRow {
    /// Name of the protocol.
    pub peer: String,
    /// Entries of the side that was behind.
    pub entries: u64,
    /// Keys that differed.
    pub differing: u64,
    /// Where they lay.
    pub shape: Shape,
    /// The costs.
    #[serde(flatten)]
    pub cost: Cost,
}

/// The costs of a repair.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes of both directions less those of values.
    pub metadata_bytes: u64,
    /// Of these, those that stand beside values: keys and stamps of the entries that were sent.
    pub entry_bytes: u64,
    /// Messages in the longest chain of which each needed the one before, the values' included. Two are a round trip.
    pub legs: u32,
    /// Bytes of values that were sent, both directions.
    pub value_bytes: u64,
    /// Processor time of the side that was behind and opened the session, in milliseconds.
    pub cpu_ms_left: f64,
    /// The same of the other side.
    pub cpu_ms_right: f64,
    /// Entries, heads or ids that the two sides looked at one by one.
    pub entries_read: u64,
}
