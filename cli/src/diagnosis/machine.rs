//! What the machine says of a store: who has it open, and how much room is left.

use std::path::Path;

use syncline::Stats;

use super::{Finding, Severity};
use crate::host::{self, Holder};
use crate::output::size;

/// The next log segments and the record of a large batch need about this much.
const ROOM_MIN: u64 = 256 << 20;

/// Who holds the store's lock; `None` if this system does not say.
pub(super) fn lock(dir: &Path) -> Option<Finding> {
    Some(match host::lock_holder(dir)? {
        Holder::Nobody => Finding::fine("lock", "nobody has the store open for writing"),
        Holder::Process { id, name } => Finding::new(
            Severity::Note,
            "lock",
            format!("process {id} ({name}) has the store open for writing"),
            "Write through it, or end it first; reading beside it works",
        ),
    })
}

/// Whether compaction can go on: it writes what it merges once more before it gives anything back.
pub(super) fn space(dir: &Path, stats: &Stats) -> Option<Finding> {
    let (free, total) = host::disk_space(dir)?;
    let what = format!("{} of {} are free on its file system", size(free), size(total));
    let wanted = stats.run_bytes.saturating_add(ROOM_MIN);
    Some(if free < ROOM_MIN {
        let next =
            "Make room now: a write that fails leaves the store reading only, until it is opened again";
        Finding::new(Severity::Problem, "disk", what, next)
    } else if free < wanted {
        let next = format!("Make room: merging all runs takes up to {} more for a while", size(wanted));
        Finding::new(Severity::Warning, "disk", what, next)
    } else {
        Finding::fine("disk", what)
    })
}
