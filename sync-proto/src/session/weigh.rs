//! A dry run: what a session would send is counted, weighed and named where it would be read and packed otherwise.
//!
//! Easy to get wrong: the figures are those of the sender, who alone knows what it would leave out, so the responder tells its
//! own to the initiator. Whether a side takes anything is not looked at, for a dry run is often one of read-only handles.
//! Names go out as they are found, or one side's memory would decide how many there are.

use std::collections::BTreeMap;

use super::machine::{Session, Waiting};
use super::report::Difference;
use super::send::Sending;
use crate::error::AbortReason;
use crate::limits::{BATCH_COUNT_MAX, ELEMENT_OVERHEAD_LEN, KEYS_LEN_MAX};
use crate::options::Mode;
use crate::replica::{Heads, ReadLimit, ReadRequest};
use crate::types::{KeyRange, Kind, Moves};
use crate::wire::message::Message;

/// What a dry run would send in this side's flight.
#[derive(Debug, Default)]
pub(crate) struct Weighing {
    /// Keys to look at, with whether the peer has an older version.
    keys: BTreeMap<Vec<u8>, bool>,
    /// What is left of a range that is looked at.
    rest: Option<KeyRange>,
    /// Found and not yet told: the figures, and names, with whether the initiator has an older version.
    moves: Moves,
    names: Vec<(bool, Vec<u8>)>,
    /// Bytes of keys and names.
    keys_len: usize,
    names_len: usize,
}

impl Weighing {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.names.is_empty() && self.rest.is_none() && self.moves == Moves::default()
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.keys_len + self.names_len
    }
}

const BATCH: ReadLimit = ReadLimit { count: BATCH_COUNT_MAX as u32, bytes: KEYS_LEN_MAX as u32 };

impl Session {
    /// Counts keys that a session would send.
    pub(crate) fn weigh_keys(&mut self, keys: Vec<Vec<u8>>, newer: bool) {
        for key in keys {
            let key_len = key.len() + ELEMENT_OVERHEAD_LEN;
            if self.sends.weighing.keys.insert(key, newer).is_none() {
                self.sends.weighing.keys_len += key_len;
                self.count_found(1);
            }
        }
    }

    /// Counts the `count` keys of a range that a session would stream.
    pub(crate) fn weigh_range(&mut self, range: KeyRange, count: u64) {
        self.count_found(count);
        if self.reads_heads() {
            self.ask_heads_to_weigh(range, false);
        }
    }

    /// Whether what differs has to be looked at one by one.
    fn reads_heads(&self) -> bool {
        self.terms.weighs || self.terms.names_left > 0
    }

    fn count_found(&mut self, count: u64) {
        let moves = &mut self.sends.weighing.moves;
        moves.unnamed = moves.unnamed.saturating_add(count);
        if !self.terms.weighs {
            moves.entries = moves.entries.saturating_add(count);
        }
    }

    /// Goes on with what is to be weighed or told in this flight. Whether there was anything.
    pub(crate) fn weigh_next(&mut self) -> bool {
        let weighing = &mut self.sends.weighing;
        if weighing.names.len() >= BATCH_COUNT_MAX || weighing.names_len >= KEYS_LEN_MAX {
            self.tell_names();
        } else if let Some(range) = weighing.rest.take() {
            self.ask_heads_to_weigh(range, false);
        } else if let Some((key, newer)) = weighing.keys.pop_first() {
            weighing.keys_len = weighing.keys_len.saturating_sub(key.len() + ELEMENT_OVERHEAD_LEN);
            if self.terms.weighs {
                let end = [key.as_slice(), &[0]].concat();
                self.ask_heads_to_weigh(KeyRange { start: key, end: Some(end) }, newer);
            } else {
                self.name(key, newer);
            }
        } else if !weighing.names.is_empty() {
            self.tell_names();
        } else if weighing.moves != Moves::default() {
            let moves = std::mem::take(&mut weighing.moves);
            match self.initiates() {
                true => self.report.to_right += moves,
                false => self.outbox.push(&Message::Moves(moves)),
            }
        } else {
            return false;
        }
        true
    }

