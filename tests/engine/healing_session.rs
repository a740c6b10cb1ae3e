//! Sessions of real stores that have lost spans and values: what one of the two still has comes back, nothing that was deleted
//! does, and the session after that is complete. Horizons rise meanwhile, one side purges alone, connections are lost.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine healing_session` runs that one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sync_proto::{
    Applied, End, Entry, Healing, KeyRange, Lost, Meeting, Origin, Outcome, ReadLimit, Reason, Replica,
    ReplicaError, ReplicaInfo, ReplicaReader, ValueWriter,
};
use syncline::replica::DbReplica;
use syncline::vfs::Vfs;
use syncline::{Db, Error, Health, RangeSum, ScrubOptions, ScrubStep, Stamp};

use crate::common::{Random, World, seeds};

const DIR: &str = "/db";
const HOUR_MS: u64 = 3_600_000;

/// What a session meets of a store.
type Wrap = fn(&Db) -> Box<dyn Replica>;

/// The newest write of a key: its stamp, and its value unless it was deleted.
type Newest = (Stamp, Option<Vec<u8>>);

struct Pair {
    worlds: [World; 2],
    dbs: [Db; 2],
    random: Random,
    newest: BTreeMap<Vec<u8>, Newest>,
    /// The newest writes when both last held all of them.
    held: BTreeMap<Vec<u8>, Newest>,
    now_ms: u64,
    nonce: u64,
    wrap: Wrap,
    reached: BTreeSet<&'static str>,
}

