//! A redb database whose entries carry stamps, and which keeps sums of them: what a database needs before it can be a
//! replica. One table holds the entries, tombstones included. The other one holds, for each *bucket* of keys, the sum of
//! the entries in it: a bucket begins at a fence (about one key in 2^`bucket_bits` is one, by its hash) and ends before the
//! next one, and the first bucket begins at the empty key.
//!
//! Both change in the same transaction, so sums are never behind and nothing is rebuilt at open. A sum of a range reads
//! the buckets in it and the entries of at most two.
//!
//! Easy to get wrong: entries are only ever replaced by newer ones, never removed, so a fence that is there stays.

use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, SystemTime};

use redb::{
    Database, Error, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use sync_proto::{Applied, Entry, KeyRange, Kind, RangeSum, Stamp};

use crate::row::{Row, is_merged, sum_from_bytes, sum_to_bytes};
use crate::set::Set;

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

const ENTRIES: Rows = TableDefinition::new("entries");
const SUMS: Rows = TableDefinition::new("sums of buckets");
/// Numbers: `node`, `opens`, `commits`, `clock`.
const NUMBERS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("numbers");

/// Stamps of peers may be ahead of the wall clock by this much.
const DRIFT_MAX: Duration = Duration::from_secs(60);

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Milliseconds since the Unix epoch.
pub(crate) type WallClock = fn() -> u64;

/// The operating system's clock.
#[allow(clippy::disallowed_methods, reason = "an application reads the clock where it likes")]
pub(crate) fn system_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |since_epoch| since_epoch.as_millis() as u64)
}

/// An open store.
pub(crate) struct Store {
    db: Database,
    pub(crate) set: Set,
    wall_clock: WallClock,
}

/// What the store says of itself.
pub(crate) struct Identity {
    pub(crate) node: u64,
    pub(crate) opens: u64,
    pub(crate) commits: u64,
}

impl Store {
    /// Opens the store in the file, or makes one there that has the id `node`.
    pub(crate) fn open(path: &Path, set: Set, node: u64, wall_clock: WallClock) -> Result<Store> {
        Store::begin(Database::create(path)?, set, node, wall_clock)
    }

    /// The same on any storage.
    #[cfg(test)]
    pub(crate) fn open_on(
        backend: impl redb::StorageBackend,
        set: Set,
        node: u64,
        wall_clock: WallClock,
    ) -> Result<Store> {
        Store::begin(Database::builder().create_with_backend(backend)?, set, node, wall_clock)
    }

    fn begin(db: Database, set: Set, node: u64, wall_clock: WallClock) -> Result<Store> {
        let tx = db.begin_write()?;
        tx.open_table(ENTRIES)?;
        let mut sums = tx.open_table(SUMS)?;
        if sums.get(&[][..])?.is_none() {
            sums.insert(&[][..], &*sum_to_bytes(&RangeSum::ZERO))?;
        }
        drop(sums);
        let mut numbers = tx.open_table(NUMBERS)?;
        if numbers.get("node")?.is_none() {
            numbers.insert("node", node)?;
        }
        drop(numbers);
        add_one(&tx, "opens")?;
        tx.commit()?;
        Ok(Store { db, set, wall_clock })
    }

    /// Sets a key, or deletes it by a tombstone, as newer than anything that is held. Durable when it returns.
    pub(crate) fn write(&self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let tx = self.db.begin_write()?;
        let clock = number(&tx.open_table(NUMBERS)?, "clock")?;
        let hlc = ((self.wall_clock)() << 16).max(clock + 1);
        let stamp = Stamp { hlc, node: number(&tx.open_table(NUMBERS)?, "node")? };
        let kind = if value.is_some() { Kind::Put } else { Kind::Tombstone };
        let (key, value) = (key.to_vec(), value.unwrap_or_default().to_vec());
        self.merge(&tx, Entry { key, stamp, kind, expires_at: 0, meta: Vec::new(), value })?;
        add_one(&tx, "commits")?;
        Ok(tx.commit()?)
    }

