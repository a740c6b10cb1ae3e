//! The walk: the peer's pieces of a range are compared with this side's own, and every part that differs is answered by
//! a finer cut, by a list, or, where one side holds nothing, by the entries themselves.
//!
//! Easy to get wrong: every answer must make progress. A cut has at least two pieces; where the ids of the peer's fences
//! could not be found at all, the answer names its bounds in full; and a range that cannot be cut is listed. What a liar
//! makes of that ends at `DEPTH_MAX`.

use super::align::{self, Align, Bound, Group};
use super::backlog::Aside;
use super::keys::KeyList;
use super::list::Reading;
use super::machine::{Role, Session, State, Waiting};
use super::report::Reason;
use super::table::{Body, Item};
use crate::error::AbortReason;
use crate::limits::{
    BACKLOG_LEN_MAX, CUT_KEYS_LEN_MAX, DEPTH_MAX, ELEMENT_OVERHEAD_LEN, FRAME_LEN_MAX, ITEM_COUNT_MAX,
    KEYS_LEN_MAX, LIST_COUNT_MAX, PIECE_COUNT_MAX, RESTART_COUNT_MAX, TABLE_LEN_MAX,
};
use crate::options::Mode;
use crate::replica::{Cut, Piece, ReadAnswer, ReadLimit, ReadRequest};
use crate::types::{KeyRange, RangeSum};
use crate::wire::item::{Children, Later, List, Pieces, Scope, Split};
use crate::wire::message::Message;

/// How many of this side's fences are read at a time when the peer's bounds are looked for among them.
const ALIGN_LIMIT: ReadLimit = ReadLimit { count: 1024, bytes: KEYS_LEN_MAX as u32 };

/// A range that differs and is to be answered.
#[derive(Debug)]
pub(crate) struct Span {
    /// How the answer names the range.
    pub(crate) scope: Scope,
    /// The range in this side's keys.
    pub(crate) range: KeyRange,
    /// What this side holds in it.
    pub(crate) sum: RangeSum,
    /// Whether the peer is known to hold nothing in it.
    pub(crate) peer_empty: bool,
    /// Whether a cut must name its bounds in full.
    pub(crate) explicit: bool,
    pub(crate) depth: u32,
}

impl Span {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        size_of::<Span>()
            + self.range.start.len()
            + self.range.end.as_ref().map_or(0, Vec::len)
            + ELEMENT_OVERHEAD_LEN
    }
}

/// What the walk waits for.
#[derive(Debug)]
pub(crate) enum Walking {
    /// This side's fences, to find the peer's bounds among them.
    Align {
        item: u32,
        children: Children,
        align: Align,
        range: KeyRange,
        depth: u32,
    },
    /// This side's sums between the peer's explicit bounds; `positions` are those of the bounds within the range.
    AlignSums {
        item: u32,
        hashes: Vec<u64>,
        positions: Vec<(usize, Vec<u8>)>,
        range: KeyRange,
        depth: u32,
    },
    /// How this side cuts a range that differs: at fences, or where there are none by counting.
    Cut(Span),
    Split(Span),
    /// The sum of a range that was put aside.
    Reopen(Aside),
    /// Heads for a list.
    List(Reading),
}

