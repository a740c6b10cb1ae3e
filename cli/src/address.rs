//! What a verb works on: a store's folder, or a store that is served at `tls://host:port` or, insecurely, `tcp://host:port`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// In a folder of this machine.
    Directory(PathBuf),
    /// Behind `syncline serve` at this `host:port`, with certificates on both sides.
    Tls(String),
    /// The same without security.
    Tcp(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let (remote, authority): (fn(String) -> Address, _) = match text.split_once("://") {
            Some(("tls", authority)) => (Address::Tls, authority),
            Some(("tcp", authority)) => (Address::Tcp, authority),
            Some((scheme, _)) => {
                return Err(format!(
                    "stores are reached through tls://host:port or a folder, not through {scheme}"
                ));
            }
            None if text.is_empty() => return Err("an empty name is no folder".to_owned()),
            None => return Ok(Address::Directory(PathBuf::from(text))),
        };
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        match port.map(str::parse::<u16>) {
            Some(Ok(port)) if port != 0 => Ok(remote(authority.to_owned())),
            _ => Err(format!("{text} names no host and port; write tls://host:port")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Directory(path) => write!(f, "{}", path.display()),
            Address::Tls(authority) => write!(f, "tls://{authority}"),
            Address::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_hosts_are_told_apart_and_half_an_address_is_refused() {
        assert_eq!("a/b:1".parse(), Ok(Address::Directory(PathBuf::from("a/b:1"))));
        assert_eq!("tcp://[::1]:80".parse(), Ok(Address::Tcp("[::1]:80".to_owned())));
        assert_eq!("tls://h:80".parse(), Ok(Address::Tls("h:80".to_owned())));
        for wrong in
            ["tcp://", "tcp://host", "tcp://:80", "tcp://host:0", "tcp://host:99999", "http://h:1", ""]
        {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
