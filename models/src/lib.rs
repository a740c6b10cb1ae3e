//! The engine itself, unchanged, under the scheduler of shuttle, which chooses anew at every lock, wait, published view and file
//! operation who goes on. Each file of `tests/` is one thing that must hold in every order.
//!
//! Used by `cargo test --manifest-path models/Cargo.toml`. A failure prints the schedule, which `shuttle::replay` brings back. The diffs in
//! `mutants/` are planted bugs; `mutants/run` shows that each is caught.
//!
//! Easy to get wrong: threads are made by `shuttle::thread`, and stores without threads of their own. Atomics of the standard
//! library are no place where others may run, and all memory is sequentially consistent; ThreadSanitizer looks at the rest.

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Bytes of a thread's stack: recovery and merges need more than shuttle gives.
const STACK_LEN: usize = 1 << 20;

/// Runs `body` in `schedules` orders: half of them chosen at every step, half with few changes of who goes first, which find
/// what takes a certain order of few events (Burckhardt et al., "A randomized scheduler with probabilistic guarantees").
pub fn check(schedules: usize, body: impl Fn() + Send + Sync + Copy + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_LEN;
    Runner::new(RandomScheduler::new(schedules / 2), config.clone()).run(body);
    Runner::new(PctScheduler::new(3, schedules / 2), config).run(body);
}

/// A seed of this schedule, for whatever else is random in it.
pub fn seed() -> u64 {
    shuttle::rand::thread_rng().r#gen()
}
