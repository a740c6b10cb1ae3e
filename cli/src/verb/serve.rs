//! `serve`: a store that peers can reach, until SIGINT or SIGTERM.
//!
//! Easy to get wrong: whoever started this waits for the address on standard output, so it is printed, and flushed,
//! as soon as the socket listens and before anything else.

use serde_json::json;

use crate::args::Serve;
use crate::error::{Error, Result, Verdict};
use crate::output::{self, Output};
use crate::peer::Server;
use crate::store;

pub(super) fn run(args: &Serve, output: Output) -> Result<Verdict> {
    if !args.insecure {
        return Err(Error::Usage(
            "without TLS whoever reaches the address can read and change the store; \
             say --insecure if the network keeps others away"
                .to_owned(),
        ));
    }
    let db = store::open(&args.dir)?;
    let root = output::root(db.root()?.fingerprint);
    let server = Server::bind(&db, &args.listen)?;
    let address = format!("tcp://{}", server.address());
    let announce = || {
        let object = json!({ "address": address, "root": root });
        output.answer(&object, &[("address", address.clone()), ("root", root.clone())])
    };
    server.run_until_interrupted(announce, move |line| output.log(line))?;
    db.persist(syncline::Durability::Sync)?;
    Ok(Verdict::Fine)
}
