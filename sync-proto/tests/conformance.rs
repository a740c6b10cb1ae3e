//! The conformance suite passes the model, and notices what is planted in it: bugs that stores have had, one at a time.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_proto::conformance::{EntryHasher, Failure, Modelled, Rule, Subject, check};
use sync_proto::{
    Applied, Children, Cut, Entries, Entry, Fetched, Fingerprint, Heads, Healing, KeyRange, Kind, Origin,
    Piece, RangeEntries, RangeSum, ReadLimit, Replica, ReplicaError, ReplicaInfo, ReplicaReader, Stamp,
    ValueWriter,
};

#[test]
fn the_model_conforms() {
    check(0..1_000, Modelled::new).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn what_the_other_tests_of_sessions_use_conforms() {
    check(0..600, |node| losing(node, |_| ())).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_bug_that_is_planted_into_healing_is_noticed_by_the_rule_that_it_breaks() {
    type Plant = fn(&mut common::Config);
    let bugs: [(&str, Plant, Rule); 5] = [
        ("gives no tombstones", |config| config.spoils_given = forget_tombstones, Rule::Healing),
        ("gives the part that fits for the whole", |config| config.spoils_given = widen, Rule::Healing),
        ("gives by an old cut", |config| config.spoils_given = |healing| healing.cut = 0, Rule::Healing),
        (
            "forgets what heals",
            |config| config.spoils_taken = |healing| healing.entries.clear(),
            Rule::Healed,
        ),
        (
            "drops what is newer",
            |config| config.spoils_taken = |healing| healing.cut = u64::MAX,
            Rule::Healed,
        ),
    ];
    for (bug, plant, rule) in bugs {
        let found = check(0..600, |node| losing(node, plant));
        let failure = found.expect_err(bug);
        assert_eq!(failure.rule, rule, "a store that {bug}: {failure}");
    }
}

fn forget_tombstones(healing: &mut Healing) {
    healing.entries.retain(|entry| entry.kind == Kind::Put);
}

fn widen(healing: &mut Healing) {
    healing.range.end.iter_mut().for_each(|end| end.push(0xff));
}

/// A store that goes on after damage.
fn losing(node: u64, change: impl Fn(&mut common::Config)) -> common::Model {
    let mut model = common::Model::new(node);
    model.config.latest = 1 << 57;
    change(&mut model.config);
    model
}

#[test]
fn every_planted_bug_is_noticed_by_the_rule_that_it_breaks() {
    for (bug, rules) in BUGS {
        let found = check(0..600, |node| Planted::new(node, *bug));
        match found {
            Err(Failure { rule, .. }) if rules.contains(&rule) => {}
            Err(failure) => panic!("{bug:?} is taken for something else: {failure}"),
            Ok(()) => panic!("{bug:?} goes unnoticed"),
        }
    }
}

#[test]
fn a_failure_comes_again_by_its_seed() {
    let look =
        |seeds| check(seeds, |node| Planted::new(node, Bug::SumMissesOverwrites)).expect_err("planted");
    let failure = look(0..600);
    assert_eq!(look(failure.seed..failure.seed + 1), failure);
    assert!(failure.to_string().contains(&format!("seed {}", failure.seed)), "{failure}");
}

impl Subject for common::Model {
    fn replica(&self) -> &dyn Replica {
        self
    }

    fn hasher(&self) -> EntryHasher {
        Arc::new(common::entry_hash)
    }

    fn key_start(&self) -> Vec<u8> {
        vec![common::LOCAL + 1]
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ReplicaError> {
        let hlc = self.contents().values().map(|held| held.entry.stamp.hlc).max().unwrap_or_default() + 1;
        common::Model::put(self, common::entry(key, hlc, self.config.node, value));
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), ReplicaError> {
        Subject::put(self, key, &[])?;
        let entry = self.contents().remove(key).expect("it was just put").entry;
        common::Model::put(self, Entry { kind: Kind::Tombstone, ..entry });
        Ok(())
    }

    fn read_all(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReplicaError> {
        let puts = self.contents().into_values().filter(|held| held.entry.kind == Kind::Put);
        Ok(puts.map(|held| (held.entry.key, held.entry.value)).collect())
    }

    fn lose(self, range: &KeyRange) -> Result<common::Model, ReplicaError> {
        // Of some, older versions may come to light.
        common::Model::lose(&self, range.clone(), |entry| entry.stamp.hlc % 3 == 0);
        Ok(self)
    }

    fn reopen(self) -> Result<common::Model, ReplicaError> {
        Ok(self)
    }
}

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    RootIsStale,
    SumMissesOverwrites,
    PieceIsLost,
    PieceStartsLate,
    CutForgetsMore,
    SplitIsWhole,
    SplitIsLopsided,
    HeadsSkipTombstones,
    HeadsLoseTheLast,
    HeadsIgnoreLimits,
    HeadsHaveNoNext,
    EntriesAnswerTooMuch,
    LongValuesComeWhole,
    RangeEndIsIncluded,
    ValueOfAnyVersion,
    ApplyGoesBackwards,
    ApplyIgnoresNodes,
    ApplyForgets,
    ApplyCountsEverything,
    ApplyDropsTombstones,
    FutureIsTaken,
    HashForgetsExpiry,
    HashIsSeparate,
    LocalClockIsBehind,
    DeleteForgets,
    AbandonedValueIsKept,
    ReopeningForgets,
    SameNode,
    StagedValueIsForgotten,
    CutHidesTooMuch,
    SendsAsOfThePin,
    ComparesAsOfNow,
    UsersMissAKey,
    ChecksumWithoutTable,
    SaysReadOnly,
}

const BUGS: &[(Bug, &[Rule])] = &[
    (Bug::RootIsStale, &[Rule::Root]),
    (Bug::SumMissesOverwrites, &[Rule::Sums, Rule::ChildrenSum]),
    (Bug::PieceIsLost, &[Rule::ChildrenSum]),
    (Bug::PieceStartsLate, &[Rule::ChildrenCover]),
    (Bug::CutForgetsMore, &[Rule::ChildrenContinue]),
    (Bug::SplitIsWhole, &[Rule::SplitDivides]),
    (Bug::SplitIsLopsided, &[Rule::SplitDivides]),
    (Bug::HeadsSkipTombstones, &[Rule::Heads]),
    (Bug::HeadsLoseTheLast, &[Rule::Heads]),
    (Bug::HeadsIgnoreLimits, &[Rule::Limits]),
    (Bug::HeadsHaveNoNext, &[Rule::Heads]),
    (Bug::EntriesAnswerTooMuch, &[Rule::Entries]),
    (Bug::LongValuesComeWhole, &[Rule::Limits]),
    (Bug::RangeEndIsIncluded, &[Rule::EntriesIn]),
    (Bug::ValueOfAnyVersion, &[Rule::Value]),
    (Bug::ApplyGoesBackwards, &[Rule::Counted, Rule::Root]),
    (Bug::ApplyIgnoresNodes, &[Rule::Counted, Rule::Root]),
    (Bug::ApplyForgets, &[Rule::Counted, Rule::Root]),
    (Bug::ApplyCountsEverything, &[Rule::Counted]),
    (Bug::ApplyDropsTombstones, &[Rule::Root]),
    (Bug::FutureIsTaken, &[Rule::Deferred]),
    (Bug::HashForgetsExpiry, &[Rule::EntryHash]),
    (Bug::HashIsSeparate, &[Rule::EntryHash]),
    (Bug::LocalClockIsBehind, &[Rule::LocalWrite]),
    (Bug::DeleteForgets, &[Rule::LocalWrite]),
    (Bug::AbandonedValueIsKept, &[Rule::AbandonedValue]),
    (Bug::ReopeningForgets, &[Rule::Reopened]),
    (Bug::SameNode, &[Rule::Identity]),
    (Bug::StagedValueIsForgotten, &[Rule::StagedValue]),
    (Bug::CutHidesTooMuch, &[Rule::Cut]),
    (Bug::SendsAsOfThePin, &[Rule::Pin]),
    (Bug::ComparesAsOfNow, &[Rule::Pin]),
    (Bug::UsersMissAKey, &[Rule::UserReads, Rule::Reopened]),
    (Bug::ChecksumWithoutTable, &[Rule::Table]),
    (Bug::SaysReadOnly, &[Rule::SessionEnds]),
];

/// The model with a bug.
#[derive(Clone)]
struct Planted {
    node: u64,
    inner: Modelled,
    bug: Bug,
}

impl Planted {
    fn new(node: u64, bug: Bug) -> Planted {
        let node = if bug == Bug::SameNode { 1 } else { node };
        Planted { node, inner: Modelled::new(node), bug }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn model(&self) -> &dyn Replica {
        self.inner.replica()
    }

    /// The sum of a range that has never heard of second versions.
    fn stale(&self, sum: RangeSum) -> RangeSum {
        if self.is(Bug::SumMissesOverwrites) && sum.count() > 2 {
            RangeSum { fingerprint: Fingerprint(1), ..sum }
        } else {
            sum
        }
    }
}

/// What a session reads of it.
struct PlantedReader {
    planted: Planted,
    /// `None` to read what there is at the time.
    pinned: Option<Box<dyn ReplicaReader>>,
}

impl PlantedReader {
    fn read<T>(&self, read: impl FnOnce(&dyn ReplicaReader) -> T) -> T {
        match &self.pinned {
            Some(pinned) => read(&**pinned),
            None => read(&*self.planted.model().pin(0).expect("a model")),
        }
    }
}

impl ReplicaReader for PlantedReader {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError> {
        let mut children = self.read(|reader| reader.children(range, cut, limit))?;
        let last = children.pieces.len() - 1;
        if self.planted.is(Bug::PieceIsLost) && last > 1 {
            children.pieces.remove(1);
        }
        if self.planted.is(Bug::PieceStartsLate) {
            children.pieces[0].start.push(0);
        }
        if self.planted.is(Bug::CutForgetsMore) {
            children.more = false;
        }
        Ok(children)
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError> {
        let sums = self.read(|reader| reader.sums(range, bounds))?;
        Ok(sums.into_iter().map(|sum| self.planted.stale(sum)).collect())
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError> {
        match self.planted.bug {
            Bug::SplitIsWhole => self.read(|reader| reader.split(range, 1)),
            Bug::SplitIsLopsided => {
                let mut split = self.read(|reader| reader.split(range, 256))?;
                while split.len() > pieces as usize {
                    let sum = split.pop().map(|piece| piece.sum).unwrap_or_default();
                    split.last_mut().expect("there are more than were asked for").sum += sum;
                }
                Ok(split)
            }
            _ => self.read(|reader| reader.split(range, pieces)),
        }
    }

    fn heads(&self, range: &KeyRange, mut limit: ReadLimit) -> Result<Heads, ReplicaError> {
        if self.planted.is(Bug::HeadsIgnoreLimits) {
            limit.count = u32::MAX;
        }
        let mut heads = self.read(|reader| reader.heads(range, limit))?;
        match self.planted.bug {
            Bug::HeadsSkipTombstones => heads.heads.retain(|head| head.kind == Kind::Put),
            Bug::HeadsLoseTheLast if heads.next.is_none() => drop(heads.heads.pop()),
            Bug::HeadsHaveNoNext => heads.next = None,
            _ => {}
        }
        Ok(heads)
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError> {
        let mut entries = self.read(|reader| reader.entries(keys, limit))?;
        if self.planted.is(Bug::EntriesAnswerTooMuch) {
            entries.answered = keys.len();
        }
        Ok(entries)
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError> {
        let mut range = range.clone();
        if let Some(end) = range.end.as_mut().filter(|_| self.planted.is(Bug::RangeEndIsIncluded)) {
            end.push(0);
        }
        let mut entries = self.read(|reader| reader.entries_in(&range, limit))?;
        if self.planted.is(Bug::LongValuesComeWhole) {
            for fetched in &mut entries.entries {
                if let Fetched::Large { entry, value_len } = fetched {
                    let value =
                        self.read(|reader| reader.value(&entry.key, entry.stamp, 0, *value_len as u32))?;
                    *fetched = Fetched::Whole(Entry { value: value.unwrap_or_default(), ..entry.clone() });
                }
            }
        }
        Ok(entries)
    }

    fn value(
        &self,
        key: &[u8],
        mut stamp: Stamp,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        if self.planted.is(Bug::ValueOfAnyVersion) {
            let found =
                self.read(|reader| reader.entries(&[key.to_vec()], ReadLimit { count: 1, bytes: u32::MAX }))?;
            stamp = found.entries.first().map_or(stamp, |fetched| fetched.entry().stamp);
        }
        self.read(|reader| reader.value(key, stamp, offset, len))
    }
}

impl Replica for Planted {
    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        let mut info = self.model().info(horizon)?;
        match self.bug {
            Bug::RootIsStale => info.root = RangeSum::ZERO,
            Bug::ChecksumWithoutTable => info.members_checksum = 1,
            Bug::SaysReadOnly => info.read_only = true,
            _ => {}
        }
        Ok(info)
    }

    fn apply(&self, mut entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError> {
        let count = entries.len() as u64;
        match self.bug {
            Bug::ApplyGoesBackwards => {
                // Arriving is writing.
                for entry in entries.iter().filter(|entry| entry.kind == Kind::Put) {
                    self.inner.put(&entry.key, &entry.value)?;
                }
            }
            Bug::ApplyIgnoresNodes => entries.iter_mut().for_each(|entry| entry.stamp.node = 1),
            Bug::ApplyForgets => drop(entries.pop()),
            Bug::ApplyDropsTombstones => entries.retain(|entry| entry.kind == Kind::Put),
            Bug::FutureIsTaken => {
                entries.iter_mut().for_each(|entry| entry.stamp.hlc = entry.stamp.hlc.min(1 << 57))
            }
            _ => {}
        }
        let missing = count - entries.len() as u64;
        let applied = self.model().apply(entries, origin)?;
        Ok(match self.bug {
            Bug::ApplyCountsEverything => Applied { applied: count, ..Applied::default() },
            _ => Applied { applied: applied.applied + missing, ..applied },
        })
    }

    fn begin_value(
        &self,
        entry: Entry,
        len: u64,
        origin: Origin,
    ) -> Result<Box<dyn ValueWriter>, ReplicaError> {
        if self.is(Bug::AbandonedValueIsKept) {
            let _ = self.model().apply(vec![entry.clone()], origin)?;
        }
        if self.is(Bug::StagedValueIsForgotten) {
            return Planted::new(self.node, self.bug).model().begin_value(entry, len, origin);
        }
        self.model().begin_value(entry, len, origin)
    }

    fn pin(&self, cut: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError> {
        let other = Planted::new(self.node, self.bug);
        let planted = match self.bug {
            Bug::CutHidesTooMuch if cut > 0 => other,
            Bug::SendsAsOfThePin => {
                let everything = ReadLimit { count: u32::MAX, bytes: u32::MAX };
                let held = self.model().pin(0)?.entries_in(&KeyRange::all(), everything)?;
                let entries = held.entries.iter().map(|fetched| fetched.entry().clone()).collect();
                let _ = other.model().apply(entries, Origin { node: self.node, horizon: 0 })?;
                other
            }
            _ => self.clone(),
        };
        let pinned = (!self.is(Bug::ComparesAsOfNow)).then(|| planted.model().pin(cut)).transpose()?;
        Ok(Box::new(PlantedReader { planted, pinned }))
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        self.model().persist()
    }
}

impl Subject for Planted {
    fn replica(&self) -> &dyn Replica {
        self
    }

    fn hasher(&self) -> EntryHasher {
        let hasher = self.inner.hasher();
        match self.bug {
            Bug::HashForgetsExpiry => {
                Arc::new(move |entry| hasher(&Entry { expires_at: 0, ..entry.clone() }))
            }
            Bug::HashIsSeparate => Arc::new(move |entry| {
                let Entry { stamp, kind, .. } = *entry;
                let key = Entry {
                    stamp,
                    kind,
                    expires_at: 0,
                    meta: Vec::new(),
                    value: Vec::new(),
                    ..entry.clone()
                };
                hasher(&key).wrapping_add(hasher(&Entry { key: Vec::new(), ..entry.clone() }))
            }),
            _ => hasher,
        }
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ReplicaError> {
        if self.is(Bug::LocalClockIsBehind) {
            let stamp = Stamp { hlc: 1 << 50, node: self.node };
            let entry = Entry {
                key: key.to_vec(),
                stamp,
                kind: Kind::Put,
                expires_at: 0,
                meta: Vec::new(),
                value: value.to_vec(),
            };
            return self.model().apply(vec![entry], Origin { node: self.node, horizon: 0 }).map(|_| ());
        }
        self.inner.put(key, value)
    }

    fn delete(&self, key: &[u8]) -> Result<(), ReplicaError> {
        if self.is(Bug::DeleteForgets) { Ok(()) } else { self.inner.delete(key) }
    }

    fn read_all(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReplicaError> {
        let mut all = self.inner.read_all()?;
        if self.is(Bug::UsersMissAKey) {
            all.pop_first();
        }
        Ok(all)
    }

    fn reopen(self) -> Result<Planted, ReplicaError> {
        if self.is(Bug::ReopeningForgets) { Ok(Planted::new(self.node, self.bug)) } else { Ok(self) }
    }
}