    fn ask_heads_to_weigh(&mut self, range: KeyRange, newer: bool) {
        let request = ReadRequest::Heads { range: range.clone(), limit: BATCH };
        self.ask(request, Waiting::Sending(Sending::Heads { range, newer }));
    }

    /// Weighs what was read, and names it.
    pub(crate) fn weigh_heads(
        &mut self,
        range: KeyRange,
        newer: bool,
        heads: Heads,
    ) -> Result<(), AbortReason> {
        if heads.next.as_ref().is_some_and(|next| *next <= range.start) {
            return Err(AbortReason::Inconsistent("an answer that answers nothing"));
        }
        for head in heads.heads {
            if self.terms.weighs {
                let fits = head.value_len <= self.terms.value_len_max;
                if fits && (head.kind == Kind::Put || self.sends_delete()) {
                    let moves = &mut self.sends.weighing.moves;
                    moves.entries = moves.entries.saturating_add(1);
                    moves.value_bytes = moves.value_bytes.saturating_add(head.value_len);
                }
            }
            self.name(head.key, newer);
        }
        if let Some(start) = heads.next.filter(|_| self.reads_heads()) {
            self.sends.weighing.rest = Some(KeyRange { start, end: range.end });
        }
        Ok(())
    }

    /// Tells the initiator this key, if it still wants to know.
    fn name(&mut self, key: Vec<u8>, newer: bool) {
        let Some(names_left) = self.terms.names_left.checked_sub(1) else { return };
        self.terms.names_left = names_left;
        let is_initiator = self.initiates();
        let weighing = &mut self.sends.weighing;
        weighing.moves.unnamed = weighing.moves.unnamed.saturating_sub(1);
        if is_initiator {
            let difference = if newer { Difference::NewerLeft } else { Difference::OnlyLeft };
            self.report.names.push((difference, key));
        } else {
            weighing.names_len += key.len() + ELEMENT_OVERHEAD_LEN;
            weighing.names.push((newer, key));
        }
    }

    /// Packs names into one message, which holds at most [`BATCH_COUNT_MAX`] of them.
    fn tell_names(&mut self) {
        let weighing = &mut self.sends.weighing;
        let mut keys_len = 0;
        let fits = weighing.names.iter().take(BATCH_COUNT_MAX).take_while(|(_, key)| {
            keys_len += key.len();
            keys_len <= KEYS_LEN_MAX
        });
        let count = fits.count().max(1).min(weighing.names.len());
        let rest = weighing.names.split_off(count);
        let names = std::mem::replace(&mut weighing.names, rest);
        weighing.names_len = weighing.names.iter().map(|(_, key)| key.len() + ELEMENT_OVERHEAD_LEN).sum();
        self.outbox.push(&Message::Names(names));
    }

    pub(crate) fn on_names(&mut self, names: Vec<(bool, Vec<u8>)>) -> Result<(), AbortReason> {
        let wanted = self.options.names_max as usize;
        if !self.is_told_of_moves() || self.report.names.len() + names.len() > 2 * wanted {
            return Err(AbortReason::Protocol("names that nobody asked for"));
        }
        self.heard.moves += 1;
        let named = names
            .into_iter()
            .map(|(newer, key)| (if newer { Difference::NewerRight } else { Difference::OnlyRight }, key));
        self.report.names.extend(named);
        Ok(())
    }

    pub(crate) fn on_moves(&mut self, moves: Moves) -> Result<(), AbortReason> {
        if !self.is_told_of_moves() {
            return Err(AbortReason::Protocol("figures that nobody asked for"));
        }
        self.heard.moves += 1;
        self.report.to_left += moves;
        Ok(())
    }

    fn is_told_of_moves(&self) -> bool {
        self.initiates() && self.terms.mode == Mode::DryRun
    }
}
