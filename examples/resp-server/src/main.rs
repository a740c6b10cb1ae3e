//! A server that Redis clients know, on a Syncline store, and its twin: two of them keep each other equal by the repair
//! protocol while both take writes.
//!
//! ```sh
//! cargo run --release -p resp-server -- /tmp/a --listen 127.0.0.1:7001 --sync-listen 127.0.0.1:4701 --peer 127.0.0.1:4702
//! cargo run --release -p resp-server -- /tmp/b --like /tmp/a --listen 127.0.0.1:7002 --sync-listen 127.0.0.1:4702 --peer 127.0.0.1:4701
//! redis-cli -p 7001 set apple red; sleep 1; redis-cli -p 7002 get apple
//! ```
//!
//! An example: strings only, no names, no encryption, and therefore loopback only. Of writes that two twins take at the same
//! time the newer one stays; a counter that both increment loses what one of them added (`examples/counters.rs` has a better one).
//!
//! Easy to get wrong: a reply says that a write survives a killed process. That it survives a power cut takes `--durable`.

mod client;
mod commands;
mod glob;
mod keys;
mod latency;
mod resp;
mod twin;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use clap::Parser;
use sync_proto::driver::tokio::Control;
use syncline::{Db, Durability};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use commands::Server;
use keys::Keys;
use latency::Latencies;
use twin::Twin;

/// Serves Redis clients from a Syncline store.
#[derive(Debug, Parser)]
struct Args {
    /// The store's folder; made if it is not there.
    dir: PathBuf,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:7001")]
    listen: SocketAddr,
    /// Where the twin connects.
    #[arg(long, default_value = "127.0.0.1:0")]
    sync_listen: SocketAddr,
    /// Where the twin listens, if there is one to visit.
    #[arg(long)]
    peer: Option<SocketAddr>,
    /// Milliseconds from one visit to the next.
    #[arg(long, default_value_t = 500)]
    every_ms: u64,
    /// A new store belongs to the replica set of the store in this folder.
    #[arg(long)]
    like: Option<PathBuf>,
    /// Reply to writes when they are on the medium.
    #[arg(long)]
    durable: bool,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn open(args: &Args, durability: Durability) -> Result<Db> {
    let builder = || Db::builder(&args.dir).durability(durability);
    Ok(match (&args.like, builder().open()) {
        (Some(like), Err(syncline::Error::NotFound { .. })) => {
            let set = Db::builder(like).open_read_only()?.replica_set();
            builder().create_replica(&set)?
        }
        (None, Err(syncline::Error::NotFound { .. })) => builder().create()?,
        (_, opened) => opened?,
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if [Some(args.listen), Some(args.sync_listen), args.peer]
        .into_iter()
        .flatten()
        .any(|address| !address.ip().is_loopback())
    {
        return Err("this example knows neither names nor encryption, so it stays on the loopback".into());
    }
    let durability = if args.durable { Durability::Sync } else { Durability::Buffered };
    let db = open(&args, durability)?;

    let listener = TcpListener::bind(args.listen).await?;
    let sync_listener = TcpListener::bind(args.sync_listen).await?;
    let (address, sync_address) = (listener.local_addr()?, sync_listener.local_addr()?);
    let control = Control::default();
    let keys = Keys::new(&db, durability);
    let latencies = Arc::new(Latencies::default());
    let server = Arc::new(Server {
        keys,
        control: control.clone(),
        client_count: AtomicUsize::new(0),
        latencies: latencies.clone(),
    });
    let every = Duration::from_millis(args.every_ms.max(1));
    let twin = Twin { db: db.clone(), peer: args.peer, every, control, latencies };

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("ready clients={address} sync={sync_address}");
    std::io::stdout().flush()?;
    tokio::select! {
        () = client::accept(listener, server) => {}
        repaired = twin.run(sync_listener) => repaired?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Connections are cut here as a kill would cut them.
    db.persist(Durability::Sync)?;
    Ok(())
}
