//! The engine's tests from outside, in one binary: the model, a history beside readers, and replicas that converge.

mod checkpoint;
mod close;
mod common;
mod compaction;
mod compression;
mod conditional;
mod conformance;
mod converge;
mod crash;
mod damage;
mod delete_range;
mod feed;
mod healing;
mod healing_session;
mod horizon;
mod horizon_set;
mod ingest;
mod keyspaces;
mod merkle;
mod model;
mod read_only;
mod resolver;
mod scrub;
mod stats;
mod transfer;
mod watch;
