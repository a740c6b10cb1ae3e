//! The walk: the peer's pieces of a range are compared with this side's own, and every part that differs is answered by
//! a finer cut, by a list, or, where one side holds nothing, by the entries themselves.
//!
//! Easy to get wrong: every answer must make progress. A cut has at least two pieces; where the ids of the peer's fences
//! could not be found at all, the answer names its bounds in full; and a range that cannot be cut is listed. What a liar
//! makes of that ends at `DEPTH_MAX`.

use std::sync::Arc;

use super::align::{self, Align, Bound, Group};
use super::backlog::Aside;
use super::io::Output;
use super::keys::KeyList;
use super::list::Reading;
use super::machine::{Session, Waiting};
use super::narrow::{Choice, Locating};
use super::parts::Parts;
use super::report::Reason;
use super::scan::Scan;
use super::survey::Survey;
use super::table::{Body, Item};
use crate::error::AbortReason;
use crate::limits::{
    CELL_COUNT_MAX, CUT_KEYS_LEN_MAX, DEPTH_MAX, ELEMENT_OVERHEAD_LEN, FRAME_LEN_MAX, ITEM_COUNT_MAX,
    KEYS_LEN_MAX, PIECE_COUNT_MAX, PIECE_TRY_COUNT_MAX, PLAIN_COUNT_MAX, SKETCH_TRY_COUNT_MAX,
    SMALL_COUNT_MAX,
};
use crate::options::Mode;
use crate::replica::{self, Cut, Piece, ReadAnswer, ReadLimit, ReadRequest};
use crate::sketch;
use crate::types::{KeyRange, RangeSum};
use crate::wire::item::{Children, List, Pieces, Scope, Split};
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
    /// The parts of it that differ, if it was narrowed. A cut is of the whole range all the same.
    pub(crate) area: Option<Arc<Parts>>,
    /// The level to cut it at to sketch its pieces, if that is given.
    pub(crate) cut: Option<u8>,
    /// What this side holds in it.
    pub(crate) sum: RangeSum,
    /// Whether the peer is known to hold nothing in it.
    pub(crate) peer_empty: bool,
    /// Whether a cut must name its bounds in full.
    pub(crate) explicit: bool,
    /// About how many entries differ in it, those of either side counted; 0 if nothing is known of it.
    pub(crate) differing: u64,
    /// How often it was sketched, by either side, and not settled.
    pub(crate) tries: u8,
    pub(crate) depth: u32,
}

impl Span {
    /// A range of which nothing else is known.
    pub(crate) fn new(scope: Scope, range: KeyRange, sum: RangeSum, depth: u32) -> Span {
        let (area, cut, differing, tries) = (None, None, 0, 0);
        Span { scope, range, area, cut, sum, peer_empty: false, explicit: false, differing, tries, depth }
    }

    /// What is looked at to settle it.
    pub(crate) fn parts(&self) -> Arc<Parts> {
        self.area.clone().unwrap_or_else(|| Arc::new(Parts::of(&self.range)))
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        size_of::<Span>()
            + range_len(&self.range)
            + self.area.as_ref().map_or(0, |area| area.memory_len())
            + self.scope.memory_len()
            + ELEMENT_OVERHEAD_LEN
    }
}

fn range_len(range: &KeyRange) -> usize {
    range.start.len() + range.end.as_ref().map_or(0, Vec::len)
}

/// The range in this side's keys that an item of the peer speaks of.
#[derive(Debug)]
pub(crate) struct Place {
    /// Number of the peer's item.
    pub(crate) item: u32,
    pub(crate) range: KeyRange,
    /// The parts of the range that the item speaks of, if it was narrowed.
    pub(crate) area: Option<Arc<Parts>>,
    /// Which pieces of that are left.
    pub(crate) choice: Choice,
    /// How often the range was cut to get here.
    pub(crate) depth: u32,
    /// How often it was sketched, by either side, and not settled.
    pub(crate) tries: u8,
}

