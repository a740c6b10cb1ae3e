//! [`Model`]: a replica in memory that is as simple as the trait allows.
//!
//! Used by the suite as the other side of sessions, and as an example of how little a replica has to do. Every sum is added
//! up from scratch and every list is a walk over a map.

use std::sync::{Arc, Mutex, MutexGuard};

use xxhash_rust::xxh3::xxh3_64;

use super::expected::{Expected, Held};
use super::subject::EntryHasher;
use crate::error::{ReplicaError, ReplicaErrorKind};
use crate::replica::{
    Applied, Children, Cut, Entries, Fetched, Heads, Origin, Piece, RangeEntries, ReadLimit, Replica,
    ReplicaInfo, ReplicaReader, ValueWriter,
};
use crate::types::{Entry, KeyRange, Kind, RangeSum, Stamp};

/// About one key in so many, as a power of two, is a fence.
const BUCKET_BITS: u32 = 3;

/// A replica in memory. Cheap to clone; clones share the data.
#[derive(Clone)]
pub(super) struct Model {
    info: Arc<ReplicaInfo>,
    hasher: EntryHasher,
    /// Stamps with a greater clock are deferred.
    latest: u64,
    entries: Arc<Mutex<Expected>>,
}

impl Model {
    /// An empty replica that says `info` of itself, but for the root. What is stamped later than `latest` it defers.
    pub(super) fn new(info: ReplicaInfo, hasher: EntryHasher, latest: u64) -> Model {
        Model { info: Arc::new(info), hasher, latest, entries: Arc::default() }
    }

    /// Merges an entry in.
    pub(super) fn merge(&self, entry: Entry) -> Applied {
        if entry.stamp.hlc > self.latest {
            return Applied { deferred: 1, ..Applied::default() };
        }
        let hash = (self.hasher)(&entry);
        let is_newest = self.lock().merge(Held { entry, hash });
        Applied { applied: u64::from(is_newest), covered: u64::from(!is_newest), ..Applied::default() }
    }

