//! redb, a copy-on-write B+tree in one file, at its defaults (1 GiB of cache).
//!
//! Buffered: `Durability::None`, which promises less than the others: a killed process loses every commit since the
//! last durable one. redb has nothing between that and an fsync; settling and closing make such a commit.
//! Durable: `Durability::Immediate`, one fsync per commit.

use ::redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};

use super::{Config, Engine, Scan};
use crate::Result;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("default");

/// See the module.
#[derive(Debug)]
pub struct Redb {
    db: Database,
    durability: Durability,
}

impl Redb {
    fn begin(&self) -> Result<WriteTransaction> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(self.durability)?;
        Ok(transaction)
    }
}

impl Engine for Redb {
    type View<'a> = ReadOnlyTable<&'static [u8], &'static [u8]>;

    const NAME: &'static str = "redb";

    fn promise(durable: bool) -> &'static str {
        if durable { "fsynced" } else { "in memory: a killed process loses it" }
    }

    fn open(config: &Config) -> Result<Redb> {
        std::fs::create_dir_all(&config.dir)?;
        let is_new = !config.dir.join("redb").exists();
        let db = Database::create(config.dir.join("redb"))?;
        let durability = if config.durable { Durability::Immediate } else { Durability::None };
        let redb = Redb { db, durability };
        if is_new {
            redb.put_batch(std::iter::empty())?;
            redb.settle()?;
        }
        Ok(redb)
    }

    fn put_batch<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let transaction = self.begin()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in entries {
                table.insert(key, value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        let transaction = self.begin()?;
        transaction.open_table(TABLE)?.remove(key)?;
        Ok(transaction.commit()?)
    }

    fn view(&self) -> Result<Self::View<'_>> {
        Ok(self.db.begin_read()?.open_table(TABLE)?)
    }

    fn get_in(table: &Self::View<'_>, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(table.get(key)?.map(|value| read(value.value())).is_some())
    }

    fn scan(&self, scan: Scan<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let table = self.view()?;
        scan.walk(table.range::<&[u8]>(scan.bounds())?, |entry| {
            let (key, value) = entry?;
            visit(key.value(), value.value());
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        // Until a durable commit the newest pages are in memory alone, and the file is empty.
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction.commit()?)
    }

    fn compact(mut self) -> Result<Redb> {
        while self.db.compact()? {}
        Ok(self)
    }

    fn close(self) -> Result<()> {
        self.settle()
    }
}
