//! Fingerprints depend on content alone: stores that hold the same entries have the same root whatever the order in which
//! they came, however they were flushed, compacted and reopened, and every range's sum is the one that reading it gives.

use sync_proto::{Cut, Entry, KeyRange, Kind, Origin, RangeSum, ReadLimit, Replica, Stamp};
use syncline::replica::DbReplica;
use syncline::{Builder, Db};

use crate::common::{Random, World, seeds};

const ORIGIN: Origin = Origin { node: 7, horizon: 0 };
const NO_LIMIT: ReadLimit = ReadLimit { count: u32::MAX, bytes: u32::MAX };

/// Entries as another replica might send them: several versions of some keys, tombstones, expiring ones, meta.
fn entries(random: &mut Random, prefix: &[u8]) -> Vec<Entry> {
    let world = 20 + random.below(2_000);
    let entry = |random: &mut Random| {
        let is_put = random.chance(85);
        Entry {
            key: [prefix, &random.key(world)].concat(),
            stamp: Stamp { hlc: (1_600_000_000_000 + random.below(1_000)) << 16, node: 1 + random.below(3) },
            kind: if is_put { Kind::Put } else { Kind::Tombstone },
            expires_at: if is_put && random.chance(10) {
                1_900_000_000_000 + random.below(9_999_999)
            } else {
                0
            },
            meta: if random.chance(10) { vec![1, 2, 3] } else { Vec::new() },
            value: if is_put { random.value() } else { Vec::new() },
        }
    };
    (0..50 + random.below(1_500)).map(|_| entry(random)).collect()
}

/// The inner prefix of the default keyspace: that of the only entry in a store that has one.
fn default_prefix(db: &Db) -> Vec<u8> {
    db.put(b"", b"").expect("put");
    let replica = DbReplica::new(db);
    let all = replica.info(None).expect("info").replicated;
    let heads = replica.pin(0).expect("pinned").heads(&all, NO_LIMIT).expect("heads");
    heads.heads.first().expect("one entry").key.clone()
}

#[test]
fn equal_content_gives_equal_roots_whatever_the_history() {
    for seed in seeds(150) {
        let outcome = std::panic::catch_unwind(|| check_histories(seed));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}: SYNCLINE_SEED={seed} cargo test --test engine merkle");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_store_written_without_its_index_gets_it_back() {
    for seed in seeds(20) {
        let (mut random, world) = (Random::new(seed), World::new(seed));
        let mut db = world.builder("/db").create().expect("a new store");
        for round in 0..6 {
            for _ in 0..random.below(400) {
                let key = random.key(300);
                let written = if random.chance(80) { db.put(&key, random.value()) } else { db.delete(&key) };
                written.expect("commit");
            }
            if random.chance(50) {
                db.flush().expect("flush");
            }
            assert_eq!(db.root().is_ok(), round % 2 == 0, "seed {seed}: a root without an index");
            drop(db);
            let builder = world.builder("/db");
            let builder = if round % 2 == 0 { builder.without_index() } else { builder };
            db = builder.open().expect("reopen");
        }
        let report = db.verify(&mut |_| true).expect("verify");
        assert_eq!(report.problems, [""; 0], "seed {seed}");
        let count = db.iter().count() as u64;
        assert_eq!(db.len().expect("length"), count, "seed {seed}");
    }
}

fn check_histories(seed: u64) {
    let mut random = Random::new(seed);
    let first = World::new(seed).builder("/first").create().expect("a new store");
    let set = first.replica_set();
    let prefix = default_prefix(&World::new(0).builder("/probe").create_replica(&set).expect("a new store"));
    let mut entries = entries(&mut random, &prefix);
    let mut roots = Vec::new();
    for history in 0..3 {
        let world = World::new(seed * 10 + history + 1);
        let memtable_bytes = 2_000 << random.below(6);
        let builder = || world.builder("/db").memtable_bytes(memtable_bytes);
        drop(builder().create_replica(&set).expect("a new store"));
        let db = play(&mut random, builder, &entries);
        roots.push((db.root().expect("root"), db.len().expect("len")));
        let report = db.verify(&mut |_| true).expect("verify");
        assert_eq!(report.problems, Vec::<String>::new());
        check_ranges(&mut random, &db, &prefix);
        // The next history is the same entries in another order, some of them twice.
        for _ in 0..2 * entries.len() {
            let (a, b) =
                (random.below(entries.len() as u64) as usize, random.below(entries.len() as u64) as usize);
            entries.swap(a, b);
        }
        let again: Vec<Entry> = entries.iter().take(random.below(40) as usize).cloned().collect();
        entries.extend(again);
    }
    assert_eq!(roots[0], roots[1]);
    assert_eq!(roots[1], roots[2]);
}

/// Applies all entries in batches of random length, with flushes, compactions and reopenings in between.
fn play(random: &mut Random, builder: impl Fn() -> Builder, entries: &[Entry]) -> Db {
    let mut db = builder().open().expect("open");
    let mut left = entries;
    while !left.is_empty() {
        let (batch, rest) = left.split_at(left.len().min(1 + random.below(80) as usize));
        left = rest;
        let applied = DbReplica::new(&db).apply(batch.to_vec(), ORIGIN).expect("apply");
        assert_eq!(applied.applied + applied.covered, batch.len() as u64);
        match random.below(12) {
            0 => db.flush().expect("flush"),
            1 => db.compact(|_| true).expect("compact"),
            2 => {
                drop(db);
                db = builder().open().expect("reopen");
            }
            _ => while random.chance(40) && db.step().expect("background work") {},
        }
    }
    db
}

/// The index's sums of random ranges, and of children and splits of them, against those of reading every entry.
fn check_ranges(random: &mut Random, db: &Db, prefix: &[u8]) {
    let reader = DbReplica::new(db).pin(0).expect("pinned");
    for _ in 0..10 {
        let (mut low, mut high) = (random.key(2_000), random.key(2_000));
        if low > high {
            std::mem::swap(&mut low, &mut high);
        }
        let range = KeyRange { start: [prefix, &low].concat(), end: Some([prefix, &high].concat()) };
        let read = reader.heads(&range, NO_LIMIT).expect("heads");
        let sum: RangeSum = read.heads.iter().map(sync_proto::Head::sum).sum();
        let sums = reader.sums(&range, &[]).expect("sums");
        assert!(sums.len() == 1 && sums[0].is_same_set(&sum));

        let children = reader.children(&range, Cut::Pieces(8), NO_LIMIT).expect("children");
        let split = reader.split(&range, 5).expect("split");
        for pieces in [&children.pieces, &split] {
            assert_eq!(pieces[0].start, range.start);
            assert!(
                pieces.windows(2).all(|pair| pair[0].start < pair[1].start && range.contains(&pair[1].start))
            );
            let total: RangeSum = pieces.iter().map(|piece| piece.sum).sum();
            assert_eq!(total, sums[0]);
        }
    }
}
