//! Gathering what a peer streams: batches in key order that fall where the store holds nothing become a run of their own, past
//! log, memtable and look-ups. Whatever else comes is merged batch by batch, after what was gathered.
//!
//! Easy to get wrong: whoever sent an entry has been told what became of it. So only entries whose fate is plain are gathered:
//! of plain keyspaces, in a void, stamped above the horizon and within the drift. A local write may come into the void
//! meanwhile; then the run is merged entry by entry like a batch. If one has to be refused after all, for the horizon has
//! risen, the session fails.

use sync_proto::{Applied, Entry, EntryWriter, KeyRange, Kind, Origin, ReplicaError};

use super::convert::{check_key, to_range, to_write};
use super::{DbReplica, replica_error};
use crate::clock::HybridClock;
use crate::compaction::Receiving;
use crate::error::{Error, Result};
use crate::hash::PREFIX_LEN;
use crate::index::{HeadRef, RunValue};
use crate::store::{Prefix, Write, is_merged, replicated};
use crate::types::{Key, NodeId, SeqNo};

/// A batch of fewer bytes than this part of a memtable begins nothing: 40 KiB by default.
const BEGIN_PART: u64 = 512;

/// This part of a memtable is held in memory before a run is begun, for less is not worth one: 5 MiB by default.
const HELD_PART: u64 = 4;

/// A run of so many memtables is taken in, so that a crash takes no more from a session: 320 MiB by default.
const RUN_MEMTABLES: u64 = 16;

/// Entries after which a run is taken in. A run that is being written needs memory for its filter, some 10 bits for each.
const RUN_ENTRIES: u64 = 1 << 20;

/// Bytes that are merged at once where a run cannot be taken in.
const MERGED_BYTES: u64 = 256 << 10;

/// What one session brings.
#[derive(Debug)]
pub(super) struct Gathering {
    replica: DbReplica,
    /// Whence it comes; `None` before anything was gathered.
    origin: Option<Origin>,
    /// Batches that no run has yet.
    held: Vec<Vec<Entry>>,
    held_bytes: u64,
    run: Option<Receiving>,
    /// The last key that was gathered.
    last: Vec<u8>,
    /// Where what the store holds begins again; empty if nothing is gathered.
    void_end: Vec<u8>,
}

impl Gathering {
    /// `None` for a store that takes everything one by one: somebody follows its commits, or it has no Merkle index.
    pub(super) fn begin(replica: &DbReplica) -> Option<Gathering> {
        let store = replica.db.store();
        if replica.db.is_read_only() || !store.measure.index || store.is_followed() {
            return None;
        }
        let (replica, origin) = (replica.clone(), None);
        let (held, held_bytes, run) = (Vec::new(), 0, None);
        Some(Gathering { replica, origin, held, held_bytes, run, last: Vec::new(), void_end: Vec::new() })
    }

    fn apply_now(&mut self, entries: Vec<Entry>, origin: Origin) -> Result<Applied> {
        let goes_on = !self.void_end.is_empty() && self.origin == Some(origin) && self.fits(&entries);
        if !goes_on {
            self.settle_now()?;
            self.look_for_void(&entries, origin)?;
            if self.void_end.is_empty() || !self.fits(&entries) {
                self.void_end.clear();
                return self.replica.apply_now(entries, origin);
            }
        }
        // Fails if one of the two was expelled since.
        self.replica.db.store().session_source(NodeId(origin.node))?;
        let applied = entries.len() as u64;
        if let Some(last) = entries.last() {
            self.last.clone_from(&last.key);
        }
        let bytes = entries.iter().map(len).sum::<u64>();
        self.replica.db.make_room(bytes)?;
        self.held_bytes += bytes;
        self.held.push(entries);
        if self.run.is_some() || self.held_bytes >= self.memtable_bytes() / HELD_PART {
            self.write_held()?;
        }
        let written = self.run.as_ref().map(Receiving::len);
        let bytes_max = RUN_MEMTABLES * self.memtable_bytes();
        if written.is_some_and(|(entries, bytes)| entries >= RUN_ENTRIES || bytes >= bytes_max) {
            self.settle_now()?;
        }
        Ok(Applied { applied, ..Applied::default() })
    }

    fn memtable_bytes(&self) -> u64 {
        self.replica.db.store().options.memtable_bytes as u64
    }

    /// Whether all of `entries` go on in order within the void, and would be applied beyond doubt.
    fn fits(&self, entries: &[Entry]) -> bool {
        let store = self.replica.db.store();
        let (horizon, now_ms) = (store.horizon(), store.now_ms());
        let key_lens = PREFIX_LEN..=PREFIX_LEN + Key::LEN_MAX;
        let is_plain = |entry: &Entry| {
            let (key, hlc) = (&entry.key, entry.stamp.hlc);
            key_lens.contains(&key.len())
                && !is_merged(key)
                && entry.value.len() <= store.measure.inline_value_max
                && hlc > horizon
                && HybridClock::excess_drift_ms(hlc, now_ms).is_none()
        };
        let first = entries.first().is_some_and(|first| self.last < first.key);
        let last = entries.last().is_some_and(|last| last.key < self.void_end);
        let rises = entries.is_sorted_by(|one, next| one.key < next.key);
        first && last && rises && entries.iter().all(is_plain)
    }

