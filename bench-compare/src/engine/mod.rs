//! [`Engine`]: what a workload may ask of a store. One file per engine, each saying with which settings it runs and
//! what its commits promise.
//!
//! Easy to get wrong: every read must show every write that returned before it, so an adapter opens what it needs for
//! that (a transaction, an iterator) inside the call. Only a [`Engine::View`] may hold it, and is measured by itself.

mod fjall;
mod heed;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod syncline;

use std::path::PathBuf;

#[cfg(feature = "rocksdb")]
pub use self::rocksdb::RocksDb;
pub use self::{fjall::Fjall, heed::Heed, redb::Redb, syncline::Syncline};
use crate::Result;

/// Bytes of block cache for the engines that keep one of their own.
const CACHE_BYTES: usize = 256 << 20;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store's folder, missing or left by an earlier run.
    pub dir: PathBuf,
    /// Whether each commit is on the medium when it returns, or only out of reach of a killed process.
    pub durable: bool,
    /// LZ4 where the engine offers compression; otherwise none anywhere.
    pub compress: bool,
    /// Without the Merkle index, for the engine that has one.
    pub without_index: bool,
}

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// An open store. Single operations are commits of their own, as durable as [`Config::durable`] says.
pub trait Engine: Sized + Send + Sync {
    /// The store as of one moment, or the store itself where holding a moment saves nothing.
    type View<'a>
    where
        Self: 'a;

    /// The name on the command line and in the results.
    const NAME: &'static str;

    /// What a commit has survived when it returns.
    fn promise(durable: bool) -> &'static str;

    /// Why the store cannot be opened in this way, if it cannot.
    fn refusal(config: &Config) -> Option<&'static str> {
        config.without_index.then_some("it has no Merkle index to leave out")
    }

    /// Opens the store, creating it if there is none.
    ///
    /// # Errors
    /// The engine's own, here and below.
    fn open(config: &Config) -> Result<Self>;

    /// Sets a key.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Sets several keys in one atomic commit.
    fn put_batch<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()>;

    /// Deletes a key that may be missing.
    fn delete(&self, key: &[u8]) -> Result<()>;

    /// Shows the value of a key to `read`. `false` if there is none.
    fn get(&self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool>;

    /// What an application would hold to read many times in a row.
    fn view(&self) -> Result<Self::View<'_>>;

    /// [`Engine::get`] in a view.
    fn get_in(view: &Self::View<'_>, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool>;

    /// Shows up to `limit` entries to `visit`, beginning at `from` (itself included) or at the end of the key space where
    /// the direction begins. Returns how many there were.
    fn scan(
        &self,
        from: Option<&[u8]>,
        direction: Direction,
        limit: usize,
        visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize>;

    /// Returns when everything is in the store's files and no background work is left that the engine would do without further
    /// writes.
    fn settle(&self) -> Result<()>;

    /// Brings the whole store into the most compact form that the engine knows.
    fn compact(self) -> Result<Self>;

    /// Closes the store cleanly.
    fn close(self) -> Result<()>;
}
