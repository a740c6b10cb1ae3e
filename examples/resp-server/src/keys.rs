//! What commands do to the store: strings that may expire, conditions, counters, walks.
//!
//! Easy to get wrong: several commands read before they write. Writers of one key take its lock, so that no command of this
//! server comes between; entries that a repair brings may, and then the newer stamp wins.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use syncline::{Db, Durability, Keyspace, Kind, Result, Slice};
use xxhash_rust::xxh3::xxh3_64;

use crate::glob;

/// Locks that the keys share.
const LOCK_COUNT: u64 = 64;
/// Walks that are remembered at a time; a client that comes back later than so many others begins anew.
const WALK_COUNT_MAX: usize = 256;
/// One step of a walk shows no more than so many bytes of keys, and one key.
const STEP_LEN_MAX: usize = 1 << 20;

/// The keys that clients see.
#[derive(Debug)]
pub(crate) struct Keys {
    keyspace: Keyspace,
    durability: Durability,
    locks: Vec<Mutex<()>>,
    walks: Mutex<Walks>,
}

/// Where walks go on: SCAN's cursors are numbers, and keys are longer than those.
#[derive(Debug, Default)]
struct Walks {
    next_cursor: u64,
    /// The oldest first.
    places: VecDeque<(u64, Vec<u8>)>,
}

/// When SET writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Condition {
    #[default]
    Always,
    IfAbsent,
    IfPresent,
}

/// What a key expires at: milliseconds since the Unix epoch, 0 for never.
pub(crate) type Expiry = u64;

/// Why a counter was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCounter {
    /// The value is no number.
    NotANumber,
    /// It would become too large or too small.
    Overflow,
}

/// One step of a walk.
#[derive(Debug)]
pub(crate) struct Found {
    /// For the next step; 0 at the end.
    pub(crate) cursor: u64,
    pub(crate) keys: Vec<Vec<u8>>,
}

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods, reason = "an application reads the clock where it likes")]
pub(crate) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |since_epoch| since_epoch.as_millis() as u64)
}

impl Keys {
    /// The default keyspace of `db`, whose writes are as durable as `durability` says.
    pub(crate) fn new(db: &Db, durability: Durability) -> Keys {
        let locks = (0..LOCK_COUNT).map(|_| Mutex::default()).collect();
        Keys { keyspace: db.default_keyspace(), durability, locks, walks: Mutex::default() }
    }

    pub(crate) fn db(&self) -> &Db {
        self.keyspace.db()
    }

    /// Whether writes wait for the medium.
    pub(crate) fn waits(&self) -> bool {
        self.durability == Durability::Sync
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        self.keyspace.get(key)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.keyspace.contains_key(key)
    }

    /// How many keys there are. Expired ones count until they are purged.
    pub(crate) fn count(&self) -> Result<u64> {
        self.keyspace.len()
    }

