//! From arguments to the way in which this process talks to its peers, and what those may do.
//!
//! Easy to get wrong: plain TCP is used where `--insecure` says so and the address is a `tcp://`, and nowhere else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sync_proto::driver::tokio::{Security, Throttle, Transport};
use sync_proto::rate::RateLimit;
use sync_proto::rights::{Rights, RightsTable};
use sync_proto::tls::{PemFile, TlsConfig};

use super::nonces;
use crate::address::Address;
use crate::args::{Grant, Link};
use crate::error::{Error, Result};
use crate::host;

/// How to reach `remote`, and its `host:port`.
///
/// # Errors
/// `Usage` if it is not to be reached in this way or is a folder, `Io`, `Tls`.
pub(crate) fn transport<'a>(link: &Link, remote: &'a Address) -> Result<(Transport, &'a str)> {
    match remote {
        Address::Tls(authority) => match security(link)? {
            Some(security @ Security::Tls(_)) => Ok((limited(link, security), authority)),
            _ => Err(Error::Usage(format!(
                "{remote} needs --cert, --key and --ca; make them with `syncline cert ca` and `syncline cert peer`"
            ))),
        },
        Address::Tcp(authority) => match security(link)? {
            Some(security @ Security::Insecure) => Ok((limited(link, security), authority)),
            _ => Err(Error::Usage(format!(
                "{remote} is plain TCP, which anybody on the way can read and change: serve with TLS and reach it \
                 as tls://{authority}, or say --insecure if the network keeps others away"
            ))),
        },
        Address::Directory(path) => {
            Err(Error::Usage(format!("{} is a folder; name tls://host:port", path.display())))
        }
    }
}

/// How to serve, and to visit: either way a peer may do what it was granted.
///
/// # Errors
/// `Usage` if neither certificate nor `--insecure` is given, `Io`, `Tls`.
pub(crate) fn serving(link: &Link, grants: &[Grant]) -> Result<Transport> {
    match security(link)? {
        Some(security) => Ok(Transport { rights: Arc::new(rights(grants)), ..limited(link, security) }),
        None => Err(Error::Usage(
            "without TLS whoever reaches the address can read and change the store: give --cert, --key and --ca, \
             which `syncline cert ca` and `syncline cert peer` make, or say --insecure if the network keeps others away"
                .to_owned(),
        )),
    }
}

/// The rights that the arguments give.
fn rights(grants: &[Grant]) -> RightsTable {
    let others = grants.iter().rev().find(|grant| grant.peer.is_none());
    let mut table = RightsTable::new(others.map_or(Rights::ALL, |grant| grant.rights));
    for grant in grants {
        if let Some(peer) = &grant.peer {
            table.set(peer.clone(), grant.rights);
        }
    }
    table
}

fn limited(link: &Link, security: Security) -> Transport {
    let throttle = match link.bwlimit {
        // The command has no foreground that repairs could give way to.
        Some(bytes_per_second) => {
            Throttle::limited(RateLimit { bytes_per_second, latency_max: Duration::MAX })
        }
        None => Throttle::unlimited(),
    };
    Transport { throttle, ..Transport::new(security, nonces()) }
}

/// What the arguments say of security, if anything.
fn security(link: &Link) -> Result<Option<Security>> {
    match (&link.cert, &link.key, &link.ca) {
        (Some(cert), Some(key), Some(ca)) => Ok(Some(Security::Tls(tls(cert, key, ca)?))),
        _ => Ok(link.insecure.then_some(Security::Insecure)),
    }
}

fn tls(cert: &Path, key: &Path, ca: &Path) -> Result<TlsConfig> {
    let names = [cert, key, ca].map(|path| path.display().to_string());
    let texts = [host::read(cert)?, host::read(key)?, host::read(ca)?];
    let [cert, key, ca] = std::array::from_fn(|index| PemFile { name: &names[index], text: &texts[index] });
    Ok(TlsConfig::from_pem(cert, key, ca)?)
}
