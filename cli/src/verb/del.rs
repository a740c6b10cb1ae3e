//! `del`: deletes one key. A key that is not there is left alone: a tombstone for a typing error would travel to
//! every replica.

use serde_json::{Map, Value};

use crate::args::OneKey;
use crate::error::{Result, Verdict};
use crate::output::{self, Output};
use crate::store;

pub(super) fn run(args: &OneKey, output: Output) -> Result<Verdict> {
    let db = store::open(&args.dir)?;
    let keyspace = store::keyspace(&db, &args.keyspace.name)?;
    let found = keyspace.contains_key(&args.key.0)?;
    if found {
        keyspace.delete(&args.key.0)?;
    }
    let mut object = Map::new();
    output::insert_bytes(&mut object, "key", &args.key.0);
    object.insert("found".to_owned(), found.into());
    let done = if found { "deleted" } else { "not there" };
    output.answer(&Value::Object(object), &[(done, output::escaped(&args.key.0))])?;
    Ok(Verdict::of(found))
}