    /// Looks for how far the store holds nothing from the first of `entries` on.
    fn look_for_void(&mut self, entries: &[Entry], origin: Origin) -> Result<()> {
        let Some(first) = entries.first() else { return Ok(()) };
        let store = self.replica.db.store();
        // The catalogue comes before all keyspaces, and what comes later is in order.
        let is_plain = check_key(&first.key).is_ok() && !Prefix::CATALOGUE.whole().contains(&first.key);
        let is_small = entries.iter().map(len).sum::<u64>() < self.memtable_bytes() / BEGIN_PART;
        if !is_plain || is_small || store.is_followed() {
            return Ok(());
        }
        let (view, _) = store.read_point();
        if !view.unknown.is_empty() {
            return Ok(());
        }
        let all = replicated();
        let rest = to_range(&KeyRange { start: first.key.clone(), end: all.end.clone() });
        // Damage is met by whoever merges the batch.
        let Ok(next) = view.cursor(&rest, SeqNo::MAX).step().map(|next| next.map(|(key, _)| key.to_vec()))
        else {
            return Ok(());
        };
        self.origin = Some(origin);
        self.last.clear();
        self.void_end = next.or(all.end).unwrap_or_default();
        Ok(())
    }

    /// Moves what is held to the run.
    fn write_held(&mut self) -> Result<()> {
        let store = self.replica.db.store();
        let run = match &mut self.run {
            Some(run) => run,
            none => none.insert(Receiving::begin(store, RUN_ENTRIES as usize)?),
        };
        self.held_bytes = 0;
        for entry in self.held.drain(..).flatten() {
            run.push(store, &entry.key, head(&entry))?;
        }
        Ok(())
    }

    /// Takes in all that is gathered, or nothing of what an error leaves.
    fn settle_now(&mut self) -> Result<()> {
        self.void_end.clear();
        self.held_bytes = 0;
        let (held, run) = (std::mem::take(&mut self.held), self.run.take());
        let Some(run) = run else {
            let merge =
                |entries: Vec<Entry>| self.merge(entries.into_iter().map(to_write).collect::<Result<_>>()?);
            return held.into_iter().try_for_each(merge);
        };
        let db = &self.replica.db;
        let received = run.finish(db.store())?;
        let taken_in = db.take_in(&received);
        if let Ok(true) = taken_in {
            return Ok(());
        }
        let merged = taken_in.and_then(|_| self.merge_all(received.entries()));
        // Of a poisoned store's files nothing is known.
        if db.store().check_poison().is_ok() {
            received.abandon(db.store())?;
        }
        merged
    }

    /// Merges what could not be taken in as it is.
    fn merge_all(&self, entries: impl Iterator<Item = Result<Write>>) -> Result<()> {
        let (mut writes, mut bytes) = (Vec::new(), 0);
        for write in entries {
            let write = write?;
            bytes += write.len();
            writes.push(write);
            if bytes >= MERGED_BYTES {
                bytes = 0;
                self.merge(std::mem::take(&mut writes))?;
            }
        }
        self.merge(writes)
    }

    /// Merges entries that were told to be applied.
    fn merge(&self, writes: Vec<Write>) -> Result<()> {
        let Some(origin) = self.origin else { return Ok(()) };
        let Applied { refused, deferred, .. } = self.replica.merge(writes, origin)?;
        match refused + deferred {
            0 => Ok(()),
            _ => Err(Error::invalid("the horizon has passed entries that a session had taken; repair again")),
        }
    }
}

/// Bytes of key, meta and value.
fn len(entry: &Entry) -> u64 {
    (entry.key.len() + entry.meta.len() + entry.value.len()) as u64
}

/// The entry as a run has it. A tombstone has no value, whatever a peer sent.
fn head(entry: &Entry) -> HeadRef<'_> {
    let &Entry { stamp, kind, expires_at, ref meta, ref value, .. } = entry;
    let value = RunValue::Inline(if kind == Kind::Put { value } else { &[] });
    let (seqno, stamp, kind) = (SeqNo::ZERO, stamp.into(), kind.into());
    HeadRef { seqno, stamp, kind, expires_at, meta, value }
}

impl EntryWriter for Gathering {
    fn apply(&mut self, entries: Vec<Entry>, origin: Origin) -> std::result::Result<Applied, ReplicaError> {
        self.apply_now(entries, origin).map_err(replica_error)
    }

    fn settle(&mut self) -> std::result::Result<(), ReplicaError> {
        self.settle_now().map_err(replica_error)
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        // A session that broke off leaves what it has brought, so the next one has less to do; nobody was promised it.
        let _ = self.settle_now();
    }
}
