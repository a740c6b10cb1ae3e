//! [`StoredHead`]: a head as memtables and runs keep it, before anybody asked for its digest.
//!
//! A run does not store the digest of a value that lies beside its head, because it can be computed from the bytes. A
//! scan or a merge that needs no digests should not pay for them, so [`StoredHead::into_head`] computes them on demand.
//!
//! Easy to get wrong: one entry reaches a merge as `Digested` from a memtable and as `Undigested` from a run. Compare
//! heads, not stored heads.

use crate::types::{Head, Kind, Location, SeqNo, Slice, Stamp, ValueDigest, ValueRef};

/// A [`Head`] whose digest may still have to be computed.
#[derive(Debug, Clone)]
pub(crate) struct StoredHead {
    pub(crate) seqno: SeqNo,
    pub(crate) stamp: Stamp,
    pub(crate) kind: Kind,
    /// Milliseconds since the Unix epoch after which reads hide the entry; 0 means never.
    pub(crate) expires_at: u64,
    pub(crate) meta: Slice,
    pub(crate) value: StoredValue,
}

/// Where a stored head's value is, and its digest if that is known.
#[derive(Debug, Clone)]
pub(crate) enum StoredValue {
    /// Beside the head in a run. A tombstone has the empty slice.
    Undigested(Slice),
    /// Anywhere else.
    Digested(ValueRef, ValueDigest),
}

impl StoredHead {
    /// The head with its digest, which `digest` makes of the value if it was not stored.
    pub(crate) fn into_head(self, digest: impl FnOnce(&[u8]) -> ValueDigest) -> Head {
        let (value, digest) = match self.value {
            StoredValue::Digested(value, digest) => (value, digest),
            StoredValue::Undigested(value) => {
                let digest = digest(&value);
                (ValueRef::Inline(value), digest)
            }
        };
        Head {
            seqno: self.seqno,
            stamp: self.stamp,
            kind: self.kind,
            expires_at: self.expires_at,
            meta: self.meta,
            digest,
            value,
        }
    }
}

impl From<Head> for StoredHead {
    fn from(head: Head) -> StoredHead {
        StoredHead {
            seqno: head.seqno,
            stamp: head.stamp,
            kind: head.kind,
            expires_at: head.expires_at,
            meta: head.meta,
            value: StoredValue::Digested(head.value, head.digest),
        }
    }
}

/// A head as a run stores it, borrowed from wherever it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadRef<'a> {
    pub(crate) seqno: SeqNo,
    pub(crate) stamp: Stamp,
    pub(crate) kind: Kind,
    pub(crate) expires_at: u64,
    pub(crate) meta: &'a [u8],
    pub(crate) value: RunValue<'a>,
}

/// What a run keeps of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RunValue<'a> {
    /// The value itself. A tombstone has the empty one.
    Inline(&'a [u8]),
    /// Its place in the log, and its digest.
    Log(Location, ValueDigest),
}

impl<'a> RunValue<'a> {
    /// The bytes that the run carries; none if the value is in the log.
    pub(crate) fn inline(&self) -> &'a [u8] {
        match self {
            RunValue::Inline(value) => value,
            RunValue::Log(..) => &[],
        }
    }
}

impl<'a> From<&'a Head> for HeadRef<'a> {
    fn from(head: &'a Head) -> HeadRef<'a> {
        let value = match &head.value {
            ValueRef::Inline(value) => RunValue::Inline(value),
            ValueRef::Staged { location, .. } | ValueRef::Log(location) => {
                RunValue::Log(*location, head.digest)
            }
        };
        let &Head { seqno, stamp, kind, expires_at, ref meta, .. } = head;
        HeadRef { seqno, stamp, kind, expires_at, meta, value }
    }
}
