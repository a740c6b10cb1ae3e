//! Small ranges: listing them, answering lists, and the verdict on who sends what.
//!
//! Easy to get wrong: a list is closed by arithmetic from one moment of the lister and one of the answerer, whatever
//! is written meanwhile: the lister's sum less what the answerer lacks must be the answerer's sum less what the list
//! lacks. If it is not, the range is listed once more under another salt, and then in full width.

use std::collections::BTreeSet;

use super::keys::KeyList;
use super::leaf::{self, Mismatch, Verdict};
use super::machine::Session;
use super::narrow::{Choice, Then};
use super::report::Found;
use super::table::{Body, Item, Listing};
use super::walk::{Place, Span, Walking};
use crate::error::AbortReason;
use crate::limits::{DEPTH_MAX, ELEMENT_OVERHEAD_LEN, KEYS_LEN_MAX, LIST_COUNT_MAX};
use crate::options::Mode;
use crate::replica::{Heads, ReadLimit, ReadRequest};
use crate::types::{Fingerprint, Head, KeyRange, RangeSum};
use crate::wire::item::{Extra, FullList, Lacking, List, Listed, Pieces, Scope, Settle, Unmatched};
use crate::wire::message::Message;

/// How often a range is listed by short fingerprints before it is listed in full width.
const SHORT_LIST_COUNT: u8 = 2;

/// What heads are read for.
#[derive(Debug)]
pub(crate) enum Reading {
    /// To list a range for the `attempt`th time, counted from 0.
    List { span: Span, attempt: u8 },
    /// To answer a list of the peer.
    Match { place: Place, fingerprints: Vec<u32> },
    /// To answer a list of the peer in full width.
    MatchFull { place: Place, entries: Vec<Listed> },
    /// To decide: the peer lacks the entries with the hashes `lacking`, and has `extra`.
    Decide { span: Span, lacking: BTreeSet<u128>, extra: Vec<Extra> },
}

impl Reading {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        match self {
            Reading::List { span, .. } => span.memory_len(),
            Reading::Match { place, fingerprints } => {
                place.memory_len() + size_of_val(fingerprints.as_slice())
            }
            Reading::MatchFull { place, entries } => {
                let len = |listed: &Listed| size_of::<Listed>() + listed.key.len() + ELEMENT_OVERHEAD_LEN / 2;
                place.memory_len() + entries.iter().map(len).sum::<usize>()
            }
            Reading::Decide { span, lacking, extra } => {
                let hashes_len = 2 * lacking.len() * size_of::<u128>();
                span.memory_len() + hashes_len + size_of_val(extra.as_slice())
            }
        }
    }
}

impl Session {
    /// Asks for the heads of a range in order to list it.
    pub(crate) fn ask_list(&mut self, span: Span, attempt: u8) {
        let limit = ReadLimit { count: LIST_COUNT_MAX as u32, bytes: KEYS_LEN_MAX as u32 };
        self.ask_heads(limit, span.range.clone(), Reading::List { span, attempt });
    }

    fn ask_heads(&mut self, limit: ReadLimit, range: KeyRange, reading: Reading) {
        self.ask_walking(ReadRequest::Heads { range, limit }, Walking::List(reading));
    }

    /// Goes on when the heads are there.
    pub(crate) fn heads_read(&mut self, reading: Reading, heads: Heads) -> Result<(), AbortReason> {
        let whole = heads.next.is_none();
        self.count_read(heads.heads.len());
        match reading {
            Reading::List { span, .. } | Reading::Decide { span, .. } if !whole => self.ask_split(span),
            Reading::Match { place, .. } | Reading::MatchFull { place, .. } if !whole => {
                self.ask_cut(Span { explicit: true, ..place.into_span(RangeSum::ZERO, 0) });
            }
            Reading::List { span, attempt } => self.say_list(span, attempt, heads),
            Reading::Match { place, fingerprints } => self.answer_list(place, &fingerprints, heads.heads),
            Reading::MatchFull { place, entries } => {
                self.settled = self.settled.saturating_add(heads.heads.len() as u64);
                self.rule(place.item, leaf::decide_full(heads.heads, &entries));
            }
            Reading::Decide { span, lacking, extra } => {
                self.settled = self.settled.saturating_add(heads.heads.len() as u64);
                let mine = heads.heads.into_iter().filter(|head| lacking.contains(&head.hash));
                self.decide(&span, mine.collect(), &extra);
            }
        }
        Ok(())
    }

