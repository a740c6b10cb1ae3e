//! Healing: before anything is compared, each side says what it has lost, and the other one sends all that it has of that.
//!
//! ```text
//! hello, "keys are unknown" -->  <-- reply, lost   lost, healing -->  <-- healing, done   done -->
//! ```
//!
//! Where keys are unknown there are no sums, so a session with such a side heals and does nothing else; it is never complete, but
//! the next one can be. Where only values are lost, their entries count in all sums: the session asks for them beside all else,
//! and they come like any other entry.
//!
//! Each part of a span is of one moment of its sender, at a cut of its own that was read after it, so it is the end of what it
//! names, whatever is written or purged meanwhile; what does not come in this session stays unknown.
//!
//! Easy to get wrong: a part replaces, so it is taken only where this side has asked for it; each side asks for a span once, and
//! asks on in key order, so that no peer can keep the other one reading. And a peer that never held anything has nothing to
//! say about what was there; one with a horizon that holds nothing has: all of it was deleted for good.

use std::collections::VecDeque;

use super::finish::Closing;
use super::io::Output;
use super::machine::{Session, State, Waiting};
use super::report::Reason;
use crate::error::AbortReason;
use crate::healing::{Healing, Lost};
use crate::limits::{
    BATCH_COUNT_MAX, CHUNK_LEN, ELEMENT_OVERHEAD_LEN, HEALING_LEN_MAX, KEYS_LEN_MAX, LOST_COUNT_MAX,
};
use crate::replica::{ApplyRequest, ReadAnswer, ReadLimit, ReadRequest};
use crate::types::{Entry, KeyRange, RangeSum};
use crate::wire::entry::ValueBegin;
use crate::wire::hello::Party;
use crate::wire::message::Message;

const PART: ReadLimit = ReadLimit { count: BATCH_COUNT_MAX as u32, bytes: CHUNK_LEN as u32 };
const LOST: ReadLimit = ReadLimit { count: LOST_COUNT_MAX as u32, bytes: KEYS_LEN_MAX as u32 };

/// What both sides have lost, as far as this session knows.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// What this side said in its hello.
    pub(crate) has_unknown: bool,
    pub(crate) has_lost_values: bool,
    /// Whether either side said so of either.
    is_any: bool,
    /// Whether keys are unknown on either side: nothing is compared.
    pub(crate) heals: bool,
    /// Whether the peer has said that it has lost anything, and asked for none of it yet in this flight.
    may_be_asked: bool,
    peer_has_any: bool,
    /// Where this side may have lost what it has not asked for yet.
    unasked: Option<KeyRange>,
    /// What the peer may send of this side's spans, in order, before its next flight ends; and whether that is what is left of
    /// a span.
    asked: VecDeque<(KeyRange, bool)>,
    /// What is left of what the peer has asked for.
    wanted: VecDeque<Wanted>,
    /// Where the last thing ends that the peer has asked for.
    wanted_to: Option<Option<Vec<u8>>>,
    /// What came and was not handed to the replica yet.
    taken: Option<Healing>,
    taken_len: usize,
    /// What the long value heals that is coming in, and at which cut.
    staged: Option<(KeyRange, u64)>,
    /// What this side and the peer have come to, as they said last.
    said: Option<Reason>,
    heard: Option<Reason>,
}

/// What the peer has lost.
#[derive(Debug)]
pub(crate) struct Wanted {
    range: KeyRange,
    /// Whether it is the value of an entry that the peer has otherwise: the range is that of its key.
    is_value: bool,
}

/// What healing waits for.
#[derive(Debug)]
pub(crate) enum Asking {
    /// What to ask the peer for.
    Lost,
    /// What the peer has asked for.
    Wanted(Wanted),
}

fn range_len(range: &KeyRange) -> usize {
    range.start.len() + range.end.as_ref().map_or(0, Vec::len) + ELEMENT_OVERHEAD_LEN
}

fn entry_len(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.key.len() + entry.meta.len() + entry.value.len() + ELEMENT_OVERHEAD_LEN
}

/// Bytes of the values that come with their entries.
fn values_len(healing: &Healing) -> u64 {
    healing.entries.iter().map(|entry| entry.value.len() as u64).sum()
}

