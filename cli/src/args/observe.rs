//! Arguments of what looks at stores and pairs of them.

use std::path::PathBuf;
use std::time::Duration;

use super::{Link, Pair};
use crate::address::Address;
use crate::units;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) pair: Pair,
    /// Name at most so many of the differing keys
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keys: u32,
    /// Draw where the replicas differ, as a picture of the key space
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Cut the key space of the picture into at most so many squares
    #[arg(long, value_name = "N", default_value_t = 1024, requires = "svg",
        value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) cells: u32,
}

/// Arguments of `stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// Write a page that shows the store piece by piece, for a browser or a printer
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// The store, or the left replica of two
    #[arg(value_name = "A")]
    pub(crate) left: Address,
    /// The right replica: a folder, or tls://host:port if the left one is a folder
    #[arg(value_name = "B")]
    pub(crate) right: Option<Address>,
    #[command(flatten)]
    pub(crate) link: Link,
    /// From the end of one look to the next
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub(crate) every: Duration,
    /// End after so many looks [default: when interrupted]
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Write each look to this new file, for `syncline plot`
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Cut the key space of the recording into at most so many parts, of equal entry count at the first look
    #[arg(long, value_name = "N", default_value_t = 64, requires = "record",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) cells: u32,
}

/// Arguments of `plot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Plot {
    /// What `syncline watch --record` wrote
    pub(crate) file: PathBuf,
    /// The picture to draw
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: PathBuf,
}

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// A replica of it to compare with: a folder or tls://host:port
    #[arg(value_name = "PEER")]
    pub(crate) peer: Option<Address>,
    /// Read everything and check it, as `verify` does
    #[arg(long)]
    pub(crate) deep: bool,
    #[command(flatten)]
    pub(crate) link: Link,
}
