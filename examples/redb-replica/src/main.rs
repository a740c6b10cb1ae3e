//! Another database on the protocol: a redb file and a Syncline store are made to differ, then repair each other over TCP,
//! until both hold the same.
//!
//! ```sh
//! cargo run --release -p redb-replica
//! ```
//!
//! `store.rs` is what redb needs beforehand (stamps, and sums that are kept up to date), `replica.rs` the trait. The test
//! runs `sync_proto::conformance`.

mod replica;
mod row;
mod set;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use sync_proto::driver::tokio::{Nonces, Security, Server, Transport, connect, serve};
use sync_proto::{Options, Outcome, Replica};
use syncline::Db;
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use tokio::net::TcpListener;

use replica::RedbReplica;
use set::Set;
use store::{Store, system_ms};

const ROWS: u32 = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::builder(dir.path().join("syncline")).create()?;
    for number in 0..ROWS {
        db.put(format!("fruit/{number:05}"), "ripe")?;
    }
    let set = Set::new(&db.replica_set());
    let redb = Arc::new(Store::open(&dir.path().join("redb"), set, draw()?, system_ms)?);
    let key_start = redb.set.key_start("default");
    let key = |name: &str| [&key_start, name.as_bytes()].concat();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let transport = Transport::new(Security::Insecure, Nonces::new(draw));
    let server = Server::new(Arc::new(DbReplica::new(&db)), Options::default(), transport.clone());
    tokio::spawn(serve(listener, server, |_| (), std::future::pending()));

    let replica: Arc<dyn Replica> = Arc::new(RedbReplica(redb.clone()));
    let repair = async || -> Result<Outcome, Box<dyn std::error::Error>> {
        Ok(connect(&address, &transport, replica.clone(), Options::default(), |_| ()).await?)
    };

    tell("an empty redb file takes everything over", &repair().await?);
    tell("nobody wrote anything", &repair().await?);
    for number in (0..ROWS).step_by(1000) {
        db.put(format!("fruit/{number:05}"), "overripe")?;
        redb.write(&key(&format!("herb/{number:05}")), Some(b"fresh"))?;
    }
    db.delete("fruit/00001")?;
    redb.write(&key("fruit/00002"), None)?;
    tell("40 puts and 2 deletes later, on both sides", &repair().await?);

    assert_eq!(redb.get(&key("fruit/07000"))?.as_deref(), Some(&b"overripe"[..]));
    assert_eq!(redb.get(&key("fruit/00001"))?, None);
    assert_eq!(db.get("herb/07000")?.as_deref(), Some(&b"fresh"[..]));
    assert_eq!(db.get("fruit/00002")?, None);
    assert_eq!(db.len()?, u64::from(ROWS) + 20 - 2);
    Ok(())
}

/// A fresh and unguessable number.
fn draw() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn tell(what: &str, outcome: &Outcome) {
    let report = &outcome.report;
    println!("{what}: {:?}", outcome.end);
    println!(
        "    {} differed; {} sent, {} received, in {} flights and {} bytes without values",
        report.entries_differing,
        report.entries_sent,
        report.entries_received,
        report.legs,
        report.metadata_bytes
    );
    println!(
        "    root of redb {}, of Syncline {}",
        report.root_left.fingerprint, report.root_right.fingerprint
    );
}
