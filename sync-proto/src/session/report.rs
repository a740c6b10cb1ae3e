//! What a session tells: how far it is, how it ended, what it cost.
//!
//! Easy to get wrong: left is always the initiator and right the responder, on whichever side the report is made, so
//! that both sides' reports can be laid beside each other.

use std::time::Duration;

use crate::error::AbortReason;
use crate::types::{Moves, RangeSum};

/// How a session ended, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a session may have proven nothing, or been aborted"]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it did until then.
    pub report: Report,
}

impl Outcome {
    /// Whether it ended with [`End::Complete`].
    pub fn is_complete(&self) -> bool {
        self.end == End::Complete
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every range is equal or closed, in both directions, and both sides said durably that they are done. What either
    /// side held when the session began is held or covered by the other.
    Complete,
    /// The session went through, but proves less: these are the reasons.
    Partial(Reasons),
    /// The session ended early. What was applied stays; another session goes on from there.
    Aborted(AbortReason),
}

/// Why a session that went through is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
#[non_exhaustive]
pub enum Reason {
    /// It moved entries in one direction only.
    Mode = 1,
    /// It was restricted to a range.
    Filter = 2,
    /// It moved nothing.
    DryRun = 4,
    /// A side could not take entries that it lacks.
    ReadOnly = 8,
    /// A side refused entries for good: its horizon has passed them.
    Refused = 16,
    /// A side did not take entries whose stamps lie too far in the future.
    Deferred = 32,
    /// An entry was not sent: its value is longer than the peer takes, kept changing on the way, or is lost for damage.
    Unsent = 64,
    /// A side left out deletions, because there were more than it was to take or to send.
    Deletes = 128,
    /// Keys were unknown for damage, so that nothing was compared. They are known again: another session can be complete.
    Healed = 256,
    /// As [`Reason::Healed`], but some stay unknown, for the other side lacks them too or may not give them.
    Unknown = 512,
}

/// A set of [`Reason`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasons(pub(crate) u32);

impl Reasons {
    const ALL: [Reason; 10] = [
        Reason::Mode,
        Reason::Filter,
        Reason::DryRun,
        Reason::ReadOnly,
        Reason::Refused,
        Reason::Deferred,
        Reason::Unsent,
        Reason::Deletes,
        Reason::Healed,
        Reason::Unknown,
    ];

    /// One reason alone.
    #[cfg(feature = "tokio")]
    pub(crate) fn of(reason: Reason) -> Reasons {
        Reasons(reason as u32)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `reason` is among them.
    pub fn contains(self, reason: Reason) -> bool {
        self.0 & reason as u32 != 0
    }

    /// All of them that this version knows.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reasons::ALL.into_iter().filter(move |reason| self.contains(*reason))
    }

    pub(crate) fn insert(&mut self, reason: Reason) {
        self.0 |= reason as u32;
    }
}

/// What a session did. Left is the initiator, right the responder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Keys on which the sides differed: the sum of the next four.
    pub entries_differing: u64,
    /// Keys that only the left side had.
    pub only_left: u64,
    /// Keys that only the right side had.
    pub only_right: u64,
    /// Keys of which the left side had the newer version.
    pub newer_left: u64,
    /// Keys of which the right side had the newer version. Of two versions with equal clocks the report does not know
    /// which is newer, and counts one of them.
    pub newer_right: u64,
    /// Separate small ranges in which the sides differed.
    pub ranges: u64,
    /// Heads and entries that this side read, some of them more than once.
    pub entries_read: u64,
    /// Entries that this side sent.
    pub entries_sent: u64,
    /// Entries that this side received.
    pub entries_received: u64,
    /// Received entries that this side refused, or sent ones that the peer refused, for good.
    pub refused: u64,
    /// The same of entries whose stamps lie too far in the future.
    pub deferred: u64,
    /// Deletions that this side left out, because there were more than it was to take or to send.
    pub deletes_left_out: u64,
    /// Of the entries sent and received, those that brought back what a side had lost of unknown keys.
    pub entries_healed: u64,
    /// Bytes of values, both directions.
    pub value_bytes: u64,
    /// Bytes of frames less those of values, both directions.
    pub metadata_bytes: u64,
    /// Of these, those of the entries themselves, which no repair can do without: keys, stamps, metas.
    pub entry_bytes: u64,
    /// Flights, both directions; the hello is the first. Two are a round trip.
    pub legs: u32,
    /// The initiator's root (or sum of the filtered range) when it last spoke of it.
    pub root_left: RangeSum,
    /// The responder's.
    pub root_right: RangeSum,
    /// What would go to the right; of a dry run only, and on the initiator's side only.
    pub to_right: Moves,
    /// What would go to the left; as the one above.
    pub to_left: Moves,
    /// Both roots as the hellos showed them, the initiator's first, if they could be compared.
    pub roots_before: Option<(RangeSum, RangeSum)>,
    /// Differing keys by name, as many as were asked for; of a dry run only, and on the initiator's side only.
    pub names: Vec<(Difference, Vec<u8>)>,
}

