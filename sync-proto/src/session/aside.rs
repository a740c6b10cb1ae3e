//! Windows: what fits a flight, what is put aside, and when it is taken up again.
//!
//! Easy to get wrong: the responder keeps nothing of what it puts off, so everything that it does not answer must end up
//! with the initiator, by the same keys. And a flight always has room for one range, or nothing would ever move on.

use super::backlog::{self, Aside};
use super::io::Output;
use super::machine::{Role, Session, State};
use super::walk::Walking;
use crate::error::AbortReason;
use crate::limits::{
    BACKLOG_LEN_MAX, FRAME_LEN_MAX, ITEM_COUNT_MAX, MEMORY_MAX, PASS_LEN_MAX, RESTART_COUNT_MAX,
    TABLE_LEN_MAX,
};
use crate::replica::ReadRequest;
use crate::types::KeyRange;
use crate::wire::item::{Later, Pieces};
use crate::wire::message::Message;

impl Session {
    /// Whether this side's flight has room for another range. A flight always has room for one.
    pub(crate) fn has_room(&self) -> bool {
        let held = self.draft.memory_len() + self.sends.memory_len();
        // A flight may have to be put aside whole, and so may the next one, deeper down: each leaves half of the room.
        let aside = self.backlog.memory_len() + self.aside.memory_len();
        let seen = self.sent.seen_len() + self.draft.seen_len();
        let all = held + self.sent.memory_len() + seen + aside + self.outbox.memory_len();
        let fits = held < TABLE_LEN_MAX
            && all < MEMORY_MAX - FRAME_LEN_MAX - PASS_LEN_MAX
            && self.draft.aside_len() < BACKLOG_LEN_MAX.saturating_sub(aside) / 2
            && self.draft.len() < ITEM_COUNT_MAX
            && self.outbox.payload_len() < self.terms.window_len.min(FRAME_LEN_MAX / 2);
        fits || (self.draft.len() == 0 && self.sends.is_empty())
    }

    /// Puts pieces of an item of the peer off.
    pub(crate) fn put_off(&mut self, pieces: Pieces, range: KeyRange, depth: u32) {
        let aside = Aside::new(range, depth);
        let backlog = self.initiates().then_some(&mut self.aside);
        self.deferred.push(pieces, aside, backlog);
    }

    /// The peer does not answer some of this side's pieces now.
    pub(crate) fn on_later(&mut self, later: &Later) -> Result<(), AbortReason> {
        let mut hash = Default::default();
        for span in &later.spans {
            let item = self.sent.get(span.item).ok_or(AbortReason::Protocol("no such item"))?;
            let range = item.range(span.lo, span.hi).ok_or(AbortReason::Protocol("no such pieces"))?;
            backlog::add_range(&mut hash, &range);
            let depth = item.depth;
            self.sent.answer(span.item);
            if self.initiates() {
                self.aside.push(Aside::new(range, depth));
            }
        }
        if hash.finish() != later.check {
            match self.role {
                Role::Initiator => self.on_restart()?,
                Role::Responder => self.asks_restart = true,
            }
        }
        Ok(())
    }

    /// Begins again from the whole range.
    pub(crate) fn on_restart(&mut self) -> Result<(), AbortReason> {
        self.restart_count += 1;
        if !self.initiates() || self.restart_count > RESTART_COUNT_MAX {
            return Err(AbortReason::Limit("restarts"));
        }
        let range = self.terms.scope.clone();
        self.backlog = Default::default();
        self.aside = Default::default();
        self.aside.push(Aside { range, depth: 0, overlaps: true });
        Ok(())
    }

    /// Takes up a range that was put aside, if there is one and the flight has room.
    pub(crate) fn reopen(&mut self) {
        let follows = self.backlog.first().is_some_and(|first| match &self.reopened_to {
            None => !first.overlaps || self.is_idle(),
            Some(end) => {
                end.as_ref().is_some_and(|end| *end <= first.range.start)
                    && (!first.overlaps || self.reopened_idle)
            }
        });
        if !follows || !self.has_room() {
            self.state = State::PutAside;
            return;
        }
        if self.reopened_to.is_none() {
            self.reopened_idle = self.is_idle();
            // What was repaired between ranges that were joined has to show.
            if self.reopened_idle && self.backlog.first().is_some_and(|first| first.overlaps) {
                self.outputs.push_back(Output::Unpin);
            }
        }
        let Some(aside) = self.backlog.pop() else { return };
        self.reopened_to = Some(aside.range.end.clone());
        let request = ReadRequest::Sums { range: aside.range.clone(), bounds: Vec::new() };
        self.ask_walking(request, Walking::Reopen(aside));
    }

    /// Whether nothing is in flight: no range is being walked, and no entry is on its way.
    fn is_idle(&self) -> bool {
        self.draft.len() == 0 && self.sends.is_empty() && !self.expects_more
    }

    /// Says what this flight does not answer.
    pub(crate) fn put_aside(&mut self) {
        let backlog = self.initiates().then_some(&mut self.aside);
        for later in self.deferred.take(backlog) {
            self.outbox.push(&Message::Later(later));
            self.expects_more = true;
        }
        if std::mem::take(&mut self.asks_restart) {
            self.outbox.push(&Message::Restart);
            self.expects_more = true;
        }
    }
}