impl Place {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        let area_len = self.area.as_ref().map_or(0, |area| area.memory_len());
        size_of::<Place>() + range_len(&self.range) + area_len + self.choice.memory_len()
    }

    /// What is looked at to answer it.
    pub(crate) fn parts(&self) -> Arc<Parts> {
        self.area.clone().unwrap_or_else(|| Arc::new(Parts::of(&self.range)))
    }

    /// The first `piece_count` pieces of the item: all of it.
    pub(crate) fn pieces(&self, piece_count: usize) -> Pieces {
        Pieces { item: self.item, lo: 0, hi: piece_count as u32 }
    }

    /// The whole range as one to be answered; of `sum` the counts matter.
    pub(crate) fn into_span(self, sum: RangeSum, differing: u64) -> Span {
        let scope = Scope::Pieces(self.pieces(1));
        let Place { range, area, depth, tries, .. } = self;
        let (cut, peer_empty, explicit) = (None, false, false);
        Span { scope, range, area, cut, sum, peer_empty, explicit, differing, tries, depth }
    }
}

/// How a range that differs is answered.
enum Step {
    List,
    /// With so many cells; without any, all fingerprints.
    Sketch(usize),
    Cut,
}

/// What the walk waits for.
#[derive(Debug)]
pub(crate) enum Walking {
    /// This side's fences, to find the peer's bounds among them.
    Align(Aligning),
    /// This side's sums between the peer's explicit bounds, given with their positions.
    AlignSums { place: Place, hashes: Vec<u64>, bounds: Vec<(usize, Vec<u8>)> },
    /// How this side cuts a range that differs, at fences.
    Cut(Span),
    /// The same where there are none, by counting.
    Split(Span),
    /// The sum of a range that was put aside.
    Reopen(Aside),
    /// Heads for a list.
    List(Reading),
    /// Heads for a sketch.
    Scan(Scan),
    /// Pieces, to sketch them.
    Survey(Survey),
    /// Pieces, to find the keys of those chosen.
    Locate(Locating),
}

/// A comparison that looks for the peer's bounds among this side's fences.
#[derive(Debug)]
pub(crate) struct Aligning {
    place: Place,
    cut: u8,
    differing: u64,
    hashes: Vec<u64>,
    align: Align,
}

impl Walking {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        match self {
            Walking::Align(Aligning { place, hashes, align, .. }) => {
                place.memory_len() + size_of_val(hashes.as_slice()) + align.memory_len()
            }
            Walking::AlignSums { place, hashes, bounds } => {
                let key_len = |(_, key): &(usize, Vec<u8>)| key.len() + ELEMENT_OVERHEAD_LEN;
                let bounds_len: usize = bounds.iter().map(key_len).sum();
                place.memory_len() + size_of_val(hashes.as_slice()) + bounds_len
            }
            Walking::Cut(span) | Walking::Split(span) => span.memory_len(),
            Walking::Reopen(aside) => range_len(&aside.range),
            Walking::List(reading) => reading.memory_len(),
            Walking::Scan(scan) => scan.memory_len(),
            Walking::Survey(survey) => survey.memory_len(),
            Walking::Locate(locating) => locating.memory_len(),
        }
    }
}

impl Session {
    pub(crate) fn ask_walking(&mut self, request: ReadRequest, walking: Walking) {
        self.ask(request, Waiting::Walking(Box::new(walking)));
    }

    /// Goes on when the replica has answered.
    pub(crate) fn walk(&mut self, walking: Walking, answer: ReadAnswer) -> Result<(), AbortReason> {
        match (walking, answer) {
            (Walking::Align(aligning), ReadAnswer::Children(own)) => self.align(aligning, own),
            (Walking::AlignSums { place, hashes, bounds }, ReadAnswer::Sums(sums)) => {
                return self.align_sums(place, &hashes, bounds, &sums);
            }
            (Walking::Cut(span), ReadAnswer::Children(own)) => match own.pieces.len() {
                0 => return Err(AbortReason::Inconsistent("a range without pieces")),
                1 => self.ask_split(span),
                _ if span.explicit => self.say_split(span, own.pieces),
                _ => self.say_children(span, own.level, &own.pieces),
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
                self.answer(Span::new(scope, range, sum, depth));
            }
            (Walking::List(reading), ReadAnswer::Heads(heads)) => self.heads_read(reading, heads)?,
            (Walking::Scan(scan), ReadAnswer::Heads(heads)) => self.scanned(scan, heads)?,
            (Walking::Survey(survey), ReadAnswer::Children(own)) => self.pieces_read(survey, own)?,
            (Walking::Locate(locating), ReadAnswer::Children(own)) => self.group_read(locating, own)?,
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
            Message::Sketched(sketched) => self.on_sketched(sketched),
            Message::SketchedPieces(said) => self.on_sketched_pieces(said),
            Message::FullList(list) => self.on_full_list(list),
            Message::Unmatched(unmatched) => self.on_unmatched(unmatched),
            Message::Settle(settle) => self.on_settle(settle),
            Message::Later(later) => self.on_later(&later),
            Message::Restart => self.on_restart(),
            _ => Err(AbortReason::Protocol("no item")),
        }
    }

