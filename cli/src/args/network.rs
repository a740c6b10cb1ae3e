//! Arguments of what talks to other machines: `serve`, `cert`, and how `diff` and `sync` reach a served store.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use sync_proto::rights::{PeerName, Rights};

use crate::address::Address;
use crate::units;

/// How this side talks to peers: what it shows them, whom it trusts, how fast.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Link {
    /// This side's certificate, which `syncline cert peer` makes
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"])]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The authority's certificate: whoever has one signed by it is a peer
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) ca: Option<PathBuf>,
    /// Use plain TCP: whoever reaches the address, or the way to it, can read and change the store
    #[arg(long, conflicts_with = "cert")]
    pub(crate) insecure: bool,
    /// Move at most so many bytes in a second over the network, as 500KiB or 10MiB, but not below 64KiB
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub(crate) bwlimit: Option<u64>,
}

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The address to listen on, as host:port; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4600")]
    pub(crate) listen: String,
    /// Answer http requests for /metrics, in the text format of Prometheus, and for /health at this address, as host:port;
    /// port 0 takes a free one. Whoever reaches it can read figures, and no keys or values
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<String>,
    #[command(flatten)]
    pub(crate) link: Link,
    /// What a peer may do, whoever connects, by its certificate's name, or * for all others: read, write (and read) or none
    /// [default: *=write]
    #[arg(long = "grant", value_name = "NAME=RIGHT", value_parser = grant)]
    pub(crate) grants: Vec<Grant>,
    /// Answer at most so many sessions of one peer at a time, by its certificate's name, so that none keeps the others away
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) peer_sessions: usize,
    /// Repair this peer as well as answering it, again and again; may be given several times
    #[arg(long = "peer", value_name = "ADDRESS")]
    pub(crate) peers: Vec<Address>,
    /// From the end of one session with such a peer to the next
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    pub(crate) every: Duration,
    /// By how much of itself that time varies, so that replicas do not stay in step
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = units::percent)]
    pub(crate) jitter: u32,
}

/// What a peer, or all others, may do.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) peer: Option<PeerName>,
    pub(crate) rights: Rights,
}

/// What to make with `cert`.
#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Make an authority: ca.pem, which every peer gets, and ca.key, which none does
    Ca(CertAuthority),
    /// Make a peer's certificate and key, signed by the authority in the same folder
    Peer(CertPeer),
}

/// Arguments of `cert ca`.
#[derive(Debug, clap::Args)]
pub(crate) struct CertAuthority {
    /// The folder to put it in
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 3650)]
    pub(crate) days: u32,
}

/// Arguments of `cert peer`.
#[derive(Debug, clap::Args)]
pub(crate) struct CertPeer {
    /// The folder that holds ca.key; NAME.pem and NAME.key are put there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The name that others know the peer by
    #[arg(long, value_parser = peer_name)]
    pub(crate) name: String,
    /// A host name or address that the peer is reached at, if it serves; may be given several times
    #[arg(long = "host", value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub(crate) hosts: Vec<String>,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    pub(crate) days: u32,
}

/// The name of a peer, which is also the beginning of its files' names.
fn peer_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let dns = !text.starts_with(['.', '-']) && text.bytes().all(plain) && text.len() < 64;
    let letter = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    if dns && letter { Ok(text.to_owned()) } else { Err("a name has letters, digits, - and .".to_owned()) }
}

fn grant(text: &str) -> Result<Grant, String> {
    let (name, right) = text.split_once('=').ok_or("write a grant as NAME=read")?;
    let rights = match right {
        "none" => Rights::NONE,
        "read" => Rights::READ,
        "write" => Rights::ALL,
        _ => return Err(format!("{right} is not read, write or none")),
    };
    let peer = if name == "*" { None } else { Some(PeerName::new(&peer_name(name)?)) };
    Ok(Grant { peer, rights })
}
