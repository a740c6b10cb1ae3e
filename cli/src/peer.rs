//! Sessions between two stores: in this process if both are folders here, over TCP if one is served elsewhere.
//! `diff`, `sync`, `serve` and the demo use it.
//!
//! Easy to get wrong: a session is run by the local store, whichever side of the command line it stands on, so what it
//! reports is turned round when that is the right one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sync_proto::driver::tokio::serve;
use sync_proto::{AbortReason, End, Options, PeerReason};
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use syncline::{Db, Fingerprint};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
    fn of(session: sync_proto::Outcome, local: &Db, mode: Mode, peer: &str) -> Result<Report> {
        let sync_proto::Outcome { end, report } = session;
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

/// Runs a session between two stores of this process.
///
/// # Errors
/// `Peer`, `Io`.
pub(crate) fn between(left: &Db, right: &Db, mode: Mode) -> Result<Report> {
    let progress = Progress::things("proving equal", 0);
    let (left_replica, right_replica) = (DbReplica::new(left), DbReplica::new(right));
    let observe = &mut |state: sync_proto::Progress| progress.set_of(state.settled, state.total);
    let (outcome, _) = sync_proto::driver::run_pair(&left_replica, &right_replica, options(mode)?, observe);
    Report::of(outcome, left, mode, &right.dir().display().to_string())
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

/// Runs a session of `local` with the store that is served at `remote`.
///
/// # Errors
/// `Peer` if it cannot be reached or the session ends early, `Io`.
pub(crate) fn connect(local: &Db, remote: &str, mode: Mode) -> Result<Report> {
    let progress = Progress::things("proving equal", 0);
    let observe = |state: sync_proto::Progress| progress.set_of(state.settled, state.total);
    let replica = Arc::new(DbReplica::new(local));
    let session = sync_proto::driver::tokio::connect(remote, replica, options(mode)?, observe);
    let unreachable = |error: io::Error| Error::Peer {
        peer: format!("tcp://{remote}"),
        what: format!("cannot be reached: {error}. Is `syncline serve` running there?"),
    };
    let outcome = runtime()?.block_on(session).map_err(unreachable)?;
    Report::of(outcome, local, mode, &format!("tcp://{remote}"))
}

/// A store that peers can reach.
#[derive(Debug)]
pub(crate) struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    replica: Arc<DbReplica>,
    options: Options,
}

impl Server {
    /// Listens at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn bind(db: &Db, address: &str) -> Result<Server> {
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.map_err(Error::io(format!("cannot listen at {address}")))?;
        let address = listener.local_addr().map_err(Error::io("cannot tell the address"))?;
        let replica = Arc::new(DbReplica::new(db));
        Ok(Server { runtime, listener, address, replica, options: options(Mode::Repair)? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers sessions until the process is told to end by SIGINT or SIGTERM.
    ///
    /// # Errors
    /// `Io` if the signals cannot be listened for.
    pub(crate) fn run_until_interrupted(self) -> Result<()> {
        let Server { runtime, listener, replica, options, .. } = self;
        runtime.block_on(async {
            let mut terminate =
                signal(SignalKind::terminate()).map_err(Error::io("cannot listen for SIGTERM"))?;
            let shutdown = async {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
            };
            serve(listener, replica, options, told, shutdown).await;
            Ok(())
        })
    }

    /// Answers sessions beside the caller until [`Running::stop`].
    pub(crate) fn start(self) -> Running {
        let Server { runtime, listener, address, replica, options } = self;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = serve(listener, replica, options, |_, _| (), async {
            // An error means that the other end is gone, which stops the server as well.
            let _ = stopped.await;
        });
        let task = runtime.spawn(serving);
        Running { runtime, address, stop, task }
    }
}

/// A server that was started beside the caller.
#[derive(Debug)]
pub(crate) struct Running {
    runtime: Runtime,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the server.
    ///
    /// # Errors
    /// `Io` if it ended in a panic.
    pub(crate) fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        let ended = self.runtime.block_on(self.task);
        ended.map_err(|error| Error::io("the server ended early")(io::Error::other(error)))
    }
}

/// Says on standard error how a session of a peer ended.
fn told(peer: SocketAddr, outcome: &sync_proto::Outcome) {
    let report = &outcome.report;
    let moved = format!(
        "{} entries differing, {} bytes of metadata",
        report.entries_differing, report.metadata_bytes
    );
    match &outcome.end {
        End::Aborted(reason) => eprintln!("session with {peer} ended early: {reason}"),
        End::Complete => eprintln!("session with {peer} complete: {moved}"),
        End::Partial(_) => eprintln!("session with {peer} partial: {moved}"),
    }
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().map_err(Error::io("cannot start the network runtime"))
}
