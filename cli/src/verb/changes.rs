//! `changes`: what was committed after a cursor, printed as it is read, and the cursor to go on from.

use std::io::{self, BufWriter, Write};

use serde_json::{Map, Value, json};
use syncline::{Change, Durability, Kind, Origin, SeqNo};

use crate::args::Changes;
use crate::error::{Error, Result, Verdict};
use crate::output::{self, Output};
use crate::store;

pub(super) fn run(args: &Changes, output: Output) -> Result<Verdict> {
    let db = store::open_read_only(&args.dir)?;
    let mut changes = db.changes_since(SeqNo(args.since), Durability::Sync)?;
    let mut stdout = BufWriter::new(io::stdout().lock());
    let mut write = |bytes: &[u8]| stdout.write_all(bytes).map_err(Error::io("standard output"));
    let mut separator = "";
    if output.is_json() {
        write(b"{\"changes\":[")?;
    }
    for batch in changes.by_ref() {
        let batch = batch?;
        for change in &batch.changes {
            if output.is_json() {
                write(format!("{separator}{}", object(batch.seqno, change)).as_bytes())?;
                separator = ",";
            } else {
                let verb = if change.kind == Kind::Put { "put" } else { "del" };
                let keyspace = change.keyspace.as_deref().unwrap_or("?");
                write(format!("{}\t{verb}\t{keyspace}\t", batch.seqno.0).as_bytes())?;
                write(&output::shown(&change.key))?;
                write(b"\n")?;
            }
        }
    }
    if output.is_json() {
        write(format!("],\"cursor\":{}}}\n", changes.cursor().0).as_bytes())?;
    }
    stdout.flush().map_err(Error::io("standard output"))?;
    Ok(Verdict::Fine)
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
    object.insert("written_at_ms".to_owned(), (change.stamp.hlc >> 16).into());
    object.insert("node".to_owned(), format!("{:016x}", change.stamp.node).into());
    let origin = if change.origin == Origin::Local { "local" } else { "merged" };
    object.insert("origin".to_owned(), origin.into());
    Value::Object(object)
}