    fn say_list(&mut self, span: Span, attempt: u8, heads: Heads) {
        if heads.heads.is_empty() {
            self.say_nothing_held(span);
        } else if attempt < SHORT_LIST_COUNT {
            let salt = self.spoken_salt;
            let hashes: Vec<u128> = heads.heads.iter().map(|head| head.hash).collect();
            let fingerprints = hashes.iter().map(|&hash| salt.entry(hash)).collect();
            self.outbox.push(&Message::List(List { scope: span.scope, fingerprints }));
            let fingerprint =
                hashes.iter().fold(Fingerprint::default(), |sum, &hash| sum + Fingerprint(hash));
            let listing = Listing { hashes, fingerprint, attempt };
            self.draft.push(Item::whole(&span.range, span.depth, Body::List(listing)));
        } else {
            let keys: KeyList = heads.heads.iter().map(|head| &head.key).collect();
            let entries = heads
                .heads
                .into_iter()
                .map(|head| Listed { key: head.key, stamp: head.stamp, hash: head.hash })
                .collect();
            self.outbox.push(&Message::FullList(FullList { scope: span.scope, entries }));
            self.draft.push(Item::whole(&span.range, span.depth, Body::FullList(keys)));
        }
    }

    pub(crate) fn on_list(&mut self, list: List) -> Result<(), AbortReason> {
        let place = self.enter(&list.scope)?;
        if !self.has_room() {
            self.put_off(place.pieces(1), place.range, place.depth);
        } else if list.fingerprints.is_empty() {
            self.locate(place, Then::Nothing);
        } else if place.area.is_some() || !matches!(place.choice, Choice::All) {
            return Err(AbortReason::Protocol("a list of parts of a range"));
        } else {
            let limit = ReadLimit { count: LIST_COUNT_MAX as u32, bytes: KEYS_LEN_MAX as u32 };
            let range = place.range.clone();
            self.ask_heads(limit, range, Reading::Match { place, fingerprints: list.fingerprints });
        }
        Ok(())
    }

    pub(crate) fn on_full_list(&mut self, list: FullList) -> Result<(), AbortReason> {
        let place = self.enter(&list.scope)?;
        if self.has_room() {
            let count = self.worth_telling(list.entries.len()) as u32;
            let limit = ReadLimit { count, bytes: KEYS_LEN_MAX as u32 };
            let range = place.range.clone();
            self.ask_heads(limit, range, Reading::MatchFull { place, entries: list.entries });
        } else {
            self.put_off(place.pieces(1), place.range, place.depth);
        }
        Ok(())
    }

    /// Of how many entries it is worth telling to answer a list of `list_len`; where there are more, the range is cut.
    fn worth_telling(&self, list_len: usize) -> usize {
        let worth = list_len.saturating_mul(4).saturating_add(self.options.limits.list_count as usize);
        worth.min(LIST_COUNT_MAX)
    }

    fn answer_list(&mut self, place: Place, fingerprints: &[u32], heads: Vec<Head>) {
        let head_count = heads.len();
        let Mismatch { lacking, extra, common } = leaf::match_list(fingerprints, heads, &self.heard_salt);
        // Where nothing is lacking, what is extra is sent and needs no words.
        if !lacking.is_empty() && head_count > self.worth_telling(fingerprints.len()) {
            return self.ask_cut(Span { explicit: true, ..place.into_span(RangeSum::ZERO, 0) });
        }
        self.push_unmatched(&place, Lacking::Positions(lacking), extra, common);
        self.settled = self.settled.saturating_add(head_count as u64);
    }

