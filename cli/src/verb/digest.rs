//! `digest`: the root and what it covers. Reads no entry.

use serde_json::json;

use crate::args::Store;
use crate::error::{Result, Verdict};
use crate::output::{self, Output};
use crate::store;

pub(super) fn run(args: &Store, output: Output) -> Result<Verdict> {
    let db = store::open_read_only(&args.dir)?;
    // The counts of the statistics leave out the catalogue of keyspaces, which is no user's entry.
    let stats = db.stats()?;
    // What is only the rest of a store must not be compared.
    let root = db.root()?.fingerprint.to_string();
    output.answer(
        &json!({ "root": root, "entries": stats.entries, "tombstones": stats.tombstones }),
        &[
            ("root", root),
            ("entries", output::count(stats.entries)),
            ("tombstones", output::count(stats.tombstones)),
        ],
    )?;
    Ok(Verdict::Fine)
}
