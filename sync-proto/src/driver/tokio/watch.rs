//! [`Watcher`]: hears how far each session over a transport is, those that peers opened and those of visits too.
//!
//! Easy to get wrong: it is called between two frames of a session, which goes on when it returns, so it must not block.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::rights::PeerName;
use crate::session::Progress;

/// How far one session is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SessionProgress<'a> {
    /// Where the peer was reached; `None` if it came here.
    pub address: Option<&'a str>,
    /// Who it is, if its certificate was verified.
    pub peer: Option<&'a PeerName>,
    /// Since the connection began, for [`Progress::remaining`].
    pub elapsed: Duration,
    /// How far.
    pub progress: Progress,
}

/// Hears how far sessions are. Clones share it.
#[derive(Clone)]
pub struct Watcher(Arc<dyn Fn(SessionProgress<'_>) + Send + Sync>);

impl Watcher {
    /// Calls `hear` after each flight of each session.
    pub fn new(hear: impl Fn(SessionProgress<'_>) + Send + Sync + 'static) -> Watcher {
        Watcher(Arc::new(hear))
    }

    pub(super) fn tell(&self, told: SessionProgress<'_>) {
        (self.0)(told);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}
