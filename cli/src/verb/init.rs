//! `init`: a new, empty store.

use serde_json::json;

use crate::args::Init;
use crate::error::{Result, Verdict};
use crate::output::Output;
use crate::store;

pub(super) fn run(args: &Init, output: Output) -> Result<Verdict> {
    let other = args.replica_of.as_deref().map(store::open_read_only).transpose()?;
    let db = store::create(&args.dir, other.as_ref(), args.retain_log)?;
    let (dir, node) = (args.dir.display().to_string(), db.node_id().to_string());
    let object = json!({ "dir": dir, "node": node });
    output.answer(&object, &[("store", dir), ("node", node)])?;
    Ok(Verdict::Fine)
}
