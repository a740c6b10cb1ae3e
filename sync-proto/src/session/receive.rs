//! Entries coming in.
//!
//! Easy to get wrong: a peer names the keys. Those outside the session's range (local keys of the store among them) are
//! refused before the replica sees them, and so are entries in a direction that the session does not move.

use super::io::Output;
use super::machine::{Session, Waiting};
use super::report::{Found, Reason, Report};
use crate::error::AbortReason;
use crate::replica::{Applied, ApplyRequest};
use crate::types::{Entry, Kind};
use crate::wire::entry::ValueBegin;

/// A long value that is coming in.
#[derive(Debug)]
pub(crate) struct Staging {
    left: u64,
}

impl Session {
    pub(crate) fn on_stream(&mut self, count: u64) -> Result<(), AbortReason> {
        self.heard.moves += 1;
        self.report.add(Found { only_theirs: count, ..Found::default() }, self.initiates());
        Ok(())
    }

    pub(crate) fn on_entries(
        &mut self,
        mut entries: Vec<Entry>,
        message_len: usize,
    ) -> Result<(), AbortReason> {
        for entry in &entries {
            self.admit(entry, entry.value.len() as u64)?;
        }
        let value_len = entries.iter().map(|entry| entry.value.len() as u64).sum::<u64>();
        self.report.value_bytes += value_len;
        self.report.entry_bytes += (message_len as u64).saturating_sub(value_len);
        self.report.entries_received += entries.len() as u64;
        self.leave_deletes_out(&mut entries);
        if !entries.is_empty() {
            let apply = ApplyRequest::Entries { entries, origin: self.terms.origin };
            self.output_and_wait(Output::Apply(apply), Waiting::Apply);
        }
        Ok(())
    }

    /// Keeps the deletions that this side still takes, and of the others their number.
    fn leave_deletes_out(&mut self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| entry.kind == Kind::Put || spend(&mut self.deletes_left, &mut self.report));
        self.note_deletes_left_out();
    }

    /// Whether this side still sends a deletion, which then counts as sent.
    pub(crate) fn sends_delete(&mut self) -> bool {
        let sends = spend(&mut self.deletes_left_to_send, &mut self.report);
        self.note_deletes_left_out();
        sends
    }

    fn note_deletes_left_out(&mut self) {
        if self.report.deletes_left_out > 0 {
            self.reasons.insert(Reason::Deletes);
        }
    }

    /// Whether an entry may come in at all. From then on it covers this side's older version of its key.
    fn admit(&mut self, entry: &Entry, value_len: u64) -> Result<(), AbortReason> {
        self.heard.moves += 1;
        if !self.terms.may_take {
            return Err(AbortReason::Protocol("entries in the wrong direction"));
        }
        if !self.terms.scope.contains(&entry.key) {
            return Err(AbortReason::Protocol("an entry outside the session's range"));
        }
        if value_len > self.options.limits.value_len_max {
            return Err(AbortReason::Protocol("a value longer than this side takes"));
        }
        self.uncovered.remove(&entry.key);
        Ok(())
    }

    pub(crate) fn on_value_begin(&mut self, begin: ValueBegin) -> Result<(), AbortReason> {
        self.admit(&begin.entry, begin.value_len)?;
        self.stage(begin.entry, begin.value_len);
        Ok(())
    }

    /// Sets out to take in a long value.
    pub(crate) fn stage(&mut self, entry: Entry, value_len: u64) {
        self.staging = Some(Staging { left: value_len });
        let apply = ApplyRequest::BeginValue { entry, value_len, origin: self.terms.origin };
        self.output_and_wait(Output::Apply(apply), Waiting::Stage);
    }

    pub(crate) fn on_value_part(&mut self, bytes: Vec<u8>) -> Result<(), AbortReason> {
        let bytes_len = bytes.len() as u64;
        let left = self.staging.as_ref().and_then(|staging| staging.left.checked_sub(bytes_len));
        let left = left.ok_or(AbortReason::Protocol("more of a value than was announced"))?;
        self.staging = Some(Staging { left });
        self.report.value_bytes += bytes_len;
        self.output_and_wait(Output::Apply(ApplyRequest::AppendValue(bytes)), Waiting::Stage);
        Ok(())
    }

    /// Commits the long value that came in, if it is whole.
    pub(crate) fn commit_whole_value(&mut self) {
        if self.staging.as_ref().is_some_and(|staging| staging.left == 0) {
            self.staging = None;
            self.report.entries_received += 1;
            let apply = self.losses.heal_value().unwrap_or(ApplyRequest::CommitValue);
            self.output_and_wait(Output::Apply(apply), Waiting::Apply);
        }
    }

    pub(crate) fn on_value_abandon(&mut self) -> Result<(), AbortReason> {
        if self.staging.take().is_none() {
            return Err(AbortReason::Protocol("no value to forget"));
        }
        self.losses.heal_value();
        self.output_and_wait(Output::Apply(ApplyRequest::AbandonValue), Waiting::Stage);
        Ok(())
    }

    pub(crate) fn on_applied(&mut self, applied: Applied) {
        self.report.refused = self.report.refused.saturating_add(applied.refused);
        self.report.deferred = self.report.deferred.saturating_add(applied.deferred);
        if applied.refused > 0 {
            self.reasons.insert(Reason::Refused);
        }
        if applied.deferred > 0 {
            self.reasons.insert(Reason::Deferred);
        }
    }
}

/// Takes a deletion off what is `left` of them, or counts it as left out.
fn spend(left: &mut u64, report: &mut Report) -> bool {
    let is_within = *left > 0;
    *left = left.saturating_sub(1);
    report.deletes_left_out += u64::from(!is_within);
    is_within
}
