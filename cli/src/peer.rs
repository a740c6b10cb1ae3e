//! Sessions between two stores: in this process if both are folders here, over TCP if one is served elsewhere.
//! `diff`, `sync`, `serve` and the demo use it.
//!
//! Easy to get wrong: a session is run by the local store, whichever side of the command line it stands on, so what it
//! reports is turned round when that is the right one.

use std::net::SocketAddr;
use std::sync::Arc;

use sync_proto::driver::tokio::{PeerResult, Security, Transport};
use sync_proto::{AbortReason, End, Options, Outcome as SessionOutcome, PeerReason, Reason, Reasons, driver};
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use syncline::{Db, Fingerprint};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::host;
use crate::progress::Progress;
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
    /// Of a partial one, why: a phrase each.
    pub(crate) reasons: Vec<&'static str>,
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

impl Report {
    /// What the session that `local` opened says, with `local` as the left side.
    fn of(session: SessionOutcome, local: &Db, mode: Mode, peer: &str) -> Result<Report> {
        let SessionOutcome { end, report } = session;
        let reasons = if let End::Partial(reasons) = &end { phrases(*reasons) } else { Vec::new() };
        let outcome = match end {
            End::Aborted(reason) => return Err(aborted(peer, &reason)),
            _ if report.entries_differing == 0 => Outcome::Equal,
            _ if mode == Mode::Compare => Outcome::Different,
            End::Complete => Outcome::Complete,
            End::Partial(_) => Outcome::Partial,
        };
        // A comparison moves nothing; it says what a repair would move.
        let (sent, received) = match mode {
            Mode::Compare => (report.only_left + report.newer_left, report.only_right + report.newer_right),
            Mode::Repair => (report.entries_sent, report.entries_received),
        };
        Ok(Report {
            outcome,
            reasons,
            only_left: report.only_left,
            only_right: report.only_right,
            newer_left: report.newer_left,
            newer_right: report.newer_right,
            ranges: report.ranges,
            sent,
            received,
            metadata_bytes: report.metadata_bytes,
            value_bytes: report.value_bytes,
            legs: u64::from(report.legs),
            root_left: Fingerprint(report.root_left.fingerprint.0),
            root_right: Fingerprint(report.root_right.fingerprint.0),
            full_copy_bytes: local.stats()?.live_bytes,
        })
    }
}

/// A session that ended early, and what to do about it.
fn aborted(peer: &str, reason: &AbortReason) -> Error {
    use AbortReason as A;
    use PeerReason as P;
    let next = match reason {
        A::OtherSet | A::OtherHashKey | A::Peer(P::OtherSet | P::OtherHashKey) => {
            "Only replicas can be compared; make one with `syncline init DIR --replica-of OTHER_DIR`"
        }
        A::SameNode | A::Peer(P::SameNode) => {
            "Do not copy a store's folder; make a replica with `syncline init DIR --replica-of OTHER_DIR`"
        }
        A::Version { .. } => "Use the same version of syncline on both sides",
        A::Replica(_) | A::Inconsistent(_) => "Run `syncline verify` on the store here",
        A::Peer(P::Replica | P::Poisoned | P::Unknown) => "Run `syncline verify` on the store there",
        _ => "What was moved stays; run the command again to go on from there",
    };
    Error::Peer { peer: peer.to_owned(), what: format!("{reason}. {next}") }
}

