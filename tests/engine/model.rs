//! The engine against a `BTreeMap`: random puts, deletes, batches, snapshots, scans both ways, flushes, compactions,
//! reopenings and kills, thousands of seeds. At every reopening the root must be the one computed from scratch.
//!
//! A failure prints its seed; `SYNCLINE_SEED=n cargo test --test engine model` runs that one alone.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::common::{Random, World, seeds};
use syncline::{Db, Durability, Keyspace, Snapshot};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const KEYSPACES: [&str; 3] = ["default", "index", "other"];

struct Run {
    world: World,
    random: Random,
    db: Option<Db>,
    models: Vec<Model>,
    snapshots: Vec<(Snapshot, Vec<Model>)>,
    keys: u64,
}

#[test]
fn a_store_behaves_like_ordered_maps_through_everything() {
    for seed in seeds(1_000) {
        let outcome = std::panic::catch_unwind(|| Run::new(seed).play());
        if let Err(panic) = outcome {
            eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine model");
            std::panic::resume_unwind(panic);
        }
    }
}

impl Run {
    fn new(seed: u64) -> Run {
        let world = World::new(seed);
        let db = world.builder("/db").create().expect("a new store");
        let mut random = Random::new(seed);
        let keys = 10 + random.below(300);
        Run { world, random, db: Some(db), models: vec![Model::new(); 3], snapshots: Vec::new(), keys }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open")
    }

    fn keyspace(&self, index: usize) -> Keyspace {
        self.db().keyspace(KEYSPACES[index]).expect("a keyspace")
    }

    fn play(&mut self) {
        for _ in 0..150 + self.random.below(150) {
            match self.random.below(100) {
                0..=44 => self.put(),
                45..=59 => self.delete(),
                60..=69 => self.batch(),
                70..=74 => self.take_snapshot(),
                75..=82 => self.check_reads(),
                83..=88 => while self.random.chance(70) && self.db().step().expect("background work") {},
                89..=90 => self.db().flush().expect("flush"),
                91 => self.db().compact(|_| true).expect("compaction"),
                92..=94 => self.reopen(false),
                95..=96 => self.reopen(true),
                _ => self.check_snapshots(),
            }
        }
        self.check_snapshots();
        self.check_everything();
        self.reopen(false);
    }

    fn put(&mut self) {
        let at = self.random.below(3) as usize;
        let (key, value) = (self.random.key(self.keys), self.random.value());
        self.world.clock.advance(self.random.below(3));
        self.keyspace(at).put(&key, &value).expect("put");
        self.models[at].insert(key, value);
    }

    fn delete(&mut self) {
        let at = self.random.below(3) as usize;
        let key = self.random.key(self.keys);
        self.keyspace(at).delete(&key).expect("delete");
        self.models[at].remove(&key);
    }

    fn batch(&mut self) {
        let mut batch = self.db().batch();
        for _ in 0..self.random.below(20) {
            let at = self.random.below(3) as usize;
            let key = self.random.key(self.keys);
            if self.random.chance(30) {
                batch.delete(&self.keyspace(at), &key).expect("delete");
                self.models[at].remove(&key);
            } else {
                let value = self.random.value();
                batch.put(&self.keyspace(at), &key, &value).expect("put");
                self.models[at].insert(key, value);
            }
        }
        let durability = if self.random.chance(30) { Durability::Sync } else { Durability::Buffered };
        self.db().write(batch, durability).expect("batch");
    }

    fn take_snapshot(&mut self) {
        self.snapshots.push((self.db().snapshot(), self.models.clone()));
        if self.snapshots.len() > 3 {
            drop(self.snapshots.remove(0));
        }
    }

