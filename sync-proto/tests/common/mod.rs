//! A replica to test the protocol against: a `BTreeMap`, fences by key hash, and every sum added up from scratch.
//!
//! Used by the tests and examples of this crate. It is as slow as it looks, so that it cannot be wrong in the ways in
//! which a Merkle index can.

#![allow(dead_code, unreachable_pub, reason = "every test program uses another part of it")]

pub mod rng;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sync_proto::driver::{Pump, Step};
use sync_proto::{
    Applied, Children, Cut, Entries, Entry, Fetched, Fingerprint, Head, Heads, Healing, Input, KeyRange,
    Kind, Lost, Options, Origin, Outcome, Piece, RangeEntries, RangeSum, ReadLimit, Replica, ReplicaError,
    ReplicaErrorKind, ReplicaInfo, ReplicaReader, Session, Stamp, ValueWriter,
};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// About one key in 2^`BUCKET_BITS` is a fence.
pub const BUCKET_BITS: u32 = 3;
/// Keys of this prefix are local: never in a sum, never in a session.
pub const LOCAL: u8 = 0;

/// What the model knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub entry: Entry,
    pub hash: u128,
}

/// What a test may change of a model.
#[derive(Debug, Clone)]
pub struct Config {
    pub set_id: [u8; 16],
    pub hash_check: [u8; 8],
    pub node: u64,
    pub read_only: bool,
    pub horizon: u64,
    /// Stamps above it are deferred.
    pub latest: u64,
    pub bucket_bits: u32,
    /// Ranges are cut at this level at least, unless a level is asked for.
    pub level_min: u32,
    /// The call with this number fails.
    pub fails_at: u64,
    /// What is done wrong with what the model gives to heal others, and with what heals it.
    pub spoils_given: fn(&mut Healing),
    pub spoils_taken: fn(&mut Healing),
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Vec<u8>, Held>,
    calls: u64,
    /// Whether anything was applied since the last `persist`.
    dirty: bool,
    /// Whether entries or their sums were read since then.
    is_shown: bool,
    persists: u64,
    commits: u64,
    /// What of it is gone: whatever `entries` still has of a span may be older than that.
    lost: Lost,
    /// Entries that were taken to heal.
    healed: u64,
}

impl State {
    /// Fails if keys of `range` are unknown.
    fn check_known(&self, range: &KeyRange) -> Result<(), ReplicaError> {
        match self.lost.spans.iter().any(|span| !span.intersection(range).is_empty()) {
            true => Err(ReplicaError::new(ReplicaErrorKind::Unknown, "part of the range is lost")),
            false => Ok(()),
        }
    }

    fn known_sum(&self) -> RangeSum {
        let is_known = |key: &Vec<u8>| !self.lost.spans.iter().any(|span| span.contains(key));
        within(&self.entries, &replicated())
            .filter(|(key, _)| is_known(key))
            .map(|(_, held)| held_sum(held))
            .sum()
    }
}

/// A replica in memory. Cheap to clone; clones share the data.
#[derive(Debug, Clone)]
pub struct Model {
    pub config: Config,
    state: Arc<Mutex<State>>,
}

impl Model {
    pub fn new(node: u64) -> Model {
        let config = Config {
            set_id: [7; 16],
            hash_check: [9; 8],
            node,
            read_only: false,
            horizon: 0,
            latest: u64::MAX,
            bucket_bits: BUCKET_BITS,
            level_min: 0,
            fails_at: u64::MAX,
            spoils_given: |_| (),
            spoils_taken: |_| (),
        };
        Model { config, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }

    /// Counts a call of the trait, and fails it if it is the one to fail.
    fn call(&self) -> Result<MutexGuard<'_, State>, ReplicaError> {
        let mut state = self.lock();
        state.calls += 1;
        if state.calls == self.config.fails_at {
            return Err(ReplicaError::new(ReplicaErrorKind::Storage, "told to fail"));
        }
        Ok(state)
    }

