//! Arguments of what looks at stores and pairs of them.

use std::path::PathBuf;

use super::Pair;

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
