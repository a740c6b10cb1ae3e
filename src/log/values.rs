//! [`ValueSegments`]: the sealed segments that are kept for the large values in them.
//!
//! A segment is opened at the first read from it, so a store with thousands of them opens quickly. Easy to get wrong: a
//! view may still follow a location into a segment that is about to be removed, so it is opened before its name goes;
//! the open file outlives the name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::format::segment_name;
use crate::types::{Location, SegmentId, Slice};
use crate::vfs::{ReadMode, ReadableFile, Vfs};

/// Bytes of a value from which on it is asked for as a whole: brought in page by page it would take as many waits.
const PREFETCHED: u32 = 16 << 10;

/// Sealed segments by number. Plain data: adding or forgetting makes another.
#[derive(Debug, Clone)]
pub(crate) struct ValueSegments {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    mode: ReadMode,
    segments: BTreeMap<SegmentId, Arc<Segment>>,
}

#[derive(Debug)]
struct Segment {
    /// Bytes that may be read; what lies beyond was never proven whole.
    len: u64,
    file: OnceLock<Arc<dyn ReadableFile>>,
}

impl ValueSegments {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        mode: ReadMode,
        lens: &BTreeMap<SegmentId, u64>,
    ) -> ValueSegments {
        let segment =
            |(&id, &len): (&SegmentId, &u64)| (id, Arc::new(Segment { len, file: OnceLock::new() }));
        ValueSegments { vfs, dir, mode, segments: lens.iter().map(segment).collect() }
    }

    /// None of them, of the same store.
    pub(crate) fn none(&self) -> ValueSegments {
        ValueSegments::new(self.vfs.clone(), self.dir.clone(), self.mode, &BTreeMap::new())
    }

    /// These segments and others.
    pub(crate) fn with(&self, lens: &BTreeMap<SegmentId, u64>) -> ValueSegments {
        let mut all = self.clone();
        let added = ValueSegments::new(self.vfs.clone(), self.dir.clone(), self.mode, lens);
        all.segments.extend(added.segments);
        all
    }

    /// These segments but for `gone`, which are opened first, for older views may still read from them.
    ///
    /// # Errors
    /// `Io`; nothing has changed.
    pub(crate) fn without(&self, gone: &[SegmentId]) -> Result<ValueSegments> {
        let mut left = self.clone();
        for id in gone {
            if let Some(segment) = left.segments.remove(id) {
                self.file(*id, &segment)?;
            }
        }
        Ok(left)
    }

    /// Opens all of them now, for somebody else may remove their names at any time.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn open_all(&self) -> Result<()> {
        self.segments.iter().try_for_each(|(&id, segment)| self.file(id, segment).map(drop))
    }

    /// Numbers and lengths in bytes.
    pub(crate) fn lens(&self) -> impl Iterator<Item = (SegmentId, u64)> {
        self.segments.iter().map(|(&id, segment)| (id, segment.len))
    }

    /// The bytes at `location`. Whether they are the right ones, the caller checks by the entry's digest.
    ///
    /// # Errors
    /// `Corruption` if the segment is not there or ends before, `Io`.
    pub(crate) fn read(&self, location: Location) -> Result<Slice> {
        let path = || self.path(location.segment);
        let missing = || {
            Error::corruption(&path(), u64::from(location.offset), "a value lies where no segment has one")
        };
        let segment = self.segments.get(&location.segment).ok_or_else(missing)?;
        if u64::from(location.offset) + u64::from(location.len) > segment.len {
            return Err(missing());
        }
        let file = self.file(location.segment, segment)?;
        if location.len >= PREFETCHED {
            file.prefetch(u64::from(location.offset), u64::from(location.len));
        }
        let read = file.read(u64::from(location.offset), location.len as usize);
        read.map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => missing(),
            _ => Error::io("read", &path(), source),
        })
    }

    /// Where a segment's file is.
    pub(crate) fn path(&self, id: SegmentId) -> PathBuf {
        path(&self.dir, id)
    }

    fn file(&self, id: SegmentId, segment: &Segment) -> Result<Arc<dyn ReadableFile>> {
        if let Some(file) = segment.file.get() {
            return Ok(file.clone());
        }
        let path = path(&self.dir, id);
        match self.vfs.open(&path, self.mode) {
            Ok(file) => Ok(segment.file.get_or_init(|| file).clone()),
            // Whoever has removed the name since the look above has opened the file before.
            Err(source) => segment.file.get().cloned().ok_or_else(|| Error::io("open", &path, source)),
        }
    }
}

fn path(dir: &Path, id: SegmentId) -> PathBuf {
    dir.join(segment_name(id))
}
