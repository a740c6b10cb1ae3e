//! `checkpoint`: a copy of a store in another folder.

use serde_json::json;

use crate::args::Checkpoint;
use crate::error::{Result, Verdict};
use crate::output::{Output, count};
use crate::progress::Progress;
use crate::store;

pub(super) fn run(args: &Checkpoint, output: Output) -> Result<Verdict> {
    let db = store::open(&args.dir)?;
    let progress = Progress::bytes("copying", 0);
    let made = db.checkpoint_with(&args.target, |so_far| {
        progress.set_of(so_far.bytes, so_far.bytes_total);
        true
    })?;
    drop(progress);
    let target = args.target.display().to_string();
    let object = json!({
        "dir": target, "newest_commit": made.seqno.0,
        "linked_files": made.linked_files, "copied_files": made.copied_files,
    });
    output.answer(
        &object,
        &[
            ("checkpoint", target),
            ("newest commit", count(made.seqno.0)),
            ("files shared with the store", count(made.linked_files)),
            ("files copied", count(made.copied_files)),
        ],
    )?;
    Ok(Verdict::Fine)
}