    /// Answers a list or a sketch. Where this side lacks nothing of it, the peer lacks the keys of all that is extra, and
    /// nobody needs to ask which versions are newer.
    pub(crate) fn push_unmatched(
        &mut self,
        place: &Place,
        lacking: Lacking,
        mut extra: Vec<Head>,
        common: Fingerprint,
    ) {
        let may_say_more = self.terms.may_give || self.terms.mode == Mode::DryRun;
        let sends_all = lacking.is_empty() && !extra.is_empty() && may_say_more;
        let must_answer = !(sends_all || (lacking.is_empty() && extra.is_empty()));
        if !sends_all {
            // Each clock is told by how far it lies behind the one before.
            extra.sort_unstable_by_key(|head| head.stamp.hlc);
        }
        let told: &[Head] = if sends_all { &[] } else { &extra };
        let keys = told.iter().map(|head| &head.key).collect();
        let salt = self.spoken_salt;
        let key_len = Extra::key_len(told.len());
        let told =
            told.iter().map(|head| Extra { key: salt.key_of_len(&head.key, key_len), hlc: head.stamp.hlc });
        let unmatched = Unmatched { item: place.item, lacking, extra: told.collect(), common: common.0 };
        self.outbox.push(&Message::Unmatched(unmatched));
        let body = Body::Unmatched { extra: keys, must_answer };
        self.draft.push(Item::whole(&place.range, place.depth, body).within(place.area.clone()));
        if sends_all {
            let count = extra.len() as u64;
            self.outbox.push(&Message::Stream(count));
            self.report.add(Found { only_mine: count, ..Found::default() }, self.initiates());
            self.give(extra.into_iter().map(|head| head.key).collect(), false);
        }
    }

    pub(crate) fn on_unmatched(&mut self, unmatched: Unmatched) -> Result<(), AbortReason> {
        let number = self.heard.items;
        self.heard.items += 1;
        self.refer(Pieces { item: unmatched.item, lo: 0, hi: 1 })?;
        let item = self.sent.get(unmatched.item).ok_or(AbortReason::Protocol("no such item"))?;
        let range = item.range(0, 1).ok_or(AbortReason::Protocol("no such item"))?;
        let depth = item.depth + 1;
        if depth > DEPTH_MAX {
            return Err(AbortReason::Limit("depth"));
        }
        let area = item.area.clone();
        let is_settled = unmatched.lacking.is_empty() && unmatched.extra.is_empty();
        if !is_settled && !self.has_room() {
            // What the peer lacks of this would have to be held beside all that is to be sent already.
            self.sent.answer(unmatched.item);
            self.put_off(Pieces::whole(number), range, depth);
            return Ok(());
        }
        let (listing, positions) = match (self.sent.answer(unmatched.item), unmatched.lacking) {
            (Some(Body::List(listing)), Lacking::Positions(positions)) => (listing, positions),
            (Some(Body::Sketch(sketching)), lacking) => {
                let tries = sketching.tries + 1;
                let place = Place { item: number, range, area, choice: Choice::All, depth, tries };
                let common = Fingerprint(unmatched.common);
                return self.ask_lacking(place, sketching, lacking, unmatched.extra, common);
            }
            _ => return Err(AbortReason::Protocol("an answer to no list")),
        };
        let lacking: Option<Vec<u128>> =
            positions.iter().map(|&position| listing.hashes.get(position as usize).copied()).collect();
        let lacking = lacking.ok_or(AbortReason::Protocol("positions beyond the list"))?;
        let lacking_sum = lacking.iter().fold(Fingerprint::default(), |sum, &hash| sum + Fingerprint(hash));
        let scope = Scope::Pieces(Pieces { item: number, lo: 0, hi: 1 });
        let span = Span { explicit: true, ..Span::new(scope, range, RangeSum::ZERO, depth) };
        if listing.fingerprint - lacking_sum != Fingerprint(unmatched.common) {
            self.ask_list(span, listing.attempt + 1);
        } else if lacking.is_empty() {
            self.settled = self.settled.saturating_add(listing.hashes.len() as u64);
            if !unmatched.extra.is_empty() {
                self.decide(&span, Vec::new(), &unmatched.extra);
            }
        } else {
            let limit = ReadLimit { count: LIST_COUNT_MAX as u32, bytes: KEYS_LEN_MAX as u32 };
            let lacking = lacking.into_iter().collect();
            let extra = unmatched.extra;
            self.ask_heads(limit, span.range.clone(), Reading::Decide { span, lacking, extra });
        }
        Ok(())
    }

