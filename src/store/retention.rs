//! Which flushed segments stay for the change feed.
//!
//! Easy to get wrong: what is kept has to be a suffix of the log without a gap, so the oldest segments go first, and a
//! segment that alone is larger than the bound takes all before it with it.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::manifest::{Change, Retained, State};
use crate::types::SegmentId;
use crate::vfs::ReadMode;

use super::Store;
use super::commit::Sealed;

impl Store {
    /// The changes of `state` that belong into the edit of the flush of `sealed`: the segments of its commits stay, as many as
    /// the bound allows.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn retention(&self, state: &State, sealed: &Sealed) -> Result<Vec<Change>> {
        let bound = state.retain_log_bytes;
        if bound == 0 && state.retained.is_empty() {
            return Ok(Vec::new());
        }
        let flushed = self.retainable(state, sealed)?;
        let mut all = state.retained.clone();
        all.extend(&flushed);
        let mut bytes: u64 = all.values().map(|retained| retained.file_len).sum();
        let mut first = SegmentId(0);
        for (id, retained) in &all {
            if bytes <= bound {
                break;
            }
            bytes -= retained.file_len;
            first = SegmentId(id.0 + 1);
        }
        let mut changes: Vec<_> =
            flushed.into_iter().map(|(segment, retained)| Change::Retained { segment, retained }).collect();
        changes.push(Change::RetainedFrom(first));
        Ok(changes)
    }

    /// The log's segments up to the one that was sealed with `sealed`.
    fn retainable(&self, state: &State, sealed: &Sealed) -> Result<BTreeMap<SegmentId, Retained>> {
        let is_flushed = |id: &SegmentId| *id < sealed.next_segment;
        let segments = self.segments_from(state.log_start)?.into_iter().filter(is_flushed);
        let retained = |id: SegmentId| {
            // Those before the sealed one were closed by a recovery.
            let end = state.log_ends.get(&id).copied().unwrap_or(sealed.segment.commits_end());
            Ok((id, Retained { end, file_len: self.segment_len(id)? }))
        };
        segments.map(retained).collect()
    }

    /// Numbers of the segments in the folder from `start` on, in order.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn segments_from(&self, start: SegmentId) -> Result<Vec<SegmentId>> {
        let names = self.options.environment.vfs.list(&self.dir);
        let names = names.map_err(|source| Error::io("list", &self.dir, source))?;
        let numbers = names.iter().filter_map(|name| FileKind::Segment.id_in(name));
        let ids = numbers.filter_map(|id| u32::try_from(id).ok()).map(SegmentId);
        let mut ids: Vec<_> = ids.filter(|id| *id >= start).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Length of a sealed segment's file in bytes.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn segment_len(&self, id: SegmentId) -> Result<u64> {
        let path = self.dir.join(FileKind::Segment.name(u64::from(id.0)));
        let file = self.options.environment.vfs.open(&path, ReadMode::Plain);
        Ok(file.map_err(|source| Error::io("open", &path, source))?.len())
    }
}
