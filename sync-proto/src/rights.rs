//! What a peer may do: a small table of rights by name. The driver's pump holds sessions to it, those that this side opened
//! too: who connected to whom says nothing of what either may do.
//! The session knows nothing of it beyond a replica that takes no entries, or gives no answer at all.
//!
//! Easy to get wrong: names come from certificates that were verified. On a connection without them nobody has a name,
//! and everybody has the rights of the others.

use std::collections::BTreeMap;
use std::fmt;

/// The name of a peer, as its certificate has it. Names are compared without regard to case, as DNS names are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName(String);

impl PeerName {
    /// The peer called `name`.
    pub fn new(name: &str) -> PeerName {
        PeerName(name.to_ascii_lowercase())
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Compare itself with the store and take entries from it. Without it a peer's session ends at its hello, for a
    /// comparison shows what the store holds.
    pub read: bool,
    /// Give entries to the store.
    pub write: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Rights = Rights { read: true, write: true };
    /// Take, and not give: a session with such a peer is partial, because one side was read-only.
    pub const READ: Rights = Rights { read: true, write: false };
    /// Nothing.
    pub const NONE: Rights = Rights { read: false, write: false };
}

/// The rights of every peer: those of named ones, and those of all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightsTable {
    named: BTreeMap<PeerName, Rights>,
    others: Rights,
}

impl Default for RightsTable {
    /// Whoever can connect may do everything.
    fn default() -> RightsTable {
        RightsTable::new(Rights::ALL)
    }
}

impl RightsTable {
    /// A table without names.
    pub fn new(others: Rights) -> RightsTable {
        RightsTable { named: BTreeMap::new(), others }
    }

    /// Gives `peer` exactly these rights.
    pub fn set(&mut self, peer: PeerName, rights: Rights) {
        self.named.insert(peer, rights);
    }

    /// The rights of a peer that is called so, or has no name.
    pub fn of(&self, peer: Option<&PeerName>) -> Rights {
        peer.and_then(|peer| self.named.get(peer)).copied().unwrap_or(self.others)
    }
}
