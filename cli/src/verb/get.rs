//! `get`: the value of a key.

use serde_json::{Map, Value};

use crate::args::OneKey;
use crate::error::{Result, Verdict};
use crate::output::{self, Output};
use crate::store;

pub(super) fn run(args: &OneKey, output: Output) -> Result<Verdict> {
    let db = store::open_read_only(&args.dir)?;
    let keyspace = store::keyspace(&db, &args.keyspace.name)?;
    let value = keyspace.get(&args.key.0)?;
    if output.is_json() {
        let mut object = Map::new();
        output::insert_bytes(&mut object, "key", &args.key.0);
        object.insert("found".to_owned(), value.is_some().into());
        if let Some(value) = &value {
            output::insert_bytes(&mut object, "value", value);
        }
        output.answer(&Value::Object(object), &[])?;
    } else if let Some(value) = &value {
        output::print(&[&output::shown(value), b"\n".as_slice()].concat())?;
    } else {
        output.warn(&format!("the store has no key {:?}", output::escaped(&args.key.0)));
    }
    Ok(Verdict::of(value.is_some()))
}