impl Session {
    /// Goes on when the replica has answered.
    pub(crate) fn walk(&mut self, walking: Walking, answer: ReadAnswer) -> Result<(), AbortReason> {
        match (walking, answer) {
            (Walking::Align { item, children, mut align, range, depth }, ReadAnswer::Children(own)) => {
                align.feed(own.pieces, &self.heard_salt);
                match align.last_start().filter(|start| own.more && **start > *range.start) {
                    Some(start) => {
                        let rest = KeyRange { start: start.to_vec(), end: range.end.clone() };
                        let cut = Cut::Level(children.cut);
                        let request = ReadRequest::Children { range: rest, cut, limit: ALIGN_LIMIT };
                        let walking = Walking::Align { item, children, align, range, depth };
                        self.ask(request, Waiting::Walking(walking));
                    }
                    None => {
                        let (bounds, total) = align.finish();
                        let joined_max = u64::from(self.options.limits.list_count);
                        self.compare(item, &range, total, bounds, &children.hashes, depth, joined_max);
                    }
                }
            }
            (Walking::AlignSums { item, hashes, positions, range, depth }, ReadAnswer::Sums(sums)) => {
                if sums.len() != positions.len() + 1 {
                    return Err(AbortReason::Inconsistent("other sums than asked for"));
                }
                let mut below = RangeSum::ZERO;
                let mut bounds = Vec::with_capacity(positions.len());
                for ((position, key), sum) in positions.into_iter().zip(&sums) {
                    below += *sum;
                    bounds.push(Bound { position, key, below });
                }
                let total = below + sums.last().copied().unwrap_or_default();
                // Bounds come in full where a range was too long to list, so its parts are not joined again.
                self.compare(item, &range, total, bounds, &hashes, depth, 0);
            }
            (Walking::Cut(span), ReadAnswer::Children(own)) => match own.pieces.len() {
                0 => return Err(AbortReason::Inconsistent("a range without pieces")),
                1 => {
                    let pieces = self.options.limits.fan_out.max(2);
                    let request = ReadRequest::Split { range: span.range.clone(), pieces };
                    self.ask(request, Waiting::Walking(Walking::Split(span)));
                }
                _ if span.explicit => self.say_split(span, own.pieces),
                _ => self.say_children(span, own.cut, own.pieces),
            },
            (Walking::Split(span), ReadAnswer::Split(pieces)) => {
                if pieces.len() < 2 {
                    return Err(AbortReason::Inconsistent("many entries that cannot be cut"));
                }
                self.say_split(span, pieces);
            }
            (Walking::Reopen(aside), ReadAnswer::Sums(sums)) => {
                let sum = super::hello::whole(&sums)?;
                let Aside { range, depth, .. } = aside;
                let scope = Scope::Keys(range.clone());
                self.answer(Span { scope, range, sum, peer_empty: false, explicit: false, depth });
            }
            (Walking::List(reading), ReadAnswer::Heads(heads)) => self.heads_read(reading, heads)?,
            _ => return Err(AbortReason::Inconsistent("an answer to another question")),
        }
        Ok(())
    }

    /// Takes an item, or one of the messages that travel among items.
    pub(crate) fn on_item(&mut self, message: Message, len: usize) -> Result<(), AbortReason> {
        self.heard.items_len += len;
        if self.heard.items_len > 2 * FRAME_LEN_MAX || self.heard.items as usize > 2 * ITEM_COUNT_MAX {
            return Err(AbortReason::Limit("items in one flight"));
        }
        if self.skips_items {
            return Ok(());
        }
        if !matches!(message, Message::Later(_)) {
            self.heard.moves += 1;
        }
        match message {
            Message::Children(children) => self.on_children(children),
            Message::Split(split) => self.on_split(split),
            Message::List(list) => self.on_list(list),
            Message::FullList(list) => self.on_full_list(list),
            Message::Unmatched(unmatched) => self.on_unmatched(unmatched),
            Message::Settle(settle) => self.on_settle(settle),
            Message::Later(later) => self.on_later(&later),
            Message::Restart => self.on_restart(),
            _ => Err(AbortReason::Protocol("no item")),
        }
    }

    fn on_children(&mut self, children: Children) -> Result<(), AbortReason> {
        let (item, range, depth) = self.enter(&children.scope)?;
        let piece_count = children.hashes.len();
        if !self.has_room() {
            self.put_off(item, piece_count, range, depth);
            return Ok(());
        }
        let align = Align::new(&children.ids);
        let cut = Cut::Level(children.cut);
        let request = ReadRequest::Children { range: range.clone(), cut, limit: ALIGN_LIMIT };
        self.ask(request, Waiting::Walking(Walking::Align { item, children, align, range, depth }));
        Ok(())
    }

    fn on_split(&mut self, split: Split) -> Result<(), AbortReason> {
        let (item, range, depth) = self.enter(&split.scope)?;
        if !self.has_room() {
            self.put_off(item, split.hashes.len(), range, depth);
            return Ok(());
        }
        // A bound beyond this side's range (its idea of the range may differ by a mistaken fence) cuts nothing.
        let positions: Vec<(usize, Vec<u8>)> = (1..)
            .zip(split.bounds)
            .filter(|(_, bound)| *bound > range.start && range.contains(bound))
            .collect();
        let bounds = positions.iter().map(|(_, bound)| bound.clone()).collect();
        let request = ReadRequest::Sums { range: range.clone(), bounds };
        let walking = Walking::AlignSums { item, hashes: split.hashes, positions, range, depth };
        self.ask(request, Waiting::Walking(walking));
        Ok(())
    }

    fn compare(
        &mut self,
        item: u32,
        range: &KeyRange,
        total: RangeSum,
        bounds: Vec<Bound>,
        hashes: &[u64],
        depth: u32,
        joined_max: u64,
    ) {
        let (groups, settled) = align::compare(range, total, bounds, hashes, &self.heard_salt, joined_max);
        self.settled = self.settled.saturating_add(settled);
        let piece_count = hashes.len();
        self.spans.extend(groups.into_iter().map(|group| {
            let Group { lo, hi, range, sum, peer_empty } = group;
            let scope = Scope::Pieces(Pieces { item, lo: lo as u32, hi: hi as u32 });
            // Nothing of the peer's cut was of use: ids will not help the next time either.
            let explicit = hi - lo == piece_count;
            Span { scope, range, sum, peer_empty, explicit, depth }
        }));
    }

