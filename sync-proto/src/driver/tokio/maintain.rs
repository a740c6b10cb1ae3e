//! Keeps a replica repaired: a thin loop that runs the visits of a [`Schedule`], remembers what became of them, and lets
//! an embedding pause them.
//!
//! Easy to get wrong: a visit that is cut at shutdown leaves nothing half done, for sessions may be cut anywhere.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use ::tokio::sync::Notify;
use ::tokio::task::JoinSet;
use ::tokio::time::{Instant, sleep_until};

use super::connect::{connect, probe};
use super::error::ConnectError;
use super::secure::Transport;
use crate::divergence::Divergence;
use crate::options::Options;
use crate::replica::Replica;
use crate::schedule::{Schedule, ScheduleOptions, Task};
use crate::session::{End, Outcome, Reason};

/// What is kept repaired, against whom, and how.
#[derive(Clone)]
pub struct Maintenance {
    /// The store.
    pub replica: Arc<dyn Replica>,
    /// The peers' addresses, each `host:port`.
    pub peers: Vec<String>,
    /// What sessions are opened with. The nonce is not used: each session draws its own.
    pub options: Options,
    /// How to talk to peers, and what each of them may do.
    pub transport: Transport,
    /// When.
    pub schedule: ScheduleOptions,
}

impl std::fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Maintenance");
        shown.field("peers", &self.peers).field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its address.
    pub address: String,
    /// How far this replica and the peer were apart when they last spoke.
    pub divergence: Divergence,
    /// How far apart they were when the last visit that could tell began: what it found to repair.
    pub found: Divergence,
    /// Visits that came to an end.
    pub visits: u64,
    /// Visits that failed since the last one that did not.
    pub failures: u32,
}

/// The embedding's hand on a running [`maintain`]. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
    peers: Vec<PeerStatus>,
}

impl Control {
    /// Begins no more repairs; peers are still asked how far they have diverged.
    pub fn pause(&self) {
        self.set_paused(true);
    }

    /// Begins repairs again, with every peer at once.
    pub fn resume(&self) {
        self.set_paused(false);
    }

    /// What is known of each peer, in the order in which they were given.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.lock().peers.clone()
    }

    /// Writes down what a visit showed, and returns the peer's new status.
    fn note(&self, peer: usize, result: &Result<Outcome, ConnectError>) -> Option<PeerStatus> {
        let mut state = self.lock();
        let status = state.peers.get_mut(peer)?;
        status.visits += 1;
        status.failures = if succeeded(result) { 0 } else { status.failures.saturating_add(1) };
        if let Ok(outcome) = result {
            // A session that broke before the peer's hello says nothing new.
            status.divergence = Divergence::after(outcome).unwrap_or(status.divergence);
            status.found = Divergence::before(outcome).unwrap_or(status.found);
        }
        Some(status.clone())
    }

    fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// Visits every peer again and again, until `shutdown` is ready; visits that still run then are cut. `observer` hears
/// the status of a peer after each visit, and how it ended. A peer with which a session has healed what was unknown is visited
/// again at once.
pub async fn maintain(
    maintenance: Maintenance,
    control: Control,
    mut observer: impl FnMut(&PeerStatus, Task, &Result<Outcome, ConnectError>),
    shutdown: impl Future<Output = ()>,
) {
    let began_at = Instant::now();
    let statuses = maintenance.peers.iter().map(|address| PeerStatus {
        address: address.clone(),
        divergence: Divergence::Unknown,
        found: Divergence::Unknown,
        visits: 0,
        failures: 0,
    });
    control.lock().peers = statuses.collect();
    let mut schedule = Schedule::new(maintenance.schedule, maintenance.peers.len(), began_at.elapsed());
    let mut visits = JoinSet::new();
    // Whose last visit healed and was followed by another one at once.
    let mut is_healed = BTreeSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        match control.lock().paused {
            true => schedule.pause(),
            false => schedule.resume(began_at.elapsed()),
        }
        while let Some((peer, task)) = schedule.poll(began_at.elapsed()) {
            visits.spawn(visit(maintenance.clone(), peer, task));
        }
        let deadline = schedule.deadline();
        let due = async {
            match deadline {
                Some(at) => sleep_until(began_at + at).await,
                None => std::future::pending().await,
            }
        };
        ::tokio::select! {
            () = &mut shutdown => break,
            () = control.0.changed.notified() => {}
            Some(visited) = visits.join_next() => match visited {
                Ok((peer, task, result)) => {
                    schedule.finish(peer, succeeded(&result), began_at.elapsed());
                    // Once: a peer that is never whole is visited as often as any other.
                    if has_healed(&result) && is_healed.insert(peer) {
                        schedule.again(peer, began_at.elapsed());
                    } else {
                        is_healed.remove(&peer);
                    }
                    if let Some(status) = control.note(peer, &result) {
                        observer(&status, task, &result);
                    }
                }
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is shutting down.
                    Err(_) => break,
                },
            },
            () = due => {}
        }
    }
    visits.shutdown().await;
}

/// A visit that ended: of which peer, for what, and how.
type Visited = (usize, Task, Result<Outcome, ConnectError>);

async fn visit(maintenance: Maintenance, peer: usize, task: Task) -> Visited {
    let Maintenance { replica, peers, options, transport, .. } = maintenance;
    let address = peers.get(peer).map(String::as_str).unwrap_or_default();
    let result = match task {
        Task::Repair => connect(address, &transport, replica, options, |_| ()).await,
        Task::Probe => probe(address, &transport, replica, options).await,
    };
    (peer, task, result)
}

/// Whether everything that was unknown is known again, so that another session can compare.
fn has_healed(result: &Result<Outcome, ConnectError>) -> bool {
    let end = result.as_ref().map(|outcome| &outcome.end);
    let has_any = result.as_ref().is_ok_and(|outcome| outcome.report.entries_healed > 0);
    has_any && matches!(end, Ok(End::Partial(reasons)) if reasons.contains(Reason::Healed))
}

fn succeeded(result: &Result<Outcome, ConnectError>) -> bool {
    result.as_ref().is_ok_and(|outcome| !matches!(outcome.end, End::Aborted(_)))
}
