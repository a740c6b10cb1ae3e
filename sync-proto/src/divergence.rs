//! How far two replicas are apart, as their hellos or the end of their session show it: a gauge, not a proof. It costs
//! nothing beyond the session that it is read from.
//!
//! Easy to get wrong: under load the roots of live replicas are hardly ever equal at one moment, so a gauge that is never
//! at zero is no fault; one that grows is.

use crate::session::{End, Outcome, Reason};
use crate::types::RangeSum;

/// How far two replicas are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Divergence {
    /// They have not spoken yet.
    Unknown,
    /// They held the same.
    Equal,
    /// They differed, in at least so many entries.
    Differs {
        /// At least 1. What a comparison found, otherwise what the counts of entries tell: entries that were only
        /// changed are not seen in those.
        entries_min: u64,
    },
}

impl Divergence {
    /// What was left when this session ended, if it got so far that the peer said anything of itself.
    pub fn after(outcome: &Outcome) -> Option<Divergence> {
        let report = &outcome.report;
        let (left, right) = (&report.root_left, &report.root_right);
        match outcome.end {
            End::Complete => Some(Divergence::Equal),
            // The peer's root is zero until it is heard.
            End::Aborted(_) if *right == RangeSum::ZERO => None,
            // What is known is equal, and nobody can tell of the rest.
            End::Partial(reasons) if reasons.contains(Reason::Unknown) => None,
            _ if report.is_equal() => Some(Divergence::Equal),
            End::Partial(reasons) if reasons.contains(Reason::DryRun) => {
                let entries_min = report.entries_differing.max(count_difference(left, right));
                Some(Divergence::Differs { entries_min })
            }
            _ => Some(Divergence::Differs { entries_min: count_difference(left, right) }),
        }
    }

    /// What the two differed in when this session began, if that was found out: exactly if they were compared to the end, and
    /// otherwise at least.
    pub fn before(outcome: &Outcome) -> Option<Divergence> {
        let report = &outcome.report;
        let shown = report.roots_before.map(|(left, right)| match left.is_same_set(&right) {
            true => 0,
            false => count_difference(&left, &right),
        });
        let entries_min = match outcome.end {
            // Nothing was compared.
            End::Partial(reasons)
                if [Reason::Healed, Reason::Unknown].iter().any(|&why| reasons.contains(why)) =>
            {
                return None;
            }
            End::Aborted(_) => shown?.max(report.entries_differing),
            _ => shown.unwrap_or_default().max(report.entries_differing),
        };
        Some(if entries_min == 0 { Divergence::Equal } else { Divergence::Differs { entries_min } })
    }

    /// The number for a gauge: 0 for equal, otherwise the least number of entries; `None` for unknown.
    pub fn gauge(self) -> Option<u64> {
        match self {
            Divergence::Unknown => None,
            Divergence::Equal => Some(0),
            Divergence::Differs { entries_min } => Some(entries_min),
        }
    }
}

/// At least so many entries lie between two different sums.
fn count_difference(left: &RangeSum, right: &RangeSum) -> u64 {
    left.live.abs_diff(right.live).max(left.tombstones.abs_diff(right.tombstones)).max(1)
}
