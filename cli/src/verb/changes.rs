//! `changes`: what was committed after a cursor, printed as it is read, and the cursor to go on from.
//!
//! Easy to get wrong: whoever follows reads beside a writer, which may remove a segment between a refresh and its reading;
//! that is no error, for the next refresh sees what took its place or says that the cursor is too old.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};
use syncline::{Change, CommittedBatch, Db, Durability, Kind, Origin, SeqNo};

use crate::args::Changes;
use crate::error::{Error, Result, Verdict};
use crate::host::Interruption;
use crate::output::{self, Output};
use crate::store;

/// How often whoever follows looks for new changes: a look costs as much as opening the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Changes, output: Output) -> Result<Verdict> {
    let mut interruption = args.follow.then(Interruption::await_any).transpose()?;
    let db = store::open_read_only(&args.dir)?;
    let mut printer = Printer::new(output, args.follow);
    let mut cursor = SeqNo(args.since);
    loop {
        match print_from(&db, &mut cursor, &mut printer) {
            Err(Error::Store(syncline::Error::Io { source, .. }))
                if args.follow && source.kind() == ErrorKind::NotFound => {}
            printed => printed?,
        }
        printer.flush()?;
        let Some(interruption) = &mut interruption else { break };
        if interruption.came_within(LOOK_EVERY) {
            break;
        }
        db.refresh()?;
    }
    printer.end(cursor)?;
    Ok(Verdict::Fine)
}

/// Prints what was committed after `cursor` and moves that behind it.
fn print_from(db: &Db, cursor: &mut SeqNo, printer: &mut Printer) -> Result<()> {
    let mut changes = db.changes_since(*cursor, Durability::Sync)?;
    for batch in changes.by_ref() {
        let batch = batch?;
        printer.print(&batch)?;
        *cursor = batch.seqno;
    }
    *cursor = changes.cursor();
    Ok(())
}

/// Prints changes as lines of text, as one JSON object, or, if there may be no end of them, as one JSON object each.
struct Printer {
    output: Output,
    stdout: BufWriter<io::Stdout>,
    is_endless: bool,
    is_first: bool,
}

impl Printer {
    fn new(output: Output, is_endless: bool) -> Printer {
        Printer { output, stdout: BufWriter::new(io::stdout()), is_endless, is_first: true }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(Error::io("standard output"))
    }

    fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(Error::io("standard output"))
    }

    fn print(&mut self, batch: &CommittedBatch) -> Result<()> {
        for change in &batch.changes {
            if self.output.is_json() {
                let object = object(batch.seqno, change);
                let line = match self.is_endless {
                    true => format!("{object}\n"),
                    false => format!("{}{object}", self.separator()),
                };
                self.write(line.as_bytes())?;
            } else {
                let verb = if change.kind == Kind::Put { "put" } else { "del" };
                let keyspace = change.keyspace.as_deref().unwrap_or("?");
                self.write(format!("{}\t{verb}\t{keyspace}\t", batch.seqno.0).as_bytes())?;
                self.write(&output::shown(&change.key))?;
                self.write(b"\n")?;
            }
        }
        Ok(())
    }

    /// What stands before the next change in the one object. Its beginning waits until then, for there may be an error instead.
    fn separator(&mut self) -> &'static str {
        if std::mem::replace(&mut self.is_first, false) { "{\"changes\":[" } else { "," }
    }

    /// Prints where to go on.
    fn end(mut self, cursor: SeqNo) -> Result<()> {
        match (self.output.is_json(), self.is_endless) {
            (true, true) => self.write(format!("{}\n", json!({ "cursor": cursor.0 })).as_bytes())?,
            (true, false) => {
                let beginning = if self.is_first { self.separator() } else { "" };
                self.write(format!("{beginning}],\"cursor\":{}}}\n", cursor.0).as_bytes())?;
            }
            // Standard output belongs to the changes.
            (false, _) => self.output.log(&format!("go on with --since {}", cursor.0)),
        }
        self.flush()
    }
}

fn object(seqno: SeqNo, change: &Change) -> Value {
    let mut object = Map::new();
    object.insert("seqno".to_owned(), seqno.0.into());
    object.insert("keyspace".to_owned(), json!(change.keyspace.as_deref()));
    object.insert("change".to_owned(), if change.kind == Kind::Put { "put" } else { "delete" }.into());
    output::insert_bytes(&mut object, "key", &change.key);
    if change.kind == Kind::Put {
        output::insert_bytes(&mut object, "value", &change.value);
    }
    if change.expires_at_ms != 0 {
        object.insert("expires_at_ms".to_owned(), change.expires_at_ms.into());
    }
    object.insert("written_at_ms".to_owned(), change.stamp.unix_ms().into());
    object.insert("node".to_owned(), format!("{:016x}", change.stamp.node).into());
    let origin = if change.origin == Origin::Local { "local" } else { "merged" };
    object.insert("origin".to_owned(), origin.into());
    Value::Object(object)
}
