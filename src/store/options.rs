//! What an opener chooses: the environment a store lives in, sizes, read mode, default durability.
//!
//! None of it changes the meaning of bytes on disk; what does is in `ReplicaSet` and persisted in the manifest.

use std::sync::Arc;

use crate::clock::{Entropy, SystemClock, SystemEntropy, WallClock};
use crate::resolver::Resolvers;
use crate::types::Compression;
use crate::vfs::{DiskVfs, ReadMode, Vfs};

/// What a commit survives once its call has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Durability {
    /// A killed process. A power cut may take back the newest commits, never one from the middle.
    #[default]
    Buffered,
    /// A power cut: the call returns after an fsync that covers the commit.
    Sync,
}

/// Where a store finds files, time and randomness.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// Wall time, for stamps and expiry.
    pub wall_clock: Arc<dyn WallClock>,
    /// Randomness, for identifiers and the set's hash key.
    pub entropy: Arc<dyn Entropy>,
}

impl Environment {
    /// The operating system's.
    pub fn system() -> Environment {
        Environment {
            vfs: Arc::new(DiskVfs),
            wall_clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// Choices at open. Fields keep their documented defaults unless set.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) environment: Environment,
    pub(crate) read_mode: ReadMode,
    pub(crate) durability: Durability,
    /// A memtable is sealed when it holds this many bytes.
    pub(crate) memtable_bytes: usize,
    /// Values up to this many bytes are carried in the runs; larger ones stay in the log.
    pub(crate) inline_value_max: usize,
    /// Bytes of flushed segments that are kept for the change feed; `None` leaves it as the store has it.
    pub(crate) retain_log_bytes: Option<u64>,
    /// How blocks of new runs are stored; `None` leaves it as the store has it.
    pub(crate) compression: Option<Compression>,
    /// Whether threads do the background work; otherwise the caller calls `step`.
    pub(crate) background: bool,
    /// Bytes that merges write in a second at most, as long as nothing piles up. Not zero.
    pub(crate) background_bytes_per_second: Option<u64>,
    /// Bytes of them that merges may write at once if they wrote less before; `None` is a second's worth.
    pub(crate) background_burst_bytes: Option<u64>,
    /// What merges the values of keyspaces that are not the last writer's.
    pub(crate) resolvers: Resolvers,
    /// Whether the Merkle index is kept up to date.
    pub(crate) index: bool,
    /// Whether the store was opened for reading: its file system takes no changes, and nothing may be committed.
    pub(crate) read_only: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            environment: Environment::system(),
            read_mode: ReadMode::default(),
            durability: Durability::default(),
            memtable_bytes: 20 << 20,
            inline_value_max: 1024,
            retain_log_bytes: None,
            compression: None,
            background: true,
            background_bytes_per_second: None,
            background_burst_bytes: None,
            resolvers: Resolvers::default(),
            index: true,
            read_only: false,
        }
    }
}
