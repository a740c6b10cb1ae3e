//! [`Builder`]: choices at open, and the ways to open.

use std::path::PathBuf;
use std::sync::Arc;

use super::Db;
use crate::error::{Error, Result};
use crate::manifest::ReplicaSet;
use crate::recovery;
use crate::resolver::Resolver;
use crate::store::{Durability, Environment, Options};
use crate::types::Compression;
use crate::vfs::ReadMode;

/// Choices at open. None of them changes the meaning of bytes on disk, so a store may be opened differently each time. Only
/// [`Builder::retain_log_bytes`] and [`Builder::compression`] are remembered.
///
/// ```no_run
/// # fn main() -> syncline::Result<()> {
/// use syncline::{Db, Durability};
/// let db = Db::builder("./data").durability(Durability::Sync).open_or_create()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder opens nothing until `open`, `create` or `open_or_create` is called"]
pub struct Builder {
    dir: PathBuf,
    options: Options,
    /// What was chosen first that cannot be, to be told at open.
    refused: Option<Error>,
}

impl Builder {
    pub(super) fn new(dir: PathBuf) -> Builder {
        Builder { dir, options: Options::default(), refused: None }
    }

    /// What the changes survive that take no [`Durability`] of their own: all but batches ([`Db::write`]) and what is always
    /// durable. Default: [`Durability::Buffered`].
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.options.durability = durability;
        self
    }

    /// How immutable files are read. Default: [`ReadMode::Mapped`].
    pub fn read_mode(mut self, mode: ReadMode) -> Builder {
        self.options.read_mode = mode;
        self
    }

    /// A memtable is flushed when it holds this many bytes; up to three may be in memory. Default: 20 MiB.
    pub fn memtable_bytes(mut self, bytes: usize) -> Builder {
        self.options.memtable_bytes = bytes.max(1);
        self
    }

    /// Values up to this many bytes are copied into the runs, so that scans stay sequential; larger ones are written
    /// once, to the log. At most 64 KiB. Default: 1,024.
    pub fn inline_value_max(mut self, bytes: usize) -> Builder {
        self.options.inline_value_max = bytes.min(64 * 1024);
        self
    }

    /// Opens the store without its Merkle index, to measure what that costs: commits read nothing, and whatever needs a
    /// sum (root, fingerprints, lengths, sessions) is refused. The next opening with the index makes it anew by reading
    /// every entry.
    #[doc(hidden)]
    pub fn without_index(mut self) -> Builder {
        self.options.index = false;
        self
    }

    /// Keeps flushed segments of the log for [`Db::changes_since`], the oldest going first, up to this many bytes on disk. The
    /// store remembers it until it is opened with another number; a smaller one takes effect with the next flush. At first
    /// 0: what is not flushed yet is all that the feed has.
    pub fn retain_log_bytes(mut self, bytes: u64) -> Builder {
        self.options.retain_log_bytes = Some(bytes);
        self
    }

    /// How blocks of runs are stored from now on: the store remembers it until it is opened with another one. Only keys and
    /// the values in the runs are in blocks; [larger values](Builder::inline_value_max) stay in the log as they are. The digest
    /// is the same whatever this is. At first [`Compression::None`]: `docs/decisions/0011-compression-is-a-choice.md` has
    /// what the others save and what reads pay for it.
    ///
    /// A level of Zstandard outside 1 to 22 is taken for the nearest. Opening fails with `UnsupportedCodec` if this build lacks
    /// what is chosen or remembered.
    pub fn compression(mut self, compression: Compression) -> Builder {
        self.options.compression = Some(match compression {
            Compression::Zstd(level) => Compression::Zstd(level.clamp(1, 22)),
            other => other,
        });
        self
    }

    /// Limits the bytes that background merges write in a second on average, so that they leave the disk to others. Flushes are
    /// not held back, and the limit is lifted when runs pile up, so that no writer waits for it. 0 means no limit. Default: no
    /// limit.
    pub fn background_bytes_per_second(mut self, bytes: u64) -> Builder {
        self.options.background_bytes_per_second = (bytes > 0).then_some(bytes);
        self
    }

    /// How many bytes limited merges may write at once after they have written less than the limit. Default: a second's worth.
    pub fn background_burst_bytes(mut self, bytes: u64) -> Builder {
        self.options.background_burst_bytes = Some(bytes);
        self
    }

    /// Whether threads of the store flush, compact and make log segments ahead. Without them the caller calls [`Db::step`].
    /// Default: yes.
    pub fn background(mut self, background: bool) -> Builder {
        self.options.background = background;
        self
    }

    /// Brings what merges the values of keyspaces that were made with it by [`Db::keyspace_with`]. To be brought at every open: a
    /// store without it reads those keyspaces, takes entries of new keys, and refuses whatever would have to be merged.
    ///
    /// Opening fails with `InvalidArgument` if two have one name, or one has the store's own, `last-writer-wins`.
    pub fn resolver(mut self, resolver: impl Resolver) -> Builder {
        if let Err(error) = self.options.resolvers.add(Arc::new(resolver)) {
            self.refused.get_or_insert(error);
        }
        self
    }

    /// Where the store finds files, time and randomness. Default: the operating system's.
    pub fn environment(mut self, environment: Environment) -> Builder {
        self.options.environment = environment;
        self
    }

    /// Opens the store in the folder, recovering whatever its last stop left.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Locked` if it is open elsewhere, `UnsupportedVersion`, `UnsupportedCodec`,
    /// `InvalidArgument` for choices that cannot be, `Corruption`, `Io`.
    pub fn open(self) -> Result<Db> {
        self.check()?;
        Db::start(recovery::open(&self.dir, self.options)?)
    }

    /// Opens the store in the folder for reading, whether or not a process has it open for writing: takes no lock and writes
    /// nothing, so that the folder may be on a read-only medium.
    ///
    /// The handle shows one moment during this call, every commit included that returned before; [`Db::refresh`] moves it to
    /// a later one. All its files are held open, so that the writer may remove them. Whatever would change the store fails
    /// with `ReadOnly`. The newest commits may not be durable yet where they were written.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let dir = dir.path();
    /// use syncline::{Db, Error};
    /// let writer = Db::builder(dir).open_or_create()?;
    /// writer.put("apple", "red")?;
    /// let reader = Db::builder(dir).open_read_only()?;
    /// writer.put("apple", "green")?;
    /// assert_eq!(reader.get("apple")?.as_deref(), Some(&b"red"[..]));
    /// reader.refresh()?;
    /// assert_eq!(reader.get("apple")?.as_deref(), Some(&b"green"[..]));
    /// assert!(matches!(reader.put("apple", "blue"), Err(Error::ReadOnly)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Builder::open`], but for `Locked`.
    pub fn open_read_only(self) -> Result<Db> {
        self.check()?;
        Db::start(recovery::open_read_only(&self.dir, self.options)?)
    }

    /// Creates a store of a new replica set in the folder, which may be missing or empty.
    ///
    /// # Errors
    /// `Occupied` if the folder holds anything else, `Locked`, `UnsupportedCodec`, `InvalidArgument` for choices that cannot
    /// be, `Io`.
    pub fn create(self) -> Result<Db> {
        let mut random = [0; 48];
        let entropy = &self.options.environment.entropy;
        entropy.fill(&mut random).map_err(|source| Error::io("draw randomness for", &self.dir, source))?;
        let (mut id, mut hash_key) = ([0; 16], [0; 32]);
        id.copy_from_slice(&random[..16]);
        hash_key.copy_from_slice(&random[16..]);
        self.create_replica(&ReplicaSet::new(id, hash_key))
    }

    /// Creates an empty store that belongs to `set`, so that a session with another replica of the set can fill it.
    ///
    /// # Errors
    /// As [`Builder::create`], and `InvalidArgument` if no set can have these parameters.
    pub fn create_replica(self, set: &ReplicaSet) -> Result<Db> {
        self.check()?;
        recovery::create(&self.dir, &self.options, set)?;
        self.open()
    }

    /// Opens the store, or creates one if the folder is missing or empty.
    ///
    /// # Errors
    /// As [`Builder::open`] and [`Builder::create`].
    pub fn open_or_create(self) -> Result<Db> {
        match self.clone().open() {
            Err(Error::NotFound { .. }) => self.create(),
            opened => opened,
        }
    }

    fn check(&self) -> Result<()> {
        self.refused.clone().map_or(Ok(()), Err)
    }
}