    /// Whether the condition held and the key was set.
    pub(crate) fn set(&self, key: &[u8], value: &[u8], expiry: Expiry, condition: Condition) -> Result<bool> {
        let _lock = self.lock(key);
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => !self.contains(key)?,
            Condition::IfPresent => self.contains(key)?,
        };
        if holds {
            self.put(key, value, expiry)?;
        }
        Ok(holds)
    }

    /// Sets all of them in one commit.
    pub(crate) fn set_all(&self, pairs: &[(&[u8], &[u8])]) -> Result<()> {
        let _locks = self.lock_all(pairs.iter().map(|(key, _)| *key));
        let mut batch = self.db().batch();
        for (key, value) in pairs {
            batch.put(&self.keyspace, key, value)?;
        }
        self.db().write(batch, self.durability)
    }

    /// Deletes them in one commit; returns how many there were.
    pub(crate) fn delete(&self, keys: &[Vec<u8>]) -> Result<i64> {
        let _locks = self.lock_all(keys.iter().map(Vec::as_slice));
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort();
        keys.dedup();
        let mut batch = self.db().batch();
        for key in keys {
            if self.contains(key)? {
                batch.delete(&self.keyspace, key)?;
            }
        }
        let count = batch.len() as i64;
        self.db().write(batch, self.durability)?;
        Ok(count)
    }

    /// Deletes everything, key by key: peers learn of each.
    pub(crate) fn delete_everything(&self) -> Result<()> {
        let _locks: Vec<_> = self.locks.iter().map(locked).collect();
        self.keyspace.delete_range::<&[u8]>(..)?;
        Ok(())
    }

    /// Adds to a number, which is 0 if the key is not there. Its expiry stays.
    pub(crate) fn add(&self, key: &[u8], by: i64) -> Result<std::result::Result<i64, NoCounter>> {
        let _lock = self.lock(key);
        let old = match self.get(key)? {
            Some(value) => crate::resp::number(&value),
            None => Some(0),
        };
        let Some(old) = old else { return Ok(Err(NoCounter::NotANumber)) };
        let Some(new) = old.checked_add(by) else { return Ok(Err(NoCounter::Overflow)) };
        let expiry = self.expiry(key)?.unwrap_or_default();
        self.put(key, new.to_string().as_bytes(), expiry)?;
        Ok(Ok(new))
    }

    /// Gives a key another expiry; whether it is there. One in the past deletes it.
    pub(crate) fn set_expiry(&self, key: &[u8], expiry: Expiry) -> Result<bool> {
        let _lock = self.lock(key);
        let Some(value) = self.get(key)? else { return Ok(false) };
        if expiry != 0 && expiry <= now_ms() {
            self.keyspace.delete(key)?;
        } else {
            self.put(key, &value, expiry)?;
        }
        Ok(true)
    }

    /// What a key expires at, if it is there.
    pub(crate) fn expiry(&self, key: &[u8]) -> Result<Option<Expiry>> {
        let digest = self.keyspace.digest(key)?.filter(|digest| digest.kind == Kind::Put);
        let expiry = digest.map(|digest| digest.expires_at_ms);
        Ok(expiry.filter(|expiry| *expiry == 0 || *expiry > now_ms()))
    }

    /// The next keys of a walk that match, out of `count` that are looked at. `None` if the cursor is not known any more.
    pub(crate) fn scan(&self, cursor: u64, pattern: &[u8], count: usize) -> Result<Option<Found>> {
        let start = match cursor {
            0 => Vec::new(),
            cursor => match locked(&self.walks).place(cursor) {
                Some(start) => start,
                None => return Ok(None),
            },
        };
        let mut walk = self.keyspace.range(start..).keys();
        let (mut keys, mut keys_len) = (Vec::new(), 0);
        for _ in 0..count.max(1) {
            if keys_len > STEP_LEN_MAX {
                break;
            }
            if !walk.advance()? {
                return Ok(Some(Found { cursor: 0, keys }));
            }
            if glob::matches(pattern, walk.key()) {
                keys_len += walk.key().len();
                keys.push(walk.key().to_vec());
            }
        }
        let cursor = match walk.advance()? {
            true => locked(&self.walks).put(walk.key().to_vec()),
            false => 0,
        };
        Ok(Some(Found { cursor, keys }))
    }

    fn put(&self, key: &[u8], value: &[u8], expiry: Expiry) -> Result<()> {
        match expiry {
            0 => self.keyspace.put(key, value),
            expiry => self.keyspace.put_expiring(key, value, expiry),
        }
    }

    fn lock(&self, key: &[u8]) -> Option<MutexGuard<'_, ()>> {
        self.locks.get(lock_index(key)).map(locked)
    }

    /// The locks of several keys, always in one order.
    fn lock_all<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Vec<MutexGuard<'_, ()>> {
        let mut indexes: Vec<usize> = keys.map(lock_index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes.into_iter().filter_map(|index| self.locks.get(index)).map(locked).collect()
    }
}

impl Walks {
    fn put(&mut self, place: Vec<u8>) -> u64 {
        if self.places.len() >= WALK_COUNT_MAX {
            self.places.pop_front();
        }
        self.next_cursor += 1;
        self.places.push_back((self.next_cursor, place));
        self.next_cursor
    }

    /// The place stays, so that a step can be asked for again.
    fn place(&self, cursor: u64) -> Option<Vec<u8>> {
        self.places.iter().find(|(known, _)| *known == cursor).map(|(_, place)| place.clone())
    }
}

fn lock_index(key: &[u8]) -> usize {
    (xxh3_64(key) % LOCK_COUNT) as usize
}

/// What the locks guard is whole whatever panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
