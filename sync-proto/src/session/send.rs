//! Entries on their way out: by key, whole ranges, long values in parts. What a dry run makes of them is in `weigh`.
//!
//! Easy to get wrong: at most one chunk is read ahead of what the driver has taken, so a stream of any length costs the
//! same memory. A range is announced with its number of entries before it is streamed.

use std::collections::{BTreeSet, VecDeque};

use super::finish::Closing;
use super::machine::{Session, State, Waiting};
use super::report::{Found, Reason};
use super::weigh::Weighing;
use crate::error::AbortReason;
use crate::limits::{BATCH_COUNT_MAX, CHUNK_LEN, ELEMENT_OVERHEAD_LEN, KEYS_LEN_MAX, VALUE_TRY_COUNT_MAX};
use crate::options::Mode;
use crate::replica::{Fetched, ReadAnswer, ReadLimit, ReadRequest};
use crate::types::{Entry, KeyRange, Kind};
use crate::wire::entry::ValueBegin;
use crate::wire::message::Message;

/// What is to be sent in this side's flight.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    keys: BTreeSet<Vec<u8>>,
    ranges: VecDeque<KeyRange>,
    /// Bytes of the two above.
    queued_len: usize,
    /// What a dry run does with both.
    pub(crate) weighing: Weighing,
    /// What is left of the range that is being streamed.
    rest: Option<KeyRange>,
    /// Read and not yet packed.
    fetched: VecDeque<Fetched>,
    value: Option<LongValue>,
    /// How often the long value of this key changed while it was sent.
    retried: Option<(Vec<u8>, u32)>,
}

/// A long value that is being sent.
#[derive(Debug)]
struct LongValue {
    entry: Entry,
    value_len: u64,
    offset: u64,
    /// Whether it heals: then no other version of its key can take its place.
    heals: bool,
}

/// What sending waits for.
#[derive(Debug)]
pub(crate) enum Sending {
    Keys(Vec<Vec<u8>>),
    /// The sum of a range that is to be announced.
    Announce(KeyRange),
    /// The heads of what a dry run would send, and whether the peer has older versions.
    Heads {
        range: KeyRange,
        newer: bool,
    },
    Range(KeyRange),
    Value,
}

impl Sends {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty() && self.weighing.is_empty()
    }

    /// Whether a long value is being sent.
    pub(crate) fn is_sending_value(&self) -> bool {
        self.value.is_some()
    }

    /// Bytes held, the chunk that is being sent apart.
    pub(crate) fn memory_len(&self) -> usize {
        self.queued_len + self.weighing.memory_len()
    }

    fn push_key(&mut self, key: Vec<u8>) {
        let key_len = key.len() + ELEMENT_OVERHEAD_LEN;
        if self.keys.insert(key) {
            self.queued_len += key_len;
        }
    }

    /// The next keys to read, in order.
    fn pop_keys(&mut self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut keys_len = 0;
        while keys.len() < BATCH_COUNT_MAX && keys_len < KEYS_LEN_MAX {
            let Some(key) = self.keys.pop_first() else { break };
            self.queued_len -= key.len() + ELEMENT_OVERHEAD_LEN;
            keys_len += key.len();
            keys.push(key);
        }
        keys
    }
}

fn range_len(range: &KeyRange) -> usize {
    size_of::<KeyRange>() + range.start.len() + range.end.as_ref().map_or(0, Vec::len) + ELEMENT_OVERHEAD_LEN
}

const BATCH: ReadLimit = ReadLimit { count: BATCH_COUNT_MAX as u32, bytes: CHUNK_LEN as u32 };

impl Session {
    /// Sends these entries in this side's flight, or what the mode makes of that. `newer`: the peer has older versions.
    pub(crate) fn give(&mut self, keys: Vec<Vec<u8>>, newer: bool) {
        if keys.is_empty() {
            return;
        }
        if self.terms.mode == Mode::DryRun {
            self.weigh_keys(keys, newer);
        } else if self.terms.may_give {
            keys.into_iter().for_each(|key| self.sends.push_key(key));
        } else {
            self.withhold_from_peer();
        }
    }

    /// Sends all entries of a range in this side's flight, for the peer holds nothing there.
    pub(crate) fn stream(&mut self, range: KeyRange) {
        if self.terms.may_give || self.terms.mode == Mode::DryRun {
            self.sends.queued_len += range_len(&range);
            self.sends.ranges.push_back(range);
        } else {
            self.withhold_from_peer();
        }
    }

    /// Sends the next part of what is to be sent, or goes on to the end of the flight.
    pub(crate) fn send_entries(&mut self) {
        if let Some(frame) = self.outbox.pop_full() {
            self.send(frame);
        } else if self.sends.value.is_some() {
            self.ask_value_part();
        } else if !self.sends.fetched.is_empty() {
            self.pack();
        } else if let Some(range) = self.sends.rest.take() {
            let request = ReadRequest::EntriesIn { range: range.clone(), limit: BATCH };
            self.ask(request, Waiting::Sending(Sending::Range(range)));
        } else if !self.sends.keys.is_empty() {
            let keys = self.sends.pop_keys();
            let request = ReadRequest::Entries { keys: keys.clone(), limit: BATCH };
            self.ask(request, Waiting::Sending(Sending::Keys(keys)));
        } else if let Some(range) = self.sends.ranges.pop_front() {
            self.sends.queued_len -= range_len(&range);
            let request = ReadRequest::Sums { range: range.clone(), bounds: Vec::new() };
            self.ask(request, Waiting::Sending(Sending::Announce(range)));
        } else if !self.weigh_next() {
            self.sends = Sends::default();
            self.state = State::Closing(Closing::Begin);
        }
    }

