//! One session that the command opens, between two folders or with a served store.

use std::ops::Bound;
use std::sync::Arc;

use sync_proto::driver;
use sync_proto::driver::tokio::{Security, Transport};
use sync_proto::{
    AbortReason, End, KeyRange, Options, Outcome as SessionOutcome, PeerReason, Reason, ReplicaErrorKind,
};
use syncline::replica::{DbReplica, catalogue, inner_prefix, inner_range};
use syncline::{Db, Health};

use super::report::{Report, unreachable};
use super::{options, runtime, transport};
use crate::address::Address;
use crate::args::{Direction, Pair, Part};
use crate::error::{Error, Result};
use crate::host;
use crate::progress::Progress;
use crate::store;

/// Sessions that are run one after the other at most, as long as they meet damage.
const SESSION_COUNT_MAX: u32 = 5;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Find out how the replicas differ, and name at most so many differing keys.
    Compare {
        names_max: u32,
        /// Whether to tell exactly what a repair would move, which takes this number of deletions from either side.
        rehearsed: Option<u64>,
    },
    /// Make them equal, or one of them have what the other has.
    Repair {
        direction: Direction,
        /// Deletions that either side takes.
        deletes_max: u64,
    },
}

impl Mode {
    /// Makes both equal, whatever it takes.
    pub(crate) const REPAIR: Mode = Mode::Repair { direction: Direction::Both, deletes_max: u64::MAX };

    /// Finds out how they differ.
    pub(crate) fn compare(names_max: u32) -> Mode {
        Mode::Compare { names_max, rehearsed: None }
    }

    /// The same, seen from the other side.
    fn turned(self) -> Mode {
        match self {
            Mode::Repair { direction, deletes_max } => {
                Mode::Repair { direction: direction.turned(), deletes_max }
            }
            compare => compare,
        }
    }
}

