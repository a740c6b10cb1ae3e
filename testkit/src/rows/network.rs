//! F18: sessions over a network that loses, doubles, reorders and damages frames and ends connections, between replicas that
//! die and come back.
//!
//! Easy to get wrong: a frame arrives whole or not at all, so a cut at any byte of it is one cut.

use crate::network::{Faults, Sim};
use crate::random::Random;
use crate::run::Run;

/// F18.
pub fn that_fails(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        let faults = Faults::any(&mut Random::new(!seed));
        Sim::new(run, seed, faults)?.live()
    });
    let rare =
        ["sessions complete among faults", "sessions aborted", "a connection cut", "a replica stopped"];
    run.must_reach(10_000, &rare);
    run.must_reach(10_000, &["tombstones"]);
}