    /// As [`Model::call`], for a read of entries or their sums, which may not be told before they are durable.
    fn show(&self) -> Result<MutexGuard<'_, State>, ReplicaError> {
        let mut state = self.call()?;
        state.is_shown = true;
        Ok(state)
    }

    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    pub fn is_durable(&self) -> bool {
        !self.lock().dirty
    }

    /// Puts an entry in, whatever was there.
    pub fn put(&self, entry: Entry) {
        let hash = entry_hash(&entry);
        self.lock().entries.insert(entry.key.clone(), Held { entry, hash });
    }

    pub fn remove(&self, key: &[u8]) {
        self.lock().entries.remove(key);
    }

    /// Makes the keys of `span` unknown. Of what it held there only what `is_left` remains.
    pub fn lose(&self, span: KeyRange, is_left: impl Fn(&Entry) -> bool) {
        let mut state = self.lock();
        state.entries.retain(|key, held| !span.contains(key) || is_left(&held.entry));
        state.lost.spans.push(span);
        state.lost.spans.sort_by(|a, b| a.start.cmp(&b.start));
    }

    /// Loses the value of the entry with this key.
    pub fn lose_value(&self, key: &[u8]) {
        let mut state = self.lock();
        state.lost.values.push(key.to_vec());
        state.lost.values.sort();
        state.entries.get_mut(key).expect("it is held").entry.value.clear();
    }

    /// What is lost, and how many entries came to heal it.
    pub fn losses(&self) -> (Lost, u64) {
        let state = self.lock();
        (state.lost.clone(), state.healed)
    }

    pub fn contents(&self) -> BTreeMap<Vec<u8>, Held> {
        self.lock().entries.clone()
    }

    /// A model of another node with the same entries.
    pub fn copy(&self, node: u64) -> Model {
        let copy = Model::new(node);
        {
            let (from, mut to) = (self.lock(), copy.lock());
            (to.entries, to.lost) = (from.entries.clone(), from.lost.clone());
        }
        Model { config: Config { node, ..self.config.clone() }, ..copy }
    }

    /// The same replica at this moment, apart from the original from now on.
    pub fn fork(&self) -> Model {
        self.copy(self.config.node)
    }

    pub fn root(&self) -> RangeSum {
        sum(&self.lock().entries, &replicated())
    }

    fn is_fence(&self, key: &[u8], level: u32) -> bool {
        xxh3_64_with_seed(key, 0xfe4ce).trailing_zeros() >= self.config.bucket_bits + level
    }

    fn merge(&self, state: &mut State, entry: Entry, applied: &mut Applied) {
        assert!(replicated().contains(&entry.key), "a session wrote a local key");
        assert!(!self.config.read_only, "a session wrote to a read-only replica");
        if entry.stamp.hlc > self.config.latest {
            applied.deferred += 1;
            return;
        }
        let hash = entry_hash(&entry);
        if let Some(at) = state.lost.values.iter().position(|key| *key == entry.key) {
            let held = state.entries.get_mut(&entry.key).expect("it is held");
            if held.hash == hash {
                state.lost.values.remove(at);
                *held = Held { entry, hash };
                state.dirty = true;
                applied.applied += 1;
                return;
            }
        }
        let order = |entry: &Entry, hash: u128| (entry.stamp, entry.kind == Kind::Tombstone, hash);
        let held = state.entries.get(&entry.key);
        if held.is_some_and(|held| order(&held.entry, held.hash) >= order(&entry, hash)) {
            applied.covered += 1;
        } else if entry.stamp.hlc <= self.config.horizon {
            applied.refused += 1;
        } else {
            applied.applied += 1;
            state.dirty = true;
            state.lost.values.retain(|key| *key != entry.key);
            state.entries.insert(entry.key.clone(), Held { entry, hash });
        }
    }
}

impl Model {
    /// Makes `range` known: it holds `entries`, and what is left there and stamped above `cut`.
    fn replace(&self, state: &mut State, range: KeyRange, cut: u64, entries: Vec<Entry>) -> Applied {
        assert!(!self.config.read_only, "a session wrote to a read-only replica");
        assert!(cut >= self.config.horizon, "a cut below the horizon");
        let at = state.lost.spans.iter().position(|span| span.covers(&range)).expect("lost");
        let span = state.lost.spans.remove(at);
        let before = KeyRange { start: span.start, end: Some(range.start.clone()) };
        let behind = range.end.clone().map(|start| KeyRange { start, end: span.end });
        let left = [Some(before), behind].into_iter().flatten().filter(|left| !left.is_empty());
        state.lost.spans.splice(at..at, left);
        state.entries.retain(|key, held| !range.contains(key) || held.entry.stamp.hlc > cut);
        let mut applied = Applied::default();
        state.healed += entries.len() as u64;
        for entry in entries {
            assert!(range.contains(&entry.key));
            self.merge(state, entry, &mut applied);
        }
        applied
    }
}

