//! The manifest's file: a header, the identity that never changes, and framed edits.
//!
//! ```text
//! 0   16  file header, kind "MANI"
//! 16      frames: length u32 | CRC-32 u32 over (offset of the frame u64, length u32, payload) | payload
//!         first frame: set id 16 | hash key 32 | bucket bits u8 | epoch length u64 | node u64
//!         every further frame: one edit
//! ```
//!
//! A new file is written beside the old one under the name `*.tmp`, made durable, and given its number by a rename, so
//! the highest number is always whole up to its first edit. Every edit is fsynced before the next is written: a bad
//! frame with no whole one after it is an edit that was never acknowledged, any other bad frame is damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::edit::{self, Change};
use super::state::{ReplicaSet, State};
use crate::codec::{Malformed, Reader};
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::types::NodeId;
use crate::vfs::{ReadMode, Vfs, WritableFile};

/// A file that grows beyond this many bytes is replaced by one that holds the state alone.
const REWRITE_LEN: u64 = 256 * 1024;

/// The open manifest: the present state and the file that edits go to.
#[derive(Debug)]
pub(crate) struct Manifest {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    state: State,
    number: u64,
    path: PathBuf,
    file: Box<dyn WritableFile>,
    len: u64,
    /// A write or fsync failed, so what the file holds beyond `len` is unknown, and nothing more may follow it.
    has_failed: bool,
}

/// What reading a folder's manifest gave.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    /// Number of the file it was read from.
    pub(crate) number: u64,
    /// Bytes of an unfinished edit at the end, which were left out.
    pub(crate) torn_bytes: u64,
}

/// Reads the newest manifest in `dir`; `None` if there is none.
///
/// # Errors
/// `UnsupportedVersion`, `Corruption`, `Io`. Nothing is written.
pub(crate) fn load(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Loaded>> {
    let names = vfs.list(dir).map_err(|source| Error::io("list", dir, source))?;
    let Some(number) = names.iter().filter_map(|name| FileKind::Manifest.id_in(name)).max() else {
        return Ok(None);
    };
    let path = dir.join(FileKind::Manifest.name(number));
    let file = vfs.open(&path, ReadMode::Plain).map_err(|source| Error::io("open", &path, source))?;
    let len = usize::try_from(file.len()).unwrap_or(usize::MAX);
    let bytes = file.read(0, len).map_err(|source| Error::io("read", &path, source))?;
    let (state, end) = decode(&path, &bytes)?;
    Ok(Some(Loaded { state, number, torn_bytes: (bytes.len() - end) as u64 }))
}

impl Manifest {
    /// Begins a new file, numbered above `previous`, that holds `state`, and removes older ones.
    pub(crate) fn begin(vfs: Arc<dyn Vfs>, dir: &Path, state: State, previous: u64) -> Result<Manifest> {
        let number = previous + 1;
        let path = dir.join(FileKind::Manifest.name(number));
        let (file, len) = write_new(&*vfs, dir, &path, &state)?;
        let manifest =
            Manifest { vfs, dir: dir.to_owned(), state, number, path, file, len, has_failed: false };
        manifest.remove_older()?;
        Ok(manifest)
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Makes `changes` durable as one edit. After an error the state in memory is as before, and what the file holds
    /// is unknown: the caller must poison the store.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<()> {
        let mut state = self.state.clone();
        changes.iter().for_each(|change| state.apply(change));
        if std::mem::replace(&mut self.has_failed, true) {
            return Err(Error::Poisoned { reason: "an earlier write to the manifest failed".into() });
        }
        if self.len > REWRITE_LEN {
            *self = Manifest::begin(self.vfs.clone(), &self.dir, state, self.number)?;
            return Ok(());
        }
        let mut frame = Vec::new();
        put_frame(&mut frame, self.len, &edit::encode(changes));
        self.file.write_all_at(self.len, &frame).map_err(|source| Error::io("write", &self.path, source))?;
        self.file.sync().map_err(|source| Error::io("fsync", &self.path, source))?;
        self.has_failed = false;
        self.len += frame.len() as u64;
        self.state = state;
        Ok(())
    }

    fn remove_older(&self) -> Result<()> {
        let names = self.vfs.list(&self.dir).map_err(|source| Error::io("list", &self.dir, source))?;
        let older =
            names.iter().filter(|name| FileKind::Manifest.id_in(name).is_some_and(|id| id < self.number));
        for name in older {
            let path = self.dir.join(name);
            self.vfs.remove(&path).map_err(|source| Error::io("remove", &path, source))?;
        }
        // Should a power cut bring one back, the greatest number still tells which one counts.
        Ok(())
    }
}

fn write_new(vfs: &dyn Vfs, dir: &Path, path: &Path, state: &State) -> Result<(Box<dyn WritableFile>, u64)> {
    let mut bytes = FileKind::Manifest.header().to_vec();
    let at = bytes.len() as u64;
    put_frame(&mut bytes, at, &encode_identity(state));
    let at = bytes.len() as u64;
    put_frame(&mut bytes, at, &edit::encode(&state.changes()));

    let temporary = path.with_extension("tmp");
    // An earlier attempt that was cut off may have left the name behind; nothing refers to it.
    let _ = vfs.remove(&temporary);
    let file = vfs.create(&temporary, 0).map_err(|source| Error::io("create", &temporary, source))?;
    file.write_all_at(0, &bytes).map_err(|source| Error::io("write", &temporary, source))?;
    file.sync().map_err(|source| Error::io("fsync", &temporary, source))?;
    vfs.rename(&temporary, path).map_err(|source| Error::io("rename", path, source))?;
    vfs.sync_dir(dir).map_err(|source| Error::io("fsync", dir, source))?;
    Ok((file, bytes.len() as u64))
}

fn encode_identity(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&state.set.id);
    out.extend_from_slice(&state.set.hash_key);
    out.push(state.set.bucket_bits);
    out.extend_from_slice(&state.set.epoch_len.to_le_bytes());
    out.extend_from_slice(&state.node.0.to_le_bytes());
    out
}

