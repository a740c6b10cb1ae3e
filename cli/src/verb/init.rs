//! `init`: a new, empty store.

use serde_json::json;

use crate::args::Init;
use crate::error::{Result, Verdict};
use crate::output::Output;
use crate::store;

pub(super) fn run(args: &Init, output: Output) -> Result<Verdict> {
    let db = match &args.replica_of {
        Some(other) => store::create_replica(&args.dir, &store::open_read_only(other)?)?,
        None => store::create(&args.dir)?,
    };
    let (dir, node) = (args.dir.display().to_string(), db.node_id().to_string());
    let object = json!({ "dir": dir, "node": node });
    output.answer(&object, &[("store", dir), ("node", node)])?;
    Ok(Verdict::Fine)
}
