//! The end of a flight, and of the session.
//!
//! Easy to get wrong: "done" is a promise about the disk. A side persists before it says so, and it says so only when
//! nothing that it said waits for an answer. The session is over when two flights in a row say "done" and the second
//! says nothing else: whoever said the first took nothing in since.

use super::backlog::Backlog;
use super::io::{Answer, Output};
use super::machine::{Heard, Session, State, Waiting};
use super::report::{End, Outcome, Reason};
use super::send::Sends;
use super::table::Table;
use crate::error::{AbortReason, PeerReason, ReplicaErrorKind};
use crate::hash::Salt;
use crate::options::Mode;
use crate::replica::{ReadAnswer, ReadRequest};
use crate::types::RangeSum;
use crate::wire::frame;
use crate::wire::hello::{Abort, Done};
use crate::wire::message::Message;

/// Steps of the end of this side's flight.
#[derive(Debug)]
pub(crate) enum Closing {
    /// Nothing more is to be sent but perhaps "done".
    Begin,
    /// Waits for the replica to be durable.
    Persist,
    /// Waits to hear what stays unknown.
    Left,
    /// Waits for the root to tell.
    Root,
    /// The last frames go out.
    Flush,
}

impl Session {
    /// The peer's flight has ended; this side's turn begins.
    pub(crate) fn end_of_flight(&mut self) -> Result<(), AbortReason> {
        let heard = std::mem::take(&mut self.heard);
        if self.staging.is_some() {
            return Err(AbortReason::Protocol("a flight that ends within a value"));
        }
        if self.end_of_tables() {
            return Ok(());
        }
        if !self.established {
            return Err(AbortReason::Protocol("no hello"));
        }
        if self.equal && self.initiates() {
            self.end_well();
            return Ok(());
        }
        if !self.skips_items && !self.sent.is_answered() && !self.is_withdrawn(&heard) {
            return Err(AbortReason::Protocol("a list without an answer"));
        }
        if heard.moves == 0 && heard.done.is_none() && !self.skips_items {
            return Err(AbortReason::Protocol("a flight that moves nothing on"));
        }
        self.end_of_healing();
        let uncovered = std::mem::take(&mut self.uncovered);
        // What is not covered after all the peer has left out, as it says, or short fingerprints of two keys collided.
        const LEAVES_OUT: u32 = Reason::Unsent as u32 | Reason::Deletes as u32;
        if heard.done.as_ref().is_none_or(|done| done.reasons & LEAVES_OUT == 0) {
            uncovered.into_iter().for_each(|key| self.give(vec![key], true));
        }
        self.uncovered = std::mem::take(&mut self.uncovered_next);
        self.sent = Table::default();
        if let Some(done) = &heard.done {
            self.take_done(done);
            if self.said_done && heard.messages == 1 {
                self.end_well();
                return Ok(());
            }
        }
        self.heard_done = heard.done.is_some();
        if self.leg >= self.options.limits.legs_max {
            return Err(AbortReason::Limit("legs"));
        }
        self.begin_flight();
        Ok(())
    }

    /// Whether the initiator found the roots equal at the responder's higher horizon, and skipped the responder's items.
    fn is_withdrawn(&self, heard: &Heard) -> bool {
        let higher = self.own.as_ref().is_some_and(|own| own.horizon > self.terms.origin.horizon);
        !self.initiates() && higher && self.leg == 3 && heard.done.is_some() && heard.messages == 1
    }

    fn take_done(&mut self, done: &Done) {
        let reasons = self.hear_left(done.reasons);
        self.reasons.0 |= reasons;
        (self.peer_refused, self.peer_deferred) = (done.refused, done.deferred);
        match self.initiates() {
            true => self.report.root_right = done.root,
            false => self.report.root_left = done.root,
        }
    }

    /// This side's turn begins.
    fn begin_flight(&mut self) {
        self.leg += 1;
        self.said_done = false;
        self.reopened_to = None;
        let aside = std::mem::take(&mut self.aside);
        self.backlog.put_first(aside);
        self.state = State::Heal;
    }

    /// Moves the end of the flight on by one step.
    pub(crate) fn close(&mut self, closing: Closing) -> Result<(), AbortReason> {
        match closing {
            Closing::Begin if self.may_say_done() => {
                if self.terms.mode == Mode::DryRun {
                    self.ask_end();
                } else {
                    self.state = State::Closing(Closing::Persist);
                    self.output_and_wait(Output::Persist, Waiting::Closing(Closing::Persist));
                }
            }
            Closing::Begin | Closing::Flush => {
                self.state = State::Closing(Closing::Flush);
                match self.outbox.pop_full() {
                    Some(frame) => self.send(frame),
                    None => self.end_flight(),
                }
            }
            Closing::Persist | Closing::Left | Closing::Root => {
                return Err(AbortReason::Inconsistent("an end without its answer"));
            }
        }
        Ok(())
    }

    /// Goes on when the replica has answered.
    pub(crate) fn closed(&mut self, closing: Closing, answer: Answer) -> Result<(), AbortReason> {
        match (closing, answer) {
            (Closing::Persist, Answer::Finished) => self.ask_end(),
            (Closing::Left, Answer::Read(ReadAnswer::Lost { lost, next })) => {
                self.note_left(&lost, next.is_none());
                self.ask_root();
            }
            (Closing::Root, Answer::Read(ReadAnswer::Info(info))) => {
                if info.has_unknown && !self.losses.heals {
                    // Met since the hello.
                    self.reasons.insert(Reason::Unknown);
                }
                self.say_done(info.root);
            }
            (Closing::Root, Answer::Read(ReadAnswer::Sums(sums))) => {
                self.say_done(super::hello::whole(&sums)?);
            }
            _ => return Err(AbortReason::Inconsistent("an answer to another question")),
        }
        Ok(())
    }

