//! `scan`: keys and values in order. Entries are printed as they are read, so that a store of any size can be scanned.

use std::io::{self, BufWriter, Write};
use std::ops::Bound;

use serde_json::{Map, Value};
use syncline::Iter;

use crate::args::{Bytes, Scan};
use crate::error::{Error, Result, Verdict};
use crate::output::{self, Output};
use crate::store;

pub(super) fn run(args: &Scan, output: Output) -> Result<Verdict> {
    let db = store::open_read_only(&args.dir)?;
    let keyspace = store::keyspace(&db, &args.keyspace.name)?;
    let entries = match &args.prefix {
        Some(prefix) => keyspace.prefix_iter(&prefix.0),
        None => {
            let bytes = |bound: &Option<Bytes>| bound.as_ref().map(|bytes| bytes.0.clone());
            let from = bytes(&args.from).map_or(Bound::Unbounded, Bound::Included);
            let to = bytes(&args.to).map_or(Bound::Unbounded, Bound::Excluded);
            keyspace.range((from, to))
        }
    };
    let limit = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut printer =
        Printer { stdout: BufWriter::new(io::stdout().lock()), json: output.is_json(), count: 0 };
    printer.begin()?;
    for entry in walk(entries, args.reverse, args.keys_only).take(limit) {
        let (key, value) = entry?;
        printer.entry(&key, value.as_deref())?;
    }
    printer.end()?;
    Ok(Verdict::Fine)
}

type KeyAndValue = (Vec<u8>, Option<Vec<u8>>);

/// The entries in the order asked for; values only if they are wanted, so that no others are read.
fn walk(
    entries: Iter,
    reverse: bool,
    keys_only: bool,
) -> Box<dyn Iterator<Item = syncline::Result<KeyAndValue>>> {
    if keys_only {
        let keys = entries.keys().map(|key| Ok((key?, None)));
        if reverse { Box::new(keys.rev()) } else { Box::new(keys) }
    } else {
        let entries = entries.map(|entry| entry.map(|entry| (entry.key, Some(entry.value.to_vec()))));
        if reverse { Box::new(entries.rev()) } else { Box::new(entries) }
    }
}

/// Prints `{"entries": [...], "count": n}`, or lines of key, tab and value.
struct Printer<W> {
    stdout: W,
    json: bool,
    count: u64,
}

impl<W: Write> Printer<W> {
    fn begin(&mut self) -> Result<()> {
        if self.json { self.write(b"{\"entries\":[") } else { Ok(()) }
    }

    fn entry(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if self.json {
            let mut object = Map::new();
            output::insert_bytes(&mut object, "key", key);
            if let Some(value) = value {
                output::insert_bytes(&mut object, "value", value);
            }
            let comma = if self.count == 0 { "" } else { "," };
            self.write(format!("{comma}{}", Value::Object(object)).as_bytes())?;
        } else {
            self.write(&output::shown(key))?;
            if let Some(value) = value {
                self.write(b"\t")?;
                self.write(&output::shown(value))?;
            }
            self.write(b"\n")?;
        }
        self.count += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.json {
            self.write(format!("],\"count\":{}}}\n", self.count).as_bytes())?;
        }
        self.stdout.flush().map_err(Error::io("standard output"))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(Error::io("standard output"))
    }
}
