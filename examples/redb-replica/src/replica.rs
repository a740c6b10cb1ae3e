//! The store as a replica: `impl sync_proto::Replica` and what it has read, and nothing else. Written from the trait's documentation; the test is
//! the protocol's own suite.
//!
//! Easy to get wrong: every commit of the store is durable when it returns, so answers need not wait for anything.

use std::sync::Arc;

use redb::Error;
use sync_proto::{
    Applied, Children, Cut, Entries, Entry, Fetched, Heads, KeyRange, Origin, Piece, RangeEntries, RangeSum,
    ReadLimit, Replica, ReplicaError, ReplicaErrorKind, ReplicaInfo, ReplicaReader, Stamp, ValueWriter,
};

use crate::row::Row;
use crate::store::{Reading, Result, Store};

/// A store that peers can be repaired against. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RedbReplica(pub(crate) Arc<Store>);

/// What one session reads of it.
struct RedbReader {
    store: Arc<Store>,
    /// What is compared: the store when the session began to read.
    then: Reading,
}

type Answer<T> = std::result::Result<T, ReplicaError>;

fn told<T>(result: Result<T>) -> Answer<T> {
    result.map_err(|error| {
        let kind = match error {
            Error::Corrupted(_) => ReplicaErrorKind::Unknown,
            Error::PreviousIo => ReplicaErrorKind::Poisoned,
            _ => ReplicaErrorKind::Storage,
        };
        ReplicaError::new(kind, error)
    })
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

    /// Takes an entry on its way out, if there is room; a long value stays behind.
    fn fetch(&mut self, Row { mut entry, .. }: Row) -> Option<Fetched> {
        let value_len = entry.value.len() as u64;
        let is_large = value_len > u64::from(self.limit.bytes);
        if is_large {
            entry.value = Vec::new();
        }
        let has_room = self.take(entry.key.len() + entry.meta.len() + entry.value.len());
        let fetched = if is_large { Fetched::Large { entry, value_len } } else { Fetched::Whole(entry) };
        has_room.then_some(fetched)
    }
}

