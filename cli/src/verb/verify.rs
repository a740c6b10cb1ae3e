//! `verify`: everything is read and checked; nothing is changed.

use serde_json::json;

use crate::args::Store;
use crate::error::{Result, Verdict};
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::store;

pub(super) fn run(args: &Store, output: Output) -> Result<Verdict> {
    let db = store::open_read_only(&args.dir)?;
    let progress = Progress::things("checking entries", 0);
    let report = db.verify(|state| {
        progress.set_of(state.entries, state.entries_total);
        true
    })?;
    drop(progress);
    let sound = report.problems.is_empty();
    output.answer(
        &json!({
            "sound": sound, "entries": report.entries, "value_bytes": report.value_bytes,
            "problems": report.problems,
        }),
        &[
            ("entries read", output::count(report.entries)),
            ("large values read", output::size(report.value_bytes)),
            (
                "found",
                if sound { "no damage".to_owned() } else { format!("{} problems", report.problems.len()) },
            ),
        ],
    )?;
    for problem in &report.problems {
        output.say(&format!("problem: {problem}"))?;
    }
    if !sound {
        output.say("What to do: `syncline scrub`, then `syncline sync` with the folder of a sound replica, replaces what is damaged.")?;
    }
    Ok(Verdict::of(sound))
}
