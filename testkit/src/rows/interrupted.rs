//! F12: system calls that signals interrupt: every few reads and writes fail with `EINTR` and must be done again.
//!
//! `strace` puts the interruptions in. Skipped aloud where it is missing or may not trace.

use std::process::Command;

use crate::history::History;
use crate::random::Random;
use crate::run::Run;

/// What is interrupted, and how often.
const CALLS: &str = "openat,read,write,pread64,pwrite64,ftruncate,fallocate";

/// F12.
pub fn system_calls(run: &mut Run<'_>) {
    let Some(child) = run.child.clone() else {
        run.skipped = Some("there is no program to start as a child".to_owned());
        return;
    };
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
    {
        run.skipped = Some("strace cannot trace here".to_owned());
        return;
    }
    run.each_seed(|run, seed| {
        let failed = |error: std::io::Error| format!("the child cannot be run: {error}");
        let dir = tempfile::tempdir().map_err(failed)?;
        let mut random = Random::new(seed);
        let (first, step) = (20 + random.below(20), 2 + random.below(5));
        run.at = format!("from call {first} on every {step}th is interrupted");
        run.runs += 1;
        let outcome = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={CALLS}")])
            .args(["-e", &format!("inject={CALLS}:error=EINTR:when={first}+{step}")])
            .arg(&child)
            .args(["child", "write"])
            .arg(dir.path())
            .args([seed.to_string(), (60 + random.below(100)).to_string()])
            .output()
            .map_err(failed)?;
        let (said, wrong) =
            (String::from_utf8_lossy(&outcome.stdout), String::from_utf8_lossy(&outcome.stderr));
        // The tracer says so where it could not interrupt a call; that is no failure of the store.
        let wrong: Vec<&str> = wrong.lines().filter(|line| !line.starts_with("strace: ")).collect();
        if !wrong.is_empty() {
            return Err(format!("an interruption was not taken for one: {}", wrong.join(" ")));
        }
        let last = said.lines().last().and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0);
        let db = syncline::Db::builder(dir.path()).open().map_err(|error| error.to_string())?;
        let found = History::new(seed).check(&db, last + 1)?;
        run.reach("commits among interruptions", last > 50);
        if found < last {
            Err(format!("commit {last} was acknowledged, {found} is the last"))
        } else {
            Ok(())
        }
    });
    run.must_reach(10, &["commits among interruptions"]);
}
