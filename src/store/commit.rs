//! The commit path: stamp, append the record, then memtable, Merkle totals, visible sequence number.
//!
//! [`Writer`] is everything that a commit changes, behind the commit lock; [`Front`] is the part of it in memory. A local
//! write always wins over what it replaces, so it looks at nothing: what it replaced is looked up when somebody needs to
//! know (`below`). A foreign entry was merged before it comes here. Replay runs the same [`Front::enter`] as a live commit.
//!
//! Easy to get wrong: nothing may change before the record is appended, so whatever can fail (reading the heads that a
//! merge needs) is done first, and [`Front::enter`] cannot fail (invariants 1 and 2).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::HybridClock;
use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::index::{Below, Memtable};
use crate::log::{Commit, FreshSegment, LogEntry, LogWriter, SegmentFile};
use crate::resolver::Rank;
use crate::types::{EntryHash, Head, Kind, Location, SegmentId, SeqNo, Slice, Stamp, ValueRef, Written};

use super::layers::MerkleLayers;
use super::measure::Measure;
use super::view::View;
use super::watch::Watchers;

/// The greatest commit, in bytes of keys, values and meta.
pub(crate) const COMMIT_LEN_MAX: u64 = 64 << 20;

/// The greatest single value with its key, in bytes.
pub(crate) const VALUE_LEN_MAX: u64 = 1 << 30;

/// A change of one inner key as it is written to the log: local if `stamp` is the commit's own.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) key: Slice,
    pub(crate) kind: Kind,
    /// `None` takes the commit's stamp.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) expires_at: u64,
    pub(crate) meta: Slice,
    pub(crate) value: Slice,
    /// What [`Front::prepare`] found.
    pub(crate) prepared: Prepared,
}

impl Write {
    /// Sets the key that is `prefix` and `key` to `value`.
    pub(crate) fn put(prefix: &[u8], key: &[u8], value: &[u8]) -> Write {
        let (key, value) = Slice::joined(prefix, key, value);
        let (kind, meta, prepared) = (Kind::Put, Slice::empty(), Prepared::default());
        Write { key, kind, stamp: None, expires_at: 0, meta, value, prepared }
    }

    /// Deletes the key that is `prefix` and `key`.
    pub(crate) fn delete(prefix: &[u8], key: &[u8]) -> Write {
        Write { kind: Kind::Tombstone, ..Write::put(prefix, key, &[]) }
    }

    /// Bytes of key, meta and value.
    pub(crate) fn len(&self) -> u64 {
        (self.key.len() + self.meta.len() + self.value.len()) as u64
    }
}

/// The changes of one commit: most often a single one, which needs no allocation.
pub(crate) type Writes = SmallVec<[Write; 1]>;

/// What is known of a key before a commit changes it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prepared {
    pub(crate) hash: KeyHash,
    /// What the layers below the active memtable count for the key; of no consequence if that has the key.
    pub(crate) below: Below,
}

impl Prepared {
    /// What is known if no head was read.
    pub(crate) fn unread(key: &[u8], measure: &Measure) -> Prepared {
        // Without an index nobody will ever ask.
        let below = if measure.index { Below::Unknown } else { Below::Known(None) };
        Prepared { hash: measure.hasher.key(key), below }
    }

    /// What is known if `head` was found to be the newest of the key.
    pub(crate) fn over(key: &[u8], hash: KeyHash, head: Option<&Head>, measure: &Measure) -> Prepared {
        let replaced = head.filter(|_| measure.index).map(|head| measure.entry(key, hash, head));
        Prepared { hash, below: Below::Known(replaced) }
    }
}

/// A full memtable and what its flush has to know.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) memtable: Arc<Memtable>,
    /// Its newest commit.
    pub(crate) last: SeqNo,
    pub(crate) clock_floor: u64,
    /// The segment that was sealed with it, which holds its newest commit.
    pub(crate) segment: SegmentFile,
    /// The first segment that holds no commit of it.
    pub(crate) next_segment: SegmentId,
    /// Bytes committed and logged through it.
    pub(crate) written: Written,
}

/// What a commit changes in memory. Replay builds one without a log; an open store keeps it in its [`Writer`].
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) clock: HybridClock,
    /// The newest commit.
    pub(crate) last: SeqNo,
    pub(crate) merkle: MerkleLayers,
    /// Highest clock value of any entry, for the next manifest edit.
    pub(crate) clock_floor: u64,
    /// The horizon, in clock units.
    pub(crate) horizon: u64,
    /// Nothing from outside comes in with this stamp or a lower one; every own stamp lies above.
    pub(crate) closed: u64,
}

impl Front {
    /// Prepares `write` with a look at what it would replace; returns it and how it ranks among other entries of the key.
    ///
    /// # Errors
    /// As reading the old head. Nothing else has changed.
    pub(crate) fn prepare(
        &self,
        view: &View,
        write: &mut Write,
        measure: &Measure,
    ) -> Result<Option<(Rank, Head)>> {
        let key = &write.key;
        let hash = measure.hasher.key(key);
        let held = view.left(key, hash, self.last)?.map(|head| {
            let sum = measure.entry(key, hash, &head);
            let rank = Rank { stamp: head.stamp, kind: head.kind, hash: EntryHash(sum.sum.fingerprint.0) };
            (sum, (rank, head))
        });
        let (below, held) = held.unzip();
        write.prepared = Prepared { hash, below: Below::Known(below) };
        Ok(held)
    }

