//! `del`: deletes one key, or every key of a prefix or range. A key that is not there is left alone: a tombstone for a
//! typing error would travel to every replica.

use std::ops::Bound;

use serde_json::{Map, Value, json};
use syncline::{KeyRange, Keyspace};

use crate::args::{Bytes, Del};
use crate::error::{Error, Result, Verdict};
use crate::output::{self, Output, count};
use crate::progress::Progress;
use crate::store;

pub(super) fn run(args: &Del, output: Output) -> Result<Verdict> {
    let db = store::open(&args.dir)?;
    let keyspace = store::keyspace(&db, &args.keyspace.name)?;
    let bytes = |bound: &Option<Bytes>| bound.as_ref().map(|bytes| bytes.0.clone());
    match (&args.key, &args.prefix, bytes(&args.from), bytes(&args.to)) {
        (Some(key), ..) => one(&keyspace, &key.0, output),
        (_, Some(prefix), ..) => range(&keyspace, KeyRange::prefix(&prefix.0), output),
        (_, _, None, None) => {
            Err(Error::Usage("say what to delete: a key, --prefix, or --from and --to".into()))
        }
        (_, _, from, to) => range(&keyspace, KeyRange::new(from.unwrap_or_default(), to), output),
    }
}

fn one(keyspace: &Keyspace, key: &[u8], output: Output) -> Result<Verdict> {
    let found = keyspace.contains_key(key)?;
    if found {
        keyspace.delete(key)?;
    }
    let mut object = Map::new();
    output::insert_bytes(&mut object, "key", key);
    object.insert("found".to_owned(), found.into());
    let done = if found { "deleted" } else { "not there" };
    output.answer(&Value::Object(object), &[(done, output::escaped(key))])?;
    Ok(Verdict::of(found))
}

fn range(keyspace: &Keyspace, KeyRange { start, end }: KeyRange, output: Output) -> Result<Verdict> {
    let progress = Progress::things("deleting", 0);
    let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
    let deleted = keyspace.delete_range_with(bounds, |so_far| {
        progress.set_of(so_far.keys, so_far.keys_total);
        true
    })?;
    drop(progress);
    output.answer(&json!({ "deleted": deleted }), &[("deleted", count(deleted))])?;
    Ok(Verdict::Fine)
}
