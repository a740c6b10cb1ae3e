//! A writing child process is killed at random moments, a hundred times over one store: no acknowledged write is lost,
//! what is there is a prefix of what was written, `verify` finds nothing, and the Merkle index is never rebuilt.
//!
//! The child is this test binary itself, told by the environment what to do. It numbers its writes; write `n` puts
//! `n` under a key of its own and under a key that every write overwrites, in one batch, and then says `n` on its
//! standard output. Half of the writes are durable, so that segments, seals, flushes and fsyncs all get killed in.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::Random;
use syncline::{Builder, Db, Durability};

const KILLS: u64 = 100;
const DIR: &str = "SYNCLINE_KILL_DIR";

fn builder(dir: &Path) -> Builder {
    // Small memtables, so that a life of some ten milliseconds has seals, flushes and merges in it.
    Db::builder(dir).memtable_bytes(64 << 10).inline_value_max(512)
}

fn key(number: u64) -> Vec<u8> {
    // Scattered, so that flushes touch many buckets; still a function of the number.
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec()
}

fn value(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(50) { 2_000 } else { 60 };
    number.to_le_bytes().iter().copied().cycle().take(len).collect()
}

/// Not a test: the body of the child. Does nothing unless the environment names a store.
#[test]
fn child_writes_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let db = builder(Path::new(&dir)).open().expect("open");
    let keyspace = db.default_keyspace();
    let first = 1 + last_number(&db);
    let mut out = std::io::stdout().lock();
    for number in first.. {
        let mut batch = db.batch();
        batch.put(&keyspace, key(number), value(number)).expect("put");
        batch.put(&keyspace, b"last", number.to_le_bytes()).expect("put");
        let durability = if number.is_multiple_of(64) { Durability::Sync } else { Durability::Buffered };
        db.write(batch, durability).expect("write");
        writeln!(out, "ack {number}").and_then(|()| out.flush()).expect("parent reads");
    }
}

fn last_number(db: &Db) -> u64 {
    let last = db.get(b"last").expect("get");
    last.map_or(0, |bytes| u64::from_le_bytes(bytes.to_vec().try_into().expect("eight bytes")))
}

#[test]
fn a_killed_writer_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(builder(dir.path()).create().expect("a new store"));
    let mut random = Random::new(42);
    for kill in 0..KILLS {
        let acknowledged = write_and_kill(dir.path(), random.below(1_500));

        let db = builder(dir.path()).open().unwrap_or_else(|error| panic!("open after kill {kill}: {error}"));
        assert!(!db.recovery().merkle_rebuilt, "kill {kill}: the Merkle index was rebuilt");
        let last = last_number(&db);
        assert!(
            last >= acknowledged,
            "kill {kill}: write {acknowledged} was acknowledged, {last} is the last there"
        );
        assert_eq!(db.len().expect("len"), last + u64::from(last > 0), "kill {kill}: not a prefix");
        // All numbers of this life and some of older ones; `len` above says that none is there twice or too much.
        let sample =
            (0..200).map(|_| 1 + random.below(last.max(1))).chain(acknowledged.saturating_sub(300)..=last);
        for number in sample.filter(|number| (1..=last).contains(number)) {
            let found = db.get(key(number)).expect("get");
            assert_eq!(found.as_deref(), Some(&value(number)[..]), "kill {kill}: write {number} of {last}");
        }
        let report = db.verify(&mut |_| true).expect("verify");
        assert_eq!(report.problems, Vec::<String>::new(), "kill {kill}");
    }
}

/// Starts the child, kills it after it acknowledged `count` writes of this life, and returns the last number it said.
fn write_and_kill(dir: &Path, count: u64) -> u64 {
    let binary = std::env::current_exe().expect("this binary");
    let mut child = Command::new(binary)
        .args(["--exact", "kill::child_writes_until_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the child starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut acknowledged = 0;
    let mut taken = 0;
    while taken < count {
        let Some(Ok(line)) = lines.next() else { panic!("the child ended by itself") };
        // The test runner may have begun the line with words of its own.
        if let Some((_, number)) = line.rsplit_once("ack ") {
            acknowledged = number.parse().expect("a number");
            taken += 1;
        }
    }
    child.kill().expect("the child is ours to kill");
    child.wait().expect("the child ends");
    // What it said before it died counts as acknowledged too.
    for line in lines.map_while(Result::ok) {
        if let Some((_, number)) = line.rsplit_once("ack ")
            && let Ok(number) = number.parse()
        {
            acknowledged = number;
        }
    }
    acknowledged
}
