//! The rows of the fault table: what can happen to a store, and what then must be so. One file for a row or for a family.
//!
//! `SECURITY.md` has the same table for readers; [`ROWS`] is the one that runs.

pub mod clocks;
pub mod damage;
pub mod deletes;
pub mod device;
pub mod failing;
pub mod healing;
pub mod hostile;
pub mod interrupted;
pub mod kill;
pub mod lengths;
pub mod network;
pub mod opening;
pub mod power;
pub mod stress;

use crate::run::Run;

/// A row of the fault table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name, "F2".
    pub name: &'static str,
    /// The fault.
    pub what: &'static str,
    /// Tries it for as long as the run goes on.
    pub run: fn(&mut Run<'_>),
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    Row { name: "F1", what: "process killed anywhere", run: kill::at_any_moment },
    Row { name: "F2", what: "power cut at any write", run: power::at_any_write },
    Row { name: "F3", what: "power cut during recovery and what follows it", run: power::during_recovery },
    Row { name: "F4", what: "power cut on a real file system", run: device::of_a_file_system },
    Row { name: "F5", what: "tail of the log cut at every length", run: damage::cut_tail },
    Row { name: "F6", what: "damaged bits and ranges in the log", run: damage::in_the_log },
    Row { name: "F7", what: "damage in runs, Merkle files, manifest", run: damage::in_what_is_derived },
    Row { name: "F8", what: "damaged blocks and values, a replica at hand", run: healing::from_a_replica },
    Row { name: "F9", what: "any operation fails with an error", run: failing::with_an_error },
    Row {
        name: "F10",
        what: "a failed fsync that cleaned its pages",
        run: failing::an_fsync_that_cleaned_its_pages,
    },
    Row { name: "F11", what: "disk full, short write", run: failing::a_full_disk },
    Row { name: "F12", what: "interrupted system calls", run: interrupted::system_calls },
    Row { name: "F13", what: "double open", run: opening::twice },
    Row { name: "F14", what: "huge lengths and counts in files", run: lengths::huge },
    Row { name: "F15", what: "another format version", run: opening::of_another_version },
    Row { name: "F16", what: "clock jumps, a peer far ahead", run: clocks::that_jump },
    Row { name: "F17", what: "deletes against repair, one-sided purges", run: deletes::against_repair },
    Row { name: "F18", what: "loss, doubling, reordering, cuts, restarts", run: network::that_fails },
    Row { name: "F19", what: "malformed and out-of-order messages", run: hostile::malformed_messages },
    Row { name: "F21", what: "hostile walk: lying sums and lists", run: hostile::a_lying_peer },
    Row {
        name: "F24",
        what: "readers, writer, merges and sessions at once",
        run: stress::everything_at_once,
    },
];

/// The row of this name.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}
