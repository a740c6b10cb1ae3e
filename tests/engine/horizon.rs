//! Deleting for good on the real engine: what ended leaves the sums, then the files, and nothing of it comes back.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine horizon` runs that one alone.

use std::collections::BTreeMap;

use sync_proto::Replica;
use syncline::Db;
use syncline::replica::DbReplica;

use crate::common::{Random, World, seeds};

const HOUR_MS: u64 = 3_600_000;
const START_MS: u64 = 1_700_000_000_000;

/// A store and what it has to hold: for each key its value, and when it expires.
struct Run {
    world: World,
    random: Random,
    db: Option<Db>,
    model: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    now_ms: u64,
}

#[test]
fn a_set_of_one_purges_what_has_ended_and_its_sums_stay_true() {
    for seed in seeds(150) {
        let outcome = std::panic::catch_unwind(|| Run::new(seed).play());
        if let Err(panic) = outcome {
            eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine horizon");
            std::panic::resume_unwind(panic);
        }
    }
}

impl Run {
    fn new(seed: u64) -> Run {
        let world = World::new(seed);
        let db = Some(world.builder("/db").create().expect("a new store"));
        Run { world, random: Random::new(seed), db, model: BTreeMap::new(), now_ms: START_MS }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open")
    }

    fn advance(&mut self, ms: u64) {
        self.world.clock.advance(ms);
        self.now_ms += ms;
    }

    fn play(&mut self) {
        for _ in 0..100 + self.random.below(200) {
            match self.random.below(100) {
                0..=69 => self.write(),
                70..=76 => self.db().flush().expect("flush"),
                77..=80 => self.db().compact(|_| true).expect("compact"),
                81..=84 => self.reopen(),
                85..=89 => {
                    let ms = HOUR_MS * self.random.below(3);
                    self.advance(ms);
                }
                90..=96 => self.raise(),
                _ => self.check(),
            }
        }
        self.check();
        self.everything_goes();
    }

    fn write(&mut self) {
        let ms = self.random.below(HOUR_MS / 4);
        self.advance(ms);
        let (key, value) = (self.random.key(60), self.random.value());
        let keyspace = self.db().default_keyspace();
        match self.random.below(4) {
            0 => {
                keyspace.delete(&key).expect("delete");
                self.model.remove(&key);
            }
            1 => {
                let expires_at = self.now_ms + 1 + self.random.below(5 * HOUR_MS);
                self.db().default_keyspace().put_expiring(&key, &value, expires_at).expect("put");
                self.model.insert(key, (value, Some(expires_at)));
            }
            _ => {
                keyspace.put(&key, &value).expect("put");
                self.model.insert(key, (value, None));
            }
        }
    }

    /// Raises the horizon to some moment; the root is then what it was at that cut.
    fn raise(&mut self) {
        let through = (self.now_ms - self.random.below(4 * HOUR_MS)) << 16;
        let closed = self.db().close_through(through).expect("close");
        let before = DbReplica::new(self.db()).info(Some(closed)).expect("info").root;
        assert_eq!(self.db().raise_horizon().expect("raise"), closed);
        let after = DbReplica::new(self.db()).info(None).expect("info");
        assert_eq!((after.root, after.horizon), (before, closed));
        self.check();
    }

    fn reopen(&mut self) {
        let before = (self.db().root().expect("root"), self.db().horizon_status());
        self.db = None;
        self.db = Some(self.world.builder("/db").open().expect("reopen"));
        let mut after = self.db().horizon_status();
        // It counts its openings.
        for (member, before) in after.members.iter_mut().zip(&before.1.members) {
            assert_eq!(member.opens, before.opens + 1);
            member.opens = before.opens;
        }
        assert_eq!((self.db().root().expect("root"), after), before);
    }

    fn check(&self) {
        let shown = self.db().default_keyspace().iter().map(|entry| entry.expect("entry"));
        let shown: Vec<_> = shown.map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect();
        let is_shown =
            |(_, (_, expires_at)): &(_, &(_, Option<u64>))| expires_at.is_none_or(|at| at > self.now_ms);
        let model = self.model.iter().filter(is_shown);
        let model: Vec<_> = model.map(|(key, (value, _))| (key.clone(), value.clone())).collect();
        assert_eq!(shown, model);
        assert_eq!(self.db().verify(&mut |_| true).expect("verify").problems, Vec::<String>::new());
    }

    /// In the end nothing is left in the files but what is shown.
    fn everything_goes(&mut self) {
        self.advance(20 * HOUR_MS);
        let through = (self.now_ms - HOUR_MS) << 16;
        self.db().close_through(through).expect("close");
        self.db().raise_horizon().expect("raise");
        self.db().compact(|_| true).expect("compact");
        self.check();
        let shown = self.db().default_keyspace().iter().count() as u64;
        let stats = self.db().stats().expect("stats");
        assert_eq!((stats.run_entries, stats.tombstones), (shown, 0));
        self.reopen();
        self.check();
    }
}

#[test]
fn what_is_closed_is_refused_from_an_import_and_never_stamped_again() {
    let (left_world, right_world) = (World::new(1), World::new(2));
    let left = left_world.builder("/left").create().expect("a new store");
    let right = right_world.builder("/right").create_replica(&left.replica_set()).expect("a replica");
    right.default_keyspace().put(b"late", b"value").expect("put");
    let mut stream = Vec::new();
    right.export(&mut stream, &mut |_| true).expect("export");
    left_world.clock.advance(2 * HOUR_MS);
    let closed = left.close_through((START_MS + HOUR_MS) << 16).expect("close");
    assert!(closed > START_MS << 16);
    let report = left.import(&stream[..], &mut |_| true).expect("import");
    assert_eq!((report.applied, report.refused), (0, 1));
    assert!(
        left.close_through((START_MS + 99 * HOUR_MS) << 16).is_err(),
        "a store closes nothing above its clock"
    );

    // The clock goes back, and the store is opened again: its stamps stay above what it has closed.
    drop(left);
    let past = World { vfs: left_world.vfs.clone(), ..World::new(3) };
    let left = past.builder("/left").open().expect("reopen");
    left.default_keyspace().put(b"key", b"value").expect("put");
    let digest = left.default_keyspace().digest(b"key").expect("digest").expect("there");
    assert!(digest.stamp.hlc > closed);
}
