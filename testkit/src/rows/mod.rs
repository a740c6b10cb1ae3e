//! The rows of the fault table: what can happen to a store, and what then must be so. One file for a row or for a family.
//!
//! `SECURITY.md` has the same table for readers; [`ROWS`] is the one that runs.

pub mod power;

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
    Row { name: "F2", what: "power cut at any write", run: power::at_any_write },
    Row { name: "F3", what: "power cut during recovery and what follows it", run: power::during_recovery },
];

/// The row of this name.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}