    fn on_children(&mut self, children: Children) -> Result<(), AbortReason> {
        let place = Place { choice: Choice::All, ..self.enter(&children.scope)? };
        if !self.has_room() {
            self.put_off(place.pieces(children.hashes.len()), place.range, place.depth);
            return Ok(());
        }
        let align = Align::new(&children.ids);
        let range = place.range.clone();
        let Children { cut, differing, hashes, .. } = children;
        self.ask_fences(range, Aligning { place, cut, differing, hashes, align });
        Ok(())
    }

    fn ask_fences(&mut self, range: KeyRange, aligning: Aligning) {
        let cut = Cut::Level(aligning.cut);
        let request = ReadRequest::Children { range, cut, limit: ALIGN_LIMIT };
        self.ask_walking(request, Walking::Align(aligning));
    }

    fn align(&mut self, mut aligning: Aligning, own: replica::Children) {
        let range = &aligning.place.range;
        aligning.align.feed(own.pieces, &self.heard_salt);
        match aligning.align.last_start().filter(|start| own.more && **start > *range.start) {
            Some(start) => {
                let rest = KeyRange { start: start.to_vec(), end: range.end.clone() };
                self.ask_fences(rest, aligning);
            }
            None => {
                let Aligning { place, differing, hashes, align, .. } = aligning;
                let (bounds, total) = align.finish();
                self.compare(place, total, bounds, &hashes, differing);
            }
        }
    }

    fn on_split(&mut self, split: Split) -> Result<(), AbortReason> {
        let place = Place { choice: Choice::All, ..self.enter(&split.scope)? };
        if !self.has_room() {
            self.put_off(place.pieces(split.hashes.len()), place.range, place.depth);
            return Ok(());
        }
        // A bound beyond this side's range (its idea of the range may differ by a mistaken fence) cuts nothing.
        let range = place.range.clone();
        let within = |bound: &[u8]| *bound > *range.start && range.contains(bound);
        let bounds: Vec<(usize, Vec<u8>)> =
            (1..).zip(split.bounds).filter(|(_, bound)| within(bound)).collect();
        let keys = bounds.iter().map(|(_, bound)| bound.clone()).collect();
        let walking = Walking::AlignSums { place, hashes: split.hashes, bounds };
        self.ask_walking(ReadRequest::Sums { range, bounds: keys }, walking);
        Ok(())
    }

    fn align_sums(
        &mut self,
        place: Place,
        hashes: &[u64],
        bounds: Vec<(usize, Vec<u8>)>,
        sums: &[RangeSum],
    ) -> Result<(), AbortReason> {
        if sums.len() != bounds.len() + 1 {
            return Err(AbortReason::Inconsistent("other sums than asked for"));
        }
        let mut below = RangeSum::ZERO;
        let bounds = bounds.into_iter().zip(sums).map(|((position, key), sum)| {
            below += *sum;
            Bound { position, key, below }
        });
        let bounds = bounds.collect();
        self.compare(place, sums.iter().copied().sum(), bounds, hashes, 0);
        Ok(())
    }

