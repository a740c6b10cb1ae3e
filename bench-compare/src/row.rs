//! [`Row`]: one measured workload, one line of JSON.

use serde::{Deserialize, Serialize};

/// What one run of one workload on one engine gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Name of the engine.
    pub engine: String,
    /// Name of the workload.
    pub workload: String,
    /// Entries that the store was filled with.
    pub entries: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Operations, of which `ops_per_s` tells the rate.
    pub ops: u64,
    /// Operations per second; entries for batches and scans; for a reopening, one by its time.
    pub ops_per_s: f64,
    /// Processor time of the whole process for each of them, background work during the workload included.
    pub cpu_us_per_op: f64,
    /// Median latency of an operation, of a whole batch or of a whole scan.
    pub p50_us: f64,
    /// 99 % were not slower.
    pub p99_us: f64,
    /// 99.9 % were not slower.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// Bytes of the store on disk when the background work was done.
    pub disk_bytes: u64,
    /// Most resident memory of the process during the workload, mapped files included.
    pub peak_rss_bytes: u64,
    /// Most resident memory that no file backs, of a few samples.
    pub anon_bytes: u64,
    /// Until the background work was done, after the workload and outside of its time.
    pub settle_ms: f64,
    /// What a commit had survived when it returned.
    pub durability: String,
    /// Which round of how the engines took turns, from 1.
    pub round: u32,
    /// The file system under the store.
    pub filesystem: String,
    /// Rate of the raw fdatasync taken beside a durable workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_ops_per_s: Option<f64>,
    /// Acknowledged entries that a reopened store did not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}
