//! Creating a store: a folder becomes one with the rename that gives its first manifest a name.
//!
//! Easy to get wrong: the folder is looked at before anything is put into it, its lock file included.

use std::path::Path;

use crate::error::{Error, Result};
use crate::manifest::{Manifest, ReplicaSet, State};
use crate::store::Options;
use crate::types::NodeId;
use crate::vfs::{LockGuard, Vfs};

/// Name of the file whose lock is held while a store is open for writing.
pub(super) const LOCK: &str = "LOCK";

/// Name of the staging ring's file.
pub(super) const RING: &str = "RING";

/// Creates an empty store of `set` in `dir`, which may be missing or empty.
///
/// # Errors
/// `InvalidArgument` if no set can have these parameters; `Occupied` if the folder holds anything but the remains of an
/// interrupted creation, `Locked`, `Io`.
pub(crate) fn create(dir: &Path, options: &Options, set: &ReplicaSet) -> Result<()> {
    if !set.is_possible() {
        return Err(Error::invalid("a set's buckets have at most 32 bits, and its epochs a length"));
    }
    let vfs = &options.environment.vfs;
    let _lock = claim(&**vfs, dir)?;
    let state = State::new(set.clone(), new_node_id(dir, options)?);
    Manifest::begin(vfs.clone(), dir, state, 0)?;
    Ok(())
}

/// Makes the folder, which may be there if it is empty, and takes its lock.
///
/// # Errors
/// `Occupied` if it holds anything but the remains of an interrupted creation, `Locked`, `Io`.
pub(super) fn claim(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn LockGuard>> {
    vfs.create_dir_all(dir).map_err(|source| Error::io("create", dir, source))?;
    let names = vfs.list(dir).map_err(|source| Error::io("list", dir, source))?;
    let is_remains = |name: &String| name == LOCK || name == RING || name.ends_with(".tmp");
    if let Some(found) = names.into_iter().find(|name| !is_remains(name)) {
        return Err(Error::Occupied { path: dir.to_owned(), found });
    }
    let path = dir.join(LOCK);
    let lock = vfs.lock(&path).map_err(|source| Error::io("lock", &path, source))?;
    lock.ok_or_else(|| Error::Locked { path: dir.to_owned() })
}

/// A node id that no other directory has.
pub(super) fn new_node_id(dir: &Path, options: &Options) -> Result<NodeId> {
    let mut bytes = [0; 8];
    let entropy = &options.environment.entropy;
    entropy.fill(&mut bytes).map_err(|source| Error::io("draw randomness for", dir, source))?;
    // Zero is the node of no store.
    Ok(NodeId(u64::from_le_bytes(bytes).max(1)))
}