fn decode_identity(bytes: &[u8]) -> Result<State, Malformed> {
    let mut reader = Reader::new(bytes);
    let id = reader.bytes(16)?.try_into().map_err(|_| reader.malformed())?;
    let hash_key = reader.bytes(32)?.try_into().map_err(|_| reader.malformed())?;
    let (bucket_bits, epoch_len) = (reader.u8()?, reader.u64()?);
    let node = NodeId(reader.u64()?);
    let set = ReplicaSet { id, hash_key, bucket_bits, epoch_len };
    if !set.is_possible() || !reader.is_at_end() {
        return Err(reader.malformed());
    }
    Ok(State::new(set, node))
}

fn put_frame(out: &mut Vec<u8>, offset: u64, payload: &[u8]) {
    let len = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&len);
    out.extend_from_slice(&frame_checksum(offset, len, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The offset is part of the checksum, so that a block that landed in another place is not taken for this one.
fn frame_checksum(offset: u64, len: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&len);
    hasher.update(payload);
    hasher.finalize()
}

/// The state that `bytes`, the whole of `file`, tells, and where its last whole edit ends.
fn decode(file: &Path, bytes: &[u8]) -> Result<(State, usize)> {
    FileKind::Manifest.check(file, bytes)?;
    let (identity, mut at) = match next_frame(file, bytes, HEADER_LEN)? {
        Some(frame) => frame,
        None => return Err(Error::corruption(file, HEADER_LEN as u64, "the store's identity is damaged")),
    };
    let malformed =
        |at: usize| Error::corruption(file, at as u64, "an edit with a valid checksum makes no sense");
    let mut state = decode_identity(identity).map_err(|_| malformed(HEADER_LEN))?;
    let mut edits = 0;
    while let Some((payload, end)) = next_frame(file, bytes, at)? {
        for change in edit::decode(payload).map_err(|_| malformed(at))? {
            state.apply(&change);
        }
        (at, edits) = (end, edits + 1);
    }
    if edits == 0 {
        return Err(Error::corruption(file, at as u64, "the first edit is damaged"));
    }
    Ok((state, at))
}

/// The frame at `at` and where it ends; `None` where the edits end, be it at an unfinished one.
///
/// # Errors
/// `Corruption` if a bad frame is followed by a whole one: edits are made durable one by one, so only the last can be
/// unfinished, and a power cut may have left any of its sectors.
fn next_frame<'a>(file: &Path, bytes: &'a [u8], at: usize) -> Result<Option<(&'a [u8], usize)>> {
    let frame = frame_at(bytes, at);
    if frame.is_none() && (at + 1..bytes.len()).any(|later| frame_at(bytes, later).is_some()) {
        return Err(Error::corruption(file, at as u64, "an edit's checksum does not match"));
    }
    Ok(frame)
}

/// The whole frame that begins at `at`, if one does, and where it ends.
fn frame_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let mut reader = Reader::new(bytes.get(at..)?);
    let (len, checksum) = (reader.u32().ok()?, reader.u32().ok()?);
    let payload = reader.bytes(len as usize).ok()?;
    let is_right = len > 0 && frame_checksum(at as u64, len.to_le_bytes(), payload) == checksum;
    is_right.then(|| (payload, at + reader.position()))
}
