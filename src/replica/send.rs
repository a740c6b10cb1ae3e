//! [`Outgoing`]: the entries and values that sessions send, as of when they are asked for.
//!
//! Easy to get wrong: a long value is read in parts, and may be another one, or be found lost, before the last of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sync_proto::{Entries, Fetched, KeyRange, RangeEntries, ReadLimit, Stamp};

use super::convert::{to_entry, to_range};
use crate::db::Db;
use crate::error::Result;
use crate::store::View;
use crate::types::{self, Epoch, ValueDigest};

/// A store's current entries on their way out. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    db: Db,
    /// What ends at or before this (clock units) is in no answer, nor what ends at or before the store's own horizon.
    cut: u64,
    /// The long values that were told of last, by key: stamp, and digest, for where a resolver merges the stamp may stay when the
    /// value changes. A session reads one at a time, and has an `Outgoing` of its own.
    told: Arc<Mutex<Told>>,
}

type Told = BTreeMap<Vec<u8>, (types::Stamp, ValueDigest)>;

impl Outgoing {
    pub(super) fn new(db: &Db, cut: u64) -> Outgoing {
        Outgoing { db: db.clone(), cut, told: Arc::default() }
    }

    pub(super) fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries> {
        let store = self.db.store();
        let (view, seqno) = store.read_point();
        self.told.lock().clear();
        let mut answer = Entries { entries: Vec::new(), answered: 0 };
        let (ended, measure) = (self.ended(), &store.measure);
        let mut room = Room::new(limit);
        for key in keys {
            let head = view.head(key, measure.hasher.key(key), seqno)?;
            if let Some(head) = head.filter(|head| !measure.has_ended(head, ended)) {
                let fetched = self.fetch(&view, key.clone(), &head, u64::from(limit.bytes))?;
                if !room.take(&fetched) {
                    break;
                }
                answer.entries.push(fetched);
            }
            answer.answered += 1;
        }
        Ok(answer)
    }

    pub(super) fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries> {
        let store = self.db.store();
        let (view, seqno) = store.read_point();
        let ended = self.ended();
        self.told.lock().clear();
        let mut answer = RangeEntries { entries: Vec::new(), next: None };
        let mut room = Room::new(limit);
        for found in view.walk(&to_range(range), seqno) {
            let (key, head) = found?;
            if store.measure.has_ended(&head, ended) {
                continue;
            }
            let fetched = self.fetch(&view, key, &head, u64::from(limit.bytes))?;
            if !room.take(&fetched) {
                answer.next = Some(fetched.entry().key.clone());
                break;
            }
            answer.entries.push(fetched);
        }
        Ok(answer)
    }

    pub(super) fn value(&self, key: &[u8], stamp: Stamp, offset: u64, len: u32) -> Result<Option<Vec<u8>>> {
        let store = self.db.store();
        let (view, seqno) = store.read_point();
        let head = view.head(key, store.measure.hasher.key(key), seqno)?;
        let Some(head) = head.filter(|head| stamp == head.stamp.into()) else { return Ok(None) };
        if !self.goes_on(key, &head) {
            return Ok(None);
        }
        let Some(value) = store.value_unless_lost(&view, key, &head)? else { return Ok(None) };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(value.len());
        let end = start.saturating_add(len as usize).min(value.len());
        Ok(Some(value.get(start..end).unwrap_or_default().to_vec()))
    }

    /// Whether `head` has the value that was told of, or, if none was, that its first part was read of.
    fn goes_on(&self, key: &[u8], head: &types::Head) -> bool {
        let mut told = self.told.lock();
        let (stamp, digest) = *told.entry(key.to_vec()).or_insert((head.stamp, head.digest));
        stamp != head.stamp || digest == head.digest
    }

    /// The entry of `key` on its way out; large ones without their value.
    fn fetch(&self, view: &View, key: Vec<u8>, head: &types::Head, large: u64) -> Result<Fetched> {
        let store = self.db.store();
        let value_len = head.value.len();
        if value_len <= large {
            return Ok(match store.value_unless_lost(view, &key, head)? {
                Some(value) => Fetched::Whole(to_entry(key, head, value.to_vec())),
                None => Fetched::Lost(to_entry(key, head, Vec::new())),
            });
        }
        if store.has_lost_value(&key) {
            return Ok(Fetched::Lost(to_entry(key, head, Vec::new())));
        }
        self.told.lock().insert(key.clone(), (head.stamp, head.digest));
        Ok(Fetched::Large { entry: to_entry(key, head, Vec::new()), value_len })
    }

    /// Where answers cut that read entries themselves.
    fn ended(&self) -> Option<Epoch> {
        let store = self.db.store();
        store.measure.ended(self.cut.max(store.horizon()))
    }
}

/// What of a limit is left. The first element always fits.
struct Room {
    limit: ReadLimit,
    count: u32,
    bytes: u64,
}

impl Room {
    fn new(limit: ReadLimit) -> Room {
        Room { limit, count: 0, bytes: 0 }
    }

    fn take(&mut self, fetched: &Fetched) -> bool {
        let entry = fetched.entry();
        self.bytes += (entry.key.len() + entry.meta.len() + entry.value.len()) as u64;
        self.count += 1;
        self.count == 1 || (self.count <= self.limit.count && self.bytes <= u64::from(self.limit.bytes))
    }
}