    /// Compares a range with the peer's pieces of it, and sets out to answer what differs.
    fn compare(&mut self, place: Place, total: RangeSum, bounds: Vec<Bound>, hashes: &[u64], differing: u64) {
        let Place { item, range, depth, .. } = place;
        // Where no bound of the peer's was found here, ids will not help the next time either. The cut may have been the
        // answer to a sketch, so no other sketch is tried: that could go on for ever.
        let explicit = bounds.is_empty() && hashes.len() > 1;
        let tries = if explicit { PIECE_TRY_COUNT_MAX + SKETCH_TRY_COUNT_MAX } else { 0 };
        let (groups, settled) = align::compare(&range, total, bounds, hashes, differing, &self.heard_salt);
        let groups = align::join(groups);
        self.settled = self.settled.saturating_add(settled);
        self.spans.extend(groups.into_iter().map(|group| {
            let Group { lo, hi, range, sum, peer_empty, differing } = group;
            let scope = Scope::Pieces(Pieces { item, lo: lo as u32, hi: hi as u32 });
            Span { peer_empty, explicit, differing, tries, ..Span::new(scope, range, sum, depth) }
        }));
    }

    /// Answers a range that differs.
    pub(crate) fn answer(&mut self, span: Span) {
        let limits = &self.options.limits;
        let count = span.sum.count();
        if !self.has_room() {
            let Span { scope, range, depth, .. } = span;
            match scope {
                Scope::Pieces(pieces) => self.put_off(pieces, range, depth),
                Scope::Named(named) => self.put_off(Pieces::whole(named.item), range, depth),
                Scope::Keys(_) => self.aside.push(Aside::new(range, depth)),
            }
        } else if count == 0 {
            if !span.peer_empty {
                self.say_nothing_held(span);
            }
        } else if span.peer_empty {
            self.stream(span.range);
        } else if span.tries < PIECE_TRY_COUNT_MAX && count > SMALL_COUNT_MAX && limits.sketch_count > 0 {
            self.ask_pieces(span);
        } else {
            self.answer_entries(span);
        }
    }

    /// Answers a range that differs by its entries, or by a cut.
    pub(crate) fn answer_entries(&mut self, mut span: Span) {
        span.tries = span.tries.max(PIECE_TRY_COUNT_MAX);
        match self.choose(&span) {
            Step::List => self.ask_list(span, 0),
            Step::Sketch(cell_count) => self.ask_sketch(span, cell_count),
            Step::Cut => self.ask_cut(span),
        }
    }

    /// The cheaper of list and sketch where the range may be read for it, and otherwise a cut.
    fn choose(&self, span: &Span) -> Step {
        let limits = &self.options.limits;
        let count = span.sum.count();
        // Where nothing is known of a range, a few entries are expected to differ.
        let differing = if span.differing == 0 { 4 } else { span.differing };
        // Where so many are expected, there are now and then more.
        let cell_count = sketch::cells_for(differing.saturating_add(differing.isqrt()));
        let is_few = span.area.is_none() && count <= u64::from(limits.list_count);
        let is_last = span.tries >= PIECE_TRY_COUNT_MAX + SKETCH_TRY_COUNT_MAX;
        let may_read = count <= u64::from(limits.sketch_count);
        // Where the two cost about the same, one by one: that never turns out to be too little.
        let sketch_len = sketch::cells_len(cell_count);
        let is_dense = count.saturating_mul(4) <= sketch_len.saturating_add(sketch_len / 4);
        if is_few && (is_dense || is_last || !may_read) {
            Step::List
        } else if is_last || !may_read {
            Step::Cut
        } else if is_dense && count <= PLAIN_COUNT_MAX as u64 {
            Step::Sketch(0)
        } else if !is_dense && cell_count <= CELL_COUNT_MAX {
            Step::Sketch(cell_count)
        } else {
            Step::Cut
        }
    }

    /// Sets out to cut a range: the whole of it, so that names of pieces would be in vain.
    pub(crate) fn ask_cut(&mut self, mut span: Span) {
        if let Scope::Named(named) = &span.scope {
            span.scope = Scope::Pieces(Pieces::whole(named.item));
        }
        let count = self.options.limits.fan_out.saturating_mul(4).clamp(2, PIECE_COUNT_MAX as u32);
        let cut = Cut::Pieces(self.options.limits.fan_out.max(2));
        let limit = ReadLimit { count, bytes: CUT_KEYS_LEN_MAX as u32 };
        let request = ReadRequest::Children { range: span.range.clone(), cut, limit };
        self.ask_walking(request, Walking::Cut(span));
    }