fn longest_len(healing: &Healing) -> u64 {
    let lens = healing.entries.iter().map(|entry| entry.value.len() as u64);
    lens.chain(healing.value_len).max().unwrap_or(0)
}

impl Losses {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.asked
            .iter()
            .map(|(span, _)| span)
            .chain(self.wanted.iter().map(|wanted| &wanted.range))
            .map(range_len)
            .sum::<usize>()
            + self.taken_len
    }

    /// Whether either side has lost anything: then the hellos are not all, although the roots may be equal.
    pub(crate) fn are_any(&self) -> bool {
        self.is_any
    }

    /// What becomes of the long value that came in, or was given up, if it was one that heals.
    pub(crate) fn heal_value(&mut self) -> Option<ApplyRequest> {
        self.staged.take().map(|(range, cut)| ApplyRequest::HealValue { range, cut })
    }

    /// Reasons that a "done" of this side adds to its others.
    pub(crate) fn said(&self) -> u32 {
        self.said.map_or(0, |reason| reason as u32)
    }
}

impl Session {
    /// Asks the replica what of the session's keys it has lost.
    pub(crate) fn ask_lost(&mut self, waiting: Waiting) {
        self.ask(ReadRequest::Lost { range: self.terms.scope.clone(), limit: LOST }, waiting);
    }

    /// Takes in what this side has to say in its hello.
    pub(crate) fn note_lost(&mut self, lost: &Lost) {
        let has_unknown = self.own.as_ref().is_some_and(|own| own.has_unknown);
        // Without a filter the root is the measure: it left out what was unknown when it was taken.
        self.losses.has_unknown = if self.terms.filtered { !lost.spans.is_empty() } else { has_unknown };
        self.losses.has_lost_values = !lost.values.is_empty();
    }

    /// Both sides have said whether they have lost anything. `peer_root`: what the peer holds.
    pub(crate) fn settle_losses(&mut self, peer: &Party, peer_root: &RangeSum) {
        let losses = &mut self.losses;
        let own_has_any = losses.has_unknown || losses.has_lost_values;
        losses.heals = losses.has_unknown || peer.has_unknown;
        losses.peer_has_any = peer.has_unknown || peer.has_lost_values;
        losses.may_be_asked = losses.peer_has_any;
        losses.is_any = own_has_any || losses.peer_has_any;
        if !own_has_any {
            return;
        }
        // Without a horizon nothing is dropped, so it never held anything.
        let is_new = peer.horizon == 0 && peer_root.is_same_set(&RangeSum::ZERO);
        // Whoever takes in nothing may be a view of the past, and has not heard who asks.
        if self.terms.may_take && !peer.read_only && !is_new {
            losses.unasked = Some(self.terms.scope.clone());
        } else if losses.has_unknown {
            self.withhold_from_self();
        }
    }

    /// Moves healing on by one step in this side's flight: what the peer wants, then what this side wants.
    pub(crate) fn heal(&mut self) {
        if let Some(frame) = self.outbox.pop_full() {
            self.send(frame);
        } else if self.sends.is_sending_value() {
            self.ask_value_part();
        } else if let Some(wanted) = self.losses.wanted.pop_front() {
            let cut = self.own.as_ref().map_or(0, |own| own.horizon).max(self.terms.origin.horizon);
            let request = ReadRequest::Healing { range: wanted.range.clone(), cut, limit: PART };
            self.ask(request, Waiting::Healing(Asking::Wanted(wanted)));
        } else if let Some(range) = self.losses.unasked.take() {
            self.ask(ReadRequest::Lost { range, limit: LOST }, Waiting::Healing(Asking::Lost));
        } else {
            self.state = self.after_healing();
        }
    }

    fn after_healing(&self) -> State {
        match self.initiates() {
            _ if self.losses.heals => State::Entries,
            true => State::Reopen,
            false => State::PutAside,
        }
    }

