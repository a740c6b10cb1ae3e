//! Ingest: entries in key order become a run without going through log and memtable, and the Merkle base takes in what they
//! change, as at a flush. `store` says where it begins and takes the run in.
//!
//! Easy to get wrong: whatever is in the runs is replaced and has to leave the sums, so every key is looked up; and an ingest
//! that is given up removes its files, for nothing else does before the next opening.

use std::path::PathBuf;
use std::sync::Arc;

use super::flush::cut;
use super::value_files::ValueFiles;
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::index::{HeadRef, Run, RunValue, RunWriter};
use crate::merkle::{self, Base, Bound, Fold};
use crate::store::{IngestJob, Ingested, Prefix, Store, VALUE_LEN_MAX, user_key};
use crate::types::{FileId, Key, Kind};

/// Entries that a filter is made for if the source does not say how many there are: 20 MiB of memory, less in the file.
const ENTRIES_UNKNOWN: usize = 1 << 24;

/// Entries that a filter is made for at most, whatever the source says: 160 MiB. Beyond, it answers wrongly more often until
/// the run is merged.
const ENTRIES_MAX: usize = 1 << 27;

/// Writes `entries`, whose keys rise strictly, to a run and has it taken in: all or none of them. Returns how many there
/// were.
///
/// # Errors
/// The first error among `entries`, `InvalidArgument` if the keys do not rise, `KeyTooLong`, `CommitTooLarge`; `Corruption` or `Io` of the runs: nothing has
/// changed. `Io` of a write: the store is poisoned.
pub(crate) fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    store: &Store,
    job: IngestJob<'_>,
    prefix: &Prefix,
    entries: impl Iterator<Item = Result<(K, V)>>,
) -> Result<u64> {
    let mut ingest = Ingest::begin(store, &job, entries.size_hint())?;
    let pushed = ingest.push_all(prefix, entries);
    let (count, paths) = (ingest.count, ingest.paths());
    let finished = match (pushed, count) {
        (Err(error), _) => Err(error),
        (Ok(()), 0) => Ok(None),
        (Ok(()), _) => ingest.finish().map(Some),
    };
    let taken_in = match finished {
        Ok(Some(ingested)) => store.install_ingest(job, ingested).map(|()| true),
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    // Of a poisoned store's files nothing is known.
    if !matches!(taken_in, Ok(true)) && store.check_poison().is_ok() {
        store.remove_files(&paths)?;
    }
    taken_in.map(|_| count)
}

/// A run that is being written, and what it changes.
struct Ingest<'a> {
    store: &'a Store,
    job: &'a IngestJob<'a>,
    id: FileId,
    writer: RunWriter,
    values: ValueFiles,
    fold: Fold,
    bounds: Vec<Bound>,
    last_key: Vec<u8>,
    count: u64,
    bytes: u64,
}

impl<'a> Ingest<'a> {
    fn begin(
        store: &'a Store,
        job: &'a IngestJob<'a>,
        (_, count_max): (usize, Option<usize>),
    ) -> Result<Ingest<'a>> {
        let count_max = count_max.unwrap_or(ENTRIES_UNKNOWN).min(ENTRIES_MAX);
        let id = store.next_file();
        let vfs = &*store.options.environment.vfs;
        Ok(Ingest {
            store,
            job,
            id,
            writer: store.note(RunWriter::create(vfs, &store.dir, id, count_max, job.state.compression))?,
            values: ValueFiles::default(),
            fold: job.base.fold(),
            bounds: Vec::new(),
            last_key: Vec::new(),
            count: 0,
            bytes: 0,
        })
    }

    fn push_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        prefix: &Prefix,
        entries: impl Iterator<Item = Result<(K, V)>>,
    ) -> Result<()> {
        let mut inner = prefix.0.to_vec();
        for entry in entries {
            let (key, value) = entry?;
            inner.truncate(prefix.0.len());
            inner.extend_from_slice(key.as_ref());
            self.push(&inner, value.as_ref())?;
        }
        Ok(())
    }

    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let Ingest { store, job, .. } = *self;
        let user_key = user_key(key);
        if user_key.len() > Key::LEN_MAX {
            return Err(Error::KeyTooLong { len: user_key.len(), max: Key::LEN_MAX });
        }
        if self.count > 0 && key <= &self.last_key[..] {
            return Err(out_of_order(user_key));
        }
        let len = (user_key.len() + value.len()) as u64;
        if len > VALUE_LEN_MAX {
            return Err(Error::CommitTooLarge { len, max: VALUE_LEN_MAX });
        }
        let measure = &store.measure;
        let hash = measure.hasher.key(key);
        let value = match value.len() <= measure.inline_value_max {
            true => RunValue::Inline(value),
            false => {
                let location = store.note(self.values.push(store, value))?;
                let location =
                    location.ok_or_else(|| Error::invalid("the store has no file numbers left"))?;
                RunValue::Log(location, measure.hasher.value(value))
            }
        };
        let IngestJob { seqno, stamp, .. } = *job;
        let head = HeadRef { seqno, stamp, kind: Kind::Put, expires_at: 0, meta: &[], value };
        let replaced = match job.levels.get(key, hash) {
            Ok(replaced) => replaced,
            Err(_) => store.past_damage(&job.levels, |levels, _| levels.get(key, hash))?,
        };
        let replaced = replaced.map(|head| measure.entry(key, hash, &head));
        let replaced = replaced.map(|replaced| replaced.after(job.ended));
        self.fold.add(key, Some(measure.stored(key, hash, &head)), replaced);
        if let Some(level) = measure.fence_level(hash) {
            self.bounds.push(Bound { key: key.to_vec(), level });
        }
        store.note(self.writer.push(key, hash, head))?;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.count += 1;
        self.bytes += len;
        Ok(())
    }

    /// Makes everything durable.
    fn finish(self) -> Result<Ingested> {
        let Ingest { store, job, id, writer, values, fold, bounds, bytes, .. } = self;
        let (vfs, dir, measure) = (&*store.options.environment.vfs, &store.dir, &store.measure);
        store.note(writer.finish())?;
        let values = store.note(values.finish())?;
        let run = Run::open(vfs, dir, id, store.options.read_mode, measure.hasher.clone());
        let run = Arc::new(store.note(run)?);
        let base = cut(store, &fold.finish(), &job.levels.with_newest(run.clone()), bounds, job.ended)?;
        let merkle = store.note(write_merkle(store, job, &base))?;
        let merkle_len = store.note(merkle::file_len(vfs, dir, &merkle))?;
        store.sync_dir()?;
        Ok(Ingested { run, base, merkle, merkle_len, values, bytes })
    }

    /// The files that it has begun, but for the Merkle file, which goes with the next flush if it was for nothing.
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = self.values.paths(self.store);
        paths.push(self.store.dir.join(FileKind::Run.name(self.id.0)));
        paths
    }
}

fn write_merkle(store: &Store, job: &IngestJob<'_>, base: &Base) -> Result<Vec<FileId>> {
    let (vfs, id) = (&*store.options.environment.vfs, store.next_file());
    let state = &job.state;
    merkle::write_next(vfs, &store.dir, &job.merkle, id, state.flushed, &job.base, base)
}

fn out_of_order(key: &[u8]) -> Error {
    const SHOWN: usize = 64;
    let shown = key.get(..SHOWN).map_or(key.escape_ascii(), <[u8]>::escape_ascii);
    let rest = if key.len() > SHOWN { "..." } else { "" };
    Error::invalid(format!(
        "ingest takes keys in strictly rising order, and \"{shown}\"{rest} is not above the one before"
    ))
}