/// Everything but the local keys.
pub fn replicated() -> KeyRange {
    KeyRange { start: vec![LOCAL + 1], end: None }
}

pub fn entry_hash(entry: &Entry) -> u128 {
    let mut input = Vec::new();
    input.extend_from_slice(&(entry.key.len() as u64).to_le_bytes());
    input.extend_from_slice(&entry.key);
    input.extend_from_slice(&entry.stamp.hlc.to_le_bytes());
    input.extend_from_slice(&entry.stamp.node.to_le_bytes());
    input.push(u8::from(entry.kind == Kind::Tombstone));
    input.extend_from_slice(&entry.expires_at.to_le_bytes());
    input.extend_from_slice(&xxh3_128_with_seed(&entry.meta, 1).to_le_bytes());
    input.extend_from_slice(&xxh3_128_with_seed(&entry.value, 2).to_le_bytes());
    xxh3_128_with_seed(&input, 3)
}

fn head(held: &Held) -> Head {
    Head {
        key: held.entry.key.clone(),
        stamp: held.entry.stamp,
        kind: held.entry.kind,
        expires_at: held.entry.expires_at,
        hash: held.hash,
        value_len: held.entry.value.len() as u64,
        is_merged: false,
    }
}

fn held_sum(held: &Held) -> RangeSum {
    let live = held.entry.kind == Kind::Put;
    RangeSum {
        fingerprint: Fingerprint(held.hash),
        live: u64::from(live),
        tombstones: u64::from(!live),
        bytes: (held.entry.key.len() + held.entry.value.len()) as u64,
    }
}

/// The entries of a range, which may be empty or the wrong way round.
fn within<'a>(
    entries: &'a BTreeMap<Vec<u8>, Held>,
    range: &KeyRange,
) -> impl Iterator<Item = (&'a Vec<u8>, &'a Held)> + use<'a> {
    let end = match &range.end {
        Some(end) if *end <= range.start => Bound::Excluded(range.start.clone()),
        Some(end) => Bound::Excluded(end.clone()),
        None => Bound::Unbounded,
    };
    entries.range((Bound::Included(range.start.clone()), end))
}

fn sum(entries: &BTreeMap<Vec<u8>, Held>, range: &KeyRange) -> RangeSum {
    within(entries, range).map(|(_, held)| held_sum(held)).sum()
}

/// Puts as many elements in as the limit allows, at least one; returns the key of the first that did not fit.
fn limited<'a, T>(
    elements: impl Iterator<Item = (&'a Vec<u8>, &'a Held)>,
    limit: ReadLimit,
    len: impl Fn(&Held) -> usize,
    make: impl Fn(&Held) -> T,
) -> (Vec<T>, Option<Vec<u8>>) {
    let mut taken = Vec::new();
    let mut taken_len = 0;
    for (key, held) in elements {
        taken_len += len(held);
        let full = taken.len() >= limit.count as usize || taken_len > limit.bytes as usize;
        if full && !taken.is_empty() {
            return (taken, Some(key.clone()));
        }
        taken.push(make(held));
    }
    (taken, None)
}

fn fetch(state: &State, held: &Held, limit: ReadLimit) -> Fetched {
    let entry = held.entry.clone();
    if state.lost.values.contains(&entry.key) {
        Fetched::Lost(Entry { value: Vec::new(), ..entry })
    } else if entry.value.len() > limit.bytes as usize {
        let value_len = entry.value.len() as u64;
        Fetched::Large { entry: Entry { value: Vec::new(), ..entry }, value_len }
    } else {
        Fetched::Whole(entry)
    }
}

fn fetched_len(held: &Held, limit: ReadLimit) -> usize {
    let value_len = held.entry.value.len();
    held.entry.key.len()
        + held.entry.meta.len()
        + if value_len > limit.bytes as usize { 0 } else { value_len }
}