    /// The value of a key, unless it was deleted or has expired.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let entry = self.read()?.row(key)?.map(|row| row.entry);
        let has_expired = |expires_at| expires_at != 0 && expires_at <= (self.wall_clock)();
        Ok(entry
            .filter(|entry| entry.kind == Kind::Put && !has_expired(entry.expires_at))
            .map(|entry| entry.value))
    }

    /// Merges entries from elsewhere. What a resolver would have to merge is refused, for there is none here. Durable when it
    /// returns.
    pub(crate) fn apply(&self, entries: Vec<Entry>) -> Result<Applied> {
        let latest = ((self.wall_clock)() + DRIFT_MAX.as_millis() as u64) << 16;
        let mut applied = Applied::default();
        let tx = self.db.begin_write()?;
        for entry in entries {
            if entry.stamp.hlc > latest {
                applied.deferred += 1;
            } else if is_merged(&entry.key) && self.differs(&tx, &entry)? {
                applied.refused += 1;
            } else if self.merge(&tx, entry)? {
                applied.applied += 1;
            } else {
                applied.covered += 1;
            }
        }
        add_one(&tx, "commits")?;
        tx.commit()?;
        Ok(applied)
    }

    /// Whether another entry of the key is held.
    fn differs(&self, tx: &WriteTransaction, entry: &Entry) -> Result<bool> {
        let entries = tx.open_table(ENTRIES)?;
        let held = entries.get(&*entry.key)?.map(|bytes| read_row(&entry.key, bytes.value())).transpose()?;
        Ok(held.is_some_and(|held| held.hash != self.set.entry_hash(entry)))
    }

    /// Takes an entry in if it is the newest of its key, and brings the sum of its bucket up to date.
    fn merge(&self, tx: &WriteTransaction, entry: Entry) -> Result<bool> {
        let new = Row { hash: self.set.entry_hash(&entry), entry };
        let rank = |row: &Row| (row.entry.stamp, row.entry.kind, row.hash);
        let mut entries = tx.open_table(ENTRIES)?;
        let key = new.entry.key.as_slice();
        let old = entries.get(key)?.map(|bytes| read_row(key, bytes.value())).transpose()?;
        if old.as_ref().is_some_and(|old| rank(old) >= rank(&new)) {
            return Ok(false);
        }
        entries.insert(key, &*new.to_bytes())?;
        let mut numbers = tx.open_table(NUMBERS)?;
        let clock = number(&numbers, "clock")?.max(new.entry.stamp.hlc);
        numbers.insert("clock", clock)?;

        let mut sums = tx.open_table(SUMS)?;
        let (start, mut sum) = bucket_of(&sums, key)?;
        sum += new.sum();
        if let Some(old) = &old {
            sum -= old.sum();
        }
        if start != key && self.set.fence_level(key).is_some() {
            // A new fence: the bucket's entries from here on get a bucket of their own.
            let rest = KeyRange { start: key.to_vec(), end: next_start(&sums, key)? };
            let rest = rows(&entries, &rest)?.map(|row| Ok(row?.sum())).sum::<Result<RangeSum>>()?;
            sums.insert(key, &*sum_to_bytes(&rest))?;
            sum -= rest;
        }
        sums.insert(&*start, &*sum_to_bytes(&sum))?;
        Ok(true)
    }

    /// Everything as of now.
    pub(crate) fn read(&self) -> Result<Reading> {
        let tx = self.db.begin_read()?;
        let (entries, sums) = (tx.open_table(ENTRIES)?, tx.open_table(SUMS)?);
        let numbers = tx.open_table(NUMBERS)?;
        let identity = Identity {
            node: number(&numbers, "node")?,
            opens: number(&numbers, "opens")?,
            commits: number(&numbers, "commits")?,
        };
        Ok(Reading { entries, sums, identity })
    }
}

/// One moment of a store.
pub(crate) struct Reading {
    entries: ReadOnlyTable<&'static [u8], &'static [u8]>,
    sums: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(crate) identity: Identity,
}

impl Reading {
    pub(crate) fn row(&self, key: &[u8]) -> Result<Option<Row>> {
        self.entries.get(key)?.map(|bytes| read_row(key, bytes.value())).transpose()
    }