    /// Enters the prepared changes of commit `seqno` into memtable and totals. Each comes with where the log has its value.
    pub(crate) fn enter(
        &mut self,
        memtable: &Memtable,
        seqno: SeqNo,
        stamp: Stamp,
        writes: impl Iterator<Item = (Write, Location)>,
        measure: &Measure,
    ) {
        for (write, location) in writes {
            let Write { key, kind, expires_at, meta, value, prepared: Prepared { hash, below }, .. } = write;
            let stamp = write.stamp.unwrap_or(stamp);
            self.clock.observe(stamp.hlc);
            self.clock_floor = self.clock_floor.max(stamp.hlc);
            let digest = measure.hasher.value(&value);
            let value = match value.len() <= measure.inline_value_max {
                true => ValueRef::Inline(value),
                false => ValueRef::Staged { value, location },
            };
            let head = Head { seqno, stamp, kind, expires_at, meta, digest, value };
            let added = measure.index.then(|| measure.entry(&key, hash, &head));
            let before = memtable.insert(key, hash, head, below);
            if let Some(added) = added {
                self.merkle.enter(added, before.map(|(key, head)| measure.entry(key, hash, head)));
            }
        }
        self.last = seqno;
    }
}

/// Everything that a commit changes, behind the commit lock.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) log: LogWriter,
    /// The segment that follows the active one, if it is made.
    pub(crate) next_segment: Option<FreshSegment>,
    pub(crate) front: Front,
    /// Memtables that wait for their flush, oldest first, as their totals in the front's Merkle layers.
    pub(crate) sealed: Vec<Sealed>,
    /// Bytes committed and logged; the manifest counts the others.
    pub(crate) written: Written,
    pub(crate) watchers: Watchers,
}

impl Writer {
    /// Notes that `memtable` is full, that `segment` ends with its last commit, and that `next_segment` begins with those
    /// after it.
    pub(crate) fn seal(&mut self, memtable: Arc<Memtable>, segment: SegmentFile, next_segment: SegmentId) {
        let (Front { last, clock_floor, .. }, written) = (&self.front, self.written);
        let (last, clock_floor) = (*last, *clock_floor);
        self.front.merkle.seal();
        self.sealed.push(Sealed { memtable, last, clock_floor, segment, next_segment, written });
    }
}

/// The log's record of a commit.
pub(crate) fn record<'a>(
    seqno: SeqNo,
    durable: SeqNo,
    stamp: Stamp,
    writes: impl Iterator<Item = &'a Write>,
) -> Commit<'a> {
    let entry = |write: &'a Write| LogEntry {
        key: &write.key,
        kind: write.kind,
        stamp: write.stamp,
        expires_at: write.expires_at,
        meta: &write.meta,
        value: &write.value,
        value_at: 0,
    };
    Commit { seqno, durable, stamp, entries: writes.map(entry).collect() }
}

/// Refuses commits that are larger than one may be.
///
/// # Errors
/// `CommitTooLarge`.
pub(crate) fn check_len(writes: &[Write]) -> Result<()> {
    let len: u64 = writes.iter().map(Write::len).sum();
    // A single value may be larger: it gets a segment of its own.
    let max = if writes.len() == 1 { VALUE_LEN_MAX } else { COMMIT_LEN_MAX };
    if len > max { Err(Error::CommitTooLarge { len, max }) } else { Ok(()) }
}

/// Keeps only the last change of each key. The writes are prepared: they know their keys' hashes, which are far quicker to
/// sort than they are themselves.
pub(crate) fn keep_last(writes: &mut Writes) {
    if writes.len() < 2 {
        return;
    }
    let mut hashes: Vec<(u64, usize)> =
        writes.iter().enumerate().map(|(index, write)| (write.prepared.hash.0 as u64, index)).collect();
    hashes.sort_unstable();
    let is_replaced = |&(index, later): &(usize, &[(u64, usize)])| {
        // Other keys may have the same half of a hash.
        later.iter().any(|(_, later)| writes[*later].key == writes[index].key)
    };
    let same_hash = hashes.chunk_by(|(a, _), (b, _)| a == b);
    let with_later = same_hash.flat_map(|same| (1..same.len()).map(|at| (same[at - 1].1, &same[at..])));
    let mut replaced: Vec<usize> = with_later.filter(is_replaced).map(|(index, _)| index).collect();
    if replaced.is_empty() {
        return;
    }
    replaced.sort_unstable();
    let mut index = 0;
    writes.retain(|_| {
        index += 1;
        replaced.binary_search(&(index - 1)).is_err()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_changes_of_a_key_the_last_one_stays_even_among_equal_hashes() {
        for seed in 0..500u64 {
            let write = |index: u64| {
                let random = (seed * 1_000 + index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let mut write = Write::put(b"", &[random as u8 % 7], &index.to_le_bytes());
                write.prepared.hash = KeyHash(u128::from(write.key[0] % 3));
                write
            };
            let all: Vec<Write> = (0..seed % 40).map(write).collect();
            let is_last = |(index, write): &(usize, &Write)| {
                all[index + 1..].iter().all(|later| later.key != write.key)
            };
            let last = all.iter().enumerate().filter(is_last).map(|(_, write)| write.value.clone());
            let mut kept: Writes = all.iter().cloned().collect();
            keep_last(&mut kept);
            assert!(kept.iter().map(|write| write.value.clone()).eq(last), "seed {seed}");
        }
    }
}
