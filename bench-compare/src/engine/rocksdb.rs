//! RocksDB with what its tuning guide recommends for point reads: Bloom filters of 10 bits per key, a block cache, the
//! filters of the first level pinned; memtables of 64 MiB (the default). Compression is none, or LZ4 with `--compress`.
//!
//! Buffered: the write-ahead log without sync: every commit is written to the operating system; a killed process loses
//! nothing. Durable: `sync` on each write, one fdatasync shared by the threads that wait for it.

use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, FlushOptions, Options, WaitForCompactOptions,
    WriteBatch, WriteOptions,
};

use super::{CACHE_BYTES, Config, Direction, Engine, Scan};
use crate::Result;

/// See the module.
pub struct RocksDb {
    db: DB,
    writes: WriteOptions,
}

impl Engine for RocksDb {
    type View<'a> = &'a RocksDb;

    const NAME: &'static str = "rocksdb";

    fn promise(durable: bool) -> &'static str {
        if durable { "fsynced, group commit" } else { "survives a killed process" }
    }

    fn open(config: &Config) -> Result<RocksDb> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        table.set_bloom_filter(10.0, false);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_max_background_jobs(2);
        options.set_compression_type(if config.compress {
            DBCompressionType::Lz4
        } else {
            DBCompressionType::None
        });
        let mut writes = WriteOptions::default();
        writes.set_sync(config.durable);
        Ok(RocksDb { db: DB::open(&options, &config.dir)?, writes })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.writes)?)
    }

    fn put_batch<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.writes)?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.writes)?)
    }

    fn view(&self) -> Result<&RocksDb> {
        Ok(self)
    }

    fn get_in(engine: &&RocksDb, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(engine.db.get_pinned(key)?.map(|value| read(&value)).is_some())
    }

    fn scan(&self, scan: Scan<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut cursor = self.db.raw_iterator();
        match (scan.from, scan.direction) {
            (None, Direction::Forward) => cursor.seek_to_first(),
            (None, Direction::Backward) => cursor.seek_to_last(),
            (Some(from), Direction::Forward) => cursor.seek(from),
            (Some(from), Direction::Backward) => cursor.seek_for_prev(from),
        }
        let mut count = 0;
        while count < scan.limit
            && let Some((key, value)) = cursor.item()
        {
            visit(key, value);
            count += 1;
            match scan.direction {
                Direction::Forward => cursor.next(),
                Direction::Backward => cursor.prev(),
            }
        }
        cursor.status()?;
        Ok(count)
    }

    fn settle(&self) -> Result<()> {
        self.db.flush_opt(&FlushOptions::default())?;
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn compact(self) -> Result<RocksDb> {
        self.settle()?;
        self.db.compact_range::<&[u8], &[u8]>(None, None);
        self.settle()?;
        Ok(self)
    }
}