    /// The entries of a range in key order.
    pub(crate) fn rows(&self, range: &KeyRange) -> Result<impl Iterator<Item = Result<Row>>> {
        rows(&self.entries, range)
    }

    /// The keys inside a range, not its start, where buckets begin.
    pub(crate) fn fences(&self, range: &KeyRange) -> Result<Vec<Vec<u8>>> {
        let starts = self.sums.range::<&[u8]>(bounds(range))?.map(|bucket| Ok(bucket?.0.value().to_vec()));
        starts
            .filter(|start| start.as_ref().is_ok_and(|start| *start != range.start) || start.is_err())
            .collect()
    }

    /// The sum of a range: its whole buckets, and the entries before the first and after the last of them.
    pub(crate) fn sum(&self, range: &KeyRange) -> Result<RangeSum> {
        let mut total = RangeSum::ZERO;
        let mut buckets = self.sums.range::<&[u8]>(bounds(range))?.peekable();
        let first = match buckets.peek() {
            Some(Ok((start, _))) => Some(start.value().to_vec()),
            _ => None,
        };
        let Some(first) = first else { return self.sum_of_entries(range) };
        total += self.sum_of_entries(&KeyRange { start: range.start.clone(), end: Some(first) })?;
        let mut last = Vec::new();
        let mut last_sum = RangeSum::ZERO;
        for bucket in buckets {
            let (start, sum) = bucket?;
            total += last_sum;
            (last, last_sum) = (start.value().to_vec(), read_sum(sum.value())?);
        }
        // The last bucket may go on beyond the range.
        let ends_within = next_start(&self.sums, &last)? == range.end;
        let end = KeyRange { start: last, end: range.end.clone() };
        Ok(total + if ends_within { last_sum } else { self.sum_of_entries(&end)? })
    }

    fn sum_of_entries(&self, range: &KeyRange) -> Result<RangeSum> {
        self.rows(range)?.map(|row| Ok(row?.sum())).sum()
    }
}

/// The entries of a range in key order.
fn rows(
    entries: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: &KeyRange,
) -> Result<impl Iterator<Item = Result<Row>>> {
    let found = entries.range::<&[u8]>(bounds(range))?;
    Ok(found.map(|found| {
        let (key, bytes) = found?;
        read_row(key.value(), bytes.value())
    }))
}

/// Start and sum of the bucket that a key lies in.
fn bucket_of(
    sums: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<(Vec<u8>, RangeSum)> {
    let bucket = sums.range::<&[u8]>(..=key)?.next_back().ok_or_else(|| damaged("the first bucket"))?;
    let (start, sum) = bucket?;
    Ok((start.value().to_vec(), read_sum(sum.value())?))
}

/// Where the bucket after the one that starts at `start` begins, if there is one.
fn next_start(
    sums: &impl ReadableTable<&'static [u8], &'static [u8]>,
    start: &[u8],
) -> Result<Option<Vec<u8>>> {
    let beyond = (Bound::Excluded(start), Bound::Unbounded);
    Ok(sums.range::<&[u8]>(beyond)?.next().transpose()?.map(|(next, _)| next.value().to_vec()))
}

fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let end = match &range.end {
        // A range may be empty, but not end before it starts.
        Some(end) => Bound::Excluded(end.as_slice().max(&range.start)),
        None => Bound::Unbounded,
    };
    (Bound::Included(&range.start), end)
}

fn number(numbers: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64> {
    Ok(numbers.get(name)?.map_or(0, |number| number.value()))
}

fn add_one(tx: &WriteTransaction, name: &str) -> Result<()> {
    let mut numbers = tx.open_table(NUMBERS)?;
    let next = number(&numbers, name)? + 1;
    numbers.insert(name, next)?;
    Ok(())
}

fn read_row(key: &[u8], bytes: &[u8]) -> Result<Row> {
    Row::from_bytes(key, bytes).ok_or_else(|| damaged("an entry"))
}

fn read_sum(bytes: &[u8]) -> Result<RangeSum> {
    sum_from_bytes(bytes).ok_or_else(|| damaged("a sum"))
}

fn damaged(what: &str) -> Error {
    Error::Corrupted(format!("{what} cannot be read"))
}