    /// Whether nothing of this side's waits for an answer after this flight.
    fn may_say_done(&self) -> bool {
        !self.equal && self.draft.len() == 0 && !self.expects_more && self.backlog.is_empty()
    }

    /// Asks for what "done" tells.
    fn ask_end(&mut self) {
        self.state = State::Closing(Closing::Root);
        match self.losses.heals {
            true => self.ask_left(),
            false => self.ask_root(),
        }
    }

    fn ask_root(&mut self) {
        self.outputs.push_back(Output::Unpin);
        let request = if self.terms.filtered && !self.losses.heals {
            ReadRequest::Sums { range: self.terms.scope.clone(), bounds: Vec::new() }
        } else {
            ReadRequest::Info { horizon: Some(self.terms.origin.horizon) }
        };
        self.ask(request, Waiting::Closing(Closing::Root));
    }

    fn say_done(&mut self, root: RangeSum) {
        match self.initiates() {
            true => self.report.root_left = root,
            false => self.report.root_right = root,
        }
        let alone = self.outbox.is_empty();
        let done = Done {
            reasons: self.reasons.0 | self.losses.said(),
            refused: self.report.refused,
            deferred: self.report.deferred,
            root,
        };
        self.outbox.push(&Message::Done(done));
        self.said_done = true;
        self.ends = alone && self.heard_done;
        self.state = State::Closing(Closing::Flush);
    }

    /// Sends the last frame of this side's flight, and listens, or ends.
    pub(crate) fn end_flight(&mut self) {
        let frame = self.outbox.finish();
        self.send(frame);
        if self.equal || self.ends {
            self.end_well();
            return;
        }
        self.tell_progress();
        self.sent = std::mem::take(&mut self.draft);
        self.expects_more = false;
        self.heard = Heard::default();
        self.leg += 1;
        self.set_salts();
        self.state = State::Listening;
    }

    /// Salts of the flight that comes in and of the one that follows it.
    pub(crate) fn set_salts(&mut self) {
        self.heard_salt = self.terms.salt.leg(self.leg);
        self.spoken_salt = self.terms.salt.leg(self.leg + 1);
    }

    /// Salt of this side's last flight.
    pub(crate) fn said_salt(&self) -> Salt {
        self.terms.salt.leg(self.leg.saturating_sub(1))
    }

    fn end_well(&mut self) {
        self.report.refused = self.report.refused.saturating_add(self.peer_refused);
        self.report.deferred = self.report.deferred.saturating_add(self.peer_deferred);
        self.judge_healing();
        match self.reasons.is_empty() {
            true => self.end_complete(),
            false => self.end(End::Partial(self.reasons)),
        }
    }

    /// Ends the session early and tells the peer why, unless it knows.
    pub(crate) fn fail(&mut self, reason: AbortReason) {
        self.outputs.clear();
        let abort = match &reason {
            AbortReason::Closed | AbortReason::Peer(_) => None,
            AbortReason::Version { .. } => Some(Abort::Version(self.options.versions)),
            reason => Some(Abort::Reason(peer_reason(reason))),
        };
        if let Some(abort) = abort {
            let mut frame = frame::begin();
            Message::Abort(abort).encode(&mut frame);
            frame::set_last(&mut frame);
            self.send(frame);
        }
        self.end(End::Aborted(reason));
    }

    /// Ends the session.
    pub(crate) fn end(&mut self, end: End) {
        let mut report = std::mem::take(&mut self.report);
        report.legs = self.leg;
        report.metadata_bytes = report.metadata_bytes.saturating_sub(report.value_bytes);
        self.outputs.push_back(Output::Done(Box::new(Outcome { end, report })));
        self.state = State::Ended;
        self.waiting = None;
        self.frame = None;
        self.spans.clear();
        (self.sent, self.draft) = (Table::default(), Table::default());
        (self.backlog, self.aside) = (Backlog::default(), Backlog::default());
        self.sends = Sends::default();
    }
}

/// What the peer is told of a reason.
fn peer_reason(reason: &AbortReason) -> PeerReason {
    match reason {
        AbortReason::OtherSet => PeerReason::OtherSet,
        AbortReason::OtherHashKey => PeerReason::OtherHashKey,
        AbortReason::SameNode => PeerReason::SameNode,
        AbortReason::Malformed(_) => PeerReason::Malformed,
        AbortReason::Limit(_) => PeerReason::Limit,
        AbortReason::Timeout => PeerReason::Timeout,
        AbortReason::Replica(error) => match error.kind {
            ReplicaErrorKind::Poisoned => PeerReason::Poisoned,
            ReplicaErrorKind::Unknown => PeerReason::Unknown,
            ReplicaErrorKind::Denied => PeerReason::Denied,
            ReplicaErrorKind::Storage | ReplicaErrorKind::Closed => PeerReason::Replica,
        },
        AbortReason::Inconsistent(_) => PeerReason::Replica,
        AbortReason::Protocol(_)
        | AbortReason::Version { .. }
        | AbortReason::Closed
        | AbortReason::Peer(_) => PeerReason::Protocol,
    }
}
