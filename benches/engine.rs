//! The engine's parts, each by itself: commit, get, scan, fingerprint, recovery. Run by `cargo bench`; figures are for
//! comparing two versions on one machine, not for quoting.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use syncline::{Db, Durability, Iter};
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
    let dir = tempfile::tempdir().expect("a folder");
    let builder = Db::builder(dir.path().join("db")).memtable_bytes(128 << 20).background(false);
    let db = builder.create().expect("a new store");
    let ends: Vec<u64> = (1..runs).map(|run| ENTRIES - (ENTRIES >> run)).collect();
    for number in 0..ENTRIES {
        if ends.contains(&number) {
            db.flush().expect("flush");
        }
        db.put(key(number), [7; 100]).expect("put");
    }
    db.flush().expect("flush");
    assert_eq!(db.stats().expect("stats").runs, u64::from(runs));
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
        group.bench_function("fingerprint of a random range", |b| {
            b.iter(|| {
                let (low, high) = (key(next()), key(next()));
                let (low, high) = if low < high { (low, high) } else { (high, low) };
                black_box(db.fingerprint(low..high).expect("fingerprint"))
            });
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

fn recovery(c: &mut Criterion) {
    let (dir, db) = loaded(1);
    drop(db);
    let path = dir.path().join("db");
    let mut group = c.benchmark_group("recovery");
    group.sample_size(20);
    group.bench_function("open", |b| {
        b.iter_batched(|| (), |()| Db::open(&path).expect("open"), BatchSize::PerIteration);
    });
}

criterion_group!(benches, commit, read, recovery);
criterion_main!(benches);
