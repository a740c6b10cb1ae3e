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

use std::ops::Bound;
use std::path::PathBuf;

#[cfg(feature = "rocksdb")]
pub use self::rocksdb::RocksDb;
pub use self::{fjall::Fjall, heed::Heed, redb::Redb, syncline::Syncline};
use crate::Result;

/// Names of all engines of this build.
pub const NAMES: &[&str] = &[
    Syncline::NAME,
    Fjall::NAME,
    Redb::NAME,
    Heed::NAME,
    #[cfg(feature = "rocksdb")]
    RocksDb::NAME,
];

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

/// A read in key order.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Where it begins, this key included; `None` for the end of the key space where the direction begins.
    pub from: Option<&'a [u8]>,
    /// Where it goes.
    pub direction: Direction,
    /// After how many entries it ends.
    pub limit: usize,
}

impl<'a> Scan<'a> {
    /// Everything.
    pub fn all(direction: Direction) -> Scan<'a> {
        Scan { from: None, direction, limit: usize::MAX }
    }

    /// Its range of keys.
    fn bounds(self) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
        let from = self.from.map_or(Bound::Unbounded, Bound::Included);
        match self.direction {
            Direction::Forward => (from, Bound::Unbounded),
            Direction::Backward => (Bound::Unbounded, from),
        }
    }

    /// Shows to `visit` what an iterator over its range gives; returns the number of entries.
    fn walk<T>(
        self,
        entries: impl DoubleEndedIterator<Item = T>,
        visit: impl FnMut(T) -> Result<()>,
    ) -> Result<usize> {
        match self.direction {
            Direction::Forward => self.walk_forward(entries, visit),
            Direction::Backward => self.walk_forward(entries.rev(), visit),
        }
    }

    /// [`Scan::walk`] with an iterator that goes in the right direction already.
    fn walk_forward<T>(
        self,
        entries: impl Iterator<Item = T>,
        mut visit: impl FnMut(T) -> Result<()>,
    ) -> Result<usize> {
        entries.take(self.limit).try_fold(0, |count, entry| visit(entry).map(|()| count + 1))
    }
}

/// An open store. Single operations are commits of their own, as durable as [`Config::durable`] says; errors are the
/// engine's.
pub trait Engine: Sized + Send + Sync {
    /// The name on the command line and in the results.
    const NAME: &'static str;

    /// The store as of one moment, or the store itself where holding a moment saves nothing.
    type View<'a>
    where
        Self: 'a;

    /// What a commit has survived when it returns.
    fn promise(durable: bool) -> &'static str;

    /// Why the store cannot be opened in this way, if it cannot.
    fn refusal(config: &Config) -> Option<&'static str> {
        config.without_index.then_some("it has no Merkle index to leave out")
    }

    /// Opens the store, creating it if there is none.
    fn open(config: &Config) -> Result<Self>;

    /// Sets a key.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_batch(std::iter::once((key, value)))
    }

    /// Sets several keys in one atomic commit.
    fn put_batch<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()>;

    /// Deletes a key that may be missing.
    fn delete(&self, key: &[u8]) -> Result<()>;

    /// What an application would hold to read many times in a row.
    fn view(&self) -> Result<Self::View<'_>>;

    /// Shows the value of a key in a view to `read`. `false` if there is none.
    fn get_in(view: &Self::View<'_>, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool>;

    /// [`Engine::get_in`] as of now.
    fn get(&self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Self::get_in(&self.view()?, key, read)
    }

    /// Shows entries to `visit` and returns how many there were.
    fn scan(&self, scan: Scan<'_>, visit: impl FnMut(&[u8], &[u8])) -> Result<usize>;

    /// Does what writes have put off until somebody asks, where the engine does that. Workloads that write do it before their
    /// time is taken, or the next reader would pay for them.
    fn catch_up(&self) -> Result<()> {
        Ok(())
    }

    /// Writes what is in memory to sorted files, where the engine has such, and returns when no background work is left.
    /// So what reads find does not depend on how full a memtable happened to be.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Brings the whole store into the most compact form that the engine knows.
    fn compact(self) -> Result<Self>;

    /// Closes the store cleanly.
    fn close(self) -> Result<()> {
        Ok(())
    }
}
