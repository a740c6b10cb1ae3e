//! Kills a process in the middle of its writes.
//!
//! Easy to get wrong: a writer that has all rows in its pipe could be done before the kill reaches it, and one that has
//! none would be killed waiting. So it always has some rows that it has not acknowledged, and never all that are left.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use crate::error::{Error, Result};
use crate::table::Row;

/// Rows that the writer may have got and not acknowledged.
const WINDOW: usize = 256;

/// What a killed writer left behind.
pub(super) struct Crash {
    /// Its process id.
    pub(super) process: u32,
    /// The keys that it acknowledged, in the order of the rows.
    pub(super) acknowledged: Vec<Vec<u8>>,
}

/// Has `rows` written to the store in `dir` by a process of its own, and kills that when half of them are acknowledged.
///
/// # Errors
/// `Demo` if the writer did not do its part, `Io`.
pub(super) fn kill_while_writing(dir: &Path, rows: &[Row]) -> Result<Crash> {
    let failed = || Error::io("the demo's writer");
    let command = std::env::current_exe().map_err(failed())?;
    let mut child = Command::new(command)
        .arg("demo-writer")
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed())?;
    let mut input = child.stdin.take().expect("standard input is piped");
    let output = child.stdout.take().expect("standard output is piped");

    let mut ahead = rows.iter();
    for row in ahead.by_ref().take(WINDOW) {
        feed(&mut input, row)?;
    }
    let mut acknowledged = Vec::new();
    for key in BufReader::new(output).split(b'\n') {
        acknowledged.push(key.map_err(failed())?);
        if acknowledged.len() == rows.len() / 2 {
            child.kill().map_err(failed())?;
        }
        // After the kill, only what was acknowledged before it is still to be read.
        if acknowledged.len() < rows.len() / 2
            && let Some(row) = ahead.next()
        {
            feed(&mut input, row)?;
        }
    }
    let status = child.wait().map_err(failed())?;
    let in_order = rows.iter().zip(&acknowledged).all(|(row, key)| row.key == *key);
    if status.success() || !in_order || acknowledged.len() < rows.len() / 2 {
        let count = acknowledged.len();
        return Err(Error::Demo(format!(
            "the writer ended early ({status}) after acknowledging {count} rows"
        )));
    }
    Ok(Crash { process: child.id(), acknowledged })
}

fn feed(input: &mut ChildStdin, row: &Row) -> Result<()> {
    let line = [row.value.as_slice(), b"\n"].concat();
    input.write_all(&line).map_err(Error::io("the demo's writer"))
}