impl RedbReader {
    fn children_now(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children> {
        let reading = &self.then;
        let level_of = |key: &Vec<u8>| self.store.set.fence_level(key);
        let fences: Vec<_> =
            reading.fences(range)?.into_iter().filter_map(|key| Some((level_of(&key)?, key))).collect();
        let count_at = |level: u8| fences.iter().filter(|(fence, _)| *fence >= level).count();
        let level = match cut {
            Cut::Level(level) => level,
            Cut::Pieces(pieces) => (0..64)
                .take_while(|level| *level == 0 || count_at(*level) > 0)
                .min_by_key(|level| (count_at(*level) + 1).abs_diff(pieces as usize))
                .unwrap_or(0),
        };
        let mut room = Room::new(limit);
        room.take(0);
        let mut starts: Vec<_> =
            fences.into_iter().filter(|(fence, _)| *fence >= level).map(|(_, key)| key).collect();
        let count = starts.iter().take_while(|start| room.take(start.len())).count();
        let more = count < starts.len();
        // A cut that is cut short goes on at its last piece, so it has two at least.
        starts.truncate(count.max(1));
        Ok(Children { level, pieces: pieces(reading, range, starts)?, more })
    }

    fn split_now(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>> {
        let each = (self.then.sum(range)?.count() as usize).div_ceil(pieces.max(1) as usize).max(1);
        let keys = self.then.rows(range)?.map(|row| Ok(row?.entry.key)).step_by(each).skip(1);
        let starts = keys.collect::<Result<Vec<_>>>()?;
        self::pieces(&self.then, range, starts)
    }

    fn heads_now(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads> {
        let (mut heads, mut room) = (Vec::new(), Room::new(limit));
        for row in self.then.rows(range)? {
            let row = row?;
            if !room.take(row.entry.key.len()) {
                return Ok(Heads { heads, next: Some(row.entry.key) });
            }
            heads.push(row.head());
        }
        Ok(Heads { heads, next: None })
    }

    fn entries_now(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries> {
        let reading = self.store.read()?;
        let (mut entries, mut room) = (Vec::new(), Room::new(limit));
        for (answered, key) in keys.iter().enumerate() {
            let Some(row) = reading.row(key)? else { continue };
            match room.fetch(row) {
                Some(fetched) => entries.push(fetched),
                None => return Ok(Entries { entries, answered }),
            }
        }
        Ok(Entries { entries, answered: keys.len() })
    }

    fn entries_in_now(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries> {
        let (mut entries, mut room) = (Vec::new(), Room::new(limit));
        for row in self.store.read()?.rows(range)? {
            let row = row?;
            let key = row.entry.key.clone();
            match room.fetch(row) {
                Some(fetched) => entries.push(fetched),
                None => return Ok(RangeEntries { entries, next: Some(key) }),
            }
        }
        Ok(RangeEntries { entries, next: None })
    }
}

impl RedbReplica {
    fn info_now(&self) -> Result<ReplicaInfo> {
        let reading = self.0.read()?;
        let replicated = replicated();
        Ok(ReplicaInfo {
            set_id: self.0.set.id,
            hash_check: self.0.set.hash_check(),
            node: reading.identity.node,
            opens: reading.identity.opens,
            durable_seqno: reading.identity.commits,
            horizon: 0,
            root: reading.sum(&replicated)?,
            replicated,
            members_checksum: 0,
            keyspaces_checksum: 0,
            read_only: false,
            has_unknown: false,
        })
    }
}

/// The keys that Syncline stores repair: those of class 1, and of class 2, which resolvers merge.
fn replicated() -> KeyRange {
    KeyRange { start: vec![1], end: Some(vec![3]) }
}

/// The pieces of `range` that begin at its start and at `starts`.
fn pieces(reading: &Reading, range: &KeyRange, starts: Vec<Vec<u8>>) -> Result<Vec<Piece>> {
    let ends = starts.clone().into_iter().map(Some).chain([range.end.clone()]);
    let starts = std::iter::once(range.start.clone()).chain(starts);
    let sum_of = |(start, end)| {
        let range = KeyRange { start, end };
        Ok(Piece { sum: reading.sum(&range)?, start: range.start })
    };
    starts.zip(ends).map(sum_of).collect()
}

impl ReplicaReader for RedbReader {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Answer<Children> {
        told(self.children_now(range, cut, limit))
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Answer<Vec<RangeSum>> {
        told(pieces(&self.then, range, bounds.to_vec()))
            .map(|pieces| pieces.into_iter().map(|piece| piece.sum).collect())
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Answer<Vec<Piece>> {
        told(self.split_now(range, pieces))
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Answer<Heads> {
        told(self.heads_now(range, limit))
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Answer<Entries> {
        told(self.entries_now(keys, limit))
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Answer<RangeEntries> {
        told(self.entries_in_now(range, limit))
    }

    fn value(&self, key: &[u8], stamp: Stamp, offset: u64, len: u32) -> Answer<Option<Vec<u8>>> {
        let row = told(self.store.read().and_then(|reading| reading.row(key)))?;
        let current = row.filter(|row| row.entry.stamp == stamp);
        let part = |row: Row| row.entry.value.into_iter().skip(offset as usize).take(len as usize).collect();
        Ok(current.map(part))
    }
}

impl Replica for RedbReplica {
    fn info(&self, _: Option<u64>) -> Answer<ReplicaInfo> {
        told(self.info_now())
    }

    fn apply(&self, entries: Vec<Entry>, _: Origin) -> Answer<Applied> {
        if entries.iter().any(|entry| !replicated().contains(&entry.key)) {
            return Err(ReplicaError::new(
                ReplicaErrorKind::Denied,
                "a peer sent a key outside of what is replicated",
            ));
        }
        told(self.0.apply(entries))
    }

    fn pin(&self, _: u64) -> Answer<Box<dyn ReplicaReader>> {
        let (store, then) = (self.0.clone(), told(self.0.read())?);
        Ok(Box::new(RedbReader { store, then }))
    }

    fn begin_value(&self, entry: Entry, len: u64, origin: Origin) -> Answer<Box<dyn ValueWriter>> {
        Ok(Box::new(Collected { replica: self.clone(), entry, len, origin }))
    }

    fn persist(&self) -> Answer<()> {
        Ok(())
    }
}

/// A long value, collected in memory, for redb takes values whole. The session's `value_len_max` bounds it.
struct Collected {
    replica: RedbReplica,
    entry: Entry,
    len: u64,
    origin: Origin,
}

impl ValueWriter for Collected {
    fn append(&mut self, bytes: &[u8]) -> Answer<()> {
        if (self.entry.value.len() + bytes.len()) as u64 > self.len {
            return Err(ReplicaError::new(ReplicaErrorKind::Denied, "more of a value than was announced"));
        }
        self.entry.value.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Answer<Applied> {
        if self.entry.value.len() as u64 != self.len {
            return Err(ReplicaError::new(
                ReplicaErrorKind::Denied,
                "a value ends before its announced length",
            ));
        }
        self.replica.apply(vec![self.entry], self.origin)
    }
}
