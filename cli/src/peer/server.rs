//! A store that listens for peers, and visits some by itself.
//!
//! Easy to get wrong: everything that still runs at the end is cut, which leaves nothing half done, for sessions may be
//! cut anywhere; but what was applied has to be made durable by the caller before the process ends in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sync_proto::driver::tokio::{self as driver, Control, Maintenance, PeerResult, Security, Transport};
use sync_proto::schedule::ScheduleOptions;
use syncline::Db;
use syncline::replica::DbReplica;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::event::Event;
use super::metrics::{self, Metrics};
use super::session::Mode;
use super::{draw, options, runtime};
use crate::error::{Error, Result};

/// Which peers to visit, and when.
#[derive(Debug)]
pub(crate) struct Visits {
    /// Their addresses, each `host:port`.
    pub(crate) peers: Vec<String>,
    /// From the end of a visit to the next one.
    pub(crate) every: Duration,
    /// By how much of itself that varies.
    pub(crate) jitter_percent: u32,
}

/// A store that listens for peers.
pub(crate) struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    served: driver::Server,
    control: Control,
    metrics: Option<(TcpListener, Arc<Metrics>)>,
}

impl Server {
    /// Listens at `listen`, a `host:port`.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn bind(db: &Db, listen: &str, transport: Transport) -> Result<Server> {
        let failed = || Error::io(format!("cannot listen at {listen}"));
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(listen)).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let replica = Arc::new(DbReplica::new(db));
        let served = driver::Server::new(replica, options(Mode::REPAIR)?, transport);
        Ok(Server { runtime, listener, address, served, control: Control::default(), metrics: None })
    }

    /// Answers at most so many sessions of one peer at a time.
    pub(crate) fn cap_peers(&mut self, sessions_max: usize) {
        self.served.caps.sessions_per_peer_max = sessions_max;
    }

    /// Tells of itself and of `db`, which it serves, at `listen`, a `host:port`. Returns what it counts in, and where.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn expose(&mut self, db: &Db, listen: &str) -> Result<(Arc<Metrics>, String)> {
        let failed = || Error::io(format!("cannot listen at {listen}"));
        let listener = self.runtime.block_on(TcpListener::bind(listen)).map_err(failed())?;
        let address = format!("http://{}/metrics", listener.local_addr().map_err(failed())?);
        let metrics = Arc::new(Metrics::new(db, self.control.clone()));
        self.metrics = Some((listener, Arc::clone(&metrics)));
        Ok((metrics, address))
    }

    /// Where it listens: `tls://` or `tcp://`.
    pub(crate) fn address(&self) -> String {
        match self.served.transport.security {
            Security::Insecure => format!("tcp://{}", self.address),
            _ => format!("tls://{}", self.address),
        }
    }

    /// Where it listens, as `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Answers sessions and visits peers until SIGINT or SIGTERM; SIGUSR1 pauses and resumes the visits' repairs. `tell`
    /// hears of each connection. `ready` is called once a signal would end it in good order, so that whoever it tells may
    /// send one at once.
    ///
    /// # Errors
    /// `Io` if signals cannot be waited for, or what `ready` fails with.
    pub(crate) fn run_until_interrupted(
        self,
        visits: Visits,
        ready: impl FnOnce() -> Result<()>,
        tell: impl Fn(&Event) + Clone + Send + Sync + 'static,
    ) -> Result<()> {
        let Server { runtime, listener, served, control, metrics, .. } = self;
        let Visits { peers, every, jitter_percent } = visits;
        let maintenance = Maintenance {
            replica: Arc::clone(&served.replica),
            peers,
            options: options(Mode::REPAIR)?,
            transport: served.transport.clone(),
            schedule: ScheduleOptions { every, jitter_percent, visits_max: 1, seed: draw()? },
        };
        let tell_of_visit = tell.clone();
        let came = move |result: PeerResult| tell(&Event::incoming(&result));
        let visited = move |status: &_, task, result: &_| tell_of_visit(&Event::visit(status, task, result));
        runtime.block_on(async {
            let wait_for = |kind| signal(kind).map_err(Error::io("cannot wait for signals"));
            let mut interrupt = wait_for(SignalKind::interrupt())?;
            let mut terminate = wait_for(SignalKind::terminate())?;
            let mut user = wait_for(SignalKind::user_defined1())?;
            ready()?;
            let exposing = async {
                match metrics {
                    Some((listener, metrics)) => metrics::expose(listener, metrics).await,
                    None => std::future::pending().await,
                }
            };
            let pausing = async {
                loop {
                    user.recv().await;
                    control.pause();
                    user.recv().await;
                    control.resume();
                }
            };
            tokio::select! {
                () = driver::serve(listener, served, came, std::future::pending()) => (),
                () = driver::maintain(maintenance, control.clone(), visited, std::future::pending()) => (),
                () = pausing => (),
                () = exposing => (),
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
            Ok(())
        })
    }

    /// Answers sessions in the background while `work` is done.
    pub(crate) fn run_during<T>(self, work: impl FnOnce() -> T) -> T {
        let Server { runtime, listener, served, .. } = self;
        let (stop, stopped) = oneshot::channel::<()>();
        // Dropping the sender stops as well, so it does not matter how the wait ends.
        let stopped = async { drop(stopped.await) };
        let serving = runtime.spawn(driver::serve(listener, served, |_| (), stopped));
        let result = work();
        drop(stop);
        // The task has no result, and a panic in it has been printed.
        let _ = runtime.block_on(serving);
        result
    }
}