#[test]
fn a_session_heals_what_one_side_lost_and_the_next_one_is_complete() {
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds(200) {
        match catch_unwind(|| Pair::new(seed, |db| Box::new(DbReplica::new(db))).live()) {
            Ok(more) => more.into_iter().for_each(|what| *reached.entry(what).or_default() += 1),
            Err(panic) => {
                eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine healing_session");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if seeds(200).count() == 200 {
        let wanted =
            ["healed a span", "healed a value", "a span that both lost", "a lost connection", "purged"];
        assert!(wanted.iter().all(|what| reached.get(what).is_some_and(|count| *count >= 20)), "{reached:?}");
    }
}

#[test]
fn healing_by_a_side_that_does_not_know_all_of_it_or_by_an_old_cut_is_caught() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let bugs: [Wrap; 2] = [
        |db| Box::new(Bug { replica: DbReplica::new(db), joins: true }),
        |db| Box::new(Bug { replica: DbReplica::new(db), joins: false }),
    ];
    let caught = bugs.map(|bug| {
        (0..60).any(|seed| catch_unwind(AssertUnwindSafe(|| Pair::new(seed, bug).live())).is_err())
    });
    std::panic::set_hook(hook);
    assert_eq!(caught, [true, true]);
}

#[test]
fn nobody_but_an_owner_heals_and_at_no_cut_that_no_session_of_this_store_has_reached() {
    for is_owner in [false, true] {
        let mut pair = Pair::new(4, |db| Box::new(DbReplica::new(db)));
        (0..500).for_each(|_| pair.write(0));
        // It joins by its first session, and the first store hears of that in the next one.
        pair.dbs[0].admit(pair.dbs[1].node_id()).expect("admit");
        (0..if is_owner { 2 } else { 0 }).for_each(|_| pair.complete());
        let Some(span) = (0..20).find_map(|_| {
            pair.damage(0);
            spans(&pair.dbs[0]).into_iter().next()
        }) else {
            panic!("no damage was found")
        };
        let replica = DbReplica::new(&pair.dbs[0]);
        let horizon = pair.dbs[0].horizon_status().horizon;
        let heal = |cut, node| {
            let healing = Healing { range: span.clone(), cut, entries: Vec::new(), value_len: None };
            let applied = Replica::heal(&replica, healing, Origin { node, horizon: 0 });
            assert_eq!(applied, Ok(Applied::default()), "it is only left alone");
            spans(&pair.dbs[0]).first() != Some(&span)
        };
        let other = pair.dbs[1].node_id().0;
        assert!(!heal(u64::MAX, other) && !heal((pair.now_ms - HOUR_MS) << 16, other));
        // Closed is not proven: the other one may hold less than this store has.
        let closed = pair.dbs[0].close_through((pair.now_ms - HOUR_MS) << 16).expect("closed");
        assert!(closed > horizon && !heal(closed, other));
        assert_eq!(pair.dbs[0].horizon_status().horizon, horizon, "a cut would have raised it");
        assert_eq!(heal(horizon, other), is_owner);
    }
}

#[test]
fn an_entry_whose_value_is_lost_is_left_out_of_sessions_and_is_no_loss_once_it_has_ended() {
    let world = World::new(1);
    let db = world.builder(DIR).create().expect("a new store");
    let others = [2, 3]
        .map(|seed| World::new(seed).builder(DIR).create_replica(&db.replica_set()).expect("a replica"));
    let meet = |left: &Db, right: &Db, nonce| {
        let replicas = [left, right].map(DbReplica::new);
        testkit::network::session([&replicas[0], &replicas[1]], nonce, u64::MAX).map(|outcome| outcome.end)
    };
    let complete = [End::Complete, End::Complete];
    let expires_at = 1_700_000_000_000 + HOUR_MS;
    db.put("large", vec![7; 1000]).expect("put");
    db.default_keyspace().put_expiring("short-lived", vec![9; 1000], expires_at).expect("put");
    assert_eq!(meet(&db, &others[0], 1), complete);
    db.close().expect("closed");
    for path in
        world.vfs.list(Path::new(DIR)).expect("list").into_iter().map(|name| Path::new(DIR).join(name))
    {
        let Ok(bytes) = world.vfs.bytes(&path) else { continue };
        for byte in [7, 9] {
            let found = bytes.windows(500).position(|window| window == [byte; 500]);
            found.into_iter().for_each(|at| world.vfs.flip(&path, at + 250, 1).expect("flipped"));
        }
    }
    let db = world.builder(DIR).open().expect("opened");
    db.put("other", "small").expect("put");

    // The third has neither, and gets all else.
    for end in meet(&db, &others[1], 2) {
        assert!(matches!(end, End::Partial(reasons) if reasons.iter().eq([Reason::Unsent])), "{end:?}");
    }
    assert_eq!(others[1].get("other").expect("known").as_deref(), Some(&b"small"[..]));
    assert!(others[1].get("large").expect("known").is_none());
    assert_eq!(db.lost_values().len(), 2);

    // What nobody can read any more, nobody misses.
    world.clock.advance(9 * HOUR_MS);
    let through = (1_700_000_000_000 + 8 * HOUR_MS) << 16;
    assert_eq!(db.close_through(through).expect("closed"), db.raise_horizon().expect("a set of one"));
    let lost: Vec<_> = db.lost_values().into_iter().map(|lost| lost.key).collect();
    assert_eq!(lost, [b"large"]);
    let problems = db.verify(|_| true).expect("verify").problems;
    assert!(problems.len() == 1 && problems[0].contains("is lost"), "{problems:?}");
}

#[test]
fn who_holds_nothing_heals_if_it_was_all_deleted_for_good_and_not_if_it_never_held_anything() {
    for is_new in [true, false] {
        let (world, other_world) = (World::new(1), World::new(2));
        let db = world.builder(DIR).create().expect("a new store");
        let other = other_world.builder(DIR).create_replica(&db.replica_set()).expect("a replica");
        let meet = |db: &Db, nonce| {
            let replicas = [db, &other].map(DbReplica::new);
            testkit::network::session([&replicas[0], &replicas[1]], nonce, u64::MAX)
                .map(|outcome| outcome.end)
        };
        let complete = |db: &Db, nonce| assert_eq!(meet(db, nonce), [End::Complete, End::Complete]);
        db.admit(other.node_id()).expect("admitted");
        complete(&db, 1);
        complete(&db, 2);
        let (begin_ms, lost) = (1_700_000_000_000, b"flips");
        db.default_keyspace().put_expiring("key", lost, begin_ms + HOUR_MS).expect("put");
        db.flush().expect("flushed");
        if !is_new {
            complete(&db, 3);
            for (db, world) in [(&db, &world), (&other, &other_world)] {
                world.clock.advance(9 * HOUR_MS);
                db.close_through((begin_ms + 8 * HOUR_MS) << 16).expect("closed");
            }
            complete(&db, 4);
            complete(&db, 5);
            assert!([&db, &other].iter().all(|db| db.raise_horizon().expect("proven") > 0));
        }
        assert_eq!(other.root().expect("known"), RangeSum::ZERO);
        db.close().expect("closed");
        for name in world.vfs.list(Path::new(DIR)).expect("list") {
            let path = Path::new(DIR).join(name);
            let bytes = world.vfs.bytes(&path).expect("there").to_vec();
            let found = bytes.windows(lost.len()).position(|window| window == lost);
            if let Some(at) = found.filter(|_| path.extension().is_some_and(|kind| kind == "run")) {
                world.vfs.flip(&path, at, 1).expect("flipped");
            }
        }
        let db = world.builder(DIR).open().expect("opened");
        assert!(matches!(db.get("key"), Err(Error::Unknown { .. })));

        let expected = if is_new { Reason::Unknown } else { Reason::Healed };
        for end in meet(&db, 6) {
            assert!(matches!(end, End::Partial(reasons) if reasons.iter().eq([expected])), "{end:?}");
        }
        if is_new {
            assert!(matches!(db.heal_from(&other), Err(Error::NoSession { .. })));
        } else {
            assert_eq!(db.get("key").expect("known"), None);
            complete(&db, 7);
        }
    }
}

impl Pair {
    fn new(seed: u64, wrap: Wrap) -> Pair {
        let worlds = [World::new(2 * seed), World::new(2 * seed + 1)];
        // No two writes have one stamp.
        worlds[1].clock.advance(50);
        let left = worlds[0].builder(DIR).create().expect("a new store");
        let right = worlds[1].builder(DIR).create_replica(&left.replica_set()).expect("a replica");
        let mut pair = Pair {
            worlds,
            dbs: [left, right],
            random: Random::new(seed),
            newest: BTreeMap::new(),
            held: BTreeMap::new(),
            now_ms: 1_700_000_000_000,
            nonce: seed << 20,
            wrap,
            reached: BTreeSet::new(),
        };
        if pair.random.chance(70) {
            pair.dbs[0].admit(pair.dbs[1].node_id()).expect("admit");
            pair.complete();
        }
        pair
    }

    fn live(mut self) -> BTreeSet<&'static str> {
        for _ in 0..1 + self.random.below(3) {
            for _ in 0..self.random.below(300) {
                let side = self.side();
                self.write(side);
            }
            for _ in 0..self.random.below(4) {
                self.change();
            }
            // Both hold everything: what the one loses the other has.
            self.complete();
            if self.random.chance(50) {
                self.rise();
            }
            let damaged = *self.random.pick(&[[true, false], [false, true], [true, true]]);
            (0..2).filter(|&side| damaged[side]).for_each(|side| self.damage(side));
            self.judge();
            for _ in 0..self.random.below(30) {
                let side = self.side();
                self.write(side);
            }
            for _ in 0..self.random.below(3) {
                self.change();
            }
            if !self.heal() {
                self.judge();
                return self.reached;
            }
            self.complete();
            self.check();
            self.rise();
            self.check();
        }
        self.reached
    }

    fn side(&mut self) -> usize {
        self.random.below(2) as usize
    }

    fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
        self.worlds.iter().for_each(|world| world.clock.advance(ms));
    }

    fn write(&mut self, side: usize) {
        self.advance(100);
        let (key, value) = (self.random.key(400), self.random.value());
        let keyspace = self.dbs[side].default_keyspace();
        let value = match self.random.below(3) {
            0 => keyspace.delete(&key).map(|()| None),
            1 if self.random.chance(1) => {
                let long = vec![value.len() as u8; 300 << 10];
                keyspace.put(&key, &long).map(|()| Some(long))
            }
            _ => keyspace.put(&key, &value).map(|()| Some(value)),
        };
        let digest = keyspace.digest(&key).expect("what is newer is shown").expect("written");
        let written = (digest.stamp, value.expect("puts are taken"));
        let newest = self.newest.entry(key).or_insert_with(|| written.clone());
        if newest.0 < written.0 {
            *newest = written;
        }
    }

    /// Something that changes nothing that anybody can see.
    fn change(&mut self) {
        let side = self.side();
        let db = &self.dbs[side];
        match self.random.below(7) {
            0 => db.flush().expect("flush"),
            1 => drop(db.step().expect("step")),
            2 => {
                let before = db.stats().expect("stats").run_entries;
                db.compact(|_| true).expect("compact");
                if db.horizon_status().horizon > 0 && db.stats().expect("stats").run_entries < before {
                    self.reached.insert("purged");
                }
            }
            3 => self.reopen(side),
            4 => {
                let ms = HOUR_MS / 2 * self.random.below(4);
                self.advance(ms);
            }
            5 => self.close(side),
            _ => drop(db.raise_horizon().expect("raise")),
        }
    }

    fn reopen(&mut self, side: usize) {
        let placeholder = World::new(1).builder(DIR).create().expect("a new store");
        drop(std::mem::replace(&mut self.dbs[side], placeholder));
        self.dbs[side] = self.worlds[side].builder(DIR).open().expect("opened");
    }

    fn close(&mut self, side: usize) {
        // A set of two that nobody has founded closes nothing.
        if !self.dbs[side].horizon_status().members.is_empty() {
            let through = (self.now_ms - self.random.below(2 * HOUR_MS)) << 16;
            self.dbs[side].close_through(through).expect("close");
        }
    }

    /// Lets the horizon rise as far as it goes, and one side alone purge.
    fn rise(&mut self) {
        self.advance(3 * HOUR_MS);
        self.close(0);
        self.close(1);
        self.complete();
        self.complete();
        let side = self.side();
        self.dbs[side].raise_horizon().expect("raise");
        self.dbs[side].compact(|_| true).expect("compact");
    }

    fn session(&mut self, frames: u64) -> [Outcome; 2] {
        self.nonce += 1;
        let first = self.side();
        let replicas = [first, 1 - first].map(|side| (self.wrap)(&self.dbs[side]));
        let outcomes = testkit::network::session([&*replicas[0], &*replicas[1]], self.nonce, frames);
        outcomes.map(|outcome| {
            // Lost values come back beside all else; only unknown keys stand in the way.
            let is_known = (0..2).all(|side| self.dbs[side].unknown_spans().is_empty());
            assert!(outcome.end != End::Complete || is_known, "complete, and keys are unknown");
            outcome
        })
    }

    /// A session that is complete on both sides.
    fn complete(&mut self) {
        let ends = self.session(u64::MAX).map(|outcome| outcome.end);
        assert_eq!(ends, [End::Complete, End::Complete]);
        self.held.clone_from(&self.newest);
    }

    /// Flips bits of what lies in a store's runs, and of large values, and finds all of that.
    fn damage(&mut self, side: usize) {
        self.dbs[side].flush().expect("flush");
        let world = self.worlds[side].clone();
        let names = world.vfs.list(Path::new(DIR)).expect("list");
        let is_data = |name: &&String| [".run", ".log", ".values"].iter().any(|kind| name.ends_with(kind));
        let paths: Vec<PathBuf> =
            names.iter().filter(is_data).map(|name| Path::new(DIR).join(name)).collect();
        // What only the log has is another matter.
        let placeholder = World::new(1).builder(DIR).create().expect("a new store");
        std::mem::replace(&mut self.dbs[side], placeholder).close().expect("flushed");
        for _ in 0..1 + self.random.below(4) {
            let path = self.random.pick(&paths).clone();
            let Ok(bytes) = self.worlds[side].vfs.bytes(&path) else { continue };
            let at = self.random.below(bytes.len() as u64) as usize;
            let damaged = self.worlds[side].vfs.kill();
            damaged.flip(&path, at, 1 << self.random.below(8)).expect("flipped");
            // What makes an opening fail is another matter.
            let world = self.worlds[side].with(damaged);
            if world.builder(DIR).open_read_only().is_ok() {
                self.worlds[side] = self.worlds[side].with(world.vfs.kill());
            }
        }
        self.dbs[side] = self.worlds[side].builder(DIR).open().expect("opened");
        let mut scrub = self.dbs[side].scrub(ScrubOptions::default().bytes_per_second(0));
        while scrub.step() != ScrubStep::Done {}
    }

    /// Runs sessions, some of which lose their connection, until one has gone through. Whether everything is known again.
    fn heal(&mut self) -> bool {
        let lost = |pair: &Pair| [0, 1].map(|side| (spans(&pair.dbs[side]), pair.dbs[side].lost_values()));
        let before = lost(self);
        let is_lost_by_both = before[0].0.iter().any(|left| {
            before[1].0.iter().any(|right| !left.intersection(right).is_empty())
                || before[1].1.iter().any(|value| left.contains(&value.stored_key))
        }) || before[1]
            .0
            .iter()
            .any(|right| before[0].1.iter().any(|value| right.contains(&value.stored_key)));
        if self.random.chance(40) {
            let frames = self.random.below(8);
            let ends = self.session(frames).map(|outcome| outcome.end);
            if ends.iter().any(|end| matches!(end, End::Aborted(_))) {
                self.reached.insert("a lost connection");
            }
            self.judge();
        }
        let has_unknown = [0, 1].iter().any(|&side| !self.dbs[side].unknown_spans().is_empty());
        let outcomes = self.session(u64::MAX);
        let after = lost(self);
        let is_known = after.iter().all(|(spans, _)| spans.is_empty());
        for Outcome { end, report, .. } in &outcomes {
            if has_unknown {
                let End::Partial(reasons) = end else { panic!("keys are unknown, and {end:?}") };
                let reason = if is_known { Reason::Healed } else { Reason::Unknown };
                assert!(reasons.iter().eq([reason]), "{reasons:?}, {after:?}");
                assert_eq!(report.entries_differing, 0);
            } else {
                assert_eq!(*end, End::Complete);
            }
        }
        if !is_lost_by_both {
            assert!(is_known, "the other side has it: {after:?} of {before:?}");
        }
        for ((spans, _), (was, _)) in after.iter().zip(&before) {
            for span in spans {
                assert!(was.iter().any(|was| was.covers(span)), "what was known became unknown");
            }
        }
        let values =
            |lost: &[(Vec<KeyRange>, Vec<_>); 2]| lost.iter().map(|(_, values)| values.len()).sum::<usize>();
        if !is_known {
            self.reached.insert("a span that both lost");
        } else if has_unknown {
            self.reached.insert("healed a span");
        }
        if values(&after) < values(&before) {
            self.reached.insert("healed a value");
        }
        is_known && values(&after) == 0
    }

    /// Every answer is right, or says that it is not known.
    fn judge(&self) {
        for db in &self.dbs {
            for (key, (stamp, value)) in &self.held {
                match db.digest(key) {
                    Ok(Some(digest)) => {
                        assert!(digest.stamp >= *stamp, "an older one: {}", key.escape_ascii())
                    }
                    Ok(None) => assert_eq!(*value, None, "gone: {}", key.escape_ascii()),
                    Err(Error::Unknown { .. }) => {}
                    Err(error) => panic!("{}: {error}", key.escape_ascii()),
                }
            }
        }
    }

    /// Both hold the newest writes and nothing else, and agree on it.
    fn check(&self) {
        let cut = self.dbs.iter().map(|db| db.horizon_status().horizon).max();
        for db in &self.dbs {
            assert_eq!(db.health(), Health::Good);
            for (key, (_, value)) in &self.newest {
                let found = db.get(key).expect("known");
                assert_eq!(found.as_deref(), value.as_deref(), "{}", key.escape_ascii());
            }
            let live = self.newest.values().filter(|(_, value)| value.is_some()).count() as u64;
            assert_eq!(db.len().expect("known"), live);
            let mut report = db.verify(|_| true).expect("verify");
            report.problems.retain(|problem| !problem.ends_with("the run's filter is damaged"));
            assert_eq!(report.problems, Vec::<String>::new());
        }
        let roots = self.dbs.each_ref().map(|db| DbReplica::new(db).info(cut).expect("known").root);
        assert_eq!(roots[0], roots[1]);
    }
}

