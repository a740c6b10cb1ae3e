//! [`History`]: commits that are a function of a seed and their number, so that the state after `n` of them is known
//! without being remembered, and a store says itself which prefix of them it holds.
//!
//! Commit `n` changes up to three keys and sets the key `last` to `n`, in one batch. Every value begins with the number of
//! its commit and goes on with bytes that no other key or number has, so that a read that returns anything else is found
//! out by looking at it alone.
//!
//! Easy to get wrong: a history is judged by what [`Db::iter`] shows, by what [`Db::get`] finds *and* by [`Db::verify`]: the first
//! finds lost and wrong entries, the second filters that hide them, the third a Merkle index that does not agree with them.

use std::collections::BTreeMap;
use std::fmt;

use syncline::{Db, Durability, Error, Iter, Slice, Snapshot};

use crate::random::Random;

/// The commits of one seed, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    seed: u64,
    value_len_max: u64,
}

/// Why a store is not what a history left.
#[derive(Debug, Clone)]
pub enum Problem {
    /// A read failed. Where files were damaged it may, if the error says so.
    Read(Error),
    /// `verify` found something. Where files were damaged it must.
    Verify(String),
    /// The store shows what was never there, or does not show what was. Never allowed.
    Wrong(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Read(error) => write!(f, "a read failed: {error}"),
            Problem::Verify(what) => write!(f, "verify: {what}"),
            Problem::Wrong(what) => f.write_str(what),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::Read(error)
    }
}

impl From<Problem> for String {
    fn from(problem: Problem) -> String {
        problem.to_string()
    }
}

/// The key that every commit sets to its number.
const LAST: &[u8] = b"last";

/// Keys that a history is about, besides `last`: few, so that entries are replaced, runs overlap, and segments of large values
/// die or become mostly garbage.
const KEYS: u64 = 97;

/// What a commit does to one key.
struct Step {
    key: u64,
    is_delete: bool,
}

impl History {
    /// The history of `seed`, with values of up to 8,000 bytes.
    pub fn new(seed: u64) -> History {
        History { seed, value_len_max: 8_000 }
    }

    /// The same with values no longer than `len` bytes, for stores that every byte of is tried.
    pub fn with_values(self, len: u64) -> History {
        History { value_len_max: len, ..self }
    }

    fn random(&self, number: u64) -> Random {
        Random::new(self.seed.rotate_left(20) ^ number)
    }

    fn steps(&self, number: u64) -> Vec<Step> {
        let mut random = self.random(number);
        let count = [1, 1, 1, 2, 3][random.below(5) as usize];
        (0..count).map(|_| Step { key: random.below(KEYS), is_delete: random.chance(10) }).collect()
    }

    fn key(key: u64) -> Vec<u8> {
        // Scattered, so that flushes touch many buckets.
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec()
    }

    fn value(&self, key: u64, number: u64) -> Vec<u8> {
        let mut random = self.random(number ^ key << 40);
        let len = [20, 30, 40, 60, 250, 600, 8_000][random.below(7) as usize].min(self.value_len_max);
        let head = number.to_le_bytes();
        let noise = std::iter::repeat_with(|| random.next().to_le_bytes()).flatten();
        head.into_iter().chain(noise).take(len as usize).collect()
    }

    /// Makes commit `number`.
    ///
    /// # Errors
    /// What [`Db::write`] returns.
    pub fn commit(&self, db: &Db, number: u64, durability: Durability) -> Result<(), Error> {
        let keyspace = db.default_keyspace();
        let mut batch = db.batch();
        for Step { key, is_delete } in self.steps(number) {
            match is_delete {
                true => batch.delete(&keyspace, History::key(key))?,
                false => batch.put(&keyspace, History::key(key), self.value(key, number))?,
            }
        }
        batch.put(&keyspace, LAST, number.to_le_bytes())?;
        db.write(batch, durability)
    }

    /// The number of the last commit that the store shows, 0 if none.
    ///
    /// # Errors
    /// What [`Db::get`] failed with.
    pub fn last(db: &Db) -> Result<u64, Error> {
        db.get(LAST).map(number)
    }

    /// Which commit's value each key has after `last` commits.
    fn state(&self, last: u64) -> BTreeMap<Vec<u8>, (u64, u64)> {
        let mut state = BTreeMap::new();
        for number in 1..=last {
            for Step { key, is_delete } in self.steps(number) {
                match is_delete {
                    true => state.remove(&History::key(key)),
                    false => state.insert(History::key(key), (key, number)),
                };
            }
        }
        state
    }

    /// Checks that the store holds exactly what the first `n` commits leave, at most `most` of them, to scans as to reads of
    /// single keys, and that its Merkle index agrees; returns `n`. Reads every entry twice.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, db: &Db, most: u64) -> Result<u64, Problem> {
        let last = History::last(db)?;
        if last > most {
            return Err(Problem::Wrong(format!("shows commit {last}, though only {most} were ever made")));
        }
        self.scan(db.iter(), last)?;
        self.get_some(db, last)?;
        match db.verify(&mut |_| true)?.problems.into_iter().next() {
            Some(problem) => Err(Problem::Verify(problem)),
            None => Ok(last),
        }
    }

    /// Checks that a snapshot shows exactly what the first `n` commits leave; returns `n`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_snapshot(&self, db: &Db, snapshot: &Snapshot) -> Result<u64, Problem> {
        let keyspace = db.default_keyspace();
        let last = number(snapshot.get(&keyspace, LAST)?);
        self.scan(snapshot.range::<&[u8]>(&keyspace, ..), last)?;
        Ok(last)
    }

    /// Gets one key of seven, and beside each one that never was: a scan does not ask the filters of runs.
    fn get_some(&self, db: &Db, last: u64) -> Result<(), Problem> {
        let state = self.state(last);
        for index in (last % 7..KEYS).step_by(7) {
            let key = History::key(index);
            let expected = state.get(&key).map(|(index, number)| self.value(*index, *number));
            let found = db.get(&key)?;
            if found.as_deref() != expected.as_deref() {
                let what = format!("after {last} commits key {key:?} reads as {found:?}");
                return Err(Problem::Wrong(what));
            }
            let absent = [&key[..], b"?"].concat();
            if let Some(found) = db.get(&absent)? {
                return Err(Problem::Wrong(format!(
                    "key {absent:?} was never written and reads as {found:?}"
                )));
            }
        }
        Ok(())
    }

    /// Compares a scan with the state after `last` commits.
    fn scan(&self, entries: Iter, last: u64) -> Result<(), Problem> {
        let wrong = |what: String| Err(Problem::Wrong(format!("after {last} commits: {what}")));
        let mut expected = self.state(last).into_iter();
        let mut has_last = false;
        for entry in entries {
            let entry = entry?;
            if entry.key == LAST {
                has_last = true;
                continue;
            }
            let Some((key, (index, number))) = expected.next() else {
                return wrong(format!("key {:?} is too much", entry.key));
            };
            if entry.key != key {
                return wrong(format!("key {:?} where {key:?} of commit {number} belongs", entry.key));
            }
            if entry.value != self.value(index, number)[..] {
                return wrong(format!("key {key:?} has not the value of commit {number}: {:?}", entry.value));
            }
        }
        match expected.next() {
            Some((key, (_, number))) => wrong(format!("key {key:?} of commit {number} is missing")),
            None if has_last != (last > 0) => wrong("a read and a scan disagree about `last`".to_owned()),
            None => Ok(()),
        }
    }
}

/// The number that a value of `last` is.
fn number(value: Option<Slice>) -> u64 {
    value.map_or(0, |bytes| bytes.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes)))
}