    /// Answers a range that differs.
    pub(crate) fn answer(&mut self, span: Span) {
        if !self.has_room() {
            let Span { scope, range, depth, .. } = span;
            match scope {
                Scope::Pieces(pieces) => self.put_off_pieces(pieces, Aside::new(range, depth)),
                Scope::Keys(_) => self.aside.push(Aside::new(range, depth)),
            }
            return;
        }
        let dry = self.terms.mode == Mode::DryRun;
        let count = span.sum.count();
        if count == 0 {
            if span.peer_empty {
                return;
            }
            if self.terms.may_take || dry {
                self.say_empty_list(span);
            } else {
                self.withhold_from_self();
            }
        } else if span.peer_empty {
            self.stream(span.range);
        } else if count <= u64::from(self.options.limits.list_count) {
            self.ask_list(span, 0);
        } else {
            self.ask_cut(span);
        }
    }

    pub(crate) fn ask_cut(&mut self, span: Span) {
        let count = self.options.limits.fan_out.saturating_mul(4).clamp(2, PIECE_COUNT_MAX as u32);
        let cut = Cut::Pieces(self.options.limits.fan_out.max(2));
        let limit = ReadLimit { count, bytes: CUT_KEYS_LEN_MAX as u32 };
        let request = ReadRequest::Children { range: span.range.clone(), cut, limit };
        self.ask(request, Waiting::Walking(Walking::Cut(span)));
    }

    fn say_children(&mut self, span: Span, cut: u8, pieces: Vec<Piece>) {
        let ids = pieces.iter().skip(1).map(|piece| self.spoken_salt.key(&piece.start)).collect();
        let hashes = pieces.iter().map(|piece| self.spoken_salt.range(&piece.sum)).collect();
        self.outbox.push(&Message::Children(Children { scope: span.scope, cut, ids, hashes }));
        let starts: KeyList = pieces.iter().map(|piece| &piece.start).collect();
        self.draft.push(Item::pieces(starts, span.range.end, span.depth));
    }

    fn say_split(&mut self, span: Span, pieces: Vec<Piece>) {
        let pieces = fewer(pieces);
        let bounds = pieces.iter().skip(1).map(|piece| piece.start.clone()).collect();
        let hashes = pieces.iter().map(|piece| self.spoken_salt.range(&piece.sum)).collect();
        self.outbox.push(&Message::Split(Split { scope: span.scope, bounds, hashes }));
        let starts: KeyList = pieces.iter().map(|piece| &piece.start).collect();
        self.draft.push(Item::pieces(starts, span.range.end, span.depth));
    }

    pub(crate) fn say_empty_list(&mut self, span: Span) {
        self.outbox.push(&Message::List(List { scope: span.scope, fingerprints: Vec::new() }));
        self.draft.push(Item::whole(&span.range, span.depth, Body::EmptyList));
    }

    /// The range in this side's keys that an item of the peer speaks of, the item's number, and how deep it is.
    /// Checks that the item may speak of it: it exists, it was not spoken of, and it is not too deep.
    pub(crate) fn enter(&mut self, scope: &Scope) -> Result<(u32, KeyRange, u32), AbortReason> {
        let number = self.heard.items;
        self.heard.items += 1;
        let (range, depth) = match scope {
            Scope::Pieces(pieces) => {
                self.refer(*pieces)?;
                let item = self.sent.get(pieces.item).ok_or(AbortReason::Protocol("no such item"))?;
                let range =
                    item.range(pieces.lo, pieces.hi).ok_or(AbortReason::Protocol("no such pieces"))?;
                let depth = item.depth + 1;
                self.sent.answer(pieces.item);
                (range, depth)
            }
            Scope::Keys(range) => {
                let follows = match &self.heard.reopened_to {
                    None => true,
                    Some(end) => end.as_ref().is_some_and(|end| *end <= range.start),
                };
                if self.role == Role::Initiator || !self.terms.scope.covers(range) || !follows {
                    return Err(AbortReason::Protocol("a range out of place"));
                }
                self.heard.reopened_to = Some(range.end.clone());
                (range.clone(), 0)
            }
        };
        if depth > DEPTH_MAX {
            return Err(AbortReason::Limit("depth"));
        }
        Ok((number, range, depth))
    }

    /// Checks that the peer's references to this side's items rise.
    pub(crate) fn refer(&mut self, pieces: Pieces) -> Result<(), AbortReason> {
        if (pieces.item, pieces.lo) < self.heard.next_piece {
            return Err(AbortReason::Protocol("a second answer to one item"));
        }
        self.heard.next_piece = (pieces.item, pieces.hi);
        Ok(())
    }

