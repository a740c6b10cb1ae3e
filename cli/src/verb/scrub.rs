//! `scrub`: reads all blocks and values again at a bounded rate, beside whoever uses the store.

use serde_json::json;
use syncline::{ScrubOptions, ScrubStep};

use crate::args::Scrub;
use crate::error::{Result, Verdict};
use crate::host;
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::store;

pub(super) fn run(args: &Scrub, output: Output) -> Result<Verdict> {
    // Only a writer remembers what it finds, for a repair to come; beside another one the scrub still tells.
    let db = store::open(&args.dir).or_else(|_| store::open_read_only(&args.dir))?;
    let rate = args.rate.saturating_mul(1 << 20);
    let mut scrub = db.scrub(ScrubOptions::default().bytes_per_second(rate));
    let progress = Progress::bytes("reading", scrub.total_bytes());
    loop {
        match scrub.step() {
            ScrubStep::Wait(time) => host::wait(time),
            ScrubStep::Done => break,
            _ => progress.set(scrub.report().bytes),
        }
    }
    drop(progress);
    let report = scrub.report();
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    let sound = report.damage_count == 0;
    output.answer(
        &json!({
            "sound": sound, "blocks": report.blocks, "values": report.values, "bytes": report.bytes,
            "damage": damage, "damage_count": report.damage_count,
        }),
        &[
            ("blocks read", output::count(report.blocks)),
            ("large values read", output::count(report.values)),
            ("together", output::size(report.bytes)),
            (
                "found",
                if sound {
                    "no damage".to_owned()
                } else {
                    format!("{} damaged places", report.damage_count)
                },
            ),
        ],
    )?;
    for place in &damage {
        output.say(&format!("damage: {place}"))?;
    }
    Ok(Verdict::of(sound))
}