    fn decide(&mut self, span: &Span, mine: Vec<Head>, extra: &[Extra]) {
        if let Scope::Pieces(pieces) = span.scope {
            self.rule(pieces.item, leaf::decide(mine, extra, &self.heard_salt));
        }
    }

    /// Says the verdict on item `item` of the peer, and prepares to send what follows from it.
    pub(crate) fn rule(&mut self, item: u32, verdict: Verdict) {
        let Verdict { only_mine, newer_mine, unsure, stale, want_missing, want_newer } = verdict;
        let settle = Settle {
            item,
            only_mine: only_mine.len() as u64,
            newer_mine: newer_mine.len() as u64,
            missing: want_missing,
            stale: want_newer,
        };
        let found = Found {
            only_mine: settle.only_mine,
            newer_mine: settle.newer_mine,
            only_theirs: settle.missing.len() as u64,
            newer_theirs: settle.stale.len() as u64,
        };
        self.report.add(found, self.initiates());
        if !(settle.missing.is_empty() && settle.stale.is_empty()) {
            self.expects_more = true;
            if !self.terms.may_take {
                self.withhold_from_self();
            }
        }
        self.outbox.push(&Message::Settle(settle));
        self.give(only_mine, false);
        self.give(newer_mine, true);
        self.give(unsure, true);
        if self.terms.may_give && self.terms.may_take {
            self.uncovered_next.extend(stale);
        }
    }

    pub(crate) fn on_settle(&mut self, settle: Settle) -> Result<(), AbortReason> {
        self.refer(Pieces { item: settle.item, lo: 0, hi: 1 })?;
        let (keys, covers) = match self.sent.answer(settle.item) {
            Some(Body::Unmatched { extra, .. }) => (extra, true),
            Some(Body::FullList(keys)) => (keys, false),
            _ => return Err(AbortReason::Protocol("a verdict on no list")),
        };
        let found = Found {
            only_mine: settle.missing.len() as u64,
            newer_mine: settle.stale.len() as u64,
            only_theirs: settle.only_mine,
            newer_theirs: settle.newer_mine,
        };
        self.report.add(found, self.initiates());
        let mut keys: Vec<Option<Vec<u8>>> = keys.iter().map(|key| Some(key.to_vec())).collect();
        for (positions, newer) in [(&settle.missing, false), (&settle.stale, true)] {
            let wanted = positions.iter().map(|&position| match keys.get_mut(position as usize) {
                Some(key) => Ok(key.take()),
                None => Err(AbortReason::Protocol("positions beyond the list")),
            });
            let wanted: Vec<Option<Vec<u8>>> = wanted.collect::<Result<_, _>>()?;
            self.give(wanted.into_iter().flatten().collect(), newer);
        }
        if covers && self.terms.may_give && self.terms.may_take {
            // The peer means to send newer versions of all of these in this flight.
            self.uncovered.extend(keys.into_iter().flatten());
        }
        Ok(())
    }
}