/// Runs a session between the stores at two addresses, or one after the other for each part of them that is named.
///
/// # Errors
/// `Usage` if neither is a folder, both are one, one is not to be reached as the arguments say, or a keyspace is not there;
/// what opening fails with; `Peer`.
pub(crate) fn session(pair: &Pair, mode: Mode) -> Result<Report> {
    let open = match mode {
        Mode::Compare { .. } => store::open_read_only,
        Mode::Repair { .. } => store::open,
    };
    match (&pair.left, &pair.right) {
        (Address::Directory(left), Address::Directory(right)) => {
            if host::is_same_folder(left, right) {
                return Err(Error::Usage(format!(
                    "both names mean one folder, {}; name two replicas",
                    left.display()
                )));
            }
            let (left, right) = (open(left)?, open(right)?);
            let healed = match mode {
                Mode::Repair { direction: Direction::Both, .. } => {
                    heal(&left, &right)? + heal(&right, &left)?
                }
                _ => 0,
            };
            let report = each_part(&left, &pair.part, |part| between_parts(&left, &right, part, mode))?;
            Ok(Report { healed: healed + report.healed, ..report })
        }
        (Address::Directory(local), remote) => remotely(pair, &open(local)?, remote, mode),
        (remote, Address::Directory(local)) => {
            remotely(pair, &open(local)?, remote, mode.turned()).map(Report::turned)
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

fn remotely(pair: &Pair, local: &Db, remote: &Address, mode: Mode) -> Result<Report> {
    let (transport, remote) = transport(&pair.link, remote)?;
    each_part(local, &pair.part, |part| connect_part(local, remote, &transport, part, mode))
}

/// Runs `session` for all keys, or for each of the parts that `part` names, and adds up what it tells.
fn each_part(
    local: &Db,
    part: &Part,
    mut session: impl FnMut(Option<KeyRange>) -> Result<Report>,
) -> Result<Report> {
    let mut reports = parts(local, part)?.into_iter().map(&mut session);
    let first = reports.next().expect("there is always one")?;
    reports.try_fold(first, |sum, report| Ok(sum.and(report?)))
}

/// The key ranges of the sessions that `part` asks for. That of the keyspaces' names comes first where one of them counts, so
/// that the other side knows what it has.
pub(super) fn parts(local: &Db, part: &Part) -> Result<Vec<Option<KeyRange>>> {
    let Part { keyspace, prefixes, from, to } = part;
    if keyspace.is_none() && prefixes.is_empty() && from.is_none() && to.is_none() {
        return Ok(vec![None]);
    }
    let space = store::keyspace(local, keyspace.as_deref().unwrap_or("default"))?;
    let mut parts = Vec::new();
    if keyspace.is_some() {
        parts.push(Some(catalogue()));
    }
    if prefixes.is_empty() {
        let start = from.as_ref().map_or(Bound::Unbounded, |from| Bound::Included(&from.0));
        let end = to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(&to.0));
        parts.push(Some(inner_range::<&Vec<u8>>(&space, (start, end))));
    }
    parts.extend(prefixes.iter().map(|prefix| Some(inner_prefix(&space, &prefix.0))));
    Ok(parts)
}

/// Runs a session between two stores of this process.
///
/// # Errors
/// `Peer`, `Io`.
pub(crate) fn between(left: &Db, right: &Db, mode: Mode) -> Result<Report> {
    between_parts(left, right, None, mode)
}

fn between_parts(left: &Db, right: &Db, part: Option<KeyRange>, mode: Mode) -> Result<Report> {
    let progress = Progress::things("proving equal", 0);
    let (left_replica, right_replica) = (DbReplica::new(left), DbReplica::new(right));
    let observe = &mut |state: sync_proto::Progress| progress.set_of(state.settled, state.total);
    let (outcome, healed) = until_compared(|| {
        let options = Options { filter: part.clone(), ..options(mode)? };
        Ok(driver::run_pair(&left_replica, &right_replica, options, observe).0)
    })?;
    let report = Report::of(outcome, left, mode, &right.dir().display().to_string())?;
    Ok(Report { healed, ..report })
}

/// Runs sessions until one has compared the two, or cannot: where keys are unknown, the first one heals them and does nothing
/// else. The last one, and how many entries were brought back.
fn until_compared(mut session: impl FnMut() -> Result<SessionOutcome>) -> Result<(SessionOutcome, u64)> {
    let (mut healed, mut count) = (0, 0);
    loop {
        let outcome = session()?;
        (healed, count) = (healed + outcome.report.entries_healed, count + 1);
        let goes_on = match &outcome.end {
            End::Partial(reasons) => reasons.contains(Reason::Healed),
            // Damage that nobody knew of until now: the next session heals it.
            End::Aborted(AbortReason::Replica(error)) => error.kind == ReplicaErrorKind::Unknown,
            End::Aborted(reason) => *reason == AbortReason::Peer(PeerReason::Unknown),
            _ => false,
        };
        if !goes_on || count == SESSION_COUNT_MAX {
            return Ok((outcome, healed));
        }
    }
}

/// Runs a session between `local` and the store that is served at `remote`, a `host:port`.
///
/// # Errors
/// `Peer`, `Io`.
pub(crate) fn connect(local: &Db, remote: &str, transport: &Transport, mode: Mode) -> Result<Report> {
    connect_part(local, remote, transport, None, mode)
}

fn connect_part(
    local: &Db,
    remote: &str,
    transport: &Transport,
    part: Option<KeyRange>,
    mode: Mode,
) -> Result<Report> {
    let progress = Progress::things("proving equal", 0);
    let observe = |state: sync_proto::Progress| progress.set_of(state.settled, state.total);
    let replica = Arc::new(DbReplica::new(local));
    let runtime = runtime()?;
    let (outcome, healed) = until_compared(|| {
        let options = Options { filter: part.clone(), ..options(mode)? };
        let session = driver::tokio::connect(remote, transport, replica.clone(), options, observe);
        runtime.block_on(session).map_err(|error| unreachable(remote, &error))
    })?;
    let insecure = matches!(transport.security, Security::Insecure);
    if insecure && outcome.report.legs <= 2 && outcome.end == End::Aborted(AbortReason::Closed) {
        let (what, next) =
            ("it hung up at the first word", "If it is served with TLS, reach it as tls://host:port");
        return Err(Error::Peer { peer: remote.to_owned(), what: what.to_owned(), next });
    }
    Ok(Report { healed, ..Report::of(outcome, local, mode, remote)? })
}
