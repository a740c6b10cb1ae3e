//! What the initiator asks for when it opens a session, and what both sides bring along.
//!
//! Easy to get wrong: the nonce must be fresh and unguessable for each session, or a peer could prepare entries whose
//! short fingerprints collide. Drawing it is the driver's job; nothing in this crate knows randomness.

use crate::limits::Limits;
use crate::types::KeyRange;

/// In which directions a session moves entries. Seen from the initiator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Both ways. The only mode in which a session can be complete.
    #[default]
    Both,
    /// The initiator takes what it lacks and sends nothing.
    Pull,
    /// The initiator sends what the responder lacks and takes nothing.
    Push,
    /// Nothing moves; the report says what would.
    DryRun,
}

/// A window of protocol versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Least version spoken.
    pub min: u8,
    /// Greatest version spoken.
    pub max: u8,
}

impl Versions {
    /// What this crate speaks.
    pub const SUPPORTED: Versions = Versions { min: 1, max: 1 };

    /// The greatest version in both windows, if there is one.
    pub fn common(self, other: Versions) -> Option<u8> {
        let greatest = self.max.min(other.max);
        (greatest >= self.min.max(other.min)).then_some(greatest)
    }
}

/// What a session is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// In which directions entries move. Only the initiator's counts.
    pub mode: Mode,
    /// Restricts the session to a key range. Only the initiator's counts. A filtered session is never complete.
    pub filter: Option<KeyRange>,
    /// Whether a dry run tells the bytes of the values that would move, and of entries exactly those that would: without what is
    /// longer than the other side takes, and without deletions beyond `deletes_max`. Each side then looks at all heads that
    /// differ, where otherwise it counts whole ranges by their sums. Only the initiator's counts.
    pub weighs: bool,
    /// How many differing keys each side of a dry run names at most. Only the initiator's counts, and only the initiator is told;
    /// [`crate::Report`] says how many were left out.
    pub names_max: u32,
    /// How many deletions this side takes at most, and how many it sends. Further ones are left out and the session is
    /// partial, so that an emptied replica does not empty another one.
    pub deletes_max: u64,
    /// This side's half of the session's nonce: fresh and unguessable. A driver that draws nonces itself does not look at it.
    pub nonce: u64,
    /// The versions to offer or to accept.
    pub versions: Versions,
    /// This side's limits.
    pub limits: Limits,
}

impl Options {
    /// A session both ways over everything, with default limits and this side's half of the nonce.
    pub fn new(nonce: u64) -> Options {
        Options {
            mode: Mode::Both,
            filter: None,
            weighs: false,
            names_max: 0,
            deletes_max: u64::MAX,
            nonce,
            versions: Versions::SUPPORTED,
            limits: Limits::default(),
        }
    }
}

impl Default for Options {
    /// As [`Options::new`], but without a nonce: for a driver that draws nonces itself.
    fn default() -> Options {
        Options::new(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_meet_at_the_greatest_common_version_or_not_at_all() {
        let window = |min, max| Versions { min, max };
        assert_eq!(window(1, 3).common(window(2, 5)), Some(3));
        assert_eq!(window(2, 5).common(window(1, 3)), Some(3));
        assert_eq!(window(1, 1).common(window(2, 3)), None);
        assert_eq!(window(4, 4).common(window(4, 4)), Some(4));
    }
}
