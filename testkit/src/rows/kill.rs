//! F1: the process is killed, at random moments and at its n-th operation on files, on the operating system's file system.
//!
//! The child is the program itself, started as `testkit child write DIR ...`. It makes commits of a history and says the number
//! of each on its standard output when the commit has returned.
//!
//! Easy to get wrong: what the child said before it died counts, even if it is read after that.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use syncline::clock::{SystemClock, SystemEntropy};
use syncline::vfs::DiskVfs;
use syncline::{Builder, Db, Durability, Environment};

use crate::history::History;
use crate::hook::{Change, Hook, Hooked, Verdict};
use crate::random::Random;
use crate::run::Run;

/// How a child comes to its end.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// Killed by its parent after so many commits of its own.
    After(u64),
    /// Aborts itself at its n-th change of a file.
    AtOperation(u64),
    /// After so many commits its files are taken from it, then it is killed.
    Shutdown(u64, &'a dyn Fn() -> Result<(), String>),
}

/// The last commits that a child said had returned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) returned: u64,
    /// Of those that were to be durable.
    pub(super) durable: u64,
}

/// F1.
pub fn at_any_moment(run: &mut Run<'_>) {
    let Some(child) = run.child.clone() else {
        run.skipped = Some("there is no program to start as a child".to_owned());
        return;
    };
    run.each_seed(|run, seed| {
        let dir = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
        let mut random = Random::new(seed);
        let mut acknowledged = 0;
        // One store through many deaths: half of them at random, half at one operation after the other.
        for life in 0..20 {
            let number = random.below(200);
            let (end, at) = match life % 2 {
                0 => (End::After(number), "commits"),
                _ => (End::AtOperation(number / 4), "operations"),
            };
            run.at = format!("life {life}, killed after {number} {at}");
            run.runs += 1;
            let said = live_and_die(&child, dir.path(), seed, end)?;
            acknowledged = acknowledged.max(said.returned);
            run.reach("a child that died before its first commit", said.returned == 0);
            let db = match builder(dir.path(), None).open() {
                Ok(db) => db,
                Err(syncline::Error::NotFound { .. }) if acknowledged == 0 => continue,
                Err(error) => return Err(format!("the store does not open: {error}")),
            };
            let found = History::new(seed).check(&db, u64::MAX)?;
            if found < acknowledged {
                return Err(format!(
                    "commit {acknowledged} was acknowledged, and {found} is the last one there"
                ));
            }
            if db.recovery().merkle_rebuilt {
                return Err("the Merkle index was rebuilt".to_owned());
            }
            run.reach("commits out of the ring", db.recovery().ring_commits > 0);
            run.reach("replay over runs", db.recovery().replayed_commits > 0 && db.recovery().flushed.0 > 0);
            if !run.goes_on() {
                break;
            }
        }
        Ok(())
    });
    run.must_reach(50, &["commits out of the ring", "replay over runs"]);
}

fn builder(dir: &Path, abort_at: Option<u64>) -> Builder {
    let hook = AbortAt { left: AtomicU64::new(abort_at.unwrap_or(u64::MAX)) };
    let environment = Environment {
        vfs: Arc::new(Hooked::new(DiskVfs, hook)),
        wall_clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    // Small memtables, so that a life of some ten milliseconds has seals, flushes and merges in it.
    Db::builder(dir).environment(environment).memtable_bytes(64 << 10).inline_value_max(512)
}

/// Starts a child, sees it die, and returns the last number that it said.
pub(super) fn live_and_die(program: &Path, dir: &Path, seed: u64, end: End<'_>) -> Result<Said, String> {
    let (count, abort_at) = match end {
        End::After(count) | End::Shutdown(count, _) => (count, u64::MAX),
        End::AtOperation(operation) => (u64::MAX, operation),
    };
    let failed = |error: std::io::Error| format!("the child cannot be run: {error}");
    let mut child = Command::new(program)
        .args(["child", "write"])
        .arg(dir)
        .args([seed.to_string(), abort_at.to_string()])
        .stdout(Stdio::piped())
        // Of a child whose files are taken away errors are to be expected.
        .stderr(if matches!(end, End::Shutdown(..)) { Stdio::null() } else { Stdio::inherit() })
        .spawn()
        .map_err(failed)?;
    let Some(out) = child.stdout.take() else { return Err("the child has no voice".to_owned()) };
    let mut said = Said::default();
    let mut is_alive = true;
    for (line, index) in BufReader::new(out).lines().map_while(Result::ok).zip(1..) {
        let (number, is_durable) = match line.strip_suffix(" durably") {
            Some(number) => (number, true),
            None => (&line[..], false),
        };
        // What is said while it dies may be said by half.
        let Ok(number) = number.parse() else { continue };
        said.returned = number;
        // A file system that is shut down may tell an fsync that it had under way that it succeeded, though nothing of it
        // reaches the journal any more; a power cut tells nobody anything. So only what came before counts.
        if is_durable && (is_alive || !matches!(end, End::Shutdown(..))) {
            said.durable = number;
        }
        if is_alive && index >= count {
            if let End::Shutdown(_, shut_down) = end {
                shut_down()?;
            }
            child.kill().map_err(failed)?;
            is_alive = false;
        }
    }
    child.wait().map_err(failed)?;
    Ok(said)
}

/// The child: commits of the history of `seed`, until it is killed or has changed files `abort_at` times.
///
/// # Errors
/// A sentence, if the store fails by itself.
pub fn child(dir: &Path, seed: u64, abort_at: u64) -> Result<(), String> {
    let failed = |error: syncline::Error| error.to_string();
    let db = builder(dir, Some(abort_at)).open_or_create().map_err(failed)?;
    let history = History::new(seed);
    let mut random = Random::new(seed);
    let mut out = std::io::stdout().lock();
    for number in History::last(&db).map_err(failed)? + 1.. {
        let (durability, how) = match random.chance(3) {
            true => (Durability::Sync, " durably"),
            false => (Durability::Buffered, ""),
        };
        history.commit(&db, number, durability).map_err(failed)?;
        writeln!(out, "{number}{how}").and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Ends the process at its n-th change, as abruptly as a process can end itself.
#[derive(Debug)]
struct AbortAt {
    left: AtomicU64,
}

impl Hook for AbortAt {
    fn before(&self, _: Change<'_>) -> Verdict {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            std::process::abort();
        }
        Verdict::Go
    }
}