    /// Everything that it holds.
    pub(super) fn held(&self) -> Expected {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Expected> {
        self.entries.lock().expect("nothing panics while it holds the lock")
    }

    /// The level of the fence at `key`, if it is one.
    fn fence_level(key: &[u8]) -> Option<u8> {
        xxh3_64(key).trailing_zeros().checked_sub(BUCKET_BITS).map(|level| level as u8)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("info", &self.info)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// What is left of a limit. The first element always fits.
struct Room {
    limit: ReadLimit,
    count: usize,
    len: usize,
}

impl Room {
    fn new(limit: ReadLimit) -> Room {
        Room { limit, count: 0, len: 0 }
    }

    fn take(&mut self, len: usize) -> bool {
        self.count += 1;
        self.len += len;
        self.count == 1 || (self.count <= self.limit.count as usize && self.len <= self.limit.bytes as usize)
    }

    /// Takes an entry on its way out, if there is room.
    fn fetch(&mut self, Held { entry, .. }: &Held) -> Option<Fetched> {
        let is_large = entry.value.len() > self.limit.bytes as usize;
        let value_len = if is_large { 0 } else { entry.value.len() };
        self.take(entry.key.len() + entry.meta.len() + value_len).then(|| match is_large {
            true => Fetched::Large {
                entry: Entry { value: Vec::new(), ..entry.clone() },
                value_len: entry.value.len() as u64,
            },
            false => Fetched::Whole(entry.clone()),
        })
    }
}

/// What one session reads of it.
struct ModelReader {
    /// What is compared.
    then: Expected,
    /// What is sent.
    now: Model,
}

impl ReplicaReader for ModelReader {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError> {
        let held = &self.then;
        let inner = held.within(range).map(|held| &held.entry.key).filter(|key| **key != range.start);
        let fences: Vec<_> = inner.filter_map(|key| Some((key, Model::fence_level(key)?))).collect();
        let count_at = |level: u8| fences.iter().filter(|(_, fence)| *fence >= level).count();
        let level = match cut {
            Cut::Level(level) => level,
            Cut::Pieces(pieces) => {
                let with_fences = (0..64).take_while(|level| *level == 0 || count_at(*level) > 0);
                with_fences.min_by_key(|level| count_at(*level).abs_diff(pieces as usize)).unwrap_or_default()
            }
        };
        let mut room = Room::new(limit);
        room.take(0);
        let mut starts: Vec<_> =
            fences.iter().filter(|(_, fence)| *fence >= level).map(|(key, _)| *key).collect();
        let count = starts.iter().take_while(|start| room.take(start.len())).count();
        let more = count < starts.len();
        // A cut that is cut short goes on at its last piece, so it has two at least.
        starts.truncate(count.max(1));
        let starts = std::iter::once(&range.start).chain(starts);
        Ok(Children { level, pieces: pieces(held, range, starts), more })
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError> {
        let pieces = pieces(&self.then, range, std::iter::once(&range.start).chain(bounds));
        Ok(pieces.into_iter().map(|piece| piece.sum).collect())
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError> {
        let held = &self.then;
        let each = held.within(range).count().div_ceil(pieces.max(1) as usize).max(1);
        let starts = held.within(range).map(|held| &held.entry.key).step_by(each).skip(1);
        Ok(self::pieces(held, range, std::iter::once(&range.start).chain(starts)))
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads, ReplicaError> {
        let held = &self.then;
        let (mut heads, mut room) = (Vec::new(), Room::new(limit));
        for held in held.within(range) {
            if !room.take(held.entry.key.len()) {
                return Ok(Heads { heads, next: Some(held.entry.key.clone()) });
            }
            heads.push(held.head());
        }
        Ok(Heads { heads, next: None })
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError> {
        let held = self.now.lock();
        let (mut entries, mut room) = (Vec::new(), Room::new(limit));
        for (answered, key) in keys.iter().enumerate() {
            let Some(held) = held.get(key) else { continue };
            match room.fetch(held) {
                Some(fetched) => entries.push(fetched),
                None => return Ok(Entries { entries, answered }),
            }
        }
        Ok(Entries { entries, answered: keys.len() })
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError> {
        let held = self.now.lock();
        let (mut entries, mut room) = (Vec::new(), Room::new(limit));
        for held in held.within(range) {
            match room.fetch(held) {
                Some(fetched) => entries.push(fetched),
                None => return Ok(RangeEntries { entries, next: Some(held.entry.key.clone()) }),
            }
        }
        Ok(RangeEntries { entries, next: None })
    }

    fn value(
        &self,
        key: &[u8],
        stamp: Stamp,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        let held = self.now.lock();
        let current = held.get(key).filter(|held| held.entry.stamp == stamp);
        Ok(current
            .map(|held| held.entry.value.iter().skip(offset as usize).take(len as usize).copied().collect()))
    }
}

impl Replica for Model {
    fn info(&self, _: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        Ok(ReplicaInfo { root: self.lock().sum(&self.info.replicated), ..ReplicaInfo::clone(&self.info) })
    }

    fn apply(&self, entries: Vec<Entry>, _: Origin) -> Result<Applied, ReplicaError> {
        let merged = entries.into_iter().map(|entry| self.merge(entry));
        Ok(merged.fold(Applied::default(), |sum, one| Applied {
            applied: sum.applied + one.applied,
            covered: sum.covered + one.covered,
            deferred: sum.deferred + one.deferred,
            ..sum
        }))
    }

    fn begin_value(&self, entry: Entry, len: u64, _: Origin) -> Result<Box<dyn ValueWriter>, ReplicaError> {
        Ok(Box::new(Writer { model: self.clone(), entry, len }))
    }

    fn pin(&self, _: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError> {
        Ok(Box::new(ModelReader { then: self.held(), now: self.clone() }))
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}

/// The pieces of `range` that start at `starts`.
fn pieces<'a>(held: &Expected, range: &KeyRange, starts: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Piece> {
    let mut starts = starts.peekable();
    let mut pieces = Vec::new();
    while let Some(start) = starts.next() {
        let end = starts.peek().map_or_else(|| range.end.clone(), |next| Some(Vec::clone(next)));
        let sum = held.sum(&KeyRange { start: start.clone(), end });
        pieces.push(Piece { start: start.clone(), sum });
    }
    pieces
}

/// Collects a long value in memory.
struct Writer {
    model: Model,
    entry: Entry,
    len: u64,
}

impl ValueWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<(), ReplicaError> {
        self.entry.value.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Applied, ReplicaError> {
        if self.entry.value.len() as u64 != self.len || self.entry.kind != Kind::Put {
            return Err(ReplicaError::new(
                ReplicaErrorKind::Storage,
                "a value is committed before it is whole",
            ));
        }
        Ok(self.model.merge(self.entry))
    }
}
