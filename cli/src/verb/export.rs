//! `export`: all entries of a store as one stream, to a file or to standard output.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde_json::json;
use syncline::{Db, ExportReport};

use crate::args::Export;
use crate::error::{Error, Result, Verdict};
use crate::host;
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::store;

pub(super) fn run(args: &Export, output: Output) -> Result<Verdict> {
    let db = store::open_read_only(&args.dir)?;
    let Some(path) = &args.output else {
        if io::stdout().is_terminal() {
            return Err(Error::Usage(
                "the stream is not for a terminal; name a file with --output".to_owned(),
            ));
        }
        let report = export(&db, io::stdout().lock())?;
        // Standard output belongs to the stream.
        output.log(&format!("{} entries, {}", output::count(report.entries), output::size(report.bytes)));
        return Ok(Verdict::Fine);
    };
    let file = host::NewFile::create(path)?;
    let report = export(&db, &file)?;
    file.finish()?;
    let root = report.root.fingerprint.to_string();
    output.answer(
        &json!({ "file": path.display().to_string(), "entries": report.entries, "bytes": report.bytes, "root": root }),
        &[
            ("file", path.display().to_string()),
            ("entries", output::count(report.entries)),
            ("size", output::size(report.bytes)),
            ("root", root),
        ],
    )?;
    Ok(Verdict::Fine)
}

fn export(db: &Db, output: impl Write) -> Result<ExportReport> {
    let root = db.root()?;
    let progress = Progress::things("exporting", root.counts.live + root.counts.tombstones);
    Ok(db.export(BufWriter::new(output), |state| {
        progress.set(state.entries);
        true
    })?)
}
