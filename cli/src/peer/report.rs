//! What a session found and moved, with the sides of the command line, and what to do about one that failed.
//!
//! Easy to get wrong: a session is run by the local store, whichever side of the command line it stands on, so what it
//! reports is turned round when that is the right one.

use sync_proto::driver::tokio::ConnectError;
use sync_proto::tls::CertificateProblem;
use sync_proto::{AbortReason, Difference, End, Outcome as SessionOutcome, PeerReason, Reason, Reasons};
use syncline::{Db, Fingerprint};

use super::Mode;
use crate::error::{Error, Result};

/// How a session ended that did end, the best end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The replicas were equal.
    Equal,
    /// They differed and were made equal.
    Complete,
    /// Something was refused or put off; they may still differ.
    Partial,
    /// They were only compared, and differ.
    Different,
}

impl Outcome {
    /// The word for it in all output. These words are kept from version to version.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Equal => "equal",
            Outcome::Complete => "complete",
            Outcome::Partial => "partial",
            Outcome::Different => "different",
        }
    }
}

/// What a session found and moved.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    /// Of a partial one, why: a phrase each.
    pub(crate) reasons: Vec<&'static str>,
    /// Keys that only the left replica had an entry for.
    pub(crate) only_left: u64,
    /// Keys that only the right replica had an entry for.
    pub(crate) only_right: u64,
    /// Keys whose entry on the left was the newer one.
    pub(crate) newer_left: u64,
    /// Keys whose entry on the right was the newer one.
    pub(crate) newer_right: u64,
    /// Key ranges that held a difference.
    pub(crate) ranges: u64,
    /// Entries brought back of what either side had lost to damage, before anything was compared.
    pub(crate) healed: u64,
    /// Entries moved from left to right.
    pub(crate) sent: u64,
    /// Entries moved from right to left.
    pub(crate) received: u64,
    /// Bytes of all frames, both ways, less those of values.
    pub(crate) metadata_bytes: u64,
    /// Bytes of values, both ways.
    pub(crate) value_bytes: u64,
    /// Bytes of the values that a repair would move to the right, and to the left; of a comparison that rehearses one.
    pub(crate) weights: [u64; 2],
    /// Flights one after the other, from one side to the other.
    pub(crate) legs: u64,
    pub(crate) root_left: Fingerprint,
    pub(crate) root_right: Fingerprint,
    /// Bytes of all keys and values of the local store, which is what copying it would move.
    pub(crate) full_copy_bytes: u64,
    /// Differing keys as the protocol knows them, not all if there were more on a side than were to be named.
    pub(crate) names: Vec<(Difference, Vec<u8>)>,
}

impl Report {
    /// Keys for which the replicas differed.
    pub(crate) fn differing(&self) -> u64 {
        self.only_left + self.only_right + self.newer_left + self.newer_right
    }

    /// Whether the replicas are equal now.
    pub(crate) fn is_fine(&self) -> bool {
        matches!(self.outcome, Outcome::Equal | Outcome::Complete)
    }

    /// What this session and one of another part of the same two replicas tell together.
    pub(super) fn and(mut self, other: Report) -> Report {
        self.outcome = self.outcome.max(other.outcome);
        self.reasons.extend(other.reasons);
        self.reasons.sort_unstable();
        self.reasons.dedup();
        let Report { only_left, only_right, newer_left, newer_right, ranges, .. } = other;
        self.only_left += only_left;
        self.only_right += only_right;
        self.newer_left += newer_left;
        self.newer_right += newer_right;
        self.ranges += ranges;
        self.healed += other.healed;
        self.sent += other.sent;
        self.received += other.received;
        self.metadata_bytes += other.metadata_bytes;
        self.value_bytes += other.value_bytes;
        let [right, left] = other.weights;
        self.weights = [self.weights[0] + right, self.weights[1] + left];
        self.legs += other.legs;
        let plus = |a: Fingerprint, b: Fingerprint| Fingerprint(a.0.wrapping_add(b.0));
        self.root_left = plus(self.root_left, other.root_left);
        self.root_right = plus(self.root_right, other.root_right);
        self.names.extend(other.names);
        self
    }

    /// The same, seen from the other side.
    pub(super) fn turned(self) -> Report {
        Report {
            only_left: self.only_right,
            only_right: self.only_left,
            newer_left: self.newer_right,
            newer_right: self.newer_left,
            sent: self.received,
            received: self.sent,
            weights: [self.weights[1], self.weights[0]],
            root_left: self.root_right,
            root_right: self.root_left,
            names: self.names.into_iter().map(|(difference, key)| (turned(difference), key)).collect(),
            ..self
        }
    }
}

