//! `serve`: a store that peers can reach, and that visits peers, until SIGINT or SIGTERM.
//!
//! Easy to get wrong: whoever started this waits for the address on standard output, so it is printed, and flushed,
//! as soon as the socket listens and before anything else. With `--json` a line for each connection follows it.

use serde_json::json;

use crate::args::Serve;
use crate::error::{Result, Verdict};
use crate::output::{self, Output};
use crate::peer::{self, Event, Server, Visits};
use crate::store;

pub(super) fn run(args: &Serve, output: Output) -> Result<Verdict> {
    let transport = peer::serving(&args.link, &args.grants)?;
    let mut peers = Vec::new();
    for peer in &args.peers {
        // A peer that could not be reached in the way that this side serves is a mistake to be told of at once.
        peers.push(peer::transport(&args.link, peer)?.1.to_owned());
    }
    let visits = Visits { peers, every: args.every, jitter_percent: args.jitter };
    let db = store::open(&args.dir)?;
    // Of what is known: a damaged store is served as well, and so it is healed.
    let root = db.stats()?.root_fingerprint.to_string();
    let mut server = Server::bind(&db, &args.listen, transport)?;
    server.cap_peers(args.peer_sessions);
    let address = server.address();
    let exposed = args.metrics.as_ref().map(|listen| server.expose(&db, listen)).transpose()?;
    let (metrics, metrics_address) = exposed.unzip();
    let announce = || {
        let mut object = json!({ "address": address, "root": root });
        let mut facts = vec![("address", address), ("root", root)];
        if let Some(address) = metrics_address {
            object["metrics"] = address.as_str().into();
            facts.push(("metrics", address));
        }
        output.answer(&object, &facts)
    };
    server.run_until_interrupted(visits, announce, move |event| {
        if let Some(metrics) = &metrics {
            metrics.count(event);
        }
        tell(output, event);
    })?;
    db.persist(syncline::Durability::Sync)?;
    Ok(Verdict::Fine)
}

fn tell(output: Output, event: &Event) {
    if output.is_json() {
        // A server goes on when nobody listens to what it tells.
        let _ = output::print(format!("{}\n", event.json()).as_bytes());
    } else {
        output.log(&event.line());
    }
}