impl ReplicaReader for Model {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError> {
        let state = self.show()?;
        state.check_known(range)?;
        let mut counts = [0u64; 65];
        for (key, _) in within(&state.entries, range).filter(|(key, _)| **key != range.start) {
            let zeros = xxh3_64_with_seed(key, 0xfe4ce).trailing_zeros();
            if let Some(level) = zeros.checked_sub(self.config.bucket_bits) {
                counts[..=level as usize].iter_mut().for_each(|count| *count += 1);
            }
        }
        let level = match cut {
            Cut::Level(level) => u32::from(level),
            Cut::Pieces(pieces) => (self.config.level_min as usize..64)
                .min_by_key(|&level| {
                    let count = counts[level] + 1;
                    // A single piece is no cut at all, if another one is to be had.
                    (count == 1 && counts[0] > 0, count.abs_diff(u64::from(pieces)))
                })
                .unwrap_or(0) as u32,
        };
        let mut pieces = vec![Piece { start: range.start.clone(), sum: RangeSum::ZERO }];
        let mut more = false;
        let mut starts_len = range.start.len();
        for (key, held) in within(&state.entries, range) {
            if *key != range.start && self.is_fence(key, level) {
                starts_len += key.len();
                let full = pieces.len() >= limit.count as usize || starts_len > limit.bytes as usize;
                if full && pieces.len() >= 2 {
                    more = true;
                } else {
                    pieces.push(Piece { start: key.clone(), sum: RangeSum::ZERO });
                }
            }
            pieces.last_mut().expect("never empty").sum += held_sum(held);
        }
        Ok(Children { level: level as u8, pieces, more })
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError> {
        let state = self.show()?;
        state.check_known(range)?;
        assert!(bounds.is_sorted_by(|a, b| a < b), "bounds rise");
        assert!(bounds.iter().all(|bound| *bound > range.start && range.contains(bound)));
        let mut sums = vec![RangeSum::ZERO; bounds.len() + 1];
        for (key, held) in within(&state.entries, range) {
            sums[bounds.partition_point(|bound| bound <= key)] += held_sum(held);
        }
        Ok(sums)
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError> {
        let state = self.show()?;
        state.check_known(range)?;
        let held: Vec<_> = within(&state.entries, range).collect();
        let each = held.len().div_ceil(pieces as usize).max(1);
        let mut cut: Vec<Piece> = Vec::new();
        for chunk in held.chunks(each) {
            let start = if cut.is_empty() { range.start.clone() } else { chunk[0].0.clone() };
            cut.push(Piece { start, sum: chunk.iter().map(|(_, held)| held_sum(held)).sum() });
        }
        if cut.is_empty() {
            cut.push(Piece { start: range.start.clone(), sum: RangeSum::ZERO });
        }
        Ok(cut)
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads, ReplicaError> {
        let state = self.show()?;
        state.check_known(range)?;
        let (heads, next) = limited(within(&state.entries, range), limit, |held| held.entry.key.len(), head);
        Ok(Heads { heads, next })
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError> {
        let state = self.show()?;
        assert!(keys.is_sorted_by(|a, b| a < b), "keys rise");
        let held = keys.iter().filter_map(|key| state.entries.get_key_value(key));
        let (entries, next) =
            limited(held, limit, |held| fetched_len(held, limit), |held| fetch(&state, held, limit));
        let answered = match next {
            Some(next) => keys.iter().position(|key| *key == next).expect("one of the keys"),
            None => keys.len(),
        };
        Ok(Entries { entries, answered })
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError> {
        let state = self.show()?;
        state.check_known(range)?;
        let (entries, next) = limited(
            within(&state.entries, range),
            limit,
            |held| fetched_len(held, limit),
            |held| fetch(&state, held, limit),
        );
        Ok(RangeEntries { entries, next })
    }

    fn value(
        &self,
        key: &[u8],
        stamp: Stamp,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        let state = self.show()?;
        Ok(state.entries.get(key).filter(|held| held.entry.stamp == stamp).map(|held| {
            let value = &held.entry.value;
            let start = (offset as usize).min(value.len());
            value[start..(start + len as usize).min(value.len())].to_vec()
        }))
    }
}

impl Replica for Model {
    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        let state = self.call()?;
        let _ = horizon;
        Ok(ReplicaInfo {
            set_id: self.config.set_id,
            hash_check: self.config.hash_check,
            node: self.config.node,
            opens: 3,
            durable_seqno: 1_234_567,
            horizon: self.config.horizon,
            root: state.known_sum(),
            replicated: replicated(),
            members_checksum: 0,
            keyspaces_checksum: 0x99aa_bbcc_ddee_ff00,
            read_only: self.config.read_only,
            has_unknown: !state.lost.spans.is_empty(),
        })
    }

    fn apply(&self, entries: Vec<Entry>, _: Origin) -> Result<Applied, ReplicaError> {
        let mut state = self.call()?;
        let mut applied = Applied::default();
        for entry in entries {
            self.merge(&mut state, entry, &mut applied);
        }
        Ok(applied)
    }

    fn begin_value(
        &self,
        entry: Entry,
        value_len: u64,
        _: Origin,
    ) -> Result<Box<dyn ValueWriter>, ReplicaError> {
        drop(self.call()?);
        assert!(entry.value.is_empty());
        Ok(Box::new(Writer { model: self.clone(), entry, value_len }))
    }

    fn lost(&self) -> Result<Lost, ReplicaError> {
        Ok(self.call()?.lost.clone())
    }

    fn healing(&self, range: &KeyRange, cut: u64, limit: ReadLimit) -> Result<Option<Healing>, ReplicaError> {
        let state = self.show()?;
        // From the first key that is known and has its value, up to the first that is not.
        let after = |key: &Vec<u8>| [&key[..], &[0]].concat();
        let mut gaps = state.lost.spans.clone();
        let of_value = |key: &Vec<u8>| KeyRange { start: key.clone(), end: Some(after(key)) };
        gaps.extend(state.lost.values.iter().map(of_value));
        let mut known = range.clone();
        while let Some(gap) = gaps.iter().find(|gap| gap.contains(&known.start)) {
            match gap.end.clone() {
                Some(end) => known.start = end,
                None => return Ok(None),
            }
        }
        let behind = gaps.iter().map(|gap| &gap.start).filter(|start| **start > known.start);
        known.end = behind.chain(range.end.as_ref()).min().cloned();
        if known.is_empty() {
            return Ok(None);
        }
        let (entries, next) = limited(
            within(&state.entries, &known),
            limit,
            |held| fetched_len(held, limit),
            |held| fetch(&state, held, limit),
        );
        let KeyRange { start, end } = known;
        let mut healing = Healing {
            range: KeyRange { start, end: next.or(end) },
            cut: cut.max(self.config.horizon),
            entries: Vec::new(),
            value_len: None,
        };
        for fetched in entries {
            match fetched {
                Fetched::Whole(entry) => healing.entries.push(entry),
                Fetched::Large { entry, value_len } => {
                    healing.range.end = Some(entry.key.clone());
                    if healing.range.is_empty() {
                        healing.range.end = Some(after(&entry.key));
                        (healing.entries, healing.value_len) = (vec![entry], Some(value_len));
                    }
                    break;
                }
                Fetched::Lost(entry) => panic!("{} lies in no part", entry.key.escape_ascii()),
            }
        }
        (self.config.spoils_given)(&mut healing);
        Ok(Some(healing))
    }

    fn heal(&self, mut healing: Healing, _: Origin) -> Result<Applied, ReplicaError> {
        (self.config.spoils_taken)(&mut healing);
        Ok(self.replace(&mut *self.call()?, healing.range, healing.cut, healing.entries))
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        let mut state = self.call()?;
        (state.dirty, state.is_shown) = (false, false);
        state.persists += 1;
        Ok(())
    }

    fn pin(&self, _: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError> {
        drop(self.show()?);
        let mut then = self.fork();
        then.config.fails_at = u64::MAX;
        Ok(Box::new(Pinned { then, now: self.clone() }))
    }
}

/// A model that is compared as of one moment.
struct Pinned {
    then: Model,
    now: Model,
}

impl ReplicaReader for Pinned {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError> {
        drop(self.now.call()?);
        self.then.children(range, cut, limit)
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError> {
        drop(self.now.call()?);
        self.then.sums(range, bounds)
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError> {
        drop(self.now.call()?);
        self.then.split(range, pieces)
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads, ReplicaError> {
        drop(self.now.call()?);
        self.then.heads(range, limit)
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError> {
        self.now.entries(keys, limit)
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError> {
        self.now.entries_in(range, limit)
    }

    fn value(
        &self,
        key: &[u8],
        stamp: Stamp,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        self.now.value(key, stamp, offset, len)
    }
}

struct Writer {
    model: Model,
    entry: Entry,
    value_len: u64,
}

impl ValueWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<(), ReplicaError> {
        drop(self.model.call()?);
        self.entry.value.extend_from_slice(bytes);
        Ok(())
    }

    fn heal(self: Box<Self>, range: KeyRange, cut: u64) -> Result<Applied, ReplicaError> {
        assert_eq!(self.entry.value.len() as u64, self.value_len, "healed when whole");
        let mut state = self.model.call()?;
        Ok(self.model.replace(&mut state, range, cut, vec![self.entry]))
    }

    fn commit(self: Box<Self>) -> Result<Applied, ReplicaError> {
        assert_eq!(self.entry.value.len() as u64, self.value_len, "committed when whole");
        let mut state = self.model.call()?;
        let mut applied = Applied::default();
        self.model.merge(&mut state, self.entry, &mut applied);
        Ok(applied)
    }
}

/// A small entry for tests.
pub fn entry(key: impl Into<Vec<u8>>, hlc: u64, node: u64, value: impl Into<Vec<u8>>) -> Entry {
    Entry {
        key: key.into(),
        stamp: Stamp { hlc, node },
        kind: Kind::Put,
        expires_at: 0,
        meta: Vec::new(),
        value: value.into(),
    }
}

/// What differs between two models, counted from their contents.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    pub only_left: u64,
    pub only_right: u64,
    pub newer_left: u64,
    pub newer_right: u64,
    /// Keys whose two versions have the same clock: both travel.
    pub ties: u64,
}

impl Truth {
    pub fn of(left: &Model, right: &Model) -> Truth {
        let (left, right) = (left.contents(), right.contents());
        let mut truth = Truth::default();
        for (key, held) in left.iter().filter(|(key, _)| replicated().contains(key)) {
            match right.get(key) {
                None => truth.only_left += 1,
                Some(other) if other.hash == held.hash => {}
                Some(other) if other.entry.stamp.hlc == held.entry.stamp.hlc => truth.ties += 1,
                Some(other) if other.entry.stamp < held.entry.stamp => truth.newer_left += 1,
                Some(_) => truth.newer_right += 1,
            }
        }
        let only_right = right.keys().filter(|key| replicated().contains(key) && !left.contains_key(*key));
        truth.only_right = only_right.count() as u64;
        truth
    }

    /// How many entries must travel: each that differs once, and both versions of a tie.
    pub fn entries_to_send(&self) -> u64 {
        self.only_left + self.only_right + self.newer_left + self.newer_right + 2 * self.ties
    }
}

/// Runs one session with options for each side, in turns.
pub fn run_sessions(
    left: &Model,
    left_options: Options,
    right: &Model,
    right_options: Options,
) -> (Outcome, Outcome) {
    let mut cable = Cable::new(left_options, right_options);
    while !cable.step(left, right, |_| true) {}
    cable.outcomes()
}

/// Two sessions and what lies between them, moved on by hand.
pub struct Cable {
    pumps: [Pump; 2],
    outcomes: [Option<Outcome>; 2],
    cut: bool,
}

impl Cable {
    pub fn new(left: Options, right: Options) -> Cable {
        let now = Duration::ZERO;
        let sessions = [Session::initiator(left, now), Session::responder(right, now)];
        Cable { pumps: sessions.map(Pump::new), outcomes: [None, None], cut: false }
    }

    /// Moves both sides on by one frame each; `pass` says which frames arrive, and the first that does not cuts the
    /// connection for good. Whether both sessions are over.
    pub fn step(&mut self, left: &Model, right: &Model, mut pass: impl FnMut(&[u8]) -> bool) -> bool {
        for (side, model) in [left, right].into_iter().enumerate() {
            while self.outcomes[side].is_none() {
                match self.pumps[side].step(model, Duration::ZERO) {
                    Step::Send(frame) => {
                        assert!(!model.lock().is_shown, "a frame tells what need not be durable");
                        self.cut = self.cut || !pass(&frame);
                        if !self.cut {
                            self.pumps[1 - side].handle(Input::Frame(frame), Duration::ZERO);
                        }
                        break;
                    }
                    Step::Tell(_) => {}
                    Step::Receive if self.cut || self.outcomes[1 - side].is_some() => {
                        self.pumps[side].handle(Input::Closed, Duration::ZERO);
                    }
                    Step::Receive => break,
                    Step::Ended(outcome) => self.outcomes[side] = Some(*outcome),
                }
            }
        }
        self.outcomes.iter().all(Option::is_some)
    }

    pub fn memory_len(&self) -> usize {
        self.pumps.iter().map(Pump::memory_len).max().unwrap_or(0)
    }

    pub fn outcomes(self) -> (Outcome, Outcome) {
        self.outcomes.map(|outcome| outcome.expect("both sessions are over")).into()
    }
}
