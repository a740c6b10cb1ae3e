//! A store under test beside what it should hold: entries from peers, long values, writes of its own user, reopening.
//!
//! Easy to get wrong: what the user of a store writes gets its stamp from the store, so it is read back before it can be
//! expected.

use super::expected::{Expected, Held};
use super::random::Random;
use super::reads::{Reads, check_root};
use super::rule::{Checked, Rule, answer, short};
use super::subject::{EntryHasher, Subject};
use crate::replica::{Applied, Fetched, Origin, ReadLimit, Replica, ReplicaInfo, ReplicaReader};
use crate::types::{Entry, KeyRange, Kind, Stamp};

/// A peer that the entries come from.
pub(super) const ORIGIN: Origin = Origin { node: 77, horizon: 0 };
/// On the hybrid clock.
const SECOND: u64 = 1000 << 16;
/// Room for one entry, whatever its size.
const ONE: ReadLimit = ReadLimit { count: 1, bytes: u32::MAX };

/// A store, and what it should hold.
pub(super) struct Trial<S> {
    pub(super) subject: S,
    pub(super) expected: Expected,
    pub(super) info: ReplicaInfo,
    pub(super) hasher: EntryHasher,
}

impl<S: Subject> Trial<S> {
    /// Begins with a store that should be empty.
    pub(super) fn new(subject: S) -> Checked<Trial<S>> {
        let info = answer("info", subject.replica().info(None))?;
        Rule::Fresh.holds(info.root.count() == 0, || format!("its root is {:?}", info.root))?;
        let start = subject.key_start();
        Rule::Fresh.holds(info.replicated.contains(&start), || {
            format!("keys that begin with {start:?} are outside of {:?}", info.replicated)
        })?;
        let hasher = subject.hasher();
        Ok(Trial { subject, expected: Expected::default(), info, hasher })
    }

    pub(super) fn replica(&self) -> &dyn Replica {
        self.subject.replica()
    }

    /// Changes the store in one of the ways in which it can be changed, and looks at what that did.
    pub(super) fn change(&mut self, random: &mut Random) -> Checked {
        match random.below(12) {
            0..6 => {
                let count = random.one_of([1, 3, 30]);
                self.apply((0..count).map(|_| random.entry()).collect())?;
            }
            6 | 7 => self.put(random)?,
            8 => self.delete(random)?,
            9 => self.stage(random)?,
            10 => self.abandon(random)?,
            _ => self.defer(random)?,
        }
        self.check_root()
    }

    /// Entries from a peer.
    pub(super) fn apply(&mut self, entries: Vec<Entry>) -> Checked {
        let (count, before) = (entries.len() as u64, self.expected.len());
        let mut seen = 0;
        for entry in &entries {
            let hash = (self.hasher)(entry);
            seen += u64::from(self.expected.merge(Held { entry: entry.clone(), hash }));
        }
        let new = (self.expected.len() - before) as u64;
        let applied = answer("apply", self.replica().apply(entries, ORIGIN))?;
        // Of several versions of one key in a call, those in between may count as taken or as covered.
        let is_true = (new..=seen).contains(&applied.applied) && (seen == 0) == (applied.applied == 0);
        let adds_up = counted(&applied) == count && applied.refused + applied.deferred == 0;
        Rule::Counted
            .holds(is_true && adds_up, || format!("{applied:?} of {count} entries, {seen} of them newer"))
    }

    fn put(&mut self, random: &mut Random) -> Checked {
        let (key, len) = (random.key(), random.one_of([0, 9, 200]));
        let value = random.bytes(len);
        answer("put", self.subject.put(&key, &value))?;
        self.take_local(&key, Kind::Put, &value)
    }

    fn delete(&mut self, random: &mut Random) -> Checked {
        let key = random.key();
        answer("delete", self.subject.delete(&key))?;
        self.take_local(&key, Kind::Tombstone, &[])
    }

