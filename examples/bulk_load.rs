//! Loads sorted entries in both ways, and prints what each costs: `ingest`, and batches of a thousand puts.
//!
//! ```sh
//! cargo run --release --example bulk_load -- 2000000
//! ```

#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::time::Instant;

use syncline::{Db, Durability, Result};

fn main() -> Result<()> {
    let count: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let entry = |number: u64| {
        (number.to_be_bytes(), number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string().repeat(5))
    };
    let dir = tempfile::tempdir().expect("a folder");

    let db = Db::builder(dir.path().join("ingested")).create()?;
    let start = Instant::now();
    db.ingest((0..count).map(entry))?;
    report("ingest", count, start);
    let start = Instant::now();
    db.ingest((0..count).map(entry))?;
    report("ingest of the same keys again", count, start);

    let db = Db::builder(dir.path().join("batches")).create()?;
    let keyspace = db.default_keyspace();
    let start = Instant::now();
    for first in (0..count).step_by(1000) {
        let mut batch = db.batch();
        for (key, value) in (first..count.min(first + 1000)).map(entry) {
            batch.put(&keyspace, key, value)?;
        }
        db.write(batch, Durability::Buffered)?;
    }
    db.flush()?;
    report("batches and a flush", count, start);
    Ok(())
}

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {:.2} s, {:.0} entries/s", seconds, count as f64 / seconds);
}