    /// Goes on when the replica has answered.
    pub(crate) fn fetched(&mut self, sending: Sending, answer: ReadAnswer) -> Result<(), AbortReason> {
        match (sending, answer) {
            (Sending::Keys(keys), ReadAnswer::Entries(entries)) => {
                if entries.answered == 0 {
                    return Err(AbortReason::Inconsistent("an answer that answers nothing"));
                }
                self.count_read(entries.entries.len());
                keys.into_iter().skip(entries.answered).for_each(|key| self.sends.push_key(key));
                self.sends.fetched.extend(entries.entries);
            }
            (Sending::Announce(range), ReadAnswer::Sums(sums)) => {
                let count = super::hello::whole(&sums)?.count();
                self.announce(range, count);
            }
            (Sending::Heads { range, newer }, ReadAnswer::Heads(heads)) => {
                self.count_read(heads.heads.len());
                self.weigh_heads(range, newer, heads)?;
            }
            (Sending::Range(range), ReadAnswer::EntriesIn(entries)) => {
                if entries.next.as_ref().is_some_and(|next| *next <= range.start) {
                    return Err(AbortReason::Inconsistent("an answer that answers nothing"));
                }
                self.count_read(entries.entries.len());
                self.sends.fetched.extend(entries.entries);
                if let Some(start) = entries.next {
                    self.sends.rest = Some(KeyRange { start, end: range.end });
                }
            }
            (Sending::Value, ReadAnswer::Value(bytes)) => self.pack_value_part(bytes),
            _ => return Err(AbortReason::Inconsistent("an answer to another question")),
        }
        Ok(())
    }

    pub(crate) fn count_read(&mut self, count: usize) {
        self.report.entries_read = self.report.entries_read.saturating_add(count as u64);
    }

    fn announce(&mut self, range: KeyRange, count: u64) {
        self.report.add(Found { only_mine: count, ..Found::default() }, self.initiates());
        self.settled = self.settled.saturating_add(count);
        self.outbox.push(&Message::Stream(count));
        match self.terms.mode {
            Mode::DryRun => self.weigh_range(range, count),
            _ => self.sends.rest = Some(range),
        }
    }

    /// Packs what was read into one message: a batch, or the beginning of a long value.
    fn pack(&mut self) {
        let mut batch = Vec::new();
        while let Some(fetched) = self.sends.fetched.pop_front() {
            match fetched {
                Fetched::Whole(entry) if entry.value.len() as u64 > self.terms.value_len_max => {
                    self.reasons.insert(Reason::Unsent);
                }
                Fetched::Whole(entry) if entry.kind == Kind::Tombstone && !self.sends_delete() => {}
                Fetched::Whole(entry) => batch.push(entry),
                Fetched::Large { value_len, .. } if value_len > self.terms.value_len_max => {
                    self.reasons.insert(Reason::Unsent);
                }
                Fetched::Lost(_) => self.reasons.insert(Reason::Unsent),
                Fetched::Large { entry, value_len } if batch.is_empty() => {
                    let begin = ValueBegin { entry, value_len };
                    self.outbox.push(&Message::ValueBegin(begin.clone()));
                    self.sends.value =
                        Some(LongValue { entry: begin.entry, value_len, offset: 0, heals: false });
                    return;
                }
                large @ Fetched::Large { .. } => {
                    self.sends.fetched.push_front(large);
                    break;
                }
            }
        }
        if !batch.is_empty() {
            self.send_batch(batch);
        }
    }

    /// Packs entries into one message.
    pub(crate) fn send_batch(&mut self, batch: Vec<Entry>) {
        let value_len = batch.iter().map(|entry| entry.value.len() as u64).sum::<u64>();
        self.report.entries_sent += batch.len() as u64;
        self.report.value_bytes += value_len;
        let before = self.outbox.payload_len();
        self.outbox.push(&Message::Entries(batch));
        let message_len = (self.outbox.payload_len() - before) as u64;
        self.report.entry_bytes += message_len.saturating_sub(value_len);
    }

    /// Sends a long value that heals, which was begun.
    pub(crate) fn send_healing_value(&mut self, entry: Entry, value_len: u64) {
        self.sends.value = Some(LongValue { entry, value_len, offset: 0, heals: true });
    }

    pub(crate) fn ask_value_part(&mut self) {
        let Some(value) = &self.sends.value else { return };
        let request = ReadRequest::Value {
            key: value.entry.key.clone(),
            stamp: value.entry.stamp,
            offset: value.offset,
            len: CHUNK_LEN as u32,
        };
        self.ask(request, Waiting::Sending(Sending::Value));
    }

    fn pack_value_part(&mut self, bytes: Option<Vec<u8>>) {
        let Some(mut value) = self.sends.value.take() else { return };
        let left = value.value_len - value.offset;
        match bytes {
            Some(bytes) if !bytes.is_empty() && bytes.len() as u64 <= left => {
                value.offset += bytes.len() as u64;
                self.report.value_bytes += bytes.len() as u64;
                self.outbox.push(&Message::ValuePart(bytes));
                if value.offset < value.value_len {
                    self.sends.value = Some(value);
                } else {
                    self.report.entries_sent += 1;
                }
            }
            // The key has another version by now, which must be sent in its place.
            _ => {
                self.outbox.push(&Message::ValueAbandon);
                if value.heals {
                    return;
                }
                let tries = match self.sends.retried.take() {
                    Some((key, tries)) if key == value.entry.key => tries + 1,
                    _ => 1,
                };
                if tries < VALUE_TRY_COUNT_MAX {
                    self.sends.retried = Some((value.entry.key.clone(), tries));
                    self.sends.push_key(value.entry.key);
                } else {
                    self.reasons.insert(Reason::Unsent);
                }
            }
        }
    }
}
