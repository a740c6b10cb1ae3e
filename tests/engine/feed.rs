//! The change feed against the list of all commits: from any cursor it yields exactly those after it or says that it is too
//! old, through flushes, compactions, reopenings, kills and power cuts; retention is bounded, and damage is never a gap.

use std::path::Path;

use syncline::vfs::Vfs;
use syncline::{Change, Db, Durability, Error, Kind, Origin, SeqNo};

use crate::common::{Random, World, seeds};
use crate::converge::session;

/// What one commit changed: keyspace, key, value (`None`: deleted) and expiry, sorted.
type Expected = Vec<(String, Vec<u8>, Option<Vec<u8>>, u64)>;

struct Run {
    world: World,
    random: Random,
    db: Option<Db>,
    /// Commits with changes that users see, by seqno.
    history: Vec<(u64, Expected)>,
    retain: u64,
    keys: u64,
    too_old: u64,
}

#[test]
fn a_feed_is_every_commit_after_the_cursor_or_an_error() {
    let mut too_old = 0;
    for seed in seeds(60) {
        let outcome = std::panic::catch_unwind(|| Run::new(seed).play());
        match outcome {
            Ok(count) => too_old += count,
            Err(panic) => {
                eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine feed");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(too_old > 0 || std::env::var("SYNCLINE_SEED").is_ok(), "no cursor was ever too old");
}

impl Run {
    fn new(seed: u64) -> Run {
        let (world, mut random) = (World::new(seed), Random::new(seed));
        let retain = [0, 30_000, 100_000, 1 << 30][random.below(4) as usize];
        let db = world.builder("/db").retain_log_bytes(retain).create().expect("a new store");
        let keys = 10 + random.below(200);
        Run { world, random, db: Some(db), history: Vec::new(), retain, keys, too_old: 0 }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open")
    }

    fn newest(&self) -> u64 {
        self.db().snapshot().seqno().0
    }

    fn play(mut self) -> u64 {
        for _ in 0..120 {
            match self.random.below(20) {
                0..=9 => self.commit(),
                10 => self.db().flush().expect("flush"),
                11 => self.db().compact(|_| true).expect("compaction"),
                12 => while self.db().step().expect("background work") {},
                13 => self.reopen(),
                14 => self.cut_power(),
                _ => self.check(),
            }
        }
        self.check();
        self.too_old
    }

    fn commit(&mut self) {
        for _ in 0..1 + self.random.below(20) {
            let mut expected = Expected::new();
            let mut batch = self.db().batch();
            if self.random.chance(20) {
                let (key, value) = (self.random.key(self.keys), self.random.value());
                let keyspace = self.db().default_keyspace();
                keyspace.put_expiring(&key, &value, 1_900_000_000_000).expect("put");
                expected.push(("default".into(), key, Some(value), 1_900_000_000_000));
            } else {
                for _ in 0..1 + self.random.below(5) {
                    let name = ["default", "index"][self.random.below(2) as usize];
                    let keyspace = self.db().keyspace(name).expect("a keyspace");
                    let key = self.random.key(self.keys);
                    expected.retain(|(other, at, ..)| (other.as_str(), at) != (name, &key));
                    if self.random.chance(30) {
                        batch.delete(&keyspace, &key).expect("delete");
                        expected.push((name.into(), key, None, 0));
                    } else {
                        let value = self.random.value();
                        batch.put(&keyspace, &key, &value).expect("put");
                        expected.push((name.into(), key, Some(value), 0));
                    }
                }
                let durability = if self.random.chance(20) { Durability::Sync } else { Durability::Buffered };
                self.db().write(batch, durability).expect("batch");
            }
            expected.sort();
            self.history.push((self.newest(), expected));
        }
    }

    /// Reads the feed from a random cursor and compares it.
    fn check(&mut self) {
        let newest = self.newest();
        let mut cursor = self.random.below(newest + 1);
        let durability = if self.random.chance(30) { Durability::Sync } else { Durability::Buffered };
        let mut changes = match self.db().changes_since(SeqNo(cursor), durability) {
            Err(Error::TooOld { oldest }) => {
                self.too_old += 1;
                assert!(oldest.0 > cursor && oldest <= self.db().stats().expect("stats").flushed);
                assert!(self.retain < 1 << 30, "everything is retained");
                cursor = oldest.0;
                self.db().changes_since(oldest, durability).expect("the oldest cursor is not too old")
            }
            changes => changes.expect("a feed"),
        };
        self.compare(&mut changes, cursor, durability);
        // What is committed later, the same feed goes on with, unless it is flushed and not retained.
        let cursor = changes.cursor().0;
        if self.retain >= 100_000 && self.random.chance(30) {
            self.commit();
            self.compare(&mut changes, cursor, durability);
        }
        let stats = self.db().stats().expect("stats");
        assert!(stats.retained_segment_bytes <= self.retain);
    }

    fn compare(&self, changes: &mut syncline::Changes, cursor: u64, durability: Durability) {
        let found: Vec<_> = changes.map(|batch| batch.expect("a commit")).collect();
        let last = if durability == Durability::Sync {
            self.db().stats().expect("stats").durable.0
        } else {
            self.newest()
        };
        let found: Vec<_> =
            found.into_iter().map(|batch| (batch.seqno.0, expected(&batch.changes))).collect();
        let wanted: Vec<_> =
            self.history.iter().filter(|(seqno, _)| *seqno > cursor && *seqno <= last).cloned().collect();
        assert_eq!(found, wanted, "after {cursor}");
        assert!(changes.cursor().0 >= last.min(cursor.max(last)), "the cursor passes every commit");
    }

    fn reopen(&mut self) {
        if self.random.chance(50) {
            self.world.vfs = self.world.vfs.kill();
        }
        self.db = None;
        let mut builder = self.world.builder("/db");
        if self.random.chance(20) {
            self.retain = [0, 50_000][self.random.below(2) as usize];
            builder = builder.retain_log_bytes(self.retain);
        }
        let db = builder.open().expect("reopen");
        if db.stats().expect("stats").retained_segment_bytes > self.retain {
            db.put("flushed", "").expect("put");
            self.db = Some(db);
            self.history
                .push((self.newest(), vec![("default".into(), b"flushed".to_vec(), Some(Vec::new()), 0)]));
            self.db().flush().expect("a smaller bound takes effect with the next flush");
            return;
        }
        self.db = Some(db);
    }

    fn cut_power(&mut self) {
        let random = &mut self.random;
        self.world.vfs = self.world.vfs.power_cut(|bound| random.below(bound));
        self.db = None;
        self.db = Some(self.world.builder("/db").open().expect("reopen"));
        let newest = self.newest();
        self.history.retain(|(seqno, _)| *seqno <= newest);
        let beyond = self.db().changes_since(SeqNo(newest + 1), Durability::Sync);
        assert!(matches!(beyond, Err(Error::InvalidArgument { .. })), "a cursor of commits that were lost");
    }
}

fn expected(changes: &[Change]) -> Expected {
    let one = |change: &Change| {
        assert_eq!(change.origin, Origin::Local);
        let value = (change.kind == Kind::Put).then(|| change.value.to_vec());
        let keyspace = change.keyspace.as_deref().expect("a known keyspace").to_owned();
        (keyspace, change.key.clone(), value, change.expires_at_ms)
    };
    let mut expected: Vec<_> = changes.iter().map(one).collect();
    expected.sort();
    expected
}

#[test]
fn what_a_session_brought_is_told_apart_from_local_changes() {
    let world = World::new(1);
    let left = world.builder("/left").create().expect("a new store");
    let right = world.builder("/right").create_replica(&left.replica_set()).expect("a replica");
    left.keyspace("k").expect("a keyspace").put("key", "value").expect("put");
    right.put("own", "").expect("put");
    let _ = session(&left, &right, 1, u64::MAX);
    let changes = right.changes_since(SeqNo::ZERO, Durability::Sync).expect("a feed");
    let changes: Vec<_> = changes.flat_map(|batch| batch.expect("a commit").changes).collect();
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.keyspace.as_deref(), &change.key[..], change.origin, change.stamp.node))
        .collect();
    assert_eq!(
        told,
        [
            (Some("default"), &b"own"[..], Origin::Local, right.node_id().0),
            (Some("k"), &b"key"[..], Origin::Merged, left.node_id().0),
        ]
    );
}

#[test]
fn damage_in_a_retained_segment_is_corruption_and_never_a_gap() {
    let world = World::new(0);
    let db = world.builder("/db").retain_log_bytes(1 << 30).create().expect("a new store");
    for round in 0..3u64 {
        for number in 0..20u64 {
            db.put((round * 20 + number).to_be_bytes(), "some value").expect("put");
        }
        db.flush().expect("flush");
    }
    let names = world.vfs.list(Path::new("/db")).expect("list");
    let logs: Vec<_> = names.iter().filter(|name| name.ends_with(".log")).collect();
    assert_eq!(logs.len(), 4, "three flushed segments and the active one");
    let middle = Path::new("/db").join(logs[1]);
    let len = world.vfs.open(&middle, syncline::vfs::ReadMode::Plain).expect("open").len();
    for at in (0..len).step_by(7) {
        let damaged = World { vfs: world.vfs.kill(), ..world.clone() };
        damaged.vfs.flip(&middle, at as usize, 0x10).expect("flip");
        let db = damaged.builder("/db").open().expect("retained segments are not replayed");
        let feed = db.changes_since(SeqNo::ZERO, Durability::Buffered);
        let (mut last, mut error) = (0, None);
        match feed {
            Err(failed) => error = Some(failed),
            Ok(feed) => {
                for batch in feed.take(100) {
                    match batch {
                        Ok(batch) => {
                            assert_eq!(batch.seqno.0, last + 1, "byte {at}: a gap");
                            assert!(error.is_none(), "byte {at}: it went on after an error");
                            last = batch.seqno.0;
                        }
                        Err(failed) => error = Some(failed),
                    }
                }
            }
        }
        match error {
            Some(Error::Corruption { file, .. }) => assert_eq!(file, middle, "byte {at}"),
            // The footer only repeats what the commits say.
            None if last == 60 => {}
            other => panic!("byte {at}: {other:?} after commit {last}"),
        }
    }
}

#[test]
fn a_checkpoint_takes_no_retained_segments_along() {
    let world = World::new(0);
    let db = world.builder("/db").retain_log_bytes(1 << 30).create().expect("a new store");
    for number in 0..20u64 {
        db.put(number.to_be_bytes(), "some value").expect("put");
        db.flush().expect("flush");
    }
    db.checkpoint("/copy").expect("checkpoint");
    let copy = world.builder("/copy").open().expect("open");
    let feed = copy.changes_since(SeqNo::ZERO, Durability::Buffered);
    assert!(matches!(feed, Err(Error::TooOld { oldest: SeqNo(20) })), "{feed:?}");
    copy.put("key", "value").expect("put");
    let mut feed = copy.changes_since(SeqNo(20), Durability::Buffered).expect("a feed");
    assert_eq!(feed.next().expect("one commit").expect("is whole").seqno, SeqNo(21));
}

#[test]
fn a_reader_beside_a_writer_follows_without_a_gap_and_has_everything_in_the_end() {
    for seed in seeds(20) {
        let (world, mut random) = (World::new(seed), Random::new(seed));
        let retain = world.builder("/db").retain_log_bytes(1 << 30);
        let writer = retain.create().expect("a new store");
        let reader = world.builder("/db").open_read_only().expect("a reader");
        let mut feed = reader.changes_since(SeqNo::ZERO, Durability::Sync).expect("a feed");
        let mut last = 0;
        let mut follow = |is_moving: bool| {
            reader.refresh().expect("refresh");
            if is_moving {
                // The writer makes a segment of the number that the reader believes to be the next.
                writer.put("moving", "on").expect("put");
                writer.flush().expect("flush");
            }
            for batch in feed.by_ref() {
                let seqno = batch.unwrap_or_else(|error| panic!("SYNCLINE_SEED={seed}: {error}")).seqno.0;
                assert_eq!(seqno, last + 1, "SYNCLINE_SEED={seed}: a gap");
                last = seqno;
            }
            assert!(last <= writer.snapshot().seqno().0 && feed.cursor().0 == last, "SYNCLINE_SEED={seed}");
            last
        };
        for _ in 0..200 {
            writer.put(random.key(50), random.value()).expect("put");
            match random.below(12) {
                0 => writer.persist(Durability::Sync).expect("persist"),
                1 => writer.flush().expect("flush"),
                2..=4 => drop(follow(random.chance(30))),
                _ => {}
            }
        }
        writer.flush().expect("flush");
        assert_eq!(follow(false), writer.snapshot().seqno().0, "SYNCLINE_SEED={seed}");
        assert!(matches!(reader.watch(""), Err(Error::ReadOnly)));
    }
}
