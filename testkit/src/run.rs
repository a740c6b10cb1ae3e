//! [`Run`]: one row of the fault table while it runs: which seeds, for how long, what failed, what was reached.
//!
//! Easy to get wrong: a row that never met the case that it is about has shown nothing, so a row names the rare branches it
//! must reach ([`Run::must_reach`]), and missing one is a failure.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::layer::{ReplicaLayer, plain};
use crate::world::{Layer, World};

/// Something that should not have happened, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The row.
    pub row: &'static str,
    /// What was wrong, in a sentence.
    pub what: String,
    /// Where: the cut, the mode, the operation.
    pub at: String,
    /// The seed that brings it back.
    pub seed: u64,
    /// The number of its states that were tried by then.
    pub states: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { row, what, at, seed, states } = self;
        writeln!(f, "{row}: {what}")?;
        writeln!(f, "  seed {seed}, {at}")?;
        write!(f, "  cargo run --release -p testkit -- faults --row {row} --seed {seed} --states {states}")
    }
}

/// Asked with the number of states tried so far: whether to go on.
pub type GoesOn<'a> = &'a dyn Fn(u64) -> bool;

/// A row at work.
pub struct Run<'a> {
    row: &'static str,
    goes_on: GoesOn<'a>,
    /// The next seed, and whether it is the only one.
    seed: u64,
    is_replay: bool,
    /// What stands between stores and their medium.
    pub layer: Layer,
    /// What worlds draw their randomness from, by what they would draw it from.
    seeds: fn(u64) -> u64,
    /// What stands between sessions and their stores.
    pub sessions: ReplicaLayer,
    /// The program that is started as a child to be killed, if there is one.
    pub child: Option<PathBuf>,
    /// States tried, openings refused, processes killed: what the row counts.
    pub runs: u64,
    /// How many of them came before the present seed.
    runs_before: u64,
    /// Where the row is at this moment, for a failure to tell.
    pub at: String,
    /// What failed so far.
    pub failures: Vec<Failure>,
    /// Why the row could not run, if it could not.
    pub skipped: Option<String>,
    reached: BTreeMap<&'static str, u64>,
    /// Whether a planted bug is looked for: then one failure is enough, and only a failure of a store counts.
    looks_for_bug: bool,
    /// Whether it was over before it had to have met its rare branches.
    pub is_too_short: bool,
}

/// Failures after which a row has said enough.
const FAILURES_MAX: usize = 3;

impl<'a> Run<'a> {
    /// A run of `row` over seeds from 0 on, for as long as `goes_on`.
    pub fn new(row: &'static str, goes_on: GoesOn<'a>) -> Run<'a> {
        Run {
            row,
            goes_on,
            seed: 0,
            is_replay: false,
            layer: |vfs| std::sync::Arc::new(vfs),
            seeds: |seed| seed,
            sessions: plain,
            child: None,
            runs: 0,
            runs_before: 0,
            at: String::new(),
            failures: Vec::new(),
            skipped: None,
            reached: BTreeMap::new(),
            looks_for_bug: false,
            is_too_short: false,
        }
    }

    /// Of this seed alone.
    pub fn of_seed(mut self, seed: u64) -> Run<'a> {
        (self.seed, self.is_replay) = (seed, true);
        self
    }

    /// Beginning with this seed.
    pub fn from_seed(mut self, seed: u64) -> Run<'a> {
        self.seed = seed;
        self
    }

    /// Of stores with a planted bug: it ends with the first failure, and need not reach anything, for a bug that keeps a branch
    /// from being met has not been noticed by that.
    pub fn for_a_bug(mut self) -> Run<'a> {
        self.looks_for_bug = true;
        self
    }

    /// With something between stores and their medium.
    pub fn with_layer(mut self, layer: Layer) -> Run<'a> {
        self.layer = layer;
        self
    }

    /// With something between sessions and their stores.
    pub fn with_sessions(mut self, sessions: ReplicaLayer) -> Run<'a> {
        self.sessions = sessions;
        self
    }

    /// With worlds that are seeded by what `seeds` makes of their seeds.
    pub fn with_seeds(mut self, seeds: fn(u64) -> u64) -> Run<'a> {
        self.seeds = seeds;
        self
    }

    /// With a program that can be started as a child: `PROGRAM child ...` calls the child of the row that kills it.
    pub fn with_child(mut self, child: Option<PathBuf>) -> Run<'a> {
        self.child = child;
        self
    }

    /// Whether there is time left, and not enough has failed.
    pub fn goes_on(&self) -> bool {
        let failures_max = if self.looks_for_bug { 1 } else { FAILURES_MAX };
        self.failures.len() < failures_max && (self.goes_on)(self.runs)
    }

    /// Whether one seed is replayed.
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }

    /// An empty world of `seed`.
    pub fn world(&self, seed: u64) -> World {
        World { layer: self.layer, ..World::new((self.seeds)(seed)) }
    }

    /// Runs `body` for one seed after the other while there is time. What it returns as an error, and every panic, is a failure
    /// of that seed.
    pub fn each_seed(&mut self, mut body: impl FnMut(&mut Run<'a>, u64) -> Result<(), String>) {
        loop {
            let seed = self.seed;
            self.runs_before = self.runs;
            self.guard(seed, |run| body(run, seed));
            self.seed = self.seed.wrapping_add(1);
            if self.is_replay || !self.goes_on() {
                return;
            }
        }
    }

    /// Runs `body`, and takes note of an error or a panic as a failure of `seed`.
    pub fn guard(&mut self, seed: u64, body: impl FnOnce(&mut Run<'a>) -> Result<(), String>) {
        let what = match catch_unwind(AssertUnwindSafe(|| body(self))) {
            Ok(Ok(())) => return,
            Ok(Err(what)) => what,
            Err(panic) => format!("panicked: {}", message(&*panic)),
        };
        let states = (self.runs - self.runs_before).max(1);
        self.failures.push(Failure { row: self.row, what, at: self.at.clone(), seed, states });
    }

    /// Counts that `branch` was met.
    pub fn reach(&mut self, branch: &'static str, is_met: bool) {
        *self.reached.entry(branch).or_default() += u64::from(is_met);
    }

    /// What was met, and how often.
    pub fn reached(&self) -> &BTreeMap<&'static str, u64> {
        &self.reached
    }

    /// Fails if a run of `runs` states and more never met one of `branches`. `runs` is at most what `cargo test` tries: a
    /// branch that only a long run has to meet may be lost for months.
    pub fn must_reach(&mut self, runs: u64, branches: &[&'static str]) {
        self.is_too_short |= self.runs < runs;
        if self.is_replay || self.looks_for_bug || self.is_too_short || !self.failures.is_empty() {
            return;
        }
        for branch in branches {
            if self.reached.get(branch).is_none_or(|count| *count == 0) {
                let what = format!("{} states, and {branch} was never met", self.runs);
                let (row, at) = (self.row, "at the end".to_owned());
                self.failures.push(Failure { row, what, at, seed: 0, states: self.runs });
            }
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
