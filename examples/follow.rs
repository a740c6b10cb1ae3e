//! Keeps a copy of a store up to date: reads everything once, then only what changes, and wakes without polling.
//!
//! Run it with `cargo run --release --example follow`. The cursor is what a follower has to keep together with its copy: from
//! it the feed goes on after a restart of either side.

use std::collections::BTreeMap;

use syncline::{Db, Durability, Error, Kind, SeqNo};

/// What follows: it could be a search index, a cache, or another database.
#[derive(Default)]
struct Copy {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    cursor: SeqNo,
}

impl Copy {
    /// Brings the copy up to date, from the feed if it has everything after the cursor, else from a snapshot.
    fn catch_up(&mut self, db: &Db) -> syncline::Result<()> {
        let changes = match db.changes_since(self.cursor, Durability::Buffered) {
            Err(Error::TooOld { oldest }) => {
                println!("the feed begins at {}: reading everything", oldest.0);
                return self.read_everything(db);
            }
            changes => changes?,
        };
        for batch in changes {
            let batch = batch?;
            for change in batch.changes {
                match change.kind {
                    Kind::Put => self.entries.insert(change.key, change.value.to_vec()),
                    Kind::Tombstone => self.entries.remove(&change.key),
                };
            }
            self.cursor = batch.seqno;
        }
        Ok(())
    }

    fn read_everything(&mut self, db: &Db) -> syncline::Result<()> {
        let snapshot = db.snapshot();
        let entries = snapshot.range::<&[u8]>(&db.default_keyspace(), ..);
        self.entries = entries
            .map(|entry| entry.map(|entry| (entry.key, entry.value.to_vec())))
            .collect::<Result<_, _>>()?;
        self.cursor = snapshot.seqno();
        Ok(())
    }
}

fn main() -> syncline::Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let db = Db::builder(dir.path().join("store")).retain_log_bytes(64 << 20).create()?;
    for number in 0..1000 {
        db.put(format!("before-{number}"), "x")?;
    }

    let mut copy = Copy::default();
    // Watching begins before the first look, so that nothing falls between the two.
    let watch = db.watch("")?;
    copy.catch_up(&db)?;
    println!("{} entries at commit {}", copy.entries.len(), copy.cursor.0);

    let writer = {
        let db = db.clone();
        std::thread::spawn(move || (0..1000).try_for_each(|number| db.put(format!("after-{number}"), "y")))
    };
    while copy.entries.len() < 2000 {
        // Whatever the event says, lagging included, the feed has it all.
        if watch.next_within(std::time::Duration::from_secs(10)).is_none() {
            break;
        }
        while watch.try_next().is_some() {}
        copy.catch_up(&db)?;
    }
    writer.join().expect("the writer does not panic")?;
    println!("{} entries at commit {}", copy.entries.len(), copy.cursor.0);
    Ok(())
}
