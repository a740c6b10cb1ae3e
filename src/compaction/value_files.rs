//! [`ValueFiles`]: files of large values beside a run, as many as it takes. Merges move values into such files, and an ingest
//! writes its own there.
//!
//! Easy to get wrong: the files are durable when [`ValueFiles::finish`] returns, their names are not; and given up before,
//! they have to be removed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
use crate::format::segment_name;
use crate::log::MovedValuesWriter;
use crate::store::Store;
use crate::types::{Location, SegmentId};

/// Files of values that are being written.
#[derive(Debug, Default)]
pub(super) struct ValueFiles {
    writer: Option<MovedValuesWriter>,
    /// Files that are whole, and their lengths.
    finished: BTreeMap<SegmentId, u64>,
}

impl ValueFiles {
    /// Adds a value and tells where it lies; `None` if there is no number left for another file, for which a store has to
    /// write billions of them.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn push(&mut self, store: &Store, value: &[u8]) -> Result<Option<Location>> {
        if self.writer.as_ref().is_some_and(|writer| !writer.has_room_for(value.len())) {
            self.finish_file()?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let Some(id) = SegmentId::of_moved(store.next_file()) else { return Ok(None) };
                let writer = MovedValuesWriter::create(&*store.options.environment.vfs, &store.dir, id)?;
                self.writer.insert(writer)
            }
        };
        writer.push(value).map(Some)
    }

    /// Bytes written.
    pub(super) fn len(&self) -> u64 {
        self.finished.values().sum::<u64>() + self.writer.as_ref().map_or(0, MovedValuesWriter::len)
    }

    fn finish_file(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            self.finished.extend([writer.finish()?]);
        }
        Ok(())
    }

    /// Makes the files durable, not their names. Returns their lengths.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn finish(mut self) -> Result<BTreeMap<SegmentId, u64>> {
        self.finish_file()?;
        Ok(self.finished)
    }

    /// The files that it has begun.
    pub(super) fn paths(&self, store: &Store) -> Vec<PathBuf> {
        let begun = self.writer.as_ref().map(MovedValuesWriter::id);
        self.finished.keys().copied().chain(begun).map(|id| store.dir.join(segment_name(id))).collect()
    }
}