    /// Goes on when the replica has answered.
    pub(crate) fn healed(&mut self, asking: Asking, answer: ReadAnswer) -> Result<(), AbortReason> {
        match (asking, answer) {
            (Asking::Lost, ReadAnswer::Lost { mut lost, next }) => {
                self.state = self.after_healing();
                if !self.losses.heals {
                    // Keys that became unknown since the hello are the next session's.
                    lost.spans.clear();
                }
                if lost.is_empty() {
                    return Ok(());
                }
                let end = self.terms.scope.end.clone();
                self.losses.unasked = next.map(|start| KeyRange { start, end });
                self.losses.asked = lost.spans.iter().cloned().map(|span| (span, false)).collect();
                self.outbox.push(&Message::Lost(lost));
                self.expects_more = true;
            }
            (Asking::Wanted(Wanted { range, is_value }), ReadAnswer::Healing(Some(healing))) => {
                let is_within = range.covers(&healing.range) && !healing.range.is_empty();
                if !is_within || !healing.entries.iter().all(|entry| healing.range.contains(&entry.key)) {
                    return Err(AbortReason::Inconsistent("other keys than asked for"));
                }
                if is_value {
                    self.send_value_back(healing);
                    return Ok(());
                }
                if let Some(start) = healing.range.end.clone() {
                    let rest = KeyRange { start, end: range.end };
                    if !rest.is_empty() {
                        self.losses.wanted.push_front(Wanted { range: rest, is_value });
                    }
                }
                self.say_healing(healing);
            }
            (Asking::Wanted(_), ReadAnswer::Healing(None)) => {}
            _ => return Err(AbortReason::Inconsistent("an answer to another question")),
        }
        Ok(())
    }

    fn say_healing(&mut self, healing: Healing) {
        self.count_read(healing.entries.len());
        if longest_len(&healing) > self.terms.value_len_max {
            // Without it the part would delete it there.
            self.reasons.insert(Reason::Unsent);
            return;
        }
        let long = healing.value_len.zip(healing.entries.first().cloned());
        let (count, value_len) = (healing.entries.len() as u64, values_len(&healing));
        let before = self.outbox.payload_len();
        self.outbox.push(&Message::Heal(healing));
        self.count_healing(count, value_len, self.outbox.payload_len() - before);
        match long {
            Some((value_len, entry)) => self.send_healing_value(entry, value_len),
            None => self.report.entries_sent += count,
        }
    }

    /// Sends an entry whose value the peer has lost, as entries are sent.
    fn send_value_back(&mut self, healing: Healing) {
        self.count_read(healing.entries.len());
        let Healing { mut entries, value_len, .. } = healing;
        match (value_len, entries.pop()) {
            (_, None) => {}
            (None, Some(entry)) if entry.value.len() as u64 <= self.terms.value_len_max => {
                self.send_batch(vec![entry]);
            }
            (Some(value_len), Some(entry)) if value_len <= self.terms.value_len_max => {
                self.outbox.push(&Message::ValueBegin(ValueBegin { entry: entry.clone(), value_len }));
                self.send_healing_value(entry, value_len);
            }
            _ => {}
        }
    }

    fn count_healing(&mut self, count: u64, value_len: u64, message_len: usize) {
        self.report.entries_healed += count;
        self.report.value_bytes += value_len;
        self.report.entry_bytes += (message_len as u64).saturating_sub(value_len);
    }

    /// The peer has lost something.
    pub(crate) fn on_lost(&mut self, lost: Lost) -> Result<(), AbortReason> {
        self.heard.moves += 1;
        if !self.terms.may_give || (!lost.spans.is_empty() && !self.losses.heals) {
            return Err(AbortReason::Protocol("nothing can be lost here"));
        }
        // One such message a flight bounds what is held of them.
        if !std::mem::take(&mut self.losses.may_be_asked) || !self.losses.wanted.is_empty() {
            return Err(AbortReason::Protocol("more lost than was said"));
        }
        let spans = lost.spans.into_iter().map(|range| Wanted { range, is_value: false });
        let of_key = |key: Vec<u8>| KeyRange { end: Some([&key[..], &[0]].concat()), start: key };
        let values = lost.values.into_iter().map(|key| Wanted { range: of_key(key), is_value: true });
        let mut wanted: Vec<Wanted> = spans.chain(values).collect();
        wanted.sort_by(|a, b| a.range.start.cmp(&b.range.start));
        for Wanted { range, .. } in &wanted {
            let follows = match &self.losses.wanted_to {
                None => true,
                Some(last) => last.as_ref().is_some_and(|last| *last <= range.start),
            };
            if !follows || !self.terms.scope.covers(range) {
                return Err(AbortReason::Protocol("lost keys out of place"));
            }
            self.losses.wanted_to = Some(range.end.clone());
        }
        self.losses.wanted.extend(wanted);
        Ok(())
    }