    /// Reads through the newest state: points, a range forwards, backwards, and from both ends until they meet.
    fn check_reads(&mut self) {
        let at = self.random.below(3) as usize;
        let (snapshot, models) = (self.db().snapshot(), self.models.clone());
        self.check_range(&snapshot, &models, at);
        let key = self.random.key(self.keys);
        let keyspace = self.keyspace(at);
        let expected = models[at].get(&key);
        assert_eq!(keyspace.get(&key).expect("get").as_deref(), expected.map(Vec::as_slice));
        assert_eq!(keyspace.contains_key(&key).expect("contains"), expected.is_some());
        assert_eq!(keyspace.len().expect("len"), models[at].len() as u64);
    }

    fn check_snapshots(&mut self) {
        for (snapshot, models) in std::mem::take(&mut self.snapshots) {
            let at = self.random.below(3) as usize;
            self.check_range(&snapshot, &models, at);
            self.snapshots.push((snapshot, models));
        }
    }

    fn check_range(&mut self, snapshot: &Snapshot, models: &[Model], at: usize) {
        let keyspace = self.keyspace(at);
        let (mut low, mut high) = (self.random.key(self.keys), self.random.key(self.keys));
        if low > high {
            std::mem::swap(&mut low, &mut high);
        }
        let range = match self.random.below(4) {
            0 => (Bound::Unbounded, Bound::Unbounded),
            1 => (Bound::Excluded(low), Bound::Unbounded),
            2 => (Bound::Unbounded, Bound::Included(high)),
            _ if low == high => (Bound::Included(low), Bound::Included(high)),
            _ => (Bound::Included(low), Bound::Excluded(high)),
        };
        let expected: Vec<_> = models[at].range(range.clone()).map(|(k, v)| (k.clone(), v.clone())).collect();
        let walk = || {
            snapshot
                .range(&keyspace, range.clone())
                .map(|entry| entry.expect("entry"))
                .map(|e| (e.key, e.value.to_vec()))
        };
        assert_eq!(walk().collect::<Vec<_>>(), expected, "forwards");
        let mut backwards: Vec<_> = walk().rev().collect();
        backwards.reverse();
        assert_eq!(backwards, expected, "backwards");

        // Lent entries instead of owned ones.
        let (mut front, mut back) = (Vec::new(), Vec::new());
        let mut iter = snapshot.range(&keyspace, range.clone());
        loop {
            let is_forward = self.random.chance(50);
            if !if is_forward { iter.advance() } else { iter.advance_back() }.expect("entry") {
                break;
            }
            let entry = (iter.key().to_vec(), iter.value().to_vec());
            if is_forward { &mut front } else { &mut back }.push(entry);
        }
        assert_eq!((iter.key(), iter.value()), (&[][..], &[][..]), "at the end");
        front.extend(back.into_iter().rev());
        assert_eq!(front, expected, "from both ends");
    }

    fn check_everything(&self) {
        for (at, model) in self.models.iter().enumerate() {
            let found = self
                .keyspace(at)
                .iter()
                .map(|entry| entry.expect("entry"))
                .map(|e| (e.key, e.value.to_vec()));
            assert_eq!(
                found.collect::<Vec<_>>(),
                model.clone().into_iter().collect::<Vec<_>>(),
                "{}",
                KEYSPACES[at]
            );
        }
        let report = self.db().verify(&mut |_| true).expect("verify");
        assert_eq!(report.problems, Vec::<String>::new());
    }

    /// Closes and opens the store, or kills its process first: no write is lost either way, nothing is rebuilt, and the
    /// root is the one from before and the one computed from scratch.
    fn reopen(&mut self, killed: bool) {
        let root = self.db().root().expect("root");
        self.snapshots.clear();
        if killed {
            self.world.vfs = self.world.vfs.kill();
        }
        self.db = None;
        let db = self.world.builder("/db").open().expect("reopen");
        assert!(!db.recovery().merkle_rebuilt, "the Merkle index was rebuilt");
        self.db = Some(db);
        assert_eq!(
            self.db().root().expect("root"),
            root,
            "the root changed over a reopening (killed: {killed})"
        );
        self.check_everything();
    }
}