    pub(crate) fn ask_split(&mut self, span: Span) {
        let pieces = self.options.limits.fan_out.max(2);
        let request = ReadRequest::Split { range: span.range.clone(), pieces };
        self.ask_walking(request, Walking::Split(span));
    }

    fn say_children(&mut self, span: Span, cut: u8, pieces: &[Piece]) {
        let ids = pieces.iter().skip(1).map(|piece| self.spoken_salt.key(&piece.start)).collect();
        let hashes = pieces.iter().map(|piece| self.spoken_salt.range(&piece.sum)).collect();
        let differing = span.differing;
        self.outbox.push(&Message::Children(Children { scope: span.scope, cut, differing, ids, hashes }));
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

    /// Asks for all that the peer holds in a range. A side that may not take it says the same, for a sketch must be
    /// answered; the peer knows that it may not give.
    pub(crate) fn say_nothing_held(&mut self, span: Span) {
        if !self.terms.may_take && self.terms.mode != Mode::DryRun {
            self.withhold_from_self();
        }
        self.outbox.push(&Message::List(List { scope: span.scope, fingerprints: Vec::new() }));
        self.draft.push(Item::whole(&span.range, span.depth, Body::EmptyList));
    }

    /// The range that an item of the peer speaks of. Checks that the item may speak of it: it exists, it was not spoken
    /// of before, and it is not too deep.
    pub(crate) fn enter(&mut self, scope: &Scope) -> Result<Place, AbortReason> {
        let item = self.heard.items;
        self.heard.items += 1;
        let (mut area, mut choice) = (None, Choice::All);
        let (range, depth, tries) = match scope {
            Scope::Pieces(pieces) => {
                self.refer(*pieces)?;
                let sent = self.sent.get(pieces.item).ok_or(AbortReason::Protocol("no such item"))?;
                let range =
                    sent.range(pieces.lo, pieces.hi).ok_or(AbortReason::Protocol("no such pieces"))?;
                let depth = sent.depth + 1;
                area = sent.area.clone();
                let tries = match self.sent.answer(pieces.item) {
                    Some(Body::Sketch(sketching)) => sketching.tries + 1,
                    Some(Body::SketchedPieces(outline)) => outline.tries + 1,
                    _ => 0,
                };
                (range, depth, tries)
            }
            Scope::Named(named) => {
                self.refer(Pieces::whole(named.item))?;
                let sent = self.sent.get(named.item).ok_or(AbortReason::Protocol("no such item"))?;
                let range = sent.range(0, 1).ok_or(AbortReason::Protocol("no such pieces"))?;
                let depth = sent.depth + 1;
                area = sent.area.clone();
                let Some(Body::SketchedPieces(outline)) = self.sent.answer(named.item) else {
                    return Err(AbortReason::Protocol("names of pieces that were not sketched"));
                };
                choice = self.choose_named(outline, named);
                (range, depth, 0)
            }
            Scope::Keys(range) => {
                let follows = match &self.heard.reopened_to {
                    None => true,
                    Some(end) => end.as_ref().is_some_and(|end| *end <= range.start),
                };
                if self.initiates() || !self.terms.scope.covers(range) || !follows {
                    return Err(AbortReason::Protocol("a range out of place"));
                }
                // Nothing that this side says in its next flight will be looked at again as of the present moment.
                if self.heard.reopened_to.is_none() && self.draft.len() == 0 {
                    self.outputs.push_back(Output::Unpin);
                }
                self.heard.reopened_to = Some(range.end.clone());
                (range.clone(), 0, 0)
            }
        };
        if depth > DEPTH_MAX {
            return Err(AbortReason::Limit("depth"));
        }
        Ok(Place { item, range, area, choice, depth, tries })
    }

    /// Checks that the peer's references to this side's items rise.
    pub(crate) fn refer(&mut self, pieces: Pieces) -> Result<(), AbortReason> {
        if (pieces.item, pieces.lo) < self.heard.next_piece {
            return Err(AbortReason::Protocol("a second answer to one item"));
        }
        self.heard.next_piece = (pieces.item, pieces.hi);
        Ok(())
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
