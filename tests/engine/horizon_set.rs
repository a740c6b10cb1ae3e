//! Several replicas that delete for good: writes, lost connections, closes, raised horizons, purges of one side alone. In the
//! end no deleted key has returned, nothing is lost, and all roots are equal.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine horizon_set` runs that one alone.

use std::collections::BTreeMap;

use sync_proto::{End, Replica};
use syncline::replica::DbReplica;
use syncline::{Db, Error, Stamp};

use crate::common::{Random, World, seeds};
use crate::converge::session;

const HOUR_MS: u64 = 3_600_000;

/// What the newest write of a key says.
#[derive(Debug, Clone)]
struct Newest {
    stamp: Stamp,
    /// Its value and when it expires, unless it is a tombstone.
    value: Option<(Vec<u8>, u64)>,
}

/// A set of replicas, each with a clock of its own.
struct Set {
    worlds: Vec<World>,
    dbs: Vec<Option<Db>>,
    random: Random,
    newest: BTreeMap<Vec<u8>, Newest>,
    now_ms: u64,
    nonce: u64,
}

#[test]
fn no_deleted_key_returns_and_all_replicas_agree_in_the_end() {
    let mut purged = 0;
    for seed in seeds(200) {
        match std::panic::catch_unwind(|| Set::new(seed).play()) {
            Ok(count) => purged += count,
            Err(panic) => {
                eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine horizon_set");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if std::env::var_os("SYNCLINE_SEED").is_none() {
        assert!(purged > 1_000, "hardly anything was purged while others had it: {purged}");
    }
}

impl Set {
    fn new(seed: u64) -> Set {
        let mut random = Random::new(seed);
        let count = 2 + random.below(4);
        let worlds: Vec<World> = (0..count).map(|number| World::new(16 * seed + number)).collect();
        let first = worlds[0].builder("/db").create().expect("a new store");
        let replica_set = first.replica_set();
        let mut dbs = vec![Some(first)];
        for (number, world) in (1..).zip(&worlds[1..]) {
            // Clocks differ, and agree on no stamp.
            world.clock.advance(number * 7);
            dbs.push(Some(world.builder("/db").create_replica(&replica_set).expect("a replica")));
        }
        let now_ms = 1_700_000_000_000;
        let mut set = Set { worlds, dbs, random, newest: BTreeMap::new(), now_ms, nonce: seed << 20 };
        (0..set.random.below(40)).for_each(|_| set.write(0));
        for joiner in 1..set.dbs.len() {
            set.join(joiner);
        }
        set
    }

    fn db(&self, replica: usize) -> &Db {
        self.dbs[replica].as_ref().expect("open")
    }

    /// Whether a whole session was complete.
    fn meet(&mut self, left: usize, right: usize) -> bool {
        self.meet_for(left, right, u64::MAX)
    }

    fn meet_for(&mut self, left: usize, right: usize, frames: u64) -> bool {
        self.nonce += 1;
        let (a, b) = session(self.db(left), self.db(right), self.nonce, frames);
        let is_complete = [&a.end, &b.end].iter().all(|end| matches!(end, End::Complete));
        assert!(is_complete || frames < u64::MAX, "{left} and {right}: {:?}, {:?}", a.end, b.end);
        is_complete
    }

    fn join(&mut self, joiner: usize) {
        let node = self.db(joiner).node_id();
        self.db(0).admit(node).expect("admit");
        if joiner > 1 {
            // Who does not know of it yet must not be passed over.
            self.nonce += 1;
            let (early, _) = session(self.db(joiner), self.db(0), self.nonce, u64::MAX);
            assert!(matches!(early.end, End::Aborted(_)), "{:?}", early.end);
        }
        (1..joiner).for_each(|owner| assert!(self.meet(0, owner)));
        if self.random.chance(30) {
            let frames = self.random.below(6);
            self.meet_for(joiner, 0, frames);
        }
        assert!(self.meet(joiner, 0));
        let members = self.db(joiner).horizon().members;
        assert!(members.iter().any(|member| member.node == node && !member.is_joining));
    }

    fn play(&mut self) -> u64 {
        let mut purged = 0;
        for _ in 0..40 + self.random.below(80) {
            let count = self.dbs.len() as u64;
            let replica = self.random.below(count) as usize;
            let other = (replica + 1 + self.random.below(count - 1) as usize) % self.dbs.len();
            match self.random.below(100) {
                0..=49 => self.write(replica),
                50..=54 => self.advance(),
                55..=64 => drop(self.meet(replica, other)),
                65..=69 => {
                    let frames = self.random.below(8);
                    self.meet_for(replica, other, frames);
                }
                70..=75 => self.close(replica),
                76..=79 => self.rise(),
                80..=85 => drop(self.db(replica).raise_horizon().expect("raise")),
                86..=91 => purged += self.purge(replica),
                92..=94 => self.db(replica).flush().expect("flush"),
                95..=97 => self.reopen(replica),
                _ => self.check_store(replica),
            }
        }
        self.calm_down();
        purged
    }

    fn advance(&mut self) {
        let ms = HOUR_MS / 2 * self.random.below(4);
        self.now_ms += ms;
        self.worlds.iter().for_each(|world| world.clock.advance(ms));
    }

    fn write(&mut self, replica: usize) {
        self.worlds.iter().for_each(|world| world.clock.advance(100));
        self.now_ms += 100;
        let (key, value) = (self.random.key(25), self.random.value());
        let keyspace = self.db(replica).default_keyspace();
        let expires_at = match self.random.below(4) {
            0 => self.now_ms + 1 + self.random.below(3 * HOUR_MS),
            _ => 0,
        };
        let value = match self.random.below(3) {
            0 => {
                keyspace.delete(&key).expect("delete");
                None
            }
            _ if expires_at > 0 => {
                keyspace.put_expiring(&key, &value, expires_at).expect("put");
                Some((value, expires_at))
            }
            _ => {
                keyspace.put(&key, &value).expect("put");
                Some((value, 0))
            }
        };
        let stamp = keyspace.digest(&key).expect("digest").expect("just written").stamp;
        let newest = self.newest.entry(key).or_insert_with(|| Newest { stamp, value: value.clone() });
        if newest.stamp < stamp {
            *newest = Newest { stamp, value };
        }
    }

    fn close(&mut self, replica: usize) {
        let through = (self.now_ms - self.random.below(2 * HOUR_MS)) << 16;
        self.db(replica).close_through(through).expect("close");
    }

    /// Nearly all that it takes for the horizon to rise.
    fn rise(&mut self) {
        (0..self.dbs.len()).for_each(|replica| self.close(replica));
        for left in 0..self.dbs.len() {
            for right in 0..left {
                if !self.random.chance(5) {
                    self.meet(left, right);
                }
            }
        }
    }

    /// Purges one replica alone; the number of entries that went.
    fn purge(&mut self, replica: usize) -> u64 {
        let db = self.db(replica);
        db.flush().expect("flush");
        let before = db.stats().expect("stats");
        db.compact(|_| true).expect("compact");
        let after = db.stats().expect("stats");
        before.run_entries.saturating_sub(after.run_entries)
    }

    fn reopen(&mut self, replica: usize) {
        self.dbs[replica] = None;
        self.dbs[replica] = Some(self.worlds[replica].builder("/db").open().expect("reopen"));
    }

    fn check_store(&self, replica: usize) {
        let report = self.db(replica).verify(&mut |_| true).expect("verify");
        assert_eq!(report.problems, Vec::<String>::new());
    }

    fn contents(&self, replica: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = self.db(replica).default_keyspace().iter().map(|entry| entry.expect("entry"));
        entries.map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect()
    }

    fn calm_down(&mut self) {
        for round in 0..2 {
            for left in 0..self.dbs.len() {
                for right in 0..self.dbs.len() {
                    if left != right {
                        self.meet(left, right);
                    }
                }
            }
            self.check(round);
            self.rise();
            self.purge(0);
        }
    }

    fn check(&self, round: u32) {
        let latest_ms = self.now_ms + 100;
        let value = |(key, newest): (&Vec<u8>, &Newest)| {
            let (value, expires_at) = newest.value.clone()?;
            (expires_at == 0 || expires_at > latest_ms).then(|| (key.clone(), value))
        };
        let expected: Vec<_> = self.newest.iter().filter_map(value).collect();
        let cut = self.dbs.iter().flatten().map(|db| db.horizon().horizon).max();
        let root = |replica| DbReplica::new(self.db(replica)).info(cut).expect("info").root;
        for replica in 0..self.dbs.len() {
            self.check_store(replica);
            assert_eq!(self.contents(replica), expected, "replica {replica}, round {round}");
            assert_eq!(root(replica), root(0), "replica {replica}, round {round}");
        }
    }
}

#[test]
fn strangers_and_expelled_nodes_have_no_session_once_a_set_is_founded() {
    let worlds = [World::new(1), World::new(2), World::new(3)];
    let first = worlds[0].builder("/db").create().expect("a new store");
    let replica =
        |world: &World| world.builder("/db").create_replica(&first.replica_set()).expect("a replica");
    let (second, stranger) = (replica(&worlds[1]), replica(&worlds[2]));
    first.admit(second.node_id()).expect("admit");
    let ends = |left: &Db, right: &Db, nonce| {
        let (left, right) = session(left, right, nonce, u64::MAX);
        [left.end, right.end].map(|end| matches!(end, End::Complete))
    };
    assert_eq!(ends(&second, &first, 1), [true, true]);
    assert_eq!(ends(&first, &second, 10), [true, true]);
    let (equal, _) = session(&second, &first, 11, u64::MAX);
    assert!(equal.report.legs == 2 && equal.report.metadata_bytes <= 200, "{:?}", equal.report);
    assert_eq!(ends(&stranger, &first, 2), [false, false]);
    first.expel(second.node_id()).expect("expel");
    assert_eq!(ends(&second, &first, 3), [false, false]);
    assert_eq!(ends(&first, &second, 4), [false, false]);
    assert!(matches!(first.admit(second.node_id()), Err(Error::InvalidArgument { .. })));
    assert_eq!(first.horizon().held_by, [], "who was expelled holds nothing");
}