impl Report {
    /// Whether both sides held the same when they last spoke of it.
    pub fn is_equal(&self) -> bool {
        self.root_left.is_same_set(&self.root_right)
    }
}

/// What one range added to a report, from this side's point of view.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    pub(crate) only_mine: u64,
    pub(crate) newer_mine: u64,
    pub(crate) only_theirs: u64,
    pub(crate) newer_theirs: u64,
}

impl Report {
    /// Adds what was found in one range. Saturates, for a peer may claim any number of entries.
    pub(crate) fn add(&mut self, found: Found, initiates: bool) {
        let Found { only_mine, newer_mine, only_theirs, newer_theirs } = found;
        let (left, right) = ((only_mine, newer_mine), (only_theirs, newer_theirs));
        let (left, right) = if initiates { (left, right) } else { (right, left) };
        self.only_left = self.only_left.saturating_add(left.0);
        self.newer_left = self.newer_left.saturating_add(left.1);
        self.only_right = self.only_right.saturating_add(right.0);
        self.newer_right = self.newer_right.saturating_add(right.1);
        self.entries_differing = [self.only_right, self.newer_left, self.newer_right]
            .into_iter()
            .fold(self.only_left, u64::saturating_add);
        self.ranges += 1;
    }
}

/// How the two sides differ on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Only the initiator has it.
    OnlyLeft,
    /// Only the responder has it.
    OnlyRight,
    /// The initiator's version is newer.
    NewerLeft,
    /// The responder's version is newer.
    NewerRight,
}

/// How far a session is. Sent after every flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Flights so far.
    pub legs: u32,
    /// Entries of this side that are proven equal or settled. May exceed `total` while entries come in.
    pub settled: u64,
    /// Entries of this side, within the session's range, when the session began.
    pub total: u64,
    /// Entries that this side sent so far.
    pub entries_sent: u64,
    /// Entries that this side received so far.
    pub entries_received: u64,
    /// Bytes of values so far, both directions.
    pub value_bytes: u64,
    /// Other bytes so far, both directions.
    pub metadata_bytes: u64,
}

impl Progress {
    /// The part of this side's entries that is proven equal or settled, from 0 to 1; `None` where this side held none, and so
    /// can only count what it receives.
    pub fn fraction(&self) -> Option<f64> {
        (self.total > 0).then(|| self.settled.min(self.total) as f64 / self.total as f64)
    }

    /// How long the session may still take after `elapsed`, if what is left goes on as fast as what is done; `None` before
    /// anything is done. A guess: what is equal is settled far faster than what differs.
    pub fn remaining(&self, elapsed: Duration) -> Option<Duration> {
        let done = self.fraction().filter(|done| *done > 0.0)?;
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - done) / done).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_its_fraction_and_what_time_is_left_and_nothing_where_it_knows_nothing() {
        let at = |settled, total| Progress { settled, total, ..Progress::default() };
        let minute = Duration::from_secs(60);
        assert_eq!((at(0, 0).fraction(), at(0, 0).remaining(minute)), (None, None));
        assert_eq!((at(0, 8).fraction(), at(0, 8).remaining(minute)), (Some(0.0), None));
        assert_eq!((at(2, 8).fraction(), at(2, 8).remaining(minute)), (Some(0.25), Some(3 * minute)));
        assert_eq!((at(9, 8).fraction(), at(9, 8).remaining(minute)), (Some(1.0), Some(Duration::ZERO)));
    }
}