/// Runs a session between the stores at two addresses.
///
/// # Errors
/// `Usage` if neither is a folder or both are one, what opening fails with, `Peer`.
pub(crate) fn session(left: &Address, right: &Address, mode: Mode) -> Result<Report> {
    let open = match mode {
        Mode::Compare => store::open_read_only,
        Mode::Repair => store::open,
    };
    match (left, right) {
        (Address::Directory(left), Address::Directory(right)) => {
            if host::is_same_folder(left, right) {
                return Err(Error::Usage(format!("both names mean one folder, {}", left.display())));
            }
            between(&open(left)?, &open(right)?, mode)
        }
        (Address::Directory(local), Address::Tcp(remote)) => connect(&open(local)?, remote, mode),
        (Address::Tcp(remote), Address::Directory(local)) => {
            connect(&open(local)?, remote, mode).map(Report::turned)
        }
        (Address::Tcp(_), Address::Tcp(_)) => Err(Error::Usage(
            "one of the two has to be a folder here; run this command where one of the replicas is"
                .to_owned(),
        )),
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

/// Runs a session between `local` and the store that is served at `remote`.
///
/// # Errors
/// `Peer`, `Io`.
pub(crate) fn connect(local: &Db, remote: &str, mode: Mode) -> Result<Report> {
    let peer = format!("tcp://{remote}");
    let progress = Progress::things("proving equal", 0);
    let observe = |state: sync_proto::Progress| progress.set_of(state.settled, state.total);
    let transport = Transport::new(Security::Insecure);
    let replica = Arc::new(DbReplica::new(local));
    let session = driver::tokio::connect(remote, &transport, replica, options(mode)?, observe);
    let outcome = runtime()?.block_on(session).map_err(|error| Error::Peer {
        peer: peer.clone(),
        what: format!("cannot be reached: {error}. See whether `syncline serve` runs there"),
    })?;
    Report::of(outcome, local, mode, &peer)
}

/// A store that listens for peers.
pub(crate) struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    served: driver::tokio::Server,
}

impl Server {
    /// Listens at `listen`, a `host:port`.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn bind(db: &Db, listen: &str) -> Result<Server> {
        let failed = || Error::io(format!("cannot listen at {listen}"));
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(listen)).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let served = driver::tokio::Server {
            replica: Arc::new(DbReplica::new(db)),
            options: options(Mode::Repair)?,
            transport: Transport::new(Security::Insecure),
            rights: Arc::default(),
        };
        Ok(Server { runtime, listener, address, served })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers sessions until SIGINT or SIGTERM; `log` hears of each. `ready` is called once a signal would end it in
    /// good order, so that whoever it tells may send one at once.
    ///
    /// # Errors
    /// `Io` if signals cannot be waited for, or what `ready` fails with.
    pub(crate) fn run_until_interrupted(
        self,
        ready: impl FnOnce() -> Result<()>,
        log: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<()> {
        let Server { runtime, listener, served, .. } = self;
        let observe = move |ended: &PeerResult| log(&told(ended));
        runtime.block_on(async {
            let wait_for = |kind| signal(kind).map_err(Error::io("cannot wait for signals"));
            let mut interrupt = wait_for(SignalKind::interrupt())?;
            let mut terminate = wait_for(SignalKind::terminate())?;
            ready()?;
            let shutdown = async {
                tokio::select! {
                    _ = interrupt.recv() => (),
                    _ = terminate.recv() => (),
                }
            };
            driver::tokio::serve(listener, served, observe, shutdown).await;
            Ok(())
        })
    }

    /// Answers sessions in the background while `work` is done.
    pub(crate) fn run_during<T>(self, work: impl FnOnce() -> T) -> T {
        let Server { runtime, listener, served, .. } = self;
        let (stop, stopped) = oneshot::channel::<()>();
        // Dropping the sender stops as well, so it does not matter how the wait ends.
        let stopped = async { drop(stopped.await) };
        let serving = runtime.spawn(driver::tokio::serve(listener, served, |_| (), stopped));
        let result = work();
        drop(stop);
        // The task has no result, and a panic in it has been printed.
        let _ = runtime.block_on(serving);
        result
    }
}

/// Why a session proves less than that both sides are equal.
fn phrases(reasons: Reasons) -> Vec<&'static str> {
    let phrase = |reason| match reason {
        Reason::Mode => "in one direction only",
        Reason::Filter => "of one range only",
        Reason::DryRun => "compared only",
        Reason::ReadOnly => "one side is read-only",
        Reason::Refused => "one side refused entries that its horizon has passed",
        Reason::Deferred => "entries have stamps in the future, so look at the clocks",
        Reason::Unsent => "values were too long for the peer or never stood still",
    };
    reasons.iter().map(phrase).collect()
}

/// What a server's log says of a connection.
fn told(ended: &PeerResult) -> String {
    let PeerResult { address, result, .. } = ended;
    let SessionOutcome { end, report } = match result {
        Ok(outcome) => outcome,
        Err(error) => return format!("{address}: refused: {error}"),
    };
    let end = match end {
        End::Complete => "complete".to_owned(),
        End::Partial(reasons) => format!("partial, {}", phrases(*reasons).join(", ")),
        End::Aborted(reason) => format!("aborted: {reason}"),
    };
    format!("{address}: {end}; {} entries sent, {} received", report.entries_sent, report.entries_received)
}

fn runtime() -> Result<Runtime> {
    // The sessions' work is done by the replicas, on threads for blocking work; these only move bytes.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Error::io("cannot start the threads of a session"))
}

/// What a session of this process is opened with.
fn options(mode: Mode) -> Result<Options> {
    let mut nonce = [0; 8];
    SystemEntropy.fill(&mut nonce).map_err(Error::io("cannot draw randomness"))?;
    let mut options = Options::new(u64::from_ne_bytes(nonce));
    options.mode = match mode {
        Mode::Compare => sync_proto::Mode::DryRun,
        Mode::Repair => sync_proto::Mode::Both,
    };
    Ok(options)
}
