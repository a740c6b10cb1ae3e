//! `sync`: makes two replicas equal, and says what it cost.

use serde_json::json;

use crate::args::Sync;
use crate::error::{Result, Verdict};
use crate::output::{self, Output, count, size};
use crate::peer::{self, Mode, Outcome};

pub(super) fn run(args: &Sync, output: Output) -> Result<Verdict> {
    let mode = match args.dry_run {
        true => Mode::Compare { names_max: 0, rehearsed: Some(args.max_delete) },
        false => Mode::Repair { direction: args.direction, deletes_max: args.max_delete },
    };
    let report = peer::session(&args.pair, mode)?;
    let (sent, received) = (report.sent, report.received);
    let (root_left, root_right) = (report.root_left.to_string(), report.root_right.to_string());
    let outcome = report.outcome.as_str();
    let mut object = json!({
            "outcome": outcome, "entries_differing": report.differing(), "entries_sent": sent,
            "entries_received": received, "entries_healed": report.healed, "metadata_bytes": report.metadata_bytes,
            "value_bytes": report.value_bytes, "legs": report.legs,
            "root_left": root_left, "root_right": root_right,
    });
    let mut facts = vec![("outcome", outcome.to_owned()), ("entries differing", count(report.differing()))];
    if args.dry_run {
        let [right, left] = report.weights;
        object["value_bytes_to_right"] = right.into();
        object["value_bytes_to_left"] = left.into();
        facts.push(("would go to right", format!("{}, {} of values", count(sent), size(right))));
        facts.push(("would go to left", format!("{}, {} of values", count(received), size(left))));
    } else {
        facts.extend([("sent to right", count(sent)), ("sent to left", count(received))]);
    }
    facts.extend([
        ("over-transfer", over_transfer(sent + received, report.differing())),
        (if args.dry_run { "bytes of comparing" } else { "bytes moved" }, bytes_moved(&report)),
        ("round trips", count(report.legs.div_ceil(2))),
        ("root left", root_left),
        ("root right", root_right),
    ]);
    output.answer(&object, &facts)?;
    if report.healed > 0 {
        output.say(&format!("healed of damage before: {} entries", count(report.healed)))?;
    }
    if report.outcome == Outcome::Partial {
        output.warn(&format!("the replicas may still differ: {}", report.reasons.join(", ")));
    }
    Ok(Verdict::of(report.is_fine()))
}

/// Entries moved for each that differed: 1.00 is exactly what differs.
pub(super) fn over_transfer(moved: u64, differing: u64) -> String {
    if differing == 0 {
        "nothing to move".to_owned()
    } else {
        format!("{:.2}", moved as f64 / differing as f64)
    }
}

/// Everything that crossed the wire, against all keys and values.
pub(super) fn bytes_moved(report: &peer::Report) -> String {
    let moved = report.metadata_bytes + report.value_bytes;
    format!(
        "{}, {} than a full copy of {}",
        size(moved),
        output::times_less(moved, report.full_copy_bytes),
        size(report.full_copy_bytes)
    )
}
