//! `plot`: draws what `watch` recorded.

use serde_json::json;

use crate::args::Plot;
use crate::error::{Error, Result, Verdict};
use crate::host;
use crate::output::{Output, count};
use crate::picture::draw_recording;
use crate::recording::Recording;

pub(super) fn run(args: &Plot, output: Output) -> Result<Verdict> {
    let text = host::read(&args.file)?;
    let recording = Recording::parse(&String::from_utf8_lossy(&text)).map_err(|what| {
        let file = args.file.display();
        Error::Usage(format!("{file} cannot be drawn: {what}. Make one with `syncline watch --record`"))
    })?;
    host::replace(&args.svg, draw_recording(&recording).as_bytes())?;
    let looks = recording.samples.len() as u64;
    let file = args.svg.display().to_string();
    output.answer(&json!({ "looks": looks, "svg": file }), &[("looks", count(looks)), ("drawn in", file)])?;
    Ok(Verdict::Fine)
}