fn spans(db: &Db) -> Vec<KeyRange> {
    DbReplica::new(db).lost().expect("told").spans
}

/// A replica that heals wrongly: by a range with unknown keys of its own in it, or by a cut of long ago.
struct Bug {
    replica: DbReplica,
    joins: bool,
}

impl Replica for Bug {
    fn healing(&self, range: &KeyRange, cut: u64, limit: ReadLimit) -> Result<Option<Healing>, ReplicaError> {
        if !self.joins {
            let healing = self.replica.healing(range, 0, limit)?;
            return Ok(healing.map(|healing| Healing { cut: 0, ..healing }));
        }
        let mut all = Healing { range: range.clone(), cut, entries: Vec::new(), value_len: None };
        let mut rest = range.clone();
        while let Some(part) = self.replica.healing(&rest, cut, limit)? {
            all.cut = part.cut;
            if part.value_len.is_none() {
                all.entries.extend(part.entries);
            }
            match part.range.end {
                Some(end) => rest.start = end,
                None => break,
            }
        }
        Ok(Some(all))
    }

    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        self.replica.info(horizon)
    }

    fn apply(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError> {
        self.replica.apply(entries, origin)
    }

    fn begin_value(
        &self,
        entry: Entry,
        len: u64,
        origin: Origin,
    ) -> Result<Box<dyn ValueWriter>, ReplicaError> {
        self.replica.begin_value(entry, len, origin)
    }

    fn lost(&self) -> Result<Lost, ReplicaError> {
        self.replica.lost()
    }

    fn heal(&self, healing: Healing, origin: Origin) -> Result<Applied, ReplicaError> {
        Replica::heal(&self.replica, healing, origin)
    }

    fn table(&self) -> Result<Vec<u8>, ReplicaError> {
        self.replica.table()
    }

    fn meet(
        &self,
        peer: Origin,
        table: Option<&[u8]>,
        closes: bool,
        as_of: u64,
    ) -> Result<Meeting, ReplicaError> {
        self.replica.meet(peer, table, closes, as_of)
    }

    fn pin(&self, cut: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError> {
        self.replica.pin(cut)
    }

    fn complete(&self, node: u64, proof: &[u8]) -> Result<(), ReplicaError> {
        self.replica.complete(node, proof)
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        self.replica.persist()
    }
}
