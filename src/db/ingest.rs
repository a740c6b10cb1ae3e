//! `ingest` of a keyspace: loading many entries that are in order already.
//!
//! Easy to get wrong: the entries come from the caller's iterator while flushes and sessions wait, so that iterator must not
//! wait for those in turn.

use super::{Db, Keyspace};
use crate::error::{Error, Result};

impl Keyspace {
    /// Sets every key to its value, all or none of them, and returns how many there were. The keys must rise strictly. For
    /// loading much at once: entries go straight to a sorted run, past log and memtable, so that each is written once. They
    /// are durable when it returns.
    ///
    /// The entries are as new as the call's beginning: they replace what was there then, and a key that others write while
    /// the ingest is under way keeps what they wrote. Nobody sees any entry before all of them are in. A
    /// [change feed](Db::changes_since) with a cursor of before gets `TooOld`, and a watch hears that it lags, for the entries
    /// are not in the log.
    ///
    /// Costs a flush of what is in memory, a write of the entries, and a look-up of each key in the runs; memory for the new
    /// part of the Merkle index and a filter of some 10 bits per key. Other commits go on meanwhile until memory is full of
    /// them; then they, and at once flushes, checkpoints, imports and sessions that apply entries, wait for the ingest. So
    /// `entries` may read the store but must not write to it: it would wait for itself. An iterator that panics leaves the
    /// store as it was.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let db = syncline::Db::builder(dir.path().join("store")).create()?;
    /// let squares = db.keyspace("squares")?;
    /// let entries = (0..10_000u32).map(|number| (number.to_be_bytes(), (number * number).to_string()));
    /// assert_eq!(squares.ingest(entries)?, 10_000);
    /// assert_eq!(squares.get(99u32.to_be_bytes())?.as_deref(), Some(&b"9801"[..]));
    /// assert!(squares.ingest([("b", "2"), ("a", "1")]).is_err());
    /// assert_eq!(squares.len()?, 10_000);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` names the first key that does not rise; `KeyTooLong`, `CommitTooLarge` (of one value), `Corruption`
    /// or `Io` of reading what is there: nothing changed. `ReadOnly`, `Poisoned`. `Io` of a write: reopen the store; all of
    /// it is there or nothing.
    pub fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.db().ingest_in(self.prefix(), entries.into_iter().map(Ok))
    }

    /// [`Keyspace::ingest`] from a source that can fail, such as a file that is being parsed: after the first error nothing is
    /// taken in.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let db = syncline::Db::builder(dir.path().join("store")).create()?;
    /// #[derive(Debug, thiserror::Error)]
    /// #[error(transparent)]
    /// enum LoadError {
    ///     Line(#[from] std::num::ParseIntError),
    ///     Store(#[from] syncline::Error),
    /// }
    /// let parse = |line: &str| Ok((line.parse::<u64>()?.to_be_bytes(), ""));
    /// let result = db.default_keyspace().try_ingest("1\n2\nthree".lines().map(parse));
    /// assert!(matches!(result, Err(LoadError::Line(_))));
    /// assert!(db.is_empty()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first of `entries`; as there.
    pub fn try_ingest<K: AsRef<[u8]>, V: AsRef<[u8]>, E: From<Error>>(
        &self,
        entries: impl IntoIterator<Item = Result<(K, V), E>>,
    ) -> Result<u64, E> {
        let mut failed = None;
        let entries = entries.into_iter().map(|entry| {
            entry.map_err(|error| {
                failed = Some(error);
                Error::Aborted
            })
        });
        let ingested = self.db().ingest_in(self.prefix(), entries);
        failed.map_or(ingested.map_err(E::from), Err)
    }
}

/// The default keyspace's.
impl Db {
    /// [`Keyspace::ingest`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.default_keyspace().ingest(entries)
    }
}
