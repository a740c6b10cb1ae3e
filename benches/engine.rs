//! The engine's parts, each by itself: commit, get, scan, fingerprint, recovery. Run by `cargo bench`; figures are for
//! comparing two versions on one machine, not for quoting.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use syncline::{Db, Durability};
use tempfile::TempDir;

const ENTRIES: u64 = 200_000;

/// Scattered keys of sixteen bytes.
fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn loaded() -> (TempDir, Db) {
    let dir = tempfile::tempdir().expect("a folder");
    let db = Db::builder(dir.path().join("db")).create().expect("a new store");
    for number in 0..ENTRIES {
        db.put(key(number), [7; 100]).expect("put");
    }
    db.compact(|| true).expect("compact");
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
    let (_dir, db) = loaded();
    let mut group = c.benchmark_group("read");
    let mut number = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("get, hit", |b| {
        b.iter(|| {
            number = (number + 7_919) % ENTRIES;
            black_box(db.get(key(number)).expect("get"))
        });
    });
    group.bench_function("get, miss", |b| {
        b.iter(|| {
            number += 1;
            black_box(db.get(key(number + ENTRIES)).expect("get"))
        });
    });
    group.bench_function("fingerprint of a random range", |b| {
        b.iter(|| {
            number = (number + 7_919) % ENTRIES;
            let (low, high) = (key(number), key(number + 1));
            let (low, high) = if low < high { (low, high) } else { (high, low) };
            black_box(db.fingerprint(low..high).expect("fingerprint"))
        });
    });
    group.throughput(Throughput::Elements(ENTRIES));
    group.sample_size(10);
    group.bench_function("scan", |b| b.iter(|| black_box(db.iter().count())));
    group.bench_function("scan, reverse", |b| b.iter(|| black_box(db.iter().rev().count())));
}

fn recovery(c: &mut Criterion) {
    let (dir, db) = loaded();
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
