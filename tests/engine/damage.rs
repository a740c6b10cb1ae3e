//! Damaged run blocks and large values, against a `BTreeMap`: whatever a store has lost it says that it does not know,
//! everything else it goes on answering rightly, through flushes, merges, restarts and more damage; and healed from a replica
//! it holds what the replica holds.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine damage` runs that one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sync_proto::{Entry, ReadLimit, Replica};
use syncline::replica::DbReplica;
use syncline::vfs::Vfs;
use syncline::{Db, Error, Health, KeyRange, ScrubOptions, ScrubStep};

use crate::common::{Random, World, seeds};
use crate::converge::session;

const DIR: &str = "/db";

struct Run {
    world: World,
    random: Random,
    db: Option<Db>,
    model: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys written since the last damage.
    fresh: BTreeSet<Vec<u8>>,
    keys: u64,
}

#[test]
fn a_damaged_store_never_answers_wrongly_and_heals_from_its_twin() {
    let (mut healed, mut values, mut exact, mut inexact) = (0, 0, 0, 0);
    for seed in seeds(300) {
        let outcome = std::panic::catch_unwind(|| Run::new(seed).play());
        match outcome {
            Ok(reached) => {
                healed += reached.0;
                values += reached.1;
                exact += reached.2;
                inexact += reached.0 - reached.2;
            }
            Err(panic) => {
                eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine damage");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if seeds(300).count() == 300 {
        assert!(
            healed > 200 && values > 400 && exact > 50 && inexact > 50,
            "{healed} {values} {exact} {inexact}"
        );
    }
}

impl Run {
    fn new(seed: u64) -> Run {
        let world = World::new(seed);
        let db = world.builder(DIR).create().expect("a new store");
        let mut random = Random::new(seed);
        let keys = 30 + random.below(1_500);
        Run { world, random, db: Some(db), model: BTreeMap::new(), fresh: BTreeSet::new(), keys }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open")
    }

    /// Numbers of spans and of values that were healed, and of spans that were exactly as before.
    fn play(&mut self) -> (u64, u64, u64) {
        for _ in 0..200 + self.random.below(500) {
            self.write();
        }
        let twin_world = World::new(self.world.seed + 1_000_000);
        let twin = twin_world.builder("/twin").create_replica(&self.db().replica_set()).expect("a twin");
        let mut stream = Vec::new();
        self.db().export(&mut stream, |_| true).expect("export");
        let _ = twin.import(&stream[..], |_| true).expect("import");
        twin.flush().expect("flush");
        assert_eq!(self.db().root().expect("root"), twin.root().expect("root"));
        let mut reached = (0, 0, 0);
        for _ in 0..1 + self.random.below(3) {
            let is_quiet = self.random.chance(40);
            self.damage();
            for _ in 0..if is_quiet { 10 } else { 150 } {
                self.act(is_quiet);
            }
            self.know_all();
            self.check_all();
            let healed = self.heal(&twin, is_quiet);
            reached = (reached.0 + healed.0, reached.1 + healed.1, reached.2 + healed.2);
            assert_eq!(self.db().health(), Health::Good);
            self.verify();
            if is_quiet {
                assert_eq!(self.db().root().expect("root"), twin.root().expect("root"));
            }
            self.check_all();
            let _ = session(self.db(), &twin, self.world.seed, u64::MAX);
            assert_eq!(self.db().root().expect("root"), twin.root().expect("root"));
            self.reopen();
            if self.random.chance(50) {
                self.db().compact(|_| true).expect("compact");
                assert_eq!(self.db().root().expect("root"), twin.root().expect("root"));
                self.verify();
            }
            self.check_all();
        }
        reached
    }

    fn write(&mut self) {
        let key = self.random.key(self.keys);
        if self.random.chance(20) {
            self.db().delete(&key).expect("delete");
            self.model.remove(&key);
        } else {
            let value = self.random.value();
            self.db().put(&key, &value).expect("put");
            self.model.insert(key.clone(), value);
        }
        self.fresh.insert(key);
        match self.random.below(100) {
            0 => self.db().flush().expect("flush"),
            1 => self.db().compact(|_| true).expect("compact"),
            2..=9 => drop(self.db().step().expect("step")),
            _ => {}
        }
    }

    fn act(&mut self, is_quiet: bool) {
        match self.random.below(100) {
            0..=54 if !is_quiet => self.write(),
            0..=80 => {
                let key = self.random.key(self.keys);
                self.check(&key);
            }
            81..=84 => self.scan(false),
            85..=86 => self.swap(is_quiet),
            87..=88 => self.count(),
            89 => self.reopen(),
            90 if !is_quiet => self.know_all(),
            91 => self.db().flush().expect("a flush gets past damage"),
            92 => self.db().compact(|_| true).expect("a merge gets past damage"),
            _ => drop(self.db().step().expect("background work gets past damage")),
        }
    }

    /// Flips bits of what lies in runs, and of large values.
    fn damage(&mut self) {
        // What only the log has is another matter.
        self.db.take().expect("open").close().expect("flushed");
        let names = self.world.vfs.list(Path::new(DIR)).expect("list");
        let is_data = |name: &&String| [".run", ".log", ".values"].iter().any(|kind| name.ends_with(kind));
        let paths: Vec<PathBuf> =
            names.iter().filter(is_data).map(|name| Path::new(DIR).join(name)).collect();
        for _ in 0..1 + self.random.below(6) {
            let path = self.random.pick(&paths).clone();
            let len = self.world.vfs.bytes(&path).expect("bytes").len() as u64;
            let at = self.random.below(len) as usize;
            let damaged = self.world.vfs.kill();
            damaged.flip(&path, at, 1 << self.random.below(8)).expect("flipped");
            // What makes an opening fail is another matter.
            let world = self.world.with(damaged);
            let is_opened = world.builder(DIR).open_read_only().is_ok();
            if is_opened {
                self.world = self.world.with(world.vfs.kill());
            }
        }
        self.fresh.clear();
        self.db = Some(self.world.builder(DIR).open().expect("opened"));
    }

    /// Nothing is wrong but for filters, which cost time alone.
    fn verify(&self) {
        let mut report = self.db().verify(|_| true).expect("verify");
        report.problems.retain(|problem| !problem.ends_with("the run's filter is damaged"));
        assert_eq!(report.problems, Vec::<String>::new());
    }

    fn reopen(&mut self) {
        drop(self.db.take());
        self.db = Some(self.world.builder(DIR).open().expect("opened"));
    }

    fn is_unknown(&self, key: &[u8]) -> bool {
        self.db().unknown_spans().iter().any(|span| span.keys.as_ref().is_some_and(|keys| keys.contains(key)))
    }

    /// Reads a key: right, or said to be unknown.
    fn check(&self, key: &[u8]) -> bool {
        let is_fresh = self.fresh.contains(key);
        match self.db().get(key) {
            Ok(value) => {
                assert_eq!(
                    value.as_deref(),
                    self.model.get(key).map(Vec::as_slice),
                    "{}",
                    key.escape_ascii()
                );
                true
            }
            Err(Error::Unknown { .. }) if !is_fresh => {
                if !self.is_unknown(key) {
                    // Whoever looks behind a run's last key may be the first to meet its last block.
                    let again = self.db().get(key).expect("not in the span");
                    assert_eq!(again.as_deref(), self.model.get(key).map(Vec::as_slice));
                    return true;
                }
                false
            }
            Err(Error::ValueLost { .. }) if !is_fresh => {
                assert!(self.model.contains_key(key) && !self.db().lost_values().is_empty());
                assert!(self.db().digest(key).expect("its head is intact").is_some());
                false
            }
            other => panic!("{}: {other:?}, fresh: {is_fresh}", key.escape_ascii()),
        }
    }

    /// Walks everything from both ends. If all damage is known, whatever lies before the first and behind the last span is
    /// shown.
    fn scan(&self, all_is_known: bool) {
        let mut iter = self.db().default_keyspace().iter().keys();
        let mut model = self.model.keys();
        let error = loop {
            match iter.next() {
                Some(Ok(key)) => assert_eq!(model.next(), Some(&key)),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        let Some(Error::Unknown { spans }) = &error else {
            assert!(error.is_none() && model.next().is_none(), "{error:?}");
            return;
        };
        assert!(matches!(iter.next(), Some(Err(Error::Unknown { .. }))), "the walk has ended");
        if all_is_known && let Some(key) = model.next() {
            let inner = [&spans[0].start[..9], key].concat();
            assert!(spans[0].start <= inner, "{} was not shown", key.escape_ascii());
        }
        let mut model = self.model.keys().rev();
        for key in self.db().default_keyspace().iter().keys().rev() {
            match key {
                Ok(key) => assert_eq!(model.next(), Some(&key)),
                Err(error) => {
                    let Error::Unknown { spans } = error else { panic!("{error}") };
                    if all_is_known && let Some(key) = model.next() {
                        let inner = [&spans[0].start[..9], key].concat();
                        assert!(spans[0].end.as_ref().is_none_or(|end| inner < *end));
                    }
                    break;
                }
            }
        }
        if all_is_known {
            let known = self.model.keys().filter(|key| !self.is_unknown(key)).cloned();
            let skipping = self.db().default_keyspace().iter().skip_unknown().keys();
            assert!(skipping.map(|key| key.expect("nothing new")).eq(known));
        }
    }

    fn swap(&mut self, is_quiet: bool) {
        let key = self.random.key(self.keys);
        let current = self.model.get(&key).cloned();
        if is_quiet {
            return;
        }
        match self.db().compare_and_swap(&key, current.as_deref(), Some(b"swapped")) {
            Ok(Ok(())) => {
                self.model.insert(key.clone(), b"swapped".to_vec());
                self.fresh.insert(key);
            }
            Err(Error::Unknown { .. }) => assert!(!self.fresh.contains(&key) && self.is_unknown(&key)),
            other => panic!("{other:?}"),
        }
    }

    fn count(&mut self) {
        match self.db().default_keyspace().len() {
            Ok(len) => assert_eq!(len, self.model.len() as u64),
            Err(Error::Unknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let (from, to) = (self.random.key(self.keys), self.random.key(self.keys));
        let (from, to) = (from.clone().min(to.clone()), to.max(from));
        match self.db().default_keyspace().fingerprint(from.clone()..to.clone()) {
            Ok(sum) => assert_eq!(sum.counts.live, self.model.range(from..to).count() as u64),
            Err(Error::Unknown { spans }) => assert!(!spans.is_empty()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Finds all damage that there is.
    fn know_all(&self) {
        let mut scrub = self.db().scrub(ScrubOptions::default().bytes_per_second(0));
        while scrub.step() != ScrubStep::Done {}
    }

    fn check_all(&self) {
        let lost: BTreeSet<Vec<u8>> = self.db().lost_values().into_iter().map(|lost| lost.key).collect();
        for key in self.model.keys() {
            let is_known = self.check(key);
            let is_fresh = self.fresh.contains(key);
            assert!(
                is_known || lost.contains(key) || self.is_unknown(key) && !is_fresh,
                "{}",
                key.escape_ascii()
            );
        }
        self.scan(true);
        // What no span touches can be summed.
        let unknown = self.db().unknown_spans().into_iter();
        let unknown: Vec<KeyRange> = unknown.map(|span| span.keys.expect("of a known keyspace")).collect();
        let mut from = Vec::new();
        for span in &unknown {
            let sum =
                self.db().default_keyspace().fingerprint(from.clone()..span.start.clone()).expect("known");
            assert_eq!(sum.counts.live, self.model.range(from.clone()..span.start.clone()).count() as u64);
            let Some(end) = &span.end else { return };
            from.clone_from(end);
        }
        let sum = self.db().default_keyspace().fingerprint(from.clone()..).expect("known");
        assert_eq!(sum.counts.live, self.model.range(from..).count() as u64);
        assert_eq!(self.db().len().is_ok(), unknown.is_empty());
        assert_eq!(self.db().root().is_ok(), unknown.is_empty());
    }

    fn heal(&mut self, twin: &Db, is_quiet: bool) -> (u64, u64, u64) {
        let (replica, twin) = (DbReplica::new(self.db()), DbReplica::new(twin));
        let (mut spans, mut exact) = (0, 0);
        // Healing looks at what is left, and may so find more.
        while let Some(mut span) = replica.unknown_ranges().into_iter().next() {
            let middle = [&span.start[..], b"5"].concat();
            if self.random.chance(20) && span.end.as_ref().is_none_or(|end| middle < *end) {
                span.end = Some(middle);
            }
            let report = replica.heal(&span, all_of(&twin, &span), 0).expect("healed");
            spans += 1;
            exact += u64::from(report.is_exact);
            assert_eq!((report.dropped, report.deferred), (0, 0));
            if self.random.chance(30) {
                self.db().step().expect("step");
            }
            if !is_quiet && self.random.chance(30) {
                // Beside healing, as it were.
                let key = self.random.key(self.keys);
                self.db().put(&key, b"beside").expect("put");
                self.model.insert(key.clone(), b"beside".to_vec());
                self.fresh.insert(key);
            }
        }
        let lost = self.db().lost_values();
        for lost in &lost {
            let value = twin
                .pin(0)
                .expect("pinned")
                .value(&lost.stored_key, lost.stamp.into(), 0, u32::MAX)
                .expect("readable")
                .expect("the same entry");
            let heal = |value: &[u8]| replica.heal_value(lost, value);
            assert!(heal(b"another value").is_err());
            assert!(heal(&value).expect("healed"));
        }
        (spans, lost.len() as u64, exact)
    }
}

/// Everything that a replica has of a range.
pub(crate) fn all_of(replica: &DbReplica, range: &sync_proto::KeyRange) -> Vec<Entry> {
    let (mut range, mut all) = (range.clone(), Vec::new());
    loop {
        let limit = ReadLimit { count: 100, bytes: 1 << 30 };
        let part = replica.pin(0).expect("pinned").entries_in(&range, limit).expect("readable");
        all.extend(part.entries.into_iter().map(|fetched| fetched.entry().clone()));
        let Some(next) = part.next else { return all };
        range.start = next;
    }
}