    /// Whether this side's flight has room for another range. A flight always has room for one.
    pub(crate) fn has_room(&self) -> bool {
        let held = self.draft.memory_len() + self.sends.memory_len();
        // A flight may have to be put aside whole, and so may the next one, deeper down: each leaves half of the room.
        let aside = self.backlog.memory_len() + self.aside.memory_len();
        let fits = held < TABLE_LEN_MAX
            && self.draft.aside_len() < BACKLOG_LEN_MAX.saturating_sub(aside) / 2
            && self.draft.len() < ITEM_COUNT_MAX
            && self.outbox.payload_len() < self.terms.window_len.min(FRAME_LEN_MAX / 2);
        fits || (self.draft.len() == 0 && self.sends.is_empty())
    }

    /// Puts all pieces of an item of the peer off.
    pub(crate) fn put_off(&mut self, item: u32, piece_count: usize, range: KeyRange, depth: u32) {
        let pieces = Pieces { item, lo: 0, hi: piece_count as u32 };
        self.put_off_pieces(pieces, Aside::new(range, depth));
    }

    fn put_off_pieces(&mut self, pieces: Pieces, aside: Aside) {
        let backlog = (self.role == Role::Initiator).then_some(&mut self.aside);
        self.deferred.push(pieces, aside, backlog);
    }

    /// The peer does not answer some of this side's pieces now.
    fn on_later(&mut self, later: &Later) -> Result<(), AbortReason> {
        let mut hash = Default::default();
        for span in &later.spans {
            let item = self.sent.get(span.item).ok_or(AbortReason::Protocol("no such item"))?;
            let range = item.range(span.lo, span.hi).ok_or(AbortReason::Protocol("no such pieces"))?;
            super::backlog::add_range(&mut hash, &range);
            let depth = item.depth;
            self.sent.answer(span.item);
            if self.role == Role::Initiator {
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
    fn on_restart(&mut self) -> Result<(), AbortReason> {
        self.restart_count += 1;
        if self.role == Role::Responder || self.restart_count > RESTART_COUNT_MAX {
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
        }
        let Some(aside) = self.backlog.pop() else { return };
        self.reopened_to = Some(aside.range.end.clone());
        let request = ReadRequest::Sums { range: aside.range.clone(), bounds: Vec::new() };
        self.ask(request, Waiting::Walking(Walking::Reopen(aside)));
    }

    /// Whether nothing is in flight: no range is being walked, and no entry is on its way.
    fn is_idle(&self) -> bool {
        self.draft.len() == 0 && self.sends.is_empty() && !self.expects_more
    }

    /// Says what this flight does not answer.
    pub(crate) fn put_aside(&mut self) {
        let backlog = (self.role == Role::Initiator).then_some(&mut self.aside);
        for later in self.deferred.take(backlog) {
            self.outbox.push(&Message::Later(later));
            self.expects_more = true;
        }
        if std::mem::take(&mut self.asks_restart) {
            self.outbox.push(&Message::Restart);
            self.expects_more = true;
        }
    }

    /// The peer holds what this side may not take.
    pub(crate) fn withhold_from_self(&mut self) {
        if self.own.as_ref().is_some_and(|own| own.read_only) {
            self.reasons.insert(Reason::ReadOnly);
        }
    }

    /// This side holds what the peer may not take.
    pub(crate) fn withhold_from_peer(&mut self) {
        if self.terms.peer_read_only {
            self.reasons.insert(Reason::ReadOnly);
        }
    }

    /// How many heads are worth reading to answer a list of `list_len` entries; beyond, the range is cut.
    pub(crate) fn list_limit(&self, list_len: usize) -> ReadLimit {
        let worth = list_len.saturating_mul(4).saturating_add(self.options.limits.list_count as usize);
        ReadLimit { count: worth.min(LIST_COUNT_MAX) as u32, bytes: KEYS_LEN_MAX as u32 }
    }
}

/// Takes neighbouring pieces together until their keys fit one message; two pieces stay in any case.
fn fewer(mut pieces: Vec<Piece>) -> Vec<Piece> {
    loop {
        let keys_len: usize = pieces.iter().skip(1).map(|piece| piece.start.len()).sum();
        if pieces.len() <= 2 || (keys_len <= CUT_KEYS_LEN_MAX && pieces.len() <= PIECE_COUNT_MAX) {
            return pieces;
        }
        pieces = pieces
            .chunks(2)
            .filter_map(|pair| {
                let start = pair.first()?.start.clone();
                Some(Piece { start, sum: pair.iter().map(|piece| piece.sum).sum() })
            })
            .collect();
    }
}
