//! LMDB through heed: a memory-mapped copy-on-write B+tree, with a map of 64 GiB of address space.
//!
//! Buffered: `MDB_NOSYNC` without `MDB_WRITEMAP`: a commit writes its pages and then the meta page with plain write calls,
//! so a killed process loses nothing; but the file may be broken, not only old, after a power cut, for
//! nothing orders those writes on the medium. Durable: no flag, one fdatasync per commit and a synchronous meta page.
//!
//! LMDB cannot compact in place; `compact` does what `mdb_copy -c` does and puts the copy in the file's place.
#![allow(unsafe_code, reason = "heed's `open` and `flags` are unsafe, for the map and for NOSYNC")]

use ::heed::types::Bytes;
use ::heed::{CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithTls};

use super::{Config, Direction, Engine, Scan};
use crate::Result;

const MAP_BYTES: usize = 64 << 30;

/// See the module.
pub struct Heed {
    env: Env,
    db: Database<Bytes, Bytes>,
    config: Config,
}

impl Engine for Heed {
    type View<'a> = (RoTxn<'a, WithTls>, Database<Bytes, Bytes>);

    const NAME: &'static str = "heed";

    fn promise(durable: bool) -> &'static str {
        if durable { "fsynced" } else { "survives a killed process; a power cut may break the file" }
    }

    fn open(config: &Config) -> Result<Heed> {
        std::fs::create_dir_all(&config.dir)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES);
        if !config.durable {
            // SAFETY: without syncs the file may be broken after a power cut; it is a benchmark's, and thrown away.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: the folder is this run's own, so nobody else changes or truncates the mapped file.
        let env = unsafe { options.open(&config.dir)? };
        let mut transaction = env.write_txn()?;
        let db = env.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Heed { env, db, config: config.clone() })
    }

    fn put_batch<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (key, value) in entries {
            self.db.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.db.delete(&mut transaction, key)?;
        Ok(transaction.commit()?)
    }

    fn view(&self) -> Result<Self::View<'_>> {
        Ok((self.env.read_txn()?, self.db))
    }

    fn get_in((transaction, db): &Self::View<'_>, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(db.get(transaction, key)?.map(read).is_some())
    }

    fn scan(&self, scan: Scan<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let transaction = self.env.read_txn()?;
        let visit = |entry: ::heed::Result<(&[u8], &[u8])>| {
            let (key, value) = entry?;
            visit(key, value);
            Ok(())
        };
        match scan.direction {
            Direction::Forward => scan.walk_forward(self.db.range(&transaction, &scan.bounds())?, visit),
            Direction::Backward => scan.walk_forward(self.db.rev_range(&transaction, &scan.bounds())?, visit),
        }
    }

    fn compact(self) -> Result<Heed> {
        let (copy, config) = (self.config.dir.join("copy.mdb"), self.config.clone());
        self.env.copy_to_path(&copy, CompactionOption::Enabled)?;
        self.close()?;
        std::fs::rename(copy, config.dir.join("data.mdb"))?;
        Heed::open(&config)
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
