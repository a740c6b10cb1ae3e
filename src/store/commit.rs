//! The commit path: stamp, read old heads, append the record, then memtable, differences, visible sequence number.
//!
//! [`Writer`] is everything that a commit changes, behind the commit lock. A local write always wins over what it
//! replaces; a foreign entry was merged before it comes here. Replay runs the same [`Writer::prepare`] and
//! [`Writer::enter`] as a live commit.
//!
//! Easy to get wrong: nothing may change before the record is appended, so whatever can fail (reading the old heads) is
//! done first, and [`Writer::enter`] cannot fail (invariants 1 and 2).

use std::sync::Arc;

use crate::clock::HybridClock;
use crate::error::{Error, Result};
use crate::hash::{KeyHash, SetHasher};
use crate::index::Memtable;
use crate::log::LogWriter;
use crate::types::{Head, Kind, Location, SeqNo, Slice, Stamp, ValueRef};

use super::layers::MerkleLayers;
use super::measure::{EntrySum, Measure};
use super::view::View;

/// The greatest commit, in bytes of keys, values and meta.
pub(crate) const COMMIT_LEN_MAX: u64 = 64 << 20;

/// A change of one inner key as it is written to the log: local if `stamp` is the commit's own.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) key: Vec<u8>,
    pub(crate) kind: Kind,
    /// `None` takes the commit's stamp.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) expires_at: u64,
    pub(crate) meta: Slice,
    pub(crate) value: Slice,
}

impl Write {
    /// Sets `key` to `value`.
    pub(crate) fn put(key: Vec<u8>, value: Slice) -> Write {
        Write { key, kind: Kind::Put, stamp: None, expires_at: 0, meta: Slice::empty(), value }
    }

    /// Deletes `key`.
    pub(crate) fn delete(key: Vec<u8>) -> Write {
        Write { kind: Kind::Tombstone, ..Write::put(key, Slice::empty()) }
    }

    fn len(&self) -> u64 {
        (self.key.len() + self.meta.len() + self.value.len()) as u64
    }
}

/// What had to be read of a key before a commit may change it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) hash: KeyHash,
    /// What the replaced entry counted for.
    pub(crate) replaced: Option<EntrySum>,
}

/// Everything that a commit changes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) log: LogWriter,
    pub(crate) clock: HybridClock,
    /// The newest commit.
    pub(crate) last: SeqNo,
    pub(crate) merkle: MerkleLayers,
    /// Highest clock value of any entry, for the next manifest edit.
    pub(crate) clock_floor: u64,
}

impl Writer {
    /// Reads what entering a change of `key` needs to know. Changes nothing.
    pub(crate) fn prepare(view: &View, at: SeqNo, key: &[u8], measure: &Measure) -> Result<(Prepared, Option<Head>)> {
        let hash = measure.hasher.key(key);
        let old = view.head(key, hash, at, &measure.hasher)?;
        let replaced = old.as_ref().map(|head| measure.entry(key, hash, head));
        Ok((Prepared { hash, replaced }, old))
    }

    /// Enters one change of commit `seqno` into memtable and differences. `location` is where the log has its value.
    pub(crate) fn enter(
        &mut self,
        memtable: &Memtable,
        seqno: SeqNo,
        stamp: Stamp,
        write: &Write,
        location: Location,
        prepared: Prepared,
        measure: &Measure,
    ) {
        let value = if write.value.len() > measure.inline_value_max {
            ValueRef::Staged { value: write.value.clone(), location }
        } else {
            ValueRef::Inline(write.value.clone())
        };
        let head = Head {
            seqno,
            stamp: write.stamp.unwrap_or(stamp),
            kind: write.kind,
            expires_at: write.expires_at,
            meta: write.meta.clone(),
            digest: measure.hasher.value(&write.value),
            value,
        };
        self.clock.observe(head.stamp.hlc);
        self.clock_floor = self.clock_floor.max(head.stamp.hlc);
        let added = measure.entry(&write.key, prepared.hash, &head);
        self.merkle.enter(&write.key, prepared.hash, added, prepared.replaced);
        memtable.insert(&write.key, head);
    }
}

/// Refuses commits that are larger than one may be, and keeps only the last change of each key.
///
/// # Errors
/// `CommitTooLarge`.
pub(crate) fn check_and_dedupe(mut writes: Vec<Write>) -> Result<Vec<Write>> {
    let len: u64 = writes.iter().map(Write::len).sum();
    // A single value may be larger: it gets a segment of its own.
    let max = if writes.len() == 1 { u64::from(u32::MAX) / 2 } else { COMMIT_LEN_MAX };
    if len > max {
        return Err(Error::CommitTooLarge { len, max });
    }
    if writes.len() > 1 {
        // Stable, so of equal keys the last one given stands last.
        writes.sort_by(|a, b| a.key.cmp(&b.key));
        writes.reverse();
        writes.dedup_by(|next, kept| next.key == kept.key);
    }
    Ok(writes)
}

/// The functions that commits and scans share, so that a head counts the same wherever it is met.
pub(crate) type Hasher = Arc<SetHasher>;
