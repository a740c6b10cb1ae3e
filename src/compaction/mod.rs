//! Moving entries to where they are cheaper to keep: a flush writes a sealed memtable to a run, a merge makes one run of
//! several. Each is one bounded piece of work on a store, called by `maintenance`.
//!
//! Easy to get wrong: files and their names must be durable before the edit that names them, and whatever was read to
//! make them must not have changed when they are installed. Only flushes add runs and only merges remove them, flushes run one
//! at a time, and two merges have no input in common; so a merge's inputs stay neighbours whatever comes in before them.

mod flush;
mod heal;
mod ingest;
mod merge;
mod receive;
mod relocate;
mod value_files;

pub(crate) use flush::flush_oldest;
pub(crate) use heal::{Healed, heal};
pub(crate) use ingest::ingest;
pub(crate) use merge::Merge;
#[cfg(feature = "sync")]
pub(crate) use receive::Receiving;
pub(crate) use receive::{Received, take_in};
