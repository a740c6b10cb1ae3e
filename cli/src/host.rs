//! The command's few dealings with the machine that are not the engine's: tables, streams and certificates, a
//! stopwatch, waiting, and signals.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // These are no store files, and the demo times itself.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

const BUFFER_LEN: usize = 64 << 10;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// A table's bytes, unpacked, and how far the file has been read.
pub(crate) struct TableFile {
    /// The bytes.
    pub(crate) input: Box<dyn BufRead>,
    /// Length of the file.
    pub(crate) len: u64,
    /// Bytes of the file that have been read.
    pub(crate) read: Arc<AtomicU64>,
}

/// Opens a table. Gzip is known by its first bytes, whatever the file is called.
///
/// # Errors
/// `Io`.
pub(crate) fn open_table(path: &Path) -> Result<TableFile> {
    let failed = || Error::io(format!("cannot read {}", path.display()));
    let file = File::open(path).map_err(failed())?;
    let metadata = file.metadata().map_err(failed())?;
    if metadata.is_dir() {
        return Err(Error::Usage(format!("{} is a folder; name a table", path.display())));
    }
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { file, read: Arc::clone(&read) };
    let input = unpacked(BufReader::with_capacity(BUFFER_LEN, counted)).map_err(failed())?;
    Ok(TableFile { input, len: metadata.len(), read })
}

/// `packed` as it is, or what it holds if it is gzip.
///
/// # Errors
/// Whatever reading the first bytes meets.
pub(crate) fn unpacked(mut packed: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    Ok(if packed.fill_buf()?.starts_with(GZIP_MAGIC) {
        Box::new(BufReader::with_capacity(BUFFER_LEN, MultiGzDecoder::new(packed)))
    } else {
        Box::new(packed)
    })
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A file that is being written. It is there in part until [`NewFile::finish`] has returned.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Makes the file, readable by its owner alone, or empties the one that is there.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn create(path: &Path) -> Result<NewFile> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(Error::io(format!("cannot write {}", path.display())))?;
        Ok(NewFile { file, path: path.to_owned() })
    }

    /// Makes the file, readable by its owner alone. It must not be there yet.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn create_new(path: &Path) -> Result<NewFile> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(Error::io(format!("cannot make {}", path.display())))?;
        Ok(NewFile { file, path: path.to_owned() })
    }

    /// Makes a file with these bytes, readable by its owner alone. It must not be there yet.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
        let file = NewFile::create_new(path)?;
        (&file).write_all(bytes).map_err(Error::io(format!("cannot write {}", path.display())))?;
        file.finish()
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(Error::io(format!("cannot write {}", self.path.display())))
    }
}

impl Write for &NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a file of these bytes, readable by its owner alone, or puts them in the place of what the file had.
///
/// # Errors
/// `Io`.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = NewFile::create(path)?;
    (&file).write_all(bytes).map_err(Error::io(format!("cannot write {}", path.display())))?;
    file.finish()
}

/// Makes a folder for its owner alone, if it is not there.
///
/// # Errors
/// `Io`.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Error::io(format!("cannot make {}", path.display())))
}

/// The bytes of a small file.
///
/// # Errors
/// `Io`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::io(format!("cannot read {}", path.display())))
}

/// Who has a store open for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// No process.
    Nobody,
    /// This one.
    Process {
        /// Its number.
        id: u32,
        /// What the system calls it.
        name: String,
    },
}

/// Who holds the lock of the store in `dir`, without touching it: an attempt to take it could be in a process's way. `None` if
/// this system does not tell.
pub(crate) fn lock_holder(dir: &Path) -> Option<Holder> {
    let lock = dir.join("LOCK").canonicalize().ok()?;
    let inode = std::fs::metadata(&lock).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let holder = locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, _, mode) = (words.next()?, words.next()?, words.next()?);
        let id = words.next()?.parse::<u32>().ok()?;
        let file = words.next()?.rsplit(':').next()?.parse::<u64>().ok()?;
        // Numbers of devices are not told alike everywhere, so whether it is this file, its own list of files decides.
        (kind == "FLOCK" && mode == "WRITE" && file == inode && may_have_open(id, &lock)).then_some(id)
    });
    Some(match holder {
        None => Holder::Nobody,
        Some(id) => {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            let name = name.trim_end().to_owned();
            Holder::Process { id, name: if name.is_empty() { "of another user".to_owned() } else { name } }
        }
    })
}

/// Whether the process has the file open, or does not let others see what it has.
fn may_have_open(id: u32, path: &Path) -> bool {
    let Ok(mut files) = std::fs::read_dir(format!("/proc/{id}/fd")) else { return true };
    files.any(|file| file.and_then(|file| std::fs::read_link(file.path())).is_ok_and(|file| file == path))
}

/// Bytes that are free to users, and bytes in all, on the file system of `path`; `None` if the system does not tell.
pub(crate) fn disk_space(path: &Path) -> Option<(u64, u64)> {
    let space = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    Some((bytes(space.f_bavail), bytes(space.f_blocks)))
}

/// SIGINT and SIGTERM, for work that has no end of its own.
#[derive(Debug)]
pub(crate) struct Interruption {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    /// From now on these signals do not end the process any more.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn await_any() -> Result<Interruption> {
        let failed = || Error::io("cannot wait for signals");
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed())?;
        let listen = |kind| {
            let _entered = runtime.enter();
            signal(kind).map_err(failed())
        };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Interruption { runtime, interrupt, terminate })
    }

    /// Waits for so long; less, and `true`, if a signal comes or has come.
    pub(crate) fn came_within(&mut self, time: Duration) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => true,
                _ = self.terminate.recv() => true,
                () = tokio::time::sleep(time) => false,
            }
        })
    }
}

/// Does nothing for a while.
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Whether both paths lead to one folder.
pub(crate) fn is_same_folder(a: &Path, b: &Path) -> bool {
    let canonical = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    canonical(a).is_some_and(|a| canonical(b) == Some(a))
}
