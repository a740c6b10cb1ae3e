//! The parent process: plans which child runs what, lets the engines take turns, collects the lines.
//!
//! Engines take turns within each chain, and each round begins with another one, so that a machine that slows down
//! does not slow down one engine alone.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::child::{Job, LOADED, Stage};
use crate::row::Row;
use crate::workload::{self, Chain};

/// What to run.
#[derive(Debug)]
pub struct Plan {
    /// Names of engines.
    pub engines: Vec<String>,
    /// Workloads, in any order; none for all.
    pub workloads: Vec<String>,
    /// Bytes of values; everything is run for each.
    pub values: Vec<usize>,
    /// How often.
    pub rounds: u32,
    /// What all children have in common.
    pub common: Job,
}

/// Most bytes of values in one store: larger values make fewer entries.
const VALUE_BYTES_MAX: u64 = 16 << 30;

impl Plan {
    /// Runs everything and shows every row to `collect` as soon as it is there. A failed child is reported and does not
    /// stop the others. Returns whether all went well.
    pub fn run(&self, mut collect: impl FnMut(Row)) -> bool {
        let mut is_good = true;
        for &value_bytes in &self.values {
            for round in 1..=self.rounds {
                for workloads in self.chains() {
                    let mut engines = self.engines.clone();
                    let first = (round as usize - 1) % engines.len();
                    engines.rotate_left(first);
                    for engine in engines {
                        let job = self.job(engine, &workloads, value_bytes, round);
                        eprintln!(
                            "round {round}, {value_bytes}-byte values, {}: {}",
                            job.engine,
                            workloads.join(" ")
                        );
                        if let Err(error) = run_chain(&job, &mut collect) {
                            eprintln!("failed: {error}");
                            is_good = false;
                        }
                    }
                }
            }
        }
        is_good
    }

    /// The chosen workloads in their order, chain by chain.
    fn chains(&self) -> Vec<Vec<String>> {
        let is_chosen =
            |name: &str| self.workloads.is_empty() || self.workloads.iter().any(|one| one == name);
        let chosen: Vec<_> = workload::ALL.into_iter().filter(|row| is_chosen(row.0)).collect();
        let chains = chosen.chunk_by(|one, next| one.1 == next.1 && one.1 != Chain::Fill);
        chains.map(|chain| chain.iter().map(|row| row.0.to_owned()).collect()).collect()
    }

    fn job(&self, engine: String, workloads: &[String], value_bytes: usize, round: u32) -> Job {
        let entries = self.common.entries.min(VALUE_BYTES_MAX / value_bytes as u64);
        let ops = self.common.ops.min(entries);
        Job { engine, workloads: workloads.to_vec(), value_bytes, entries, ops, round, ..self.common.clone() }
    }
}

/// Runs the children of one chain on a fresh folder.
fn run_chain(job: &Job, collect: &mut impl FnMut(Row)) -> Result<()> {
    let dir = tempfile::Builder::new().prefix(&job.engine).tempdir_in(&job.dir)?;
    let stage = |stage| Job { stage, dir: dir.path().to_owned(), ..job.clone() };
    match workload::chain_of(&job.workloads[0])? {
        Chain::ReopenClean => {
            finish(spawn(&stage(Stage::LoadAndClose))?, collect)?;
            finish(spawn(&stage(Stage::Reopen))?, collect)
        }
        Chain::ReopenKilled => {
            kill_when_loaded(spawn(&stage(Stage::WriteUntilKilled))?)?;
            finish(spawn(&stage(Stage::Reopen))?, collect)
        }
        _ => finish(spawn(&stage(Stage::Whole))?, collect),
    }
}

fn spawn(job: &Job) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child").arg(serde_json::to_string(job)?);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

/// Collects the rows of a child and waits for its end.
fn finish(mut child: Child, collect: &mut impl FnMut(Row)) -> Result<()> {
    let output = child.stdout.take().ok_or("the child has no output")?;
    for line in BufReader::new(output).lines() {
        collect(serde_json::from_str(&line?)?);
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

/// Waits until the child says that it has loaded its store, and kills it (SIGKILL) while it goes on writing.
fn kill_when_loaded(mut child: Child) -> Result<()> {
    let mut output = child.stdout.take().ok_or("the child has no output")?;
    let mut said = vec![0; LOADED.len()];
    let heard = output.read_exact(&mut said);
    child.kill()?;
    child.wait()?;
    if heard.is_ok() { Ok(()) } else { Err("the child ended before it was killed".into()) }
}

/// The name of the file system below a folder, of those that people benchmark on.
///
/// # Errors
/// That of `statfs`.
pub fn filesystem(dir: &Path) -> Result<String> {
    let magic = rustix::fs::statfs(dir)?.f_type;
    Ok(match magic {
        0x0000_ef53 => "ext4".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        _ => format!("{magic:#x}"),
    })
}
