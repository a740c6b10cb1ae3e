//! `load`: the rows of a table become entries of a store. Also how the demo fills its replicas.
//!
//! Easy to get wrong: a table that turns out bad in the middle leaves the rows before it in the store, and the error
//! has to say how many; and a key that the table has twice is no error, but nobody should have to find out alone.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io::BufRead;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value};
use syncline::{Db, Durability, Keyspace};
use xxhash_rust::xxh3::xxh3_128;

use crate::args::Load;
use crate::error::{Error, Result, Verdict};
use crate::host;
use crate::output::{self, Output, count, size};
use crate::progress::Progress;
use crate::store;
use crate::table::{Format, Reader, Row};

/// A commit takes this many rows, or this many bytes if they come first.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: u64 = 8 << 20;

pub(super) fn run(args: &Load, output: Output) -> Result<Verdict> {
    let name = args.file.display().to_string();
    let format = args.format.or_else(|| Format::of_name(&args.file)).ok_or_else(|| {
        Error::Usage(format!("the name {name} does not tell its format; say --format tsv, csv or jsonl"))
    })?;
    let file = host::open_table(&args.file)?;
    // The header is checked before there is a store, so that a wrong column leaves nothing behind.
    let mut table = Reader::new(&name, file.input, format, args.key.as_deref())
        .map_err(|error| Error::Table { error, rows_loaded: 0 })?;
    let db = store::open_or_create(&args.dir)?;
    let keyspace = db.keyspace(&args.keyspace.name)?;
    let progress = Progress::bytes("loading", file.len);
    let tick = || progress.set(file.read.load(Ordering::Relaxed));
    let loaded = match args.sorted {
        true => load_sorted(&keyspace, &mut table, tick)?,
        false => load(&db, &keyspace, &mut table, tick)?,
    };
    drop(progress);
    report(&db, &loaded, output)
}

fn report(db: &Db, loaded: &Loaded, output: Output) -> Result<Verdict> {
    let entries = db.stats()?.entries;
    let mut object = Map::new();
    for (name, number) in [
        ("rows", loaded.rows),
        ("bytes", loaded.bytes),
        ("unchanged", loaded.unchanged),
        ("duplicates", loaded.duplicates),
        ("entries", entries),
    ] {
        object.insert(name.to_owned(), number.into());
    }
    if let Some(first) = &loaded.first_duplicate {
        output::insert_bytes(&mut object, "first_duplicate", &first.key);
        output.warn(&format!(
            "{} rows have a key that came before; the last row of each key was kept. The first is {:?} in line {}",
            count(loaded.duplicates),
            output::escaped(&first.key),
            first.line
        ));
    }
    output.answer(
        &Value::Object(object),
        &[
            ("rows loaded", count(loaded.rows)),
            ("unchanged", count(loaded.unchanged)),
            ("keys and values", size(loaded.bytes)),
            ("entries in store", count(entries)),
        ],
    )?;
    Ok(Verdict::Fine)
}

/// What [`load`] has written.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Rows, those with a key that came before included.
    pub(super) rows: u64,
    /// Bytes of their keys and values.
    pub(super) bytes: u64,
    /// Rows that the store held already, value for value, and that were left as they were.
    pub(super) unchanged: u64,
    /// Rows whose key came before.
    pub(super) duplicates: u64,
    /// The first of them.
    pub(super) first_duplicate: Option<Row>,
}

/// Takes in the rows of `table`, whose keys rise strictly, all or none of them; `tick` is called now and then.
///
/// # Errors
/// `Table`, or what the engine fails with: nothing was loaded.
fn load_sorted(
    keyspace: &Keyspace,
    table: &mut Reader<impl BufRead>,
    mut tick: impl FnMut(),
) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    let rows = std::iter::from_fn(|| {
        let row = table.next_row().map_err(|error| Error::Table { error, rows_loaded: 0 }).transpose()?;
        Some(row.map(|row| {
            loaded.rows += 1;
            loaded.bytes += (row.key.len() + row.value.len()) as u64;
            if loaded.rows.is_multiple_of(BATCH_ROWS as u64) {
                tick();
            }
            (row.key, row.value)
        }))
    });
    keyspace.try_ingest(rows)?;
    Ok(loaded)
}

/// Writes every row of `table` to `keyspace` and makes them durable; `tick` is called after every commit. Remembers
/// a hash of every key, about 20 bytes a row, to tell duplicates.
///
/// # Errors
/// `Table`, after the rows before the bad one were made durable, or what the engine fails with.
pub(super) fn load(
    db: &Db,
    keyspace: &Keyspace,
    table: &mut Reader<impl BufRead>,
    mut tick: impl FnMut(),
) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut seen: HashSet<u128, BuildHasherDefault<DefaultHasher>> = HashSet::default();
    let mut batch = db.batch();
    let mut batch_bytes = 0;
    let end = loop {
        let row = match table.next_row() {
            Ok(Some(row)) => row,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        let len = (row.key.len() + row.value.len()) as u64;
        if batch.len() >= BATCH_ROWS || batch_bytes + len > BATCH_BYTES {
            db.write(std::mem::take(&mut batch), Durability::Buffered)?;
            batch_bytes = 0;
            tick();
        }
        loaded.bytes += len;
        loaded.rows += 1;
        let is_new = seen.insert(xxh3_128(&row.key));
        // A row that the store holds already keeps its stamp: loading a table again differs in nothing from not loading it,
        // and replicas that loaded the same rows have the less to repair. A row that came before may still be in the batch.
        if is_new && keyspace.get(&row.key)?.is_some_and(|held| *held == *row.value) {
            loaded.unchanged += 1;
            continue;
        }
        batch.put(keyspace, &row.key, &row.value)?;
        batch_bytes += len;
        if !is_new {
            loaded.duplicates += 1;
            loaded.first_duplicate.get_or_insert(row);
        }
    };
    db.write(batch, Durability::Buffered)?;
    db.persist(Durability::Sync)?;
    match end {
        Some(error) => Err(Error::Table { error, rows_loaded: loaded.rows }),
        None => Ok(loaded),
    }
}
