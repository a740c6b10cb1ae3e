//! F2 and F3: the power is cut, or the process killed, before any operation and in the middle of any write.

use crate::explorer::Explorer;
use crate::run::Run;

/// What every run must have met.
const RARE: [&str; 6] = [
    "another life",
    "a torn tail",
    "a torn manifest",
    "commits out of the ring",
    "replay over runs",
    "values moved by a merge",
];

/// F2: a store's first life, stopped everywhere; now and then the life after that.
pub fn at_any_write(run: &mut Run<'_>) {
    run.each_seed(|run, seed| Explorer::new(run, seed, &[300, 400]).from_nothing(60));
    run.must_reach(10_000, &RARE);
}

/// F3: the second to fourth life, stopped everywhere in its opening and its flushes and merges; now and then the one after.
pub fn during_recovery(run: &mut Run<'_>) {
    run.each_seed(|run, seed| Explorer::new(run, seed, &[1, 300, 400]).after_lives(1 + seed % 3, 60));
    run.must_reach(5_000, &RARE);
    run.must_reach(1_000, &["a stop while opening"]);
}
