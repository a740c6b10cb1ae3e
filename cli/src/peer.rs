//! Sessions between two stores: in this process if both are folders here, over TCP if one is served elsewhere.
//! `diff`, `sync`, `serve` and the demo use it.
//!
//! Easy to get wrong: a session is run by the local store, whichever side of the command line it stands on, so what it
//! reports is turned round when that is the right one.

use std::net::SocketAddr;

use syncline::{Db, Fingerprint};

use crate::address::Address;
use crate::error::{Error, Result};
use crate::host;
use crate::store;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Find out how the replicas differ.
    Compare,
    /// Make them equal, in both directions.
    Repair,
}

/// How a session ended that did end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The replicas were equal.
    Equal,
    /// They differed and were made equal.
    Complete,
    /// Something was refused or put off; they may still differ.
    Partial,
    /// They were only compared, and differ.
    Different,
}

impl Outcome {
    /// The word for it in all output. These words are kept from version to version.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Equal => "equal",
            Outcome::Complete => "complete",
            Outcome::Partial => "partial",
            Outcome::Different => "different",
        }
    }
}

/// What a session found and moved.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    /// Keys that only the left replica had an entry for.
    pub(crate) only_left: u64,
    /// Keys that only the right replica had an entry for.
    pub(crate) only_right: u64,
    /// Keys whose entry on the left was the newer one.
    pub(crate) newer_left: u64,
    /// Keys whose entry on the right was the newer one.
    pub(crate) newer_right: u64,
    /// Key ranges that held a difference.
    pub(crate) ranges: u64,
    /// Entries moved from left to right.
    pub(crate) sent: u64,
    /// Entries moved from right to left.
    pub(crate) received: u64,
    /// Bytes of all frames, both ways, less those of values.
    pub(crate) metadata_bytes: u64,
    /// Bytes of values, both ways.
    pub(crate) value_bytes: u64,
    /// Flights one after the other, from one side to the other.
    pub(crate) legs: u64,
    pub(crate) root_left: Fingerprint,
    pub(crate) root_right: Fingerprint,
    /// Bytes of all keys and values of the local store, which is what copying it would move.
    pub(crate) full_copy_bytes: u64,
}

impl Report {
    /// Keys for which the replicas differed.
    pub(crate) fn differing(&self) -> u64 {
        self.only_left + self.only_right + self.newer_left + self.newer_right
    }

    /// Whether the replicas are equal now.
    pub(crate) fn is_fine(&self) -> bool {
        matches!(self.outcome, Outcome::Equal | Outcome::Complete)
    }

    /// The same, seen from the other side.
    fn turned(self) -> Report {
        Report {
            only_left: self.only_right,
            only_right: self.only_left,
            newer_left: self.newer_right,
            newer_right: self.newer_left,
            sent: self.received,
            received: self.sent,
            root_left: self.root_right,
            root_right: self.root_left,
            ..self
        }
    }
}

/// Runs a session between the stores at two addresses.
///
/// # Errors
/// `Usage` if neither is a folder or both are one, what opening fails with, `Peer`.
pub(crate) fn session(left: &Address, right: &Address, mode: Mode) -> Result<Report> {
    match (left, right) {
        (Address::Directory(left), Address::Directory(right)) => {
            if host::is_same_folder(left, right) {
                return Err(Error::Usage(format!("both names mean one folder, {}", left.display())));
            }
            between(&store::open(left)?, &store::open(right)?, mode)
        }
        (Address::Directory(local), Address::Tcp(remote)) => connect(&store::open(local)?, remote, mode),
        (Address::Tcp(remote), Address::Directory(local)) => {
            connect(&store::open(local)?, remote, mode).map(Report::turned)
        }
        (Address::Tcp(_), Address::Tcp(_)) => Err(Error::Usage(
            "one of the two has to be a folder here; run this command where one of the replicas is"
                .to_owned(),
        )),
    }
}
