//! `put`: sets one key. The value is on the disk when the command ends.

use serde_json::{Map, Value};

use crate::args::Put;
use crate::error::{Result, Verdict};
use crate::output::{self, Output};
use crate::store;

pub(super) fn run(args: &Put, output: Output) -> Result<Verdict> {
    let db = store::open(&args.dir)?;
    // Writing to a keyspace makes it.
    let keyspace = db.keyspace(&args.keyspace.name)?;
    let replaced = keyspace.contains_key(&args.key.0)?;
    keyspace.put(&args.key.0, &args.value.0)?;
    let mut object = Map::new();
    output::insert_bytes(&mut object, "key", &args.key.0);
    object.insert("replaced".to_owned(), replaced.into());
    let done = if replaced { "replaced" } else { "added" };
    output.answer(&Value::Object(object), &[(done, output::escaped(&args.key.0))])?;
    Ok(Verdict::Fine)
}
