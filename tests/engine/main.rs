//! The engine's tests from outside, in one binary: the model, killed processes, power cuts, and replicas that converge.

mod close;
mod common;
mod compaction;
mod converge;
mod crash;
#[cfg(unix)]
mod kill;
mod merkle;
mod model;
mod stats;
