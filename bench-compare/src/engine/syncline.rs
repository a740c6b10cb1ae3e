//! Syncline at its defaults, Merkle index included; with `--compress` its runs are compressed with LZ4.
//!
//! Buffered: every commit is in a file mapping or in the page cache when it returns; a killed process loses nothing.
//! Durable: `Durability::Sync`, one fdatasync shared by the threads that wait for it.

use syncline::{Compression, Db, Durability, Iter, Keyspace, Snapshot};

use super::{Config, Direction, Engine, Scan};
use crate::Result;

/// See the module.
#[derive(Debug)]
pub struct Syncline {
    db: Db,
    keyspace: Keyspace,
    durability: Durability,
    has_index: bool,
}

impl Engine for Syncline {
    type View<'a> = (Snapshot, &'a Keyspace);

    const NAME: &'static str = "syncline";

    fn promise(durable: bool) -> &'static str {
        if durable { "fsynced, group commit" } else { "survives a killed process" }
    }

    fn refusal(_: &Config) -> Option<&'static str> {
        None
    }

    fn open(config: &Config) -> Result<Syncline> {
        let durability = if config.durable { Durability::Sync } else { Durability::Buffered };
        let builder = Db::builder(&config.dir).durability(durability);
        let builder = if config.without_index { builder.without_index() } else { builder };
        let builder = if config.compress { builder.compression(Compression::Lz4) } else { builder };
        let db = builder.open_or_create()?;
        Ok(Syncline { keyspace: db.default_keyspace(), db, durability, has_index: !config.without_index })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.keyspace.put(key, value)?)
    }

    fn put_batch<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut batch = self.db.batch();
        for (key, value) in entries {
            batch.put(&self.keyspace, key, value)?;
        }
        Ok(self.db.write(batch, self.durability)?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.keyspace.delete(key)?)
    }

    fn view(&self) -> Result<(Snapshot, &Keyspace)> {
        Ok((self.db.snapshot(), &self.keyspace))
    }

    fn get_in((snapshot, keyspace): &Self::View<'_>, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(snapshot.get(keyspace, key)?.map(|value| read(&value)).is_some())
    }

    fn scan(&self, scan: Scan<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut iter = self.keyspace.range::<&[u8]>(scan.bounds());
        let advance = match scan.direction {
            Direction::Forward => Iter::advance,
            Direction::Backward => Iter::advance_back,
        };
        let mut count = 0;
        while count < scan.limit && advance(&mut iter)? {
            visit(iter.key(), iter.value());
            count += 1;
        }
        Ok(count)
    }

    /// The root includes every write, so asking for it has what they replaced looked up.
    fn catch_up(&self) -> Result<()> {
        if self.has_index {
            self.db.root()?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.db.flush()?;
        while self.db.step()? {}
        Ok(())
    }

    fn compact(self) -> Result<Syncline> {
        self.db.compact(|_| true)?;
        Ok(self)
    }
}
