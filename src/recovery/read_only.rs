//! Opening for reading, beside a writer of this or another process that goes on writing, and seeing later what it wrote.
//!
//! The same recovery as that of an opening for writing runs on a file system whose changes go nowhere. It may meet files in
//! the middle of a change, or find one gone that was just named. Then something in the folder has moved, and it is tried
//! again; an error with nothing moved is the store's own.
//!
//! Easy to get wrong: a quick writer moves something during every attempt. Once its staging ring was seen to move there
//! certainly is one, and whatever its segment has before the ring's base is whole and stands still. So the next attempts
//! read that and the ring alone, and do not run after the segment's end.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::create::RING;
use super::open::{Beside, Opened, open_beside};
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::store::{Options, Store};
use crate::vfs::{ReadMode, ReadOnlyVfs, Vfs, staging_word};

/// Attempts after which the writer is held to be too quick. Flushes and merges that spoil one are far apart.
const ATTEMPTS_MAX: usize = 100;

/// Opens the store in `dir` for reading, as of some moment during the call. Takes no lock and writes nothing.
///
/// # Errors
/// `NotFound`, `UnsupportedVersion`, `Corruption`, `Io`.
pub(crate) fn open_read_only(dir: &Path, mut options: Options) -> Result<Opened> {
    options.environment.vfs = Arc::new(ReadOnlyVfs::new(options.environment.vfs.clone()));
    options.read_only = true;
    options.background = false;
    attempt_until_whole(dir, &options)
}

/// Lets `store`, which was opened for reading, show what is in its folder now.
///
/// # Errors
/// As [`open_read_only`]; `InvalidArgument` if another store has taken the folder. The store shows what it showed before.
pub(crate) fn refresh(store: &Store) -> Result<()> {
    let opened = attempt_until_whole(&store.dir, &store.options)?;
    if opened.store.identity().set != store.identity().set {
        return Err(Error::invalid(format!(
            "{} holds another store by now; open it anew",
            store.dir.display()
        )));
    }
    store.show(opened.store);
    Ok(())
}

fn attempt_until_whole(dir: &Path, options: &Options) -> Result<Opened> {
    let vfs = &*options.environment.vfs;
    let mut beside = Beside::Unknown;
    let mut before = Traces::read(vfs, dir)?;
    let mut attempts = 0;
    loop {
        let error = match open_beside(dir, options.clone(), beside) {
            Err(error) if is_suspicious(&error) => error,
            outcome => return outcome,
        };
        let after = Traces::read(vfs, dir)?;
        attempts += 1;
        if (after == before && !is_cut(&error)) || attempts == ATTEMPTS_MAX {
            return Err(error);
        }
        if after.ring != before.ring {
            beside = Beside::Writer;
        }
        before = after;
    }
}

/// Whether a writer at work may be the reason.
fn is_suspicious(error: &Error) -> bool {
    match error {
        Error::Corruption { .. } => true,
        Error::Io { source, .. } => {
            matches!(source.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::WouldBlock)
        }
        _ => false,
    }
}

/// Whether a file has become shorter since it was opened: a flush cuts a segment that stays, and leaves no trace of that at
/// once.
fn is_cut(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::UnexpectedEof)
}

/// What moves when a writer does anything else that could spoil an opening. None of it ever comes back.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    names: Vec<String>,
    manifest_len: Option<u64>,
    ring: u64,
}

impl Traces {
    fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Traces> {
        let names = vfs.list(dir).or_else(|source| match source.kind() {
            ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(Error::io("list", dir, source)),
        })?;
        let newest = names.iter().rev().find(|name| FileKind::Manifest.id_in(name).is_some());
        // Gone meanwhile is a trace too, and what else may be wrong with it the opening tells.
        let manifest_len =
            newest.and_then(|name| Some(vfs.open(&dir.join(name), ReadMode::Plain).ok()?.len()));
        let path = dir.join(RING);
        let ring = staging_word(vfs, &path).map_err(|source| Error::io("read", &path, source))?;
        Ok(Traces { names, manifest_len, ring })
    }
}
