//! The engine's tests from outside, in one binary: the model, killed processes, power cuts, and replicas that converge.

mod checkpoint;
mod common;
mod converge;
mod crash;
#[cfg(unix)]
mod kill;
mod merkle;
mod model;
mod read_only;
mod scrub;
mod transfer;
