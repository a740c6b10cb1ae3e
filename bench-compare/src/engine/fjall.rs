//! fjall, a log-structured merge tree, at its defaults but for the block cache and for compression, which is LZ4 from
//! the third level down by default and here only with `--compress`.
//!
//! Buffered: the default, `PersistMode::Buffer`: every commit is written to the operating system; a killed process loses
//! nothing. Durable: the commit, then `persist(SyncData)`, as its documentation shows.

use std::time::Duration;

use ::fjall::config::CompressionPolicy;
use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use super::{CACHE_BYTES, Config, Engine, Scan};
use crate::Result;

/// See the module.
pub struct Fjall {
    db: Database,
    keyspace: Keyspace,
    durable: bool,
}

impl Fjall {
    fn persist(&self) -> Result<()> {
        if self.durable {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Engine for Fjall {
    type View<'a> = (Snapshot, &'a Keyspace);

    const NAME: &'static str = "fjall";

    fn promise(durable: bool) -> &'static str {
        if durable { "fsynced" } else { "survives a killed process" }
    }

    fn open(config: &Config) -> Result<Fjall> {
        let db = Database::builder(&config.dir).cache_size(CACHE_BYTES as u64).open()?;
        let keyspace = db.keyspace("default", || {
            let options = KeyspaceCreateOptions::default();
            if config.compress {
                options
            } else {
                options.data_block_compression_policy(CompressionPolicy::disabled())
            }
        })?;
        Ok(Fjall { db, keyspace, durable: config.durable })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.insert(key, value)?;
        self.persist()
    }

    fn put_batch<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut batch = self.db.batch();
        for (key, value) in entries {
            batch.insert(&self.keyspace, key, value);
        }
        batch.commit()?;
        self.persist()
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.keyspace.remove(key)?;
        self.persist()
    }

    fn get(&self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.keyspace.get(key)?.map(|value| read(&value)).is_some())
    }

    fn view(&self) -> Result<(Snapshot, &Keyspace)> {
        Ok((self.db.snapshot(), &self.keyspace))
    }

    fn get_in((snapshot, keyspace): &Self::View<'_>, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(snapshot.get(keyspace, key)?.map(|value| read(&value)).is_some())
    }

    fn scan(&self, scan: Scan<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        scan.walk(self.keyspace.range::<&[u8], _>(scan.bounds()), |entry| {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value);
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        // There is no call that waits for compactions: quiet in twenty looks, five milliseconds apart, is taken for done.
        let mut quiet = 0;
        while quiet < 20 {
            let is_busy = self.db.outstanding_flushes() > 0
                || self.db.active_compactions() > 0
                || self.keyspace.sealed_memtable_count() > 0;
            quiet = if is_busy { 0 } else { quiet + 1 };
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn compact(self) -> Result<Fjall> {
        self.settle()?;
        self.keyspace.major_compact()?;
        Ok(self)
    }
}
