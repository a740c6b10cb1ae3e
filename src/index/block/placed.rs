//! [`PlacedHead`]: a head whose parts are still where they lie in a block.
//!
//! Easy to get wrong: the places mean something only in the block that they were read from.

use std::ops::Range;

use crate::types::{Kind, Location, SeqNo, Slice, Stamp, ValueDigest, ValueRef};

use super::super::entry::{HeadRef, RunValue, StoredHead, StoredValue};

/// What an entry says beside its key, and where in its block the rest lies. Made to be written over: a walk does that for
/// every entry, and moving something so large would take it as long as everything else.
#[derive(Debug, Clone)]
pub(in crate::index) struct PlacedHead {
    pub(super) seqno: SeqNo,
    pub(super) stamp: Stamp,
    pub(super) kind: Kind,
    pub(super) expires_at: u64,
    pub(super) meta: Range<usize>,
    /// Empty if the value is in the log.
    pub(super) value: Range<usize>,
    pub(super) in_log: Option<(Location, ValueDigest)>,
}

impl Default for PlacedHead {
    fn default() -> PlacedHead {
        PlacedHead {
            seqno: SeqNo::ZERO,
            stamp: Stamp::default(),
            kind: Kind::Put,
            expires_at: 0,
            meta: 0..0,
            value: 0..0,
            in_log: None,
        }
    }
}

impl PlacedHead {
    /// Where in the block the value is, or in the log.
    #[inline]
    pub(in crate::index) fn value(&self) -> Result<Range<usize>, (Location, ValueDigest)> {
        self.in_log.map_or_else(|| Ok(self.value.clone()), Err)
    }

    /// Milliseconds since the Unix epoch after which reads hide the entry; 0 means never.
    #[inline]
    pub(in crate::index) fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// As [`Head::is_visible`](crate::types::Head::is_visible).
    #[inline]
    pub(in crate::index) fn is_visible(&self, now_ms: u64) -> bool {
        self.kind == Kind::Put && (self.expires_at == 0 || self.expires_at > now_ms)
    }

    /// The head, borrowed from the block's bytes.
    pub(in crate::index) fn borrowed<'a>(&self, block: &'a [u8]) -> HeadRef<'a> {
        let part = |range: &Range<usize>| block.get(range.clone()).unwrap_or_default();
        let &PlacedHead { seqno, stamp, kind, expires_at, .. } = self;
        let value = match self.in_log {
            Some((location, digest)) => RunValue::Log(location, digest),
            None => RunValue::Inline(part(&self.value)),
        };
        HeadRef { seqno, stamp, kind, expires_at, meta: part(&self.meta), value }
    }

    /// The head with slices of the block's bytes, which `slice` makes; `None` if it cannot.
    pub(in crate::index) fn stored(
        &self,
        slice: impl Fn(Range<usize>) -> Option<Slice>,
    ) -> Option<StoredHead> {
        let slice =
            |range: &Range<usize>| if range.is_empty() { Some(Slice::empty()) } else { slice(range.clone()) };
        Some(StoredHead {
            seqno: self.seqno,
            stamp: self.stamp,
            kind: self.kind,
            expires_at: self.expires_at,
            meta: slice(&self.meta)?,
            value: match self.in_log {
                Some((location, digest)) => StoredValue::Digested(ValueRef::Log(location), digest),
                None => StoredValue::Undigested(slice(&self.value)?),
            },
        })
    }
}
