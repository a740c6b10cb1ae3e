//! One session that the command opens, between two folders or with a served store.

use std::sync::Arc;

use sync_proto::driver;
use sync_proto::driver::tokio::{Security, Transport};
use sync_proto::{AbortReason, End};
use syncline::replica::DbReplica;
use syncline::{Db, Health};

use super::report::{Report, unreachable};
use super::{options, runtime, transport};
use crate::address::Address;
use crate::args::Pair;
use crate::error::{Error, Result};
use crate::host;
use crate::progress::Progress;
use crate::store;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Find out how the replicas differ, and name at most so many differing keys.
    Compare { names_max: u32 },
    /// Make them equal, in both directions.
    Repair,
}

/// Runs a session between the stores at two addresses.
///
/// # Errors
/// `Usage` if neither is a folder, both are one, or one is not to be reached as the arguments say; what opening fails with;
/// `Peer`.
pub(crate) fn session(pair: &Pair, mode: Mode) -> Result<Report> {
    let open = match mode {
        Mode::Compare { .. } => store::open_read_only,
        Mode::Repair => store::open,
    };
    match (&pair.left, &pair.right) {
        (Address::Directory(left), Address::Directory(right)) => {
            if host::is_same_folder(left, right) {
                return Err(Error::Usage(format!("both names mean one folder, {}", left.display())));
            }
            let (left, right) = (open(left)?, open(right)?);
            let healed = match mode {
                Mode::Repair => heal(&left, &right)? + heal(&right, &left)?,
                Mode::Compare { .. } => 0,
            };
            Ok(Report { healed, ..between(&left, &right, mode)? })
        }
        (Address::Directory(local), remote) => {
            let (transport, remote) = transport(&pair.link, remote)?;
            connect(&open(local)?, remote, &transport, mode)
        }
        (remote, Address::Directory(local)) => {
            let (transport, remote) = transport(&pair.link, remote)?;
            connect(&open(local)?, remote, &transport, mode).map(Report::turned)
        }
        _ => Err(Error::Usage(
            "one of the two has to be a folder here; run this command where one of the replicas is"
                .to_owned(),
        )),
    }
}

/// Takes from `replica` what `db` knows to have lost, so that a session has two whole sides. Returns how many entries those were.
fn heal(db: &Db, replica: &Db) -> Result<u64> {
    match db.health() {
        Health::Damaged { .. } => {
            let report = db.heal_from(replica)?;
            Ok(report.taken + report.values)
        }
        _ => Ok(0),
    }
}

/// Runs a session between two stores of this process.
///
/// # Errors
/// `Peer`, `Io`.
pub(crate) fn between(left: &Db, right: &Db, mode: Mode) -> Result<Report> {
    let progress = Progress::things("proving equal", 0);
    let (left_replica, right_replica) = (DbReplica::new(left), DbReplica::new(right));
    let observe = &mut |state: sync_proto::Progress| progress.set_of(state.settled, state.total);
    let (outcome, _) = driver::run_pair(&left_replica, &right_replica, options(mode)?, observe);
    Report::of(outcome, left, mode, &right.dir().display().to_string())
}

/// Runs a session between `local` and the store that is served at `remote`, a `host:port`.
///
/// # Errors
/// `Peer`, `Io`.
pub(crate) fn connect(local: &Db, remote: &str, transport: &Transport, mode: Mode) -> Result<Report> {
    let progress = Progress::things("proving equal", 0);
    let observe = |state: sync_proto::Progress| progress.set_of(state.settled, state.total);
    let replica = Arc::new(DbReplica::new(local));
    let session = driver::tokio::connect(remote, transport, replica, options(mode)?, observe);
    let outcome = runtime()?.block_on(session).map_err(|error| unreachable(remote, &error))?;
    let insecure = matches!(transport.security, Security::Insecure);
    if insecure && outcome.report.legs <= 2 && outcome.end == End::Aborted(AbortReason::Closed) {
        let what = "it hung up at the first word. If it is served with TLS, reach it as tls://host:port";
        return Err(Error::Peer { peer: remote.to_owned(), what: what.to_owned() });
    }
    Report::of(outcome, local, mode, remote)
}
