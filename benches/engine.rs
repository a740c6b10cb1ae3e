//! The engine's parts, each by itself: commit, get, scan, Merkle index, compression, recovery. `cargo bench -- NAME` runs some of
//! them, each in a few seconds; figures are for comparing two versions on one machine, not for quoting.
//!
//! What the Merkle index costs an update is the difference of the two updates in group `merkle`, flushes and merges included,
//! for they are done by the thread that is timed.
#![allow(missing_docs)]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use syncline::{Builder, Compression, Db, Durability, Iter};
use tempfile::TempDir;

const ENTRIES: u64 = 200_000;

/// Scattered keys of sixteen bytes.
fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A store of one run, or of four, each as long as all newer ones together.
fn loaded(runs: u32) -> (TempDir, Db) {
    let (dir, db) = loaded_with(runs, |builder| builder);
    assert_eq!(db.stats().expect("stats").runs, u64::from(runs));
    (dir, db)
}

fn loaded_with(runs: u32, options: impl FnOnce(Builder) -> Builder) -> (TempDir, Db) {
    let dir = tempfile::tempdir().expect("a folder");
    let builder = Db::builder(dir.path().join("db")).memtable_bytes(128 << 20).background(false);
    let db = options(builder).create().expect("a new store");
    let ends: Vec<u64> = (1..runs).map(|run| ENTRIES - (ENTRIES >> run)).collect();
    for number in 0..ENTRIES {
        if ends.contains(&number) {
            db.flush().expect("flush");
        }
        db.put(key(number), [7; 100]).expect("put");
    }
    db.flush().expect("flush");
    (dir, db)
}

fn commit(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let db = Db::builder(dir.path().join("db")).create().expect("a new store");
    let mut number = 0;
    let mut group = c.benchmark_group("commit");
    group.throughput(Throughput::Elements(1));
    group.bench_function("new key, buffered", |b| {
        b.iter(|| {
            number += 1;
            db.put(key(number), [7; 100]).expect("put");
        });
    });
    group.bench_function("old key, buffered", |b| {
        let mut next = 0;
        b.iter(|| {
            next = (next + 7_919) % number.max(1);
            db.put(key(next), [8; 100]).expect("put");
        });
    });
    group.bench_function("new key, durable", |b| {
        b.iter(|| {
            number += 1;
            let mut batch = db.batch();
            batch.put(&db.default_keyspace(), key(number), [7; 100]).expect("put");
            db.write(batch, Durability::Sync).expect("write");
        });
    });
}

fn read(c: &mut Criterion) {
    for runs in [1, 4] {
        let (_dir, db) = loaded(runs);
        let mut group = c.benchmark_group(format!("read, runs: {runs}"));
        let mut number = 0;
        let mut next = || {
            number = (number + 7_919) % ENTRIES;
            number
        };
        group.throughput(Throughput::Elements(1));
        group.bench_function("get, hit", |b| b.iter(|| black_box(db.get(key(next())).expect("get"))));
        group.bench_function("get, miss", |b| {
            b.iter(|| black_box(db.get(key(next() + ENTRIES)).expect("get")));
        });
        group.bench_function("seek and 100 entries", |b| {
            b.iter(|| walk(db.range(key(next())..), Iter::advance, 100));
        });
        group.throughput(Throughput::Elements(ENTRIES));
        group.sample_size(10);
        group.bench_function("scan", |b| b.iter(|| walk(db.iter(), Iter::advance, usize::MAX)));
        group.bench_function("scan, reverse", |b| {
            b.iter(|| walk(db.iter(), Iter::advance_back, usize::MAX));
        });
        group.bench_function("scan, owned", |b| b.iter(|| black_box(db.iter().count())));
    }
}

/// Looks at up to `count` entries.
fn walk(mut iter: Iter, step: fn(&mut Iter) -> syncline::Result<bool>, count: usize) {
    for _ in 0..count {
        if !step(&mut iter).expect("an entry") {
            break;
        }
        black_box((iter.key(), iter.value()));
    }
}

fn merkle(c: &mut Criterion) {
    let mut group = c.benchmark_group("merkle");
    for (name, indexed) in [("update", true), ("update without index", false)] {
        let options = |builder: Builder| if indexed { builder } else { builder.without_index() };
        // Memtables small enough that many are flushed while it is timed.
        let (_dir, db) = loaded_with(1, |builder| options(builder).memtable_bytes(2 << 20));
        // What the load has left would take the whole warm-up, and the updates would be thought far too slow.
        while db.step().expect("background work") {}
        let mut number = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                number = (number + 7_919) % ENTRIES;
                db.put(key(number), number.to_be_bytes()).expect("put");
                while number % 64 == 0 && db.step().expect("background work") {}
            });
        });
    }
    let (_dir, db) = loaded(4);
    let mut number = 0;
    let mut next = || {
        number = (number + 7_919) % ENTRIES;
        number
    };
    group.bench_function("root", |b| b.iter(|| black_box(db.root().expect("root"))));
    group.bench_function("fingerprint of a random range", |b| {
        b.iter(|| {
            let (low, high) = (key(next()), key(next()));
            let (low, high) = if low < high { (low, high) } else { (high, low) };
            black_box(db.fingerprint(low..high).expect("fingerprint"))
        });
    });
}

fn compression(c: &mut Criterion) {
    let mut group = c.benchmark_group("compression");
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
        if !compression.is_supported() {
            continue;
        }
        let (_dir, db) = loaded_with(1, |builder| builder.compression(compression));
        let mut number = 0;
        group.bench_function(format!("get, {compression:?}"), |b| {
            b.iter(|| {
                number = (number + 7_919) % ENTRIES;
                black_box(db.get(key(number)).expect("get"))
            });
        });
    }
}

fn recovery(c: &mut Criterion) {
    let (dir, db) = loaded(1);
    let (path, killed) = (dir.path().join("db"), dir.path().join("killed"));
    for number in 0..10_000 {
        db.put(key(number), [9; 100]).expect("put");
    }
    copy(&path, &killed);
    drop(db);
    let mut group = c.benchmark_group("recovery");
    group.sample_size(20);
    group.bench_function("open", |b| {
        b.iter_batched(|| (), |()| Db::open(&path).expect("open"), BatchSize::PerIteration);
    });
    group.bench_function("open and replay 10,000 commits", |b| {
        let fresh = || {
            let fresh = tempfile::tempdir().expect("a folder");
            copy(&killed, &fresh.path().join("db"));
            fresh
        };
        let open = |dir: TempDir| (Db::open(dir.path().join("db")).expect("open"), dir);
        b.iter_batched(fresh, open, BatchSize::PerIteration);
    });
}

/// Copies a store as a killed process leaves it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new folder");
    for file in from.read_dir().expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = quick();
    targets = commit, read, merkle, compression, recovery
}
criterion_main!(benches);