    /// Expects what the store's user wrote, stamped as the store did.
    fn take_local(&mut self, key: &[u8], kind: Kind, value: &[u8]) -> Checked {
        let entry = self.entry(key)?;
        let Some(entry) = entry else {
            // Nobody needs a tombstone of what nobody held.
            let is_fine = kind == Kind::Tombstone && self.expected.get(key).is_none();
            return Rule::LocalWrite.holds(is_fine, || format!("{} is not there", short(&key)));
        };
        let is_written = (entry.kind, entry.value.as_slice()) == (kind, value);
        Rule::LocalWrite.holds(is_written, || format!("{} is {}", short(&key), short(&entry)))?;
        Rule::LocalWrite.same("the node", &entry.stamp.node, &self.info.node)?;
        let before = self.expected.get(key).map(|held| held.entry.stamp);
        Rule::LocalWrite.holds(before < Some(entry.stamp), || {
            format!("{:?} does not come after {before:?}", entry.stamp)
        })?;
        let hash = (self.hasher)(&entry);
        self.expected.set(Held { entry, hash });
        Ok(())
    }

    fn entry(&self, key: &[u8]) -> Checked<Option<Entry>> {
        let found = answer("entries", self.reader()?.entries(&[key.to_vec()], ONE))?;
        Ok(found.entries.into_iter().next().map(|fetched| match fetched {
            Fetched::Whole(entry) | Fetched::Large { entry, .. } | Fetched::Lost(entry) => entry,
        }))
    }

    /// A value in parts, which is newer or older than what is held.
    fn stage(&mut self, random: &mut Random) -> Checked {
        let entry = random.entry();
        let len = 1 + random.below(5000);
        let whole = Entry { kind: Kind::Put, value: random.bytes(len), ..entry };
        let hash = (self.hasher)(&whole);
        let is_newer = self.expected.merge(Held { entry: whole.clone(), hash });
        let mut writer = answer("begin_value", self.begin(&whole))?;
        for part in whole.value.chunks(1 + random.below(len) as usize) {
            answer("append", writer.append(part))?;
        }
        let applied = answer("commit", writer.commit())?;
        let expected =
            Applied { applied: is_newer.into(), covered: (!is_newer).into(), ..Applied::default() };
        Rule::StagedValue.same("what was applied", &applied, &expected)?;
        match self.entry(&whole.key)? {
            Some(entry) if !is_newer || entry == whole => Ok(()),
            other => {
                Err(Rule::StagedValue.broken(format!("{} is held after {}", short(&other), short(&whole))))
            }
        }
    }

    fn begin(
        &self,
        whole: &Entry,
    ) -> Result<Box<dyn crate::replica::ValueWriter>, crate::error::ReplicaError> {
        let entry = Entry { value: Vec::new(), ..whole.clone() };
        self.replica().begin_value(entry, whole.value.len() as u64, ORIGIN)
    }

    /// A value in parts that do not all come.
    fn abandon(&mut self, random: &mut Random) -> Checked {
        let stamp = Stamp { hlc: random.entry().stamp.hlc + SECOND, node: 1 };
        let whole = Entry { kind: Kind::Put, stamp, value: random.bytes(100), ..random.entry() };
        let before = self.entry(&whole.key)?;
        let mut writer = answer("begin_value", self.begin(&whole))?;
        if random.one_in(2) {
            answer("append", writer.append(&whole.value[..50]))?;
        }
        drop(writer);
        Rule::AbandonedValue.same("the key's entry", &self.entry(&whole.key)?, &before)
    }

    /// An entry of a peer whose clock is far off.
    fn defer(&mut self, random: &mut Random) -> Checked {
        let entry = random.entry();
        let stamp = Stamp { hlc: u64::MAX - random.one_of([0, 1, 1 << 62]), ..entry.stamp };
        let before = self.entry(&entry.key)?;
        let key = entry.key.clone();
        let applied = answer("apply", self.replica().apply(vec![Entry { stamp, ..entry }], ORIGIN))?;
        let expected = Applied { deferred: 1, ..Applied::default() };
        Rule::Deferred.same(&format!("what became of {stamp:?}"), &applied, &expected)?;
        Rule::Deferred.same("the key's entry", &self.entry(&key)?, &before)
    }