    /// The peer sends all that it has of a part of a span. Parts of one span beside each other are healed at once, as far as fits.
    pub(crate) fn on_heal(&mut self, healing: Healing, message_len: usize) -> Result<(), AbortReason> {
        self.heard.moves += 1;
        let own_horizon = self.own.as_ref().map_or(0, |own| own.horizon);
        if healing.cut < self.terms.origin.horizon.max(own_horizon) {
            return Err(AbortReason::Protocol("a cut below the horizon"));
        }
        if longest_len(&healing) > self.options.limits.value_len_max {
            return Err(AbortReason::Protocol("a value longer than this side takes"));
        }
        let goes_on = self.take_asked(&healing.range)?;
        let count = healing.entries.len() as u64;
        self.count_healing(count, values_len(&healing), message_len);
        if let (Some(value_len), [entry]) = (healing.value_len, &healing.entries[..]) {
            self.stage(entry.clone(), value_len);
            self.losses.staged = Some((healing.range, healing.cut));
            return Ok(());
        }
        self.report.entries_received += count;
        let len: usize = range_len(&healing.range) + healing.entries.iter().map(entry_len).sum::<usize>();
        match &mut self.losses.taken {
            Some(taken)
                if goes_on
                    && taken.range.end.as_ref() == Some(&healing.range.start)
                    && taken.cut == healing.cut
                    && self.losses.taken_len + len <= HEALING_LEN_MAX =>
            {
                taken.range.end = healing.range.end;
                taken.entries.extend(healing.entries);
                self.losses.taken_len += len;
            }
            _ => {
                self.hand_over();
                (self.losses.taken, self.losses.taken_len) = (Some(healing), len);
            }
        }
        Ok(())
    }

    /// Takes `range` off what this side has asked for, with what lies before it: parts rise. Whether another part of the span
    /// came before.
    fn take_asked(&mut self, range: &KeyRange) -> Result<bool, AbortReason> {
        while let Some((mut span, goes_on)) = self.losses.asked.pop_front() {
            if !span.covers(range) {
                continue;
            }
            if let Some(start) = range.end.clone() {
                span.start = start;
                if !span.is_empty() {
                    self.losses.asked.push_front((span, true));
                }
            }
            return Ok(goes_on);
        }
        Err(AbortReason::Protocol("healing that nobody asked for"))
    }

    /// Has the replica take what came. Whether there was anything.
    pub(crate) fn hand_over(&mut self) -> bool {
        let Some(healing) = self.losses.taken.take() else { return false };
        self.losses.taken_len = 0;
        let apply = ApplyRequest::Heal { healing, origin: self.terms.origin };
        self.output_and_wait(Output::Apply(apply), Waiting::Apply);
        true
    }

    /// The peer's flight has ended: what it has not sent by now does not come.
    pub(crate) fn end_of_healing(&mut self) {
        self.losses.asked.clear();
        self.losses.may_be_asked = self.losses.peer_has_any;
    }

    /// Before this side says "done": whether all that it had lost is known again.
    pub(crate) fn ask_left(&mut self) {
        self.ask_lost(Waiting::Closing(Closing::Left));
    }

    /// Goes on when the replica has answered.
    pub(crate) fn note_left(&mut self, lost: &Lost, is_all: bool) {
        let is_healed = lost.spans.is_empty() && is_all;
        self.losses.said = Some(if is_healed { Reason::Healed } else { Reason::Unknown });
    }

    /// Takes the peer's word on how far it is healed out of its reasons, which are returned.
    pub(crate) fn hear_left(&mut self, reasons: u32) -> u32 {
        let told = |reason: Reason| (reasons & reason as u32 != 0).then_some(reason);
        self.losses.heard = told(Reason::Unknown).or(told(Reason::Healed));
        reasons & !(Reason::Healed as u32 | Reason::Unknown as u32)
    }

    /// Adds to the reasons what became of what was lost.
    pub(crate) fn judge_healing(&mut self) {
        if !self.losses.heals {
            return;
        }
        let is_left = [self.losses.said, self.losses.heard].contains(&Some(Reason::Unknown));
        self.reasons.insert(if is_left { Reason::Unknown } else { Reason::Healed });
    }
}
