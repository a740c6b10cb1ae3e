//! What a session does for the horizon: before anything is compared the sides look at each other's tables of members, and
//! when it is complete each notes what that proves.
//!
//! ```text
//! hellos with equal checksums, nothing to close:  hello -->  <-- reply                         no byte more
//! otherwise:      hello -->  <-- table   table, hello -->  <-- table, reply                    one round trip more
//! ```
//!
//! Easy to get wrong: the responder closes, durably, before it reads anything that it tells; so its root is taken anew after
//! the meeting. And what is proven is settled before the first comparison, not at the end; the initiator has told its root by
//! then, so it says with which table.

use super::hello::Opening;
use super::machine::{Heard, Session, State, Waiting};
use super::report::End;
use crate::error::AbortReason;
use crate::options::Mode;
use crate::replica::{Meeting, Origin, ReadAnswer, ReadRequest};
use crate::wire::hello::{HelloBody, HelloReply, Party};
use crate::wire::message::Message;

/// Where the tables of members are.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// The responder: it has answered a hello by its table, to be sent when the hello's flight has ended.
    pub(crate) answer: Option<Vec<u8>>,
    /// The peer's, once it was heard.
    pub(crate) heard: Option<Vec<u8>>,
    /// What was settled.
    pub(crate) meeting: Option<Meeting>,
}

impl Tables {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        let len = |table: &Option<Vec<u8>>| table.as_ref().map_or(0, Vec::len);
        let met = self.meeting.as_ref().map_or(0, |meeting| meeting.table.len() + meeting.proof.len());
        len(&self.answer) + len(&self.heard) + met
    }
}

/// What waits for the tables.
#[derive(Debug)]
pub(crate) enum Meet {
    /// The responder: its own table, to answer this hello by.
    Table,
    /// The responder: the meeting, and then the hello again.
    Asked(Box<HelloBody>),
    /// The initiator: the meeting with a peer that answered by its table; then it says hello again.
    Again,
    /// The initiator: the meeting, and then the reply.
    Replied(Box<HelloReply>),
    /// Either side: to have noted what is proven.
    Complete,
}

impl Session {
    /// The responder: whether tables have to be looked at before it replies. If so, that has begun.
    pub(crate) fn meets_asked(&mut self, hello: Box<HelloBody>) -> Option<Box<HelloBody>> {
        let own = self.own.as_ref().map_or(0, |own| own.members_checksum);
        if self.tables.meeting.is_some() || own == 0 && hello.party.members_checksum == 0 {
            return Some(hello);
        }
        let is_same = own == hello.party.members_checksum;
        if !is_same && self.tables.heard.is_none() {
            self.ask(ReadRequest::Table, Waiting::Meeting(Meet::Table));
            return None;
        }
        let closes = hello.mode == Mode::Both && hello.filter.is_none();
        let request = self.meet(&hello.party, closes);
        self.ask(request, Waiting::Meeting(Meet::Asked(hello)));
        None
    }

    /// The initiator, as [`Session::meets_asked`].
    pub(crate) fn meets_replied(&mut self, reply: HelloReply) -> Option<HelloReply> {
        let own = self.own.as_ref().map_or(0, |own| own.members_checksum);
        if own == 0 && reply.party.members_checksum == 0 {
            return Some(reply);
        }
        // It has closed already what it wants to be proven.
        let request = self.meet(&reply.party, false);
        self.ask(request, Waiting::Meeting(Meet::Replied(Box::new(reply))));
        None
    }

    fn meet(&mut self, peer: &Party, closes: bool) -> ReadRequest {
        let peer = Origin { node: peer.node, horizon: peer.horizon };
        let as_of = self.own.as_ref().map_or(0, |own| own.members_checksum);
        ReadRequest::Meet { peer, table: self.tables.heard.take(), closes, as_of }
    }

    /// Goes on when the replica has answered.
    pub(crate) fn met(&mut self, meet: Meet, answer: ReadAnswer) -> Result<(), AbortReason> {
        match (meet, answer) {
            (Meet::Table, ReadAnswer::Table(table)) => self.tables.answer = Some(table),
            (Meet::Asked(hello), ReadAnswer::Met(meeting)) => {
                if !meeting.table.is_empty() {
                    // The peer has to know what was closed here, or it proves less than this side does.
                    self.outbox.push(&Message::Table(meeting.table.clone()));
                }
                let horizon = Some(meeting.cut);
                self.tables.meeting = Some(meeting);
                self.ask(ReadRequest::Info { horizon }, Waiting::Opening(Opening::Asked(hello)));
            }
            (Meet::Again, ReadAnswer::Met(meeting)) => {
                if !meeting.table.is_empty() {
                    self.outbox.push(&Message::Table(meeting.table));
                }
                self.ask(ReadRequest::Info { horizon: None }, Waiting::Opening(Opening::Own));
            }
            (Meet::Replied(reply), ReadAnswer::Met(meeting)) => {
                self.tables.meeting = Some(meeting);
                self.take_reply(*reply)?;
            }
            (Meet::Complete, ReadAnswer::Completed) => self.end(End::Complete),
            _ => return Err(AbortReason::Inconsistent("an answer to another question")),
        }
        Ok(())
    }

    pub(crate) fn on_table(&mut self, table: Vec<u8>) -> Result<(), AbortReason> {
        if self.established || self.heard.messages > 1 || self.tables.heard.is_some() {
            return Err(AbortReason::Protocol("a table out of place"));
        }
        self.tables.heard = Some(table);
        Ok(())
    }

    /// The end of a flight that has settled nothing but tables. Whether it was one.
    pub(crate) fn end_of_tables(&mut self) -> bool {
        if self.established {
            return false;
        }
        if let Some(table) = self.tables.answer.take() {
            self.outbox.push(&Message::Table(table));
            let frame = self.outbox.finish();
            self.send(frame);
            // The hello comes once more, and is the first flight again.
            self.state = State::Listening;
        } else if self.initiates() && self.tables.heard.is_some() {
            let peer = Origin { node: 0, horizon: 0 };
            let table = self.tables.heard.take();
            let request = ReadRequest::Meet { peer, table, closes: false, as_of: 0 };
            self.ask(request, Waiting::Meeting(Meet::Again));
            self.state = State::Opening;
            self.leg = 1;
            self.set_salts();
        } else {
            return false;
        }
        self.heard = Heard::default();
        true
    }

    /// Ends a session whose every range is equal or closed, on both sides durably.
    pub(crate) fn end_complete(&mut self) {
        let proof = self.tables.meeting.take().map(|meeting| meeting.proof).unwrap_or_default();
        if proof.is_empty() {
            return self.end(End::Complete);
        }
        let node = self.terms.origin.node;
        self.ask(ReadRequest::Complete { node, proof }, Waiting::Meeting(Meet::Complete));
    }
}
