//! `diff`: how two replicas differ. Nothing is moved.

use serde_json::json;

use crate::args::Pair;
use crate::error::{Result, Verdict};
use crate::output::{Output, count};
use crate::peer::{self, Mode};

pub(super) fn run(args: &Pair, output: Output) -> Result<Verdict> {
    let report = peer::session(args, Mode::Compare)?;
    let equal = report.differing() == 0;
    output.answer(
        &json!({
            "equal": equal, "only_left": report.only_left, "only_right": report.only_right,
            "newer_left": report.newer_left, "newer_right": report.newer_right, "ranges": report.ranges,
        }),
        &[
            ("replicas", if equal { "equal".to_owned() } else { "different".to_owned() }),
            ("only left", count(report.only_left)),
            ("only right", count(report.only_right)),
            ("newer left", count(report.newer_left)),
            ("newer right", count(report.newer_right)),
            ("differing ranges", count(report.ranges)),
        ],
    )?;
    Ok(Verdict::of(equal))
}