impl Report {
    /// What the session that `local` opened says, with `local` as the left side.
    pub(super) fn of(session: SessionOutcome, local: &Db, mode: Mode, peer: &str) -> Result<Report> {
        let SessionOutcome { end, report, .. } = session;
        // That only a part was repaired, or in one direction, is what was asked for.
        let is_unexpected = |reason: &Reason| !matches!(reason, Reason::Filter | Reason::Mode);
        let reasons: Vec<Reason> = match &end {
            End::Partial(reasons) => reasons.iter().filter(is_unexpected).collect(),
            _ => Vec::new(),
        };
        let outcome = match end {
            End::Aborted(reason) => return Err(aborted(peer, &reason)),
            _ if reasons.iter().any(|reason| matches!(reason, Reason::Healed | Reason::Unknown)) => {
                if matches!(mode, Mode::Compare { .. }) {
                    let what = "keys are unknown for damage, so there is nothing to compare".to_owned();
                    let next = "Heal them by `syncline sync` of the two; `syncline stats` names them";
                    return Err(Error::Peer { peer: peer.to_owned(), what, next });
                }
                Outcome::Partial
            }
            _ if report.entries_differing == 0 => Outcome::Equal,
            _ if matches!(mode, Mode::Compare { .. }) => Outcome::Different,
            _ if reasons.is_empty() => Outcome::Complete,
            _ => Outcome::Partial,
        };
        let reasons = reasons.into_iter().map(phrase).collect();
        // A comparison moves nothing; it says what a repair would move.
        let (sent, received) = match mode {
            Mode::Compare { .. } => (report.to_right.entries, report.to_left.entries),
            Mode::Repair { .. } => (report.entries_sent, report.entries_received),
        };
        Ok(Report {
            outcome,
            reasons,
            only_left: report.only_left,
            only_right: report.only_right,
            newer_left: report.newer_left,
            newer_right: report.newer_right,
            ranges: report.ranges,
            healed: 0,
            sent,
            received,
            metadata_bytes: report.metadata_bytes,
            value_bytes: report.value_bytes,
            weights: [report.to_right.value_bytes, report.to_left.value_bytes],
            legs: u64::from(report.legs),
            root_left: report.root_left.fingerprint.into(),
            root_right: report.root_right.fingerprint.into(),
            full_copy_bytes: local.stats()?.live_bytes,
            names: report.names,
        })
    }
}

fn turned(difference: Difference) -> Difference {
    match difference {
        Difference::OnlyLeft => Difference::OnlyRight,
        Difference::OnlyRight => Difference::OnlyLeft,
        Difference::NewerLeft => Difference::NewerRight,
        Difference::NewerRight => Difference::NewerLeft,
    }
}

/// A session that ended early, and what to do about it.
pub(super) fn aborted(peer: &str, reason: &AbortReason) -> Error {
    use AbortReason as A;
    use PeerReason as P;
    let next = match reason {
        A::OtherSet | A::OtherHashKey | A::Peer(P::OtherSet | P::OtherHashKey) => {
            "Only replicas can be compared; make one with `syncline init DIR --replica-of OTHER_DIR`"
        }
        A::SameNode | A::Peer(P::SameNode) => {
            "Do not copy a store's folder; make a replica with `syncline init DIR --replica-of OTHER_DIR`"
        }
        A::Version { .. } => "Use the same version of syncline on both sides",
        A::Peer(P::Denied) => "Have it served with `--grant` and this side's name",
        A::Replica(_) | A::Inconsistent(_) => "Run `syncline doctor` on the store here",
        A::Peer(P::Replica) => {
            "See with `syncline horizon` whether each is a member of the set to the other, and run `syncline doctor` there"
        }
        A::Peer(P::Poisoned | P::Unknown) => "Run `syncline doctor` on the store there",
        _ => "What was moved stays; run the command again to go on from there",
    };
    Error::Peer { peer: peer.to_owned(), what: reason.to_string(), next }
}

/// A connection that came to no session, and what to do about it.
pub(super) fn unreachable(peer: &str, error: &ConnectError) -> Error {
    use CertificateProblem as C;
    use ConnectError as E;
    let next = match error {
        E::NotTls => "If it is served with --insecure, reach it as tcp://host:port, if you must",
        E::Timeout => "See whether `syncline serve` runs there, and whether it is served with TLS",
        E::Certificate(C::WrongName) => "Make its certificate with `syncline cert peer --host` and this host",
        E::Certificate(C::UnknownIssuer) | E::Refused(C::UnknownIssuer | C::Missing) => {
            "Make both certificates with one authority: `syncline cert peer`"
        }
        E::Certificate(_) => "Make a new one for that peer with `syncline cert peer`",
        E::Refused(_) => "Make a new one for this side with `syncline cert peer`",
        E::Protocol => "Use the same version of syncline on both sides",
        _ => "See whether `syncline serve` runs there",
    };
    Error::Peer { peer: peer.to_owned(), what: error.to_string(), next }
}

/// Why a session proves less than that both sides are equal.
pub(super) fn phrases(reasons: Reasons) -> Vec<&'static str> {
    reasons.iter().map(phrase).collect()
}

fn phrase(reason: Reason) -> &'static str {
    match reason {
        Reason::Mode => "in one direction only",
        Reason::Filter => "of one range only",
        Reason::DryRun => "compared only",
        Reason::ReadOnly => "one side is read-only",
        Reason::Refused => {
            "one side refused entries: its horizon has passed them, or it lacks their resolver"
        }
        Reason::Deferred => "entries have stamps in the future, so look at the clocks",
        Reason::Unsent => "values were too long for the peer, never stood still or are lost",
        Reason::Deletes => "there were more deletions than were to be moved",
        Reason::Healed => "keys that were unknown for damage were healed first",
        Reason::Unknown => "keys are unknown for damage, and the other side does not have them either",
        _ => "for a reason that this command does not know yet",
    }
}
