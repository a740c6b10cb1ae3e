//! What the store keeps of one key: its stamp, kind, digest, and where the value is.
//!
//! Easy to get wrong: the merge order is total over every hashed field (stamp, then kind, then entry hash), so that
//! two replicas that used one stamp twice still converge.

use super::{Location, SeqNo, Slice};

/// When and by whom an entry was written: a hybrid logical clock and the writer's node id. Totally ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Hybrid logical clock: milliseconds since the Unix epoch in the upper 48 bits, a counter in the lower 16.
    pub hlc: u64,
    /// The node that wrote it.
    pub node: u64,
}

impl Stamp {
    /// The clock's part that is a time: milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        self.hlc >> 16
    }
}

/// What an entry says of its key. The order is part of the merge order: at equal stamps a tombstone wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The key has a value.
    Put = 1,
    /// The key was deleted.
    Tombstone = 2,
}

/// Keyed 128-bit digest of a value's bytes. Of a tombstone, the digest of the empty value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ValueDigest(pub u128);

/// Keyed 128-bit hash of everything that makes an entry what it is: key, stamp, kind, expiry, meta, value digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct EntryHash(pub(crate) u128);

/// The newest entry of a key as the index holds it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The commit that brought the entry into this store.
    pub(crate) seqno: SeqNo,
    pub(crate) stamp: Stamp,
    pub(crate) kind: Kind,
    /// Milliseconds since the Unix epoch from which on reads hide the entry; 0 means never.
    pub(crate) expires_at: u64,
    /// Opaque bytes that travel and are hashed with the entry; empty today (version vectors later).
    pub(crate) meta: Slice,
    pub(crate) digest: ValueDigest,
    pub(crate) value: ValueRef,
}

/// Where a head's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ValueRef {
    /// Carried beside the head. A tombstone carries the empty slice.
    Inline(Slice),
    /// In a memtable, and in the log as well: a value too large to be carried into a run.
    Staged {
        /// Its bytes.
        value: Slice,
        /// Where the log has them.
        location: Location,
    },
    /// In the log.
    Log(Location),
}

impl ValueRef {
    /// Length of the value in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            ValueRef::Inline(value) => value.len() as u64,
            ValueRef::Staged { location, .. } | ValueRef::Log(location) => u64::from(location.len),
        }
    }
}

impl Head {
    /// Whether reads at wall time `now_ms` show a value for this entry.
    pub(crate) fn is_visible(&self, now_ms: u64) -> bool {
        self.kind == Kind::Put && (self.expires_at == 0 || self.expires_at > now_ms)
    }

    /// As [`Kind::end`].
    pub(crate) fn end(&self) -> Option<u64> {
        self.kind.end(self.stamp, self.expires_at)
    }
}

impl Kind {
    /// The *end* of an entry of this kind in clock units: the stamp for a tombstone, the later of stamp and expiry for an
    /// entry that expires, `None` for one that never ends. What may be dropped, and the epoch it counts in, go by it.
    pub(crate) fn end(self, stamp: Stamp, expires_at: u64) -> Option<u64> {
        match self {
            Kind::Tombstone => Some(stamp.hlc),
            Kind::Put if expires_at != 0 => Some(stamp.hlc.max(expires_at.saturating_mul(1 << 16))),
            Kind::Put => None,
        }
    }
}
