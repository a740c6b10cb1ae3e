//! [`MovedValuesWriter`]: writes large values that a merge takes out of segments which are mostly garbage, in key order.
//!
//! ```text
//! file = file header, kind "VALS" | values, one after the other
//! ```
//!
//! Where a value begins and ends, and the digest that it must have, say the heads in the run that the same merge writes.
//! Easy to get wrong: the file is durable when [`MovedValuesWriter::finish`] returns, its name is not.

use std::path::{Path, PathBuf};

use super::frame::SEGMENT_LEN_MAX;
use crate::error::{Error, Result};
use crate::format::{FileKind, segment_name};
use crate::types::{Location, SegmentId};
use crate::vfs::{Vfs, WritableFile};

/// Bytes that are gathered for one write.
const BUFFER_LEN: usize = 1 << 20;

/// A file of moved values while it is being written. Dropped before its end, it leaves a file that nobody names.
#[derive(Debug)]
pub(crate) struct MovedValuesWriter {
    id: SegmentId,
    path: PathBuf,
    file: Box<dyn WritableFile>,
    /// Bytes not yet written, which begin at `written` in the file.
    buffer: Vec<u8>,
    written: u64,
}

impl MovedValuesWriter {
    /// Begins file `id`, which must be one of moved values.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn create(vfs: &dyn Vfs, dir: &Path, id: SegmentId) -> Result<MovedValuesWriter> {
        let path = dir.join(segment_name(id));
        let file = vfs.create(&path, 0).map_err(|source| Error::io("create", &path, source))?;
        Ok(MovedValuesWriter { id, path, file, buffer: FileKind::Values.header().to_vec(), written: 0 })
    }

    /// The file's number.
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Whether a value of so many bytes can be added: places in a file are told in 32 bits.
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        self.len() + len as u64 <= SEGMENT_LEN_MAX
    }

    /// Adds a value that there is room for, and tells where it lies.
    ///
    /// # Errors
    /// `Io`; the writer is of no more use.
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<Location> {
        let location = Location { segment: self.id, offset: self.len() as u32, len: value.len() as u32 };
        self.buffer.extend_from_slice(value);
        if self.buffer.len() >= BUFFER_LEN {
            self.write()?;
        }
        Ok(location)
    }

    fn write(&mut self) -> Result<()> {
        let written = self.file.write_all_at(self.written, &self.buffer);
        written.map_err(|source| Error::io("write", &self.path, source))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and fsyncs the file. Returns its number and length.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn finish(mut self) -> Result<(SegmentId, u64)> {
        self.write()?;
        self.file.sync().map_err(|source| Error::io("fsync", &self.path, source))?;
        Ok((self.id, self.written))
    }
}
