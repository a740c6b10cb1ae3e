//! [`Db`]: the handle of an open store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use smallvec::smallvec;

use super::layout::Layout;
use super::point::Point;
use super::stats::{Health, Stats};
use super::verify::{self, VerifyProgress, VerifyReport};
use super::{Builder, Keyspace, Scrub, ScrubOptions, Snapshot, WriteBatch};
use crate::compaction::Received;
use crate::error::{Error, Result};
use crate::gc;
use crate::horizon::rule::Source;
use crate::maintenance::{CompactProgress, Maintenance, Work};
use crate::manifest::ReplicaSet;
use crate::recovery::{self, CheckpointProgress, CheckpointReport, Opened, RecoveryReport};
use crate::resolver::LAST_WRITER_WINS;
use crate::store::{
    Admission, AtUnknown, DEFAULT_KEYSPACE, Durability, Prefix, Store, VisibleEntry, Write, Writes,
    catalogue_key, check_name, default_prefix, replicated,
};
use crate::types::{Head, NodeId, RangeSum};

/// An open store. Cheap to clone; all clones are one handle, and every method may be called from any thread. The store
/// is closed when the last clone, keyspace, snapshot and iterator of it is gone: what is in memory is flushed then, so that
/// the next opening has nothing to replay. Nothing is lost if that fails or the process is killed before, for the log has
/// it; [`Db::close`] tells of errors.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    maintenance: Arc<Maintenance>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovery: RecoveryReport,
    default_name: Arc<str>,
    default_prefix: Prefix,
    /// The node id that it was opened with.
    node: NodeId,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.maintenance.stop();
        for thread in self.threads.get_mut().drain(..) {
            // A panic of the thread was reported by the panic hook, and the store's files are as after a kill.
            let _ = thread.join();
        }
        // What panicked may have left memory half changed, and the log has everything.
        if !std::thread::panicking() && !self.store.options.read_only {
            // Nobody is left to hear of an error, and none loses anything: the next opening replays the log.
            let _ = self.maintenance.close();
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("dir", &self.inner.store.dir).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the store in `dir` with default options. See [`Builder`] for other ways.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Db> {
        Db::builder(dir).open()
    }

    /// Choices before opening or creating a store in `dir`.
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(dir.as_ref().to_owned())
    }

    pub(super) fn start(opened: Opened) -> Result<Db> {
        let store = Arc::new(opened.store);
        if !store.options.read_only {
            gc::remove_orphans(&store)?;
        }
        let maintenance = Arc::new(Maintenance::new(store.clone()));
        let (default_prefix, node) = (default_prefix(&store.measure.hasher), store.identity().node);
        let recovery = opened.report;
        let (default_name, threads) = (DEFAULT_KEYSPACE.into(), Mutex::default());
        let inner = Inner { store, maintenance, threads, recovery, default_name, default_prefix, node };
        let db = Db { inner: Arc::new(inner) };
        if db.inner.store.options.background {
            db.start_thread("syncline-ahead", Work::Ahead)?;
            db.start_thread("syncline-flush", Work::Flush)?;
            db.start_thread("syncline-merge", Work::Merge)?;
        }
        Ok(db)
    }

    fn start_thread(&self, name: &str, work: Work) -> Result<()> {
        let maintenance = self.inner.maintenance.clone();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || maintenance.run(work));
        let thread = thread.map_err(|source| Error::io("start a thread of", self.dir(), source))?;
        self.inner.threads.lock().push(thread);
        Ok(())
    }

    /// Flushes what is in memory and gives this handle up. The store itself is closed with its last handle; if this is it,
    /// the folder can be opened again when `close` returns.
    ///
    /// Dropping the handle does the same but cannot return errors. It costs writing one run of at most
    /// [`Builder::memtable_bytes`] for each memtable (up to three), and about ten fsyncs each; next to nothing if there
    /// were no commits since the last flush. It saves the next opening the replay.
    ///
    /// # Errors
    /// `Poisoned`, `Io`: every commit is still in the log as it was.
    pub fn close(self) -> Result<()> {
        if self.is_read_only() { Ok(()) } else { self.flush() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.store.dir
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.recovery
    }

    /// The parameters that all replicas of the set share. They contain the set's secret.
    pub fn replica_set(&self) -> ReplicaSet {
        self.inner.store.identity().set
    }

    /// The node id of this directory.
    pub fn node_id(&self) -> NodeId {
        self.inner.store.identity().node
    }

    /// How often this store has been opened for writing; if it is now, this time included.
    pub fn opens(&self) -> u64 {
        self.inner.store.identity().opens
    }

    /// The keyspace `default`, which every store has.
    pub fn default_keyspace(&self) -> Keyspace {
        Keyspace::new(self.clone(), self.inner.default_name.clone(), self.inner.default_prefix, None)
    }

    /// That of the default keyspace.
    pub(super) fn default_prefix(&self) -> &Prefix {
        &self.inner.default_prefix
    }

    /// The keyspace of this name, created if it is not there. If it was made with a resolver it is that one; without the
    /// resolver at hand it can be read, and not written.
    ///
    /// # Errors
    /// `InvalidArgument` for an impossible name, `Ambiguous` if replicas created it with different resolvers (then
    /// [`Db::keyspace_with`] opens each of the two), and what reading and writing can fail with.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        self.keyspace_of(name, None)
    }

    /// The keyspace of this name whose values the [`Resolver`](crate::Resolver) of the other name merges, created if it is not
    /// there. In it a put is merged with what is there, and nothing expires or is deleted: how a state says that something is
    /// gone is the resolver's affair. [`LAST_WRITER_WINS`] is the keyspace of this name without a resolver, even if there is
    /// another one with.
    ///
    /// # Errors
    /// `InvalidArgument` if no such resolver was brought by [`Builder::resolver`], or for an impossible name; `Ambiguous` if the
    /// name is taken, and only with other resolvers; and what reading and writing can fail with.
    pub fn keyspace_with(&self, name: &str, resolver: &str) -> Result<Keyspace> {
        check_name(resolver)?;
        let is_plain = resolver == LAST_WRITER_WINS;
        if !is_plain && name == DEFAULT_KEYSPACE {
            return Err(Error::invalid("the keyspace `default` is without a resolver"));
        }
        if !is_plain && self.inner.store.options.resolvers.get(resolver).is_none() {
            let what = format!("no resolver {resolver:?}: bring it with `Builder::resolver` when opening");
            return Err(Error::invalid(what));
        }
        self.keyspace_of(name, Some(resolver))
    }

    /// The keyspace of this name; if one is `wanted`, the one with that resolver.
    fn keyspace_of(&self, name: &str, wanted: Option<&str>) -> Result<Keyspace> {
        if name == DEFAULT_KEYSPACE {
            return Ok(self.default_keyspace());
        }
        check_name(name)?;
        let resolvers = self.resolvers_of(name)?;
        let resolver = match (resolvers.as_slice(), wanted) {
            ([], wanted) => {
                let resolver = wanted.unwrap_or(LAST_WRITER_WINS);
                self.put_in(&Prefix::CATALOGUE, &catalogue_key(name, resolver), &[])?;
                resolver
            }
            ([held], None) => held,
            (held, Some(wanted)) if held.iter().any(|held| held == wanted) => wanted,
            _ => return Err(Error::Ambiguous { name: name.to_owned(), resolvers }),
        };
        let store = &self.inner.store;
        let prefix = Prefix::of(&store.measure.hasher, name, resolver);
        let resolver = store.options.resolvers.get(resolver).cloned();
        Ok(Keyspace::new(self.clone(), name.into(), prefix, resolver))
    }

    /// Names of all keyspaces, `default` first, the others in order.
    ///
    /// # Errors
    /// `Corruption` or `Io` while reading the catalogue.
    pub fn keyspaces(&self) -> Result<Vec<String>> {
        self.keyspaces_by(AtUnknown::Stop)
    }

    /// As [`Db::keyspaces`], told what to do where the catalogue is unknown.
    pub(super) fn keyspaces_by(&self, at_unknown: AtUnknown) -> Result<Vec<String>> {
        let mut names = vec![DEFAULT_KEYSPACE.to_owned()];
        for (name, _) in self.inner.store.catalogue(at_unknown)? {
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn resolvers_of(&self, name: &str) -> Result<Vec<String>> {
        let catalogue = self.inner.store.catalogue(AtUnknown::Stop)?.into_iter();
        Ok(catalogue.filter(|(other, _)| other == name).map(|(_, resolver)| resolver).collect())
    }

    /// Names by the prefixes of inner keys.
    pub(crate) fn keyspace_names(&self) -> Result<BTreeMap<Prefix, Arc<str>>> {
        let hasher = &self.inner.store.measure.hasher;
        let catalogue = self.inner.store.catalogue(AtUnknown::Skip)?;
        let named =
            |(name, resolver): &(String, String)| (Prefix::of(hasher, name, resolver), name.as_str().into());
        let mut names: BTreeMap<_, _> = catalogue.iter().map(named).collect();
        names.insert(self.inner.default_prefix, DEFAULT_KEYSPACE.into());
        Ok(names)
    }

    /// An empty batch.
    pub fn batch(&self) -> WriteBatch {
        WriteBatch::new()
    }

    /// Applies `batch` whole, over all its keyspaces.
    ///
    /// # Errors
    /// `CommitTooLarge`, `ReadOnly`, or `InvalidArgument` if the keyspaces are another store's: nothing changed. `Poisoned`,
    /// `Io`: reopen the store; the batch is there whole or not at all.
    pub fn write(&self, batch: WriteBatch, durability: Durability) -> Result<()> {
        let writes = batch.into_writes_of(self)?;
        if writes.is_empty() { Ok(()) } else { self.commit(writes, durability) }
    }

    /// Returns once every commit made before is as durable as asked.
    ///
    /// # Errors
    /// `Poisoned`, `ReadOnly`, `Io`.
    pub fn persist(&self, durability: Durability) -> Result<()> {
        self.check_writable()?;
        match durability {
            Durability::Buffered => self.inner.store.check_poison(),
            Durability::Sync => self.inner.store.persist(),
        }
    }

    /// Sets a key of the keyspace with this prefix, with the store's default durability.
    pub(super) fn put_in(&self, prefix: &Prefix, key: &[u8], value: &[u8]) -> Result<()> {
        self.commit(smallvec![prefix.put(key, value)?], self.default_durability())
    }

    /// Deletes a key of the keyspace with this prefix, with the store's default durability.
    pub(super) fn delete_in(&self, prefix: &Prefix, key: &[u8]) -> Result<()> {
        self.commit(smallvec![prefix.delete(key)?], self.default_durability())
    }

    pub(super) fn commit(&self, writes: Writes, durability: Durability) -> Result<()> {
        self.check_writable()?;
        self.inner.maintenance.make_room(|| writes.iter().map(Write::len).sum())?;
        self.inner.store.commit(writes, durability)
    }

    /// As [`Store::commit_if`], with the default durability.
    pub(super) fn commit_if(
        &self,
        write: Write,
        condition: impl FnOnce(Option<&Head>) -> bool,
    ) -> Result<Result<(), Option<VisibleEntry>>> {
        self.check_writable()?;
        self.inner.store.check_serves()?;
        self.inner.maintenance.make_room(|| write.len())?;
        self.inner.store.commit_if(write, self.default_durability(), condition)
    }

    /// Takes in entries of the keyspace with this prefix, in rising order of keys.
    pub(super) fn ingest_in<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        prefix: &Prefix,
        entries: impl Iterator<Item = Result<(K, V)>>,
    ) -> Result<u64> {
        self.check_writable()?;
        prefix.check_plain("an ingest")?;
        self.inner.maintenance.ingest(prefix, entries)
    }

    /// Merges entries from another replica: every one has a stamp of its own. Visible, not yet durable.
    pub(crate) fn apply(&self, writes: Vec<Write>, source: Source) -> Result<Admission> {
        self.check_writable()?;
        self.inner.maintenance.make_room(|| writes.iter().map(Write::len).sum())?;
        self.inner.store.apply(writes, source)
    }

    /// Takes in a run of entries from another replica, whole or not at all. `false` if they have to be merged one by one.
    pub(crate) fn take_in(&self, received: &Received) -> Result<bool> {
        self.check_writable()?;
        self.inner.maintenance.take_in(received)
    }

    /// Waits as long as whoever writes `bytes` has to.
    pub(crate) fn make_room(&self, bytes: u64) -> Result<()> {
        self.inner.maintenance.make_room(|| bytes)
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        if self.is_read_only() { Err(Error::ReadOnly) } else { Ok(()) }
    }

    /// Whether the store was opened by [`Builder::open_read_only`].
    pub fn is_read_only(&self) -> bool {
        self.inner.store.options.read_only
    }

    /// Shows, from now on, what the folder's writer has committed by now. Snapshots and iterators stay where they are. Costs
    /// as much as opening. A store that is open for writing shows everything already, and nothing happens.
    ///
    /// # Errors
    /// As [`Builder::open_read_only`]; the store then goes on showing what it showed.
    pub fn refresh(&self) -> Result<()> {
        if self.is_read_only() { recovery::refresh(&self.inner.store) } else { Ok(()) }
    }

    /// The store as of now; of one that is open read-only, as of its opening or last refresh.
    pub fn snapshot(&self) -> Snapshot {
        let (view, seqno) = self.inner.store.read_point();
        Snapshot::new(self.clone(), view, seqno)
    }

    /// The fingerprint and counts of everything that is replicated, catalogue included, every write that returned before
    /// this call included. Costs as much as [`Keyspace::len`].
    ///
    /// # Errors
    /// As [`Keyspace::len`].
    pub fn root(&self) -> Result<RangeSum> {
        self.inner.store.fingerprint(&replicated())
    }

    /// Sizes, counts and health.
    ///
    /// # Errors
    /// As reading the catalogue.
    pub fn stats(&self) -> Result<Stats> {
        Stats::of(self)
    }

    /// What the store consists of, piece by piece. Costs a look at every bucket of the Merkle index.
    ///
    /// # Errors
    /// As [`Db::root`].
    pub fn layout(&self) -> Result<Layout> {
        Layout::of(self)
    }

    /// Whether the store takes writes.
    pub fn health(&self) -> Health {
        match self.inner.store.poison_reason() {
            Some(reason) => Health::Poisoned { reason },
            None if self.is_read_only() => Health::ReadOnly,
            None => match self.inner.store.damage_counts() {
                (0, 0) => Health::Good,
                (unknown_spans, lost_values) => Health::Damaged { unknown_spans, lost_values },
            },
        }
    }

    /// Checks everything: checksums and order of all runs, values against their digests, and the Merkle index against one
    /// computed from scratch. Changes nothing, but that what is found damaged is [unknown](Db::unknown_spans) or
    /// [lost](Db::lost_values) from then on. `progress` is called now and then and stops the work by `false`.
    ///
    /// # Errors
    /// `Aborted`, or what could not be read at all; damage is in the report.
    pub fn verify(&self, mut progress: impl FnMut(VerifyProgress) -> bool) -> Result<VerifyReport> {
        verify::verify(&self.inner.store, &mut progress)
    }

    /// Begins to read every block of the runs and every large value again, at a bounded rate and in steps that the caller
    /// takes, to find damage early. Pages that the system holds in memory are not read from the medium. What only the log has
    /// yet is checked at every opening instead, and Merkle files are rebuilt when they are damaged.
    pub fn scrub(&self, options: ScrubOptions) -> Scrub {
        Scrub::new(self.clone(), options)
    }

    /// Writes everything that is in memory to runs.
    ///
    /// # Errors
    /// `Poisoned`, `ReadOnly`, `Io`.
    pub fn flush(&self) -> Result<()> {
        self.check_writable()?;
        self.inner.maintenance.flush_all()
    }

    /// Merges all runs into one. `progress` is called after every megabyte or so and stops the work by `false`.
    ///
    /// # Errors
    /// `Aborted`, `Poisoned`, `ReadOnly`, `Corruption`, `Io`.
    pub fn compact(&self, progress: impl FnMut(CompactProgress) -> bool) -> Result<()> {
        self.check_writable()?;
        self.inner.maintenance.compact_all(progress)
    }

    /// Makes a copy of the store in `dir`, which may be missing or empty, while the store goes on: a backup, or the first
    /// state of another replica. It holds every commit that returned before this call and none that began after it. Opened
    /// for writing, it takes a node id of its own.
    ///
    /// Flushes what is in memory, then links the store's immutable files into the folder, so that it costs almost no time
    /// or space on the same file system; on another one they are copied. A linked copy shares its bytes with the store:
    /// damage to the medium hits both. A crash leaves a whole copy or a folder that holds no store; an error is followed
    /// by removing what was made.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let dir = dir.path();
    /// use syncline::Db;
    /// let db = Db::builder(dir.join("notes")).create()?;
    /// db.put("apple", "red")?;
    /// db.checkpoint(dir.join("backup"))?;
    /// db.put("apple", "green")?;
    /// assert_eq!(Db::open(dir.join("backup"))?.get("apple")?.as_deref(), Some(&b"red"[..]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Occupied` if the folder holds anything, `Locked`, `Poisoned`, `ReadOnly`, `Io`. A failure in the folder leaves this store as
    /// it is.
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<CheckpointReport> {
        self.checkpoint_with(dir, |_| true)
    }

    /// [`Db::checkpoint`], which tells how far it has come after every megabyte that it copies, and leaves nothing behind if
    /// it is then told `false`. Links are made at once.
    ///
    /// # Errors
    /// As there, and `Aborted`.
    pub fn checkpoint_with(
        &self,
        dir: impl AsRef<Path>,
        mut progress: impl FnMut(CheckpointProgress) -> bool,
    ) -> Result<CheckpointReport> {
        self.flush()?;
        recovery::checkpoint(&self.inner.store, dir.as_ref(), &mut progress)
    }

    /// Does one bounded piece of background work, for stores opened with `background(false)`. `false` if there was none.
    ///
    /// # Errors
    /// What the work met; the store is poisoned if files may have changed.
    pub fn step(&self) -> Result<bool> {
        self.check_writable()?;
        self.inner.maintenance.step()
    }

    /// Asks about a key of the keyspace with this prefix, as of now.
    pub(super) fn point<T>(&self, prefix: &Prefix, ask: impl FnOnce(Point<'_>) -> T) -> T {
        let store = &self.inner.store;
        let (view, at) = store.newest();
        ask(Point { store, view: &view, at, prefix })
    }

    pub(super) fn maintenance(&self) -> &Maintenance {
        &self.inner.maintenance
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// Tells this store's keyspaces from those of others; handles of one folder tell the same.
    pub(super) fn opened_as(&self) -> NodeId {
        self.inner.node
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.inner.store.now_ms()
    }

    pub(super) fn default_durability(&self) -> Durability {
        self.inner.store.options.durability
    }
}
