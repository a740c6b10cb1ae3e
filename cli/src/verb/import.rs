//! `import`: merges an exported stream into a store, which is made if there is none.

use std::io;

use serde_json::json;

use crate::args::Import;
use crate::error::{Result, Verdict};
use crate::host;
use crate::output::{Output, count};
use crate::progress::Progress;
use crate::store;

pub(super) fn run(args: &Import, output: Output) -> Result<Verdict> {
    let (db, report) = match &args.file {
        Some(path) => {
            let file = host::open_table(path)?;
            let progress = Progress::bytes("importing", file.len);
            let (len, read) = (file.len, file.read);
            store::import(&args.dir, file.input, |_| {
                progress.set_of(read.load(std::sync::atomic::Ordering::Relaxed), len);
                true
            })?
        }
        None => store::import(&args.dir, io::stdin().lock(), |_| true)?,
    };
    let root = db.root()?.fingerprint.to_string();
    output.answer(
        &json!({
            "entries": report.entries, "applied": report.applied, "covered": report.covered,
            "deferred": report.deferred, "refused": report.refused, "root": root,
        }),
        &[
            ("entries in the stream", count(report.entries)),
            ("taken", count(report.applied)),
            ("known or older", count(report.covered)),
            ("stamped in the future", count(report.deferred)),
            ("below the horizon", count(report.refused)),
            ("root", root),
        ],
    )?;
    if report.deferred > 0 {
        output.warn("entries stamped in the future were left out; look after the clock and import again");
    }
    Ok(Verdict::of(report.deferred + report.refused == 0))
}
