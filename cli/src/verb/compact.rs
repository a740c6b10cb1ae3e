//! `compact`: merges all runs into one.

use serde_json::json;

use crate::args::Store;
use crate::error::{Result, Verdict};
use crate::output::{Output, count, size};
use crate::progress::Progress;
use crate::store;

pub(super) fn run(args: &Store, output: Output) -> Result<Verdict> {
    let db = store::open(&args.dir)?;
    db.flush()?;
    let before = db.stats()?;
    let progress = Progress::bytes("merging", before.run_bytes);
    db.compact(|so_far| {
        progress.set_of(so_far.bytes, so_far.bytes_total);
        true
    })?;
    drop(progress);
    let after = db.stats()?;
    output.answer(
        &json!({
            "runs_before": before.runs, "run_bytes_before": before.run_bytes,
            "runs_after": after.runs, "run_bytes_after": after.run_bytes,
        }),
        &[
            ("before", format!("{} runs, {}", count(before.runs), size(before.run_bytes))),
            ("after", format!("{} runs, {}", count(after.runs), size(after.run_bytes))),
        ],
    )?;
    Ok(Verdict::Fine)
}