    /// An entry of a peer whose clock is a little ahead; the user's next write of the key is newer all the same.
    pub(super) fn overtake(&mut self, random: &mut Random) -> Checked {
        let key = random.key();
        answer("put", self.subject.put(&key, b"first"))?;
        self.take_local(&key, Kind::Put, b"first")?;
        let Some(Held { entry, .. }) = self.expected.get(&key).cloned() else { return Ok(()) };
        let stamp = Stamp { hlc: entry.stamp.hlc + 10 * SECOND, node: 1 };
        self.apply(vec![Entry { stamp, value: b"ahead".to_vec(), ..entry }])?;
        self.check_root()?;
        answer("put", self.subject.put(&key, b"last"))?;
        self.take_local(&key, Kind::Put, b"last")
    }

    /// Has the store lose what it can of a range.
    pub(super) fn lose(self, range: &KeyRange) -> Checked<Trial<S>> {
        let Trial { subject, expected, info, hasher } = self;
        answer("persist", subject.replica().persist())?;
        drop(hasher);
        let subject = answer("lose", subject.lose(range))?;
        let hasher = subject.hasher();
        Ok(Trial { subject, expected, info, hasher })
    }

    /// Closes the store and opens it again.
    pub(super) fn reopen(self) -> Checked<Trial<S>> {
        self.check_root()?;
        let Trial { subject, expected, info: before, hasher } = self;
        answer("persist", subject.replica().persist())?;
        // It may hold the store open.
        drop(hasher);
        let subject = answer("reopen", subject.reopen())?;
        let info = answer("info", subject.replica().info(None))?;
        let is_same =
            (info.set_id, info.hash_check, info.node) == (before.set_id, before.hash_check, before.node);
        Rule::Identity.holds(is_same, || format!("{info:?} was {before:?}"))?;
        let counts = info.opens >= before.opens && info.durable_seqno >= before.durable_seqno;
        Rule::Reopened.holds(counts, || format!("{info:?} after {before:?}"))?;
        let hasher = subject.hasher();
        let reopened = Trial { subject, expected, info, hasher };
        let seen = reopened.check_root().and_then(|()| reopened.check_users_reads());
        seen.map_err(|broken| Rule::Reopened.broken(broken.detail))?;
        Ok(reopened)
    }

    pub(super) fn check_root(&self) -> Checked {
        check_root(self.replica(), &self.expected)
    }

    /// Asks for the root, and everything of one range.
    pub(super) fn check_reads(&self, random: &mut Random) -> Checked {
        self.check_root()?;
        let range = random.range(&self.expected, &self.info.replicated);
        Reads { reader: &*self.reader()?, expected: &self.expected, range }.check(random)
    }

    /// What a session reads that begins now.
    pub(super) fn reader(&self) -> Checked<Box<dyn ReplicaReader>> {
        answer("pin", self.replica().pin(0))
    }

    /// What the store's user sees.
    pub(super) fn check_users_reads(&self) -> Checked {
        let seen = answer("read_all", self.subject.read_all())?;
        let mut pairs = seen.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let mut expected = self.expected.visible();
        loop {
            match (pairs.next(), expected.next()) {
                (None, None) => return Ok(()),
                (seen, expected) => Rule::UserReads.same("what a user reads", &seen, &expected)?,
            }
        }
    }
}

fn counted(applied: &Applied) -> u64 {
    let Applied { applied, covered, refused, deferred } = applied;
    [covered, refused, deferred].into_iter().fold(*applied, |sum, count| sum.saturating_add(*count))
}
