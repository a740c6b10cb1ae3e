//! `export` and `import`: a store's entries to one stream of bytes, and back.
//!
//! Easy to get wrong: an entry keeps its stamp, so an import is a merge like any other: what the store holds and is newer
//! stays, and the same stream twice changes nothing.

use std::io::{Read, Write};

use super::{Builder, Db};
use crate::error::{Error, Result};
use crate::horizon::rule::Source;
use crate::store::{Durability, replicated};
use crate::stream::{StreamReader, StreamWriter};
use crate::types::RangeSum;

/// How far an export or import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferProgress {
    /// Entries so far.
    pub entries: u64,
    /// Bytes of the stream so far.
    pub bytes: u64,
}

/// What an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Entries in the stream, tombstones and the catalogue of keyspaces included.
    pub entries: u64,
    /// Length of the stream in bytes.
    pub bytes: u64,
    /// The root of the exported state.
    pub root: RangeSum,
}

/// What an import found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "what was deferred or refused is not in the store"]
pub struct ImportReport {
    /// Entries in the stream.
    pub entries: u64,
    /// Of them, those that were taken.
    pub applied: u64,
    /// Those for which the store held the same entry or a newer one.
    pub covered: u64,
    /// Those stamped so far ahead of this machine's clock that they were not taken. Import again when it is right.
    pub deferred: u64,
    /// Those stamped at or before the set's horizon, which every replica has agreed on.
    pub refused: u64,
    /// Length of the stream in bytes.
    pub bytes: u64,
    /// The root of the state that was exported; the store has the same one if it was empty and took everything.
    pub root: RangeSum,
}

/// After this many entries progress is told.
const PROGRESS_EVERY: u64 = 4096;

impl Db {
    /// Writes all entries, as of this moment, to `output`: every keyspace, tombstones too, with stamps, expiry and meta. The
    /// stream is portable and checksummed; its format is in `docs/format.md`. It holds the replica set's secret, so it must
    /// be kept like the store itself. `progress` is called now and then and stops the work by `false`.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let dir = dir.path();
    /// use syncline::Db;
    /// let db = Db::builder(dir.join("notes")).open_or_create()?;
    /// db.put("apple", "red")?;
    /// let mut stream = Vec::new();
    /// db.export(&mut stream, |_| true)?;
    /// let (copy, report) = Db::builder(dir.join("copy")).import(&stream[..], |_| true)?;
    /// assert_eq!((report.applied, copy.root()?), (1, db.root()?));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Io` of the stream or a file, `Corruption`, `Poisoned`, `Aborted`. A stream without its end is refused by `import`.
    pub fn export(
        &self,
        output: impl Write,
        mut progress: impl FnMut(TransferProgress) -> bool,
    ) -> Result<ExportReport> {
        let store = self.store();
        let (view, seqno) = store.read_point();
        // An entry leaves the store only once it is durable there.
        store.persist()?;
        let state = store.identity();
        let measure = &store.measure;
        let mut writer = StreamWriter::begin(output, &state.set, state.horizon)?;
        let (mut entries, mut root) = (0u64, RangeSum::ZERO);
        for found in view.walk(&replicated(), seqno) {
            let (key, head) = found.map_err(|error| store.met(error))?;
            let value = view.value(&head, &measure.hasher);
            let value = value.map_err(|error| store.met_value(&key, (head.stamp, head.digest), error))?;
            writer.push(&key, &head, &value)?;
            root += measure.entry(&key, measure.hasher.key(&key), &head).sum;
            entries += 1;
            let so_far = TransferProgress { entries, bytes: writer.len() };
            if entries.is_multiple_of(PROGRESS_EVERY) && !progress(so_far) {
                return Err(Error::Aborted);
            }
        }
        let bytes = writer.finish(&root)?;
        Ok(ExportReport { entries, bytes, root })
    }

    /// Merges the entries of an exported stream, durably. Entries keep their stamps, so what is newer here stays, and
    /// importing again changes nothing.
    ///
    /// # Errors
    /// `InvalidArgument` if the stream is of another replica set; `Stream` if it is cut off or damaged, after what came
    /// before was taken; `ReadOnly`, `Io`, `Poisoned`, `Aborted`.
    pub fn import(
        &self,
        input: impl Read,
        progress: impl FnMut(TransferProgress) -> bool,
    ) -> Result<ImportReport> {
        self.import_from(StreamReader::begin(input)?, progress)
    }

    fn import_from<R: Read>(
        &self,
        mut reader: StreamReader<R>,
        mut progress: impl FnMut(TransferProgress) -> bool,
    ) -> Result<ImportReport> {
        if *reader.set() != self.replica_set() {
            return Err(Error::invalid("the stream was exported from a store of another replica set"));
        }
        let (mut applied, mut covered, mut deferred, mut refused) = (0, 0, 0, 0);
        while let Some(writes) = reader.next_chunk()? {
            let admission = self.apply(writes, Source::Outside)?;
            applied += admission.applied;
            covered += admission.covered;
            deferred += admission.deferred;
            refused += admission.refused;
            let so_far = TransferProgress { entries: reader.sum().0, bytes: reader.len() };
            if !progress(so_far) {
                return Err(Error::Aborted);
            }
        }
        self.persist(Durability::Sync)?;
        let (entries, root) = reader.sum();
        Ok(ImportReport { entries, applied, covered, deferred, refused, bytes: reader.len(), root })
    }
}

impl Builder {
    /// Opens the store in the folder, or creates one of the stream's replica set if the folder is missing or empty, and
    /// merges the stream into it as [`Db::import`] does. A new store that the import of a cut stream leaves is good, and
    /// holds what came before the cut.
    ///
    /// # Errors
    /// As [`Builder::open_or_create`] and [`Db::import`].
    pub fn import(
        self,
        input: impl Read,
        progress: impl FnMut(TransferProgress) -> bool,
    ) -> Result<(Db, ImportReport)> {
        let reader = StreamReader::begin(input)?;
        let db = match self.clone().open() {
            Err(Error::NotFound { .. }) => self.create_replica(reader.set())?,
            opened => opened?,
        };
        let report = db.import_from(reader, progress)?;
        Ok((db, report))
    }
}
