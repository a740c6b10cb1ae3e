//! Sessions between two stores: in this process if both are folders here, over the network if one is served elsewhere.
//! `diff`, `sync`, `serve` and the demo use it.
//!
//! Easy to get wrong: nothing here falls back to plain TCP; it is used only where `--insecure` is said.

mod event;
mod link;
mod metrics;
mod report;
mod server;
mod session;
mod weights;

pub(crate) use event::Event;
pub(crate) use link::{serving, transport};
pub(crate) use report::{Outcome, Report};
pub(crate) use server::{Server, Visits};
pub(crate) use session::{Mode, between, connect, session};
pub(crate) use weights::cells;

use std::io;

use sync_proto::Options;
use sync_proto::driver::tokio::{Nonces, Security, Transport};
use syncline::clock::{Entropy, SystemEntropy};
use tokio::runtime::{Builder, Runtime};

use crate::args::Direction;
use crate::error::{Error, Result};

fn runtime() -> Result<Runtime> {
    // The sessions' work is done by the replicas, on threads for blocking work; these only move bytes.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Error::io("cannot start the threads of a session"))
}

/// Not encrypted, and nobody's name is known.
pub(crate) fn insecure() -> Transport {
    Transport::new(Security::Insecure, nonces())
}

/// What sessions draw their nonces from.
fn nonces() -> Nonces {
    Nonces::new(entropy)
}

/// An unguessable number.
fn draw() -> Result<u64> {
    entropy().map_err(Error::io("cannot draw randomness"))
}

fn entropy() -> io::Result<u64> {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// What a session of this process is opened with.
fn options(mode: Mode) -> Result<Options> {
    let mut options = Options::new(draw()?);
    match mode {
        Mode::Compare { names_max, rehearsed } => {
            (options.mode, options.names_max) = (sync_proto::Mode::DryRun, names_max);
            options.weighs = rehearsed.is_some();
            options.deletes_max = rehearsed.unwrap_or(u64::MAX);
        }
        Mode::Repair { direction, deletes_max } => {
            options.deletes_max = deletes_max;
            options.mode = match direction {
                Direction::Both => sync_proto::Mode::Both,
                Direction::Push => sync_proto::Mode::Push,
                Direction::Pull => sync_proto::Mode::Pull,
            };
        }
    }
    Ok(options)
}
