//! The command's ways into the engine: how stores are opened and keyspaces found, in one place.

use std::io::Read;
use std::path::Path;

use syncline::{Compression, Db, Durability, ImportReport, Keyspace, TransferProgress};

use crate::error::{Error, Result};

/// Opens the store in `dir`. Single writes through the handle survive a power cut when they return: nobody waits for
/// a second one of the same command.
pub(crate) fn open(dir: &Path) -> Result<Db> {
    Ok(Db::builder(dir).durability(Durability::Sync).open()?)
}

/// Opens the store in `dir` for reading, be it open for writing elsewhere or not.
pub(crate) fn open_read_only(dir: &Path) -> Result<Db> {
    Ok(Db::builder(dir).open_read_only()?)
}

/// Opens the store in `dir`, or makes one in a new or empty folder. For many writes, made durable together at the end.
pub(crate) fn open_or_create(dir: &Path) -> Result<Db> {
    Ok(Db::builder(dir).open_or_create()?)
}

/// Merges an exported stream into the store in `dir`, which is made if there is none.
pub(crate) fn import(
    dir: &Path,
    input: impl Read,
    progress: impl FnMut(TransferProgress) -> bool,
) -> Result<(Db, ImportReport)> {
    Ok(Db::builder(dir).import(input, progress)?)
}

/// Makes a store that keeps so many bytes of its log and compresses its runs so: an empty one in the replica set of `other`, or of a new set.
pub(crate) fn create(
    dir: &Path,
    other: Option<&Db>,
    retain_log: u64,
    compression: Compression,
) -> Result<Db> {
    let builder = Db::builder(dir).retain_log_bytes(retain_log).compression(compression);
    Ok(match other {
        Some(other) => builder.create_replica(&other.replica_set())?,
        None => builder.create()?,
    })
}

/// The keyspace `name`, which has to be there: a typing error must not make one.
pub(crate) fn keyspace(db: &Db, name: &str) -> Result<Keyspace> {
    let names = db.keyspaces()?;
    if !names.iter().any(|other| other == name) {
        let names = names.join(", ");
        return Err(Error::Usage(format!("there is no keyspace {name:?}; the store has {names}")));
    }
    Ok(db.keyspace(name)?)
}
