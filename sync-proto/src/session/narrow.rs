//! A range that differs is narrowed to those of its pieces that do, without reading an entry: the replica's buckets and
//! their sums are themselves a set that both sides share nearly all of.
//!
//! ```text
//!   one side: pass over pieces, sketch of them ---->  the other: the same pass, takes its own pieces off and peels;
//!                                                     finds its own pieces that differ, reads these,
//!   finds those named, reads them,               <----  names those of the peer, and sketches its entries
//!   unmatched ------------------------------------->
//! ```
//!
//! Entries in equal pieces are the same on both sides, so the entries that differ are those of which the two unions of
//! differing pieces do: as sets, wherever the bounds lie. A sketch of pieces that does not decode is answered by one from
//! the other side that is large enough.
//!
//! Easy to get wrong: equal short fingerprints do not make pieces equal. Whoever names pieces tells what all others sum up
//! to, in full width; where that is not the peer's sum of its others, the whole range is cut instead.

use std::sync::Arc;

use super::guess;
use super::machine::Session;
use super::marks::Marks;
use super::pair::pair;
use super::parts::{Course, Parts};
use super::table::{Body, Item};
use super::walk::{Place, Span, Walking};
use crate::error::AbortReason;
use crate::limits::{
    ALL_SEEN_LEN_MAX, CELL_COUNT_MAX, ELEMENT_OVERHEAD_LEN, FIRST_CELL_COUNT, KEYS_LEN_MAX, LISTED_COUNT_MAX,
    MARKS_LEN_MAX, PARTS_LEN_MAX, PIECE_TRY_COUNT_MAX, SURVEYED_COUNT,
};
use crate::replica::{Children, Cut, Piece, ReadLimit, ReadRequest};
use crate::sketch::{Difference, cells_for, estimate, more_than};
use crate::types::{Fingerprint, KeyRange, RangeSum};
use crate::wire::item::{Scope, Sketched};
use crate::wire::message::Message;
use crate::wire::piece::{Named, Names, PieceForm, SketchedPieces};

/// How many pieces are read at a time.
const CHUNK: ReadLimit = ReadLimit { count: 4096, bytes: KEYS_LEN_MAX as u32 };
/// Fewer pieces tell too little.
const PIECE_COUNT_MIN: u64 = 8;
/// Where more pieces than this share are known to differ, nine in ten entries lie in them, and it is not told which do.
const NARROWED_SHARE: (u64, u64) = (2, 3);
/// Bytes of a cell, and of a piece in a list.
const CELL_LEN: u64 = 7;
const LISTED_LEN: u64 = 2;
/// Beyond so many pieces that differ their hashes have a byte more: two of different pieces are equal too often.
const SHORT_HASHES_MAX: u64 = 2500;
/// Where pieces hold more entries than this on the average, those that differ are cut into finer ones.
const FINE_ENTRY_COUNT: u64 = 512;

/// What a side remembers of the pieces that it has sketched.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) cut: u8,
    pub(crate) marks: Marks,
    /// How often the range was sketched before, by either side.
    pub(crate) tries: u8,
}

/// Which of the pieces of a range an item speaks of.
#[derive(Debug, Default)]
pub(crate) enum Choice {
    /// All of it.
    #[default]
    All,
    /// These.
    Of(Box<Chosen>),
    /// Pieces that are not there, or not all that differ.
    Mistaken,
}

/// Pieces of a range that are taken out of it.
#[derive(Debug)]
pub(crate) struct Chosen {
    cut: u8,
    marks: Marks,
    /// Their numbers, rising.
    numbers: Vec<u32>,
}

/// A pass over the pieces of a range.
#[derive(Debug)]
pub(crate) struct Survey {
    course: Course,
    cut: Cut,
    marks: Marks,
    /// Whether the next piece is the first of its part.
    begins_part: bool,
    goal: Goal,
}

/// What a pass over pieces is for.
#[derive(Debug)]
enum Goal {
    /// To sketch them.
    Say(Span),
    /// To take them off the peer's sketch.
    Compare(Place, SketchedPieces),
}

/// A look for the keys of chosen pieces, group by group.
#[derive(Debug)]
pub(crate) struct Locating {
    place: Place,
    chosen: Box<Chosen>,
    /// The chosen pieces that come next.
    next: usize,
    /// The group that is being read, what is left of it to read, and what was read of it.
    group: usize,
    rest: KeyRange,
    pieces: Vec<Piece>,
    /// Bytes of these.
    pieces_len: usize,
    /// Where the chosen pieces lie, so far, and how many entries they hold.
    parts: Parts,
    entry_count: u64,
    then: Then,
}

/// What follows when the keys of chosen pieces are known.
#[derive(Debug)]
pub(crate) enum Then {
    /// The peer has sketched its entries in its own.
    Entries(Sketched),
    /// The peer has sketched finer pieces of its own.
    Pieces(SketchedPieces),
    /// The peer holds nothing in its own.
    Nothing,
    /// This side names the peer's and sketches its entries.
    Narrow(Narrowing),
}

/// What a sketch of the peer's pieces showed.
#[derive(Debug)]
pub(crate) struct Narrowing {
    /// The peer's pieces that differ.
    names: Names,
    /// What all other pieces sum up to.
    rest: Fingerprint,
    /// Number of entries that the peer holds less what this side does.
    net: i64,
    /// How many pieces of a side differ, of how many.
    hit: u64,
    all: u64,
    /// The level at which they were cut.
    cut: u8,
}

impl Outline {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.marks.memory_len()
    }
}

impl Choice {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        match self {
            Choice::Of(chosen) => chosen.memory_len(),
            Choice::All | Choice::Mistaken => 0,
        }
    }
}

impl Chosen {
    /// Bytes held.
    fn memory_len(&self) -> usize {
        self.marks.memory_len() + self.numbers.capacity() * size_of::<u32>()
    }
}

impl Survey {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        let goal_len = match &self.goal {
            Goal::Say(span) => span.memory_len(),
            Goal::Compare(place, said) => {
                place.memory_len() + said.form.memory_len() + said.scope.memory_len()
            }
        };
        self.marks.memory_len() + goal_len
    }
}

impl Locating {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        let then_len = match &self.then {
            Then::Entries(sketched) => sketched.form.memory_len() + sketched.scope.memory_len(),
            Then::Pieces(said) => said.form.memory_len() + said.scope.memory_len(),
            Then::Narrow(narrowing) => narrowing.names.memory_len(),
            Then::Nothing => 0,
        };
        let found_len = self.parts.memory_len() + self.pieces_len;
        self.place.memory_len() + self.chosen.memory_len() + found_len + then_len
    }
}

impl Session {
    /// Sets out to sketch the pieces of a range.
    pub(crate) fn ask_pieces(&mut self, span: Span) {
        // Where much is remembered already, coarser pieces have to do.
        let room = ALL_SEEN_LEN_MAX.saturating_sub(self.sent.seen_len() + self.draft.seen_len());
        let count = (room / 32).clamp(PIECE_COUNT_MIN as usize, SURVEYED_COUNT);
        let cut = span.cut.map_or(Cut::Pieces(count as u32), Cut::Level);
        self.survey(span.parts(), cut, Goal::Say(span));
    }

    pub(crate) fn on_sketched_pieces(&mut self, said: SketchedPieces) -> Result<(), AbortReason> {
        let place = self.enter(&said.scope)?;
        if !self.has_room() {
            self.put_off(place.pieces(1), place.range, place.depth);
        } else {
            self.locate(place, Then::Pieces(said));
        }
        Ok(())
    }

    fn survey(&mut self, area: Arc<Parts>, cut: Cut, goal: Goal) {
        let course = Course::new(area);
        let marks = Marks::default();
        self.go_on_surveying(Survey { course, cut, marks, begins_part: true, goal });
    }

    fn go_on_surveying(&mut self, survey: Survey) {
        match survey.course.range() {
            Some(range) => {
                let request = ReadRequest::Children { range: range.clone(), cut: survey.cut, limit: CHUNK };
                self.ask_walking(request, Walking::Survey(survey));
            }
            None => self.surveyed(survey),
        }
    }

    /// Goes on when the next pieces are there.
    pub(crate) fn pieces_read(&mut self, mut survey: Survey, own: Children) -> Result<(), AbortReason> {
        survey.cut = Cut::Level(own.level);
        let (pieces, next) = whole_pieces(own);
        for piece in pieces {
            let begins_group = survey.begins_part || self.terms.salt.begins_group(&piece.start);
            survey.marks.push(&piece.start, &piece.sum, begins_group);
            survey.begins_part = false;
        }
        survey.begins_part = next.is_none();
        if !survey.course.advance(next) {
            return Err(AbortReason::Inconsistent("an answer that answers nothing"));
        }
        if survey.marks.memory_len() > MARKS_LEN_MAX {
            self.ask_cut(match survey.goal {
                Goal::Say(span) => span,
                Goal::Compare(place, _) => place.into_span(RangeSum::ZERO, 0),
            });
        } else {
            self.go_on_surveying(survey);
        }
        Ok(())
    }

    fn surveyed(&mut self, survey: Survey) {
        let Survey { cut, marks, goal, .. } = survey;
        // The level is known from the first answer on; an area without any part has none, and no pieces.
        let cut = if let Cut::Level(level) = cut { level } else { 0 };
        match goal {
            Goal::Compare(place, said) => self.compare_pieces(place, said, cut, marks),
            Goal::Say(span) if marks.piece_count < PIECE_COUNT_MIN && span.area.is_none() => {
                self.answer_entries(span);
            }
            Goal::Say(span) if span.differing == 0 => {
                let told = told_of_unknown(marks.piece_count);
                self.say_pieces(span, cut, marks, told);
            }
            Goal::Say(span) => {
                let hit = guess::differing_pieces(span.differing, marks.piece_count);
                if NARROWED_SHARE.1 * hit > NARROWED_SHARE.0 * marks.piece_count {
                    self.answer_entries(span);
                } else {
                    let told = told_of(hit, &marks);
                    self.say_pieces(span, cut, marks, told);
                }
            }
        }
    }

    fn say_pieces(&mut self, span: Span, cut: u8, marks: Marks, told: Told) {
        let held_len = self.sent.seen_len() + self.draft.seen_len();
        let is_listed = matches!(told, Told::List(_));
        let is_too_long = is_listed && marks.len() > LISTED_COUNT_MAX;
        if is_too_long || held_len + marks.memory_len() > ALL_SEEN_LEN_MAX {
            return self.ask_cut(span);
        }
        let form = match told {
            Told::Cells(cell_count) => PieceForm::Cells(marks.sketch(&self.spoken_salt, cell_count)),
            Told::List(hash_len) => PieceForm::List(marks.list(&self.spoken_salt, hash_len)),
        };
        let Span { scope, range, area, tries, depth, .. } = span;
        let (piece_count, entry_count) = (marks.piece_count, marks.entry_count);
        let said = SketchedPieces { scope, cut, piece_count, entry_count, form };
        self.outbox.push(&Message::SketchedPieces(said));
        let outline = Outline { cut, marks, tries };
        self.draft.push(Item::whole(&range, depth, Body::SketchedPieces(outline)).within(area));
    }

    fn compare_pieces(&mut self, place: Place, said: SketchedPieces, cut: u8, marks: Marks) {
        let SketchedPieces { piece_count, entry_count, form, .. } = said;
        let (mine, names, hit) = match form {
            PieceForm::Cells(mut sketch) => {
                marks.take_off(&self.heard_salt, &mut sketch);
                let cell_count = sketch.cells().len();
                let estimate = estimate(&sketch, piece_count.wrapping_sub(marks.piece_count) as i64);
                let Some(Difference { added, removed }) = sketch.peel() else {
                    let all = piece_count.saturating_add(marks.piece_count);
                    return self.compare_again(place, cut, marks, more_than(estimate, cell_count).min(all));
                };
                let hit = added.len().max(removed.len());
                (marks.find(&self.heard_salt, &removed), Names::Fingerprints(added), hit)
            }
            PieceForm::List(theirs) => {
                let mine = marks.list(&self.heard_salt, theirs.hash_len);
                let unpaired = pair(&mine, &theirs);
                let hit = unpaired.mine.len().max(unpaired.theirs.len());
                (Some(unpaired.mine), Names::Bits(bits_of(&unpaired.theirs, theirs.hashes.len())), hit)
            }
        };
        let Some(numbers) = mine else {
            return self.ask_cut(place.into_span(RangeSum::ZERO, 0));
        };
        self.settled = self.settled.saturating_add(marks.entry_count);
        let narrowing = Narrowing {
            names,
            rest: marks.total() - marks.sum_of(&numbers),
            net: entry_count.wrapping_sub(marks.entry_count) as i64,
            hit: hit as u64,
            all: piece_count.max(marks.piece_count),
            cut,
        };
        let choice = Choice::Of(Box::new(Chosen { cut, marks, numbers }));
        self.locate(Place { choice, ..place }, Then::Narrow(narrowing));
    }

    /// Answers a sketch of pieces that did not decode; it showed that about so many pieces of both sides differ.
    fn compare_again(&mut self, place: Place, cut: u8, marks: Marks, differing: u64) {
        let hit = differing / 2;
        let entries = guess::differing_entries(hit, marks.piece_count);
        let sum = RangeSum { live: marks.entry_count, ..RangeSum::ZERO };
        let tries = place.tries;
        let span = place.into_span(sum, entries);
        if tries >= PIECE_TRY_COUNT_MAX {
            return self.ask_cut(span);
        }
        let told = told_of(hit, &marks);
        self.say_pieces(span, cut, marks, told);
    }

    /// The pieces that the peer names of those that this side sketched, if they are there and all others are the same on
    /// both sides.
    pub(crate) fn choose_named(&self, outline: Outline, named: &Named) -> Choice {
        let Outline { cut, marks, .. } = outline;
        let numbers = match &named.names {
            Names::Fingerprints(fingerprints) => marks.find(&self.said_salt(), fingerprints),
            Names::Bits(bits) => marks.numbers_of(bits),
        };
        match numbers {
            Some(numbers) if (marks.total() - marks.sum_of(&numbers)).0 == named.rest => {
                Choice::Of(Box::new(Chosen { cut, marks, numbers }))
            }
            _ => Choice::Mistaken,
        }
    }

    /// Finds the keys of the pieces chosen of a place, if any were, and goes on.
    pub(crate) fn locate(&mut self, mut place: Place, then: Then) {
        let chosen = match std::mem::take(&mut place.choice) {
            Choice::All => return self.located(place, 0, then),
            Choice::Mistaken => return self.ask_cut(place.into_span(RangeSum::ZERO, 0)),
            Choice::Of(chosen) => chosen,
        };
        self.go_on_locating(Locating {
            place,
            chosen,
            next: 0,
            group: 0,
            rest: KeyRange::all(),
            pieces: Vec::new(),
            pieces_len: 0,
            parts: Parts::default(),
            entry_count: 0,
            then,
        });
    }

    /// Reads the pieces of the next group that a chosen piece lies in.
    fn go_on_locating(&mut self, mut locating: Locating) {
        let Locating { place, chosen, next, .. } = &locating;
        let Some(&number) = chosen.numbers.get(*next) else {
            let Locating { mut place, parts, entry_count, then, .. } = locating;
            place.area = Some(Arc::new(parts));
            return self.located(place, entry_count, then);
        };
        let group = chosen.marks.group_of(number);
        let Some(range) = chosen.marks.range_of(group, &place.parts()) else {
            return self.ask_cut(locating.place.into_span(RangeSum::ZERO, 0));
        };
        (locating.group, locating.rest) = (group, range);
        self.ask_group(locating);
    }

    fn ask_group(&mut self, locating: Locating) {
        let cut = Cut::Level(locating.chosen.cut);
        let request = ReadRequest::Children { range: locating.rest.clone(), cut, limit: CHUNK };
        self.ask_walking(request, Walking::Locate(locating));
    }

    /// Goes on when the pieces of a group are there.
    pub(crate) fn group_read(&mut self, mut locating: Locating, own: Children) -> Result<(), AbortReason> {
        let (pieces, next) = whole_pieces(own);
        locating.add(pieces);
        if locating.pieces_len > PARTS_LEN_MAX {
            self.ask_cut(locating.place.into_span(RangeSum::ZERO, 0));
            return Ok(());
        }
        if let Some(next) = next {
            if next <= locating.rest.start {
                return Err(AbortReason::Inconsistent("an answer that answers nothing"));
            }
            locating.rest.start = next;
            self.ask_group(locating);
            return Ok(());
        }
        if !locating.take_group() || locating.parts.memory_len() > PARTS_LEN_MAX {
            self.ask_cut(locating.place.into_span(RangeSum::ZERO, 0));
        } else {
            self.go_on_locating(locating);
        }
        Ok(())
    }

    /// Goes on when it is known where the chosen pieces lie.
    fn located(&mut self, place: Place, entry_count: u64, then: Then) {
        match then {
            Then::Entries(sketched) => {
                let tries = place.tries.max(PIECE_TRY_COUNT_MAX + 1);
                self.compare_sketched(Place { tries, ..place }, sketched);
            }
            Then::Pieces(said) => {
                let cut = Cut::Level(said.cut);
                self.survey(place.parts(), cut, Goal::Compare(place, said));
            }
            Then::Nothing => place.parts().iter().for_each(|part| self.stream(part)),
            Then::Narrow(narrowing) => self.narrow(place, entry_count, narrowing),
        }
    }

    /// Goes on with the pieces that differ: this side's are the area of `place` and hold `count` entries.
    fn narrow(&mut self, place: Place, count: u64, narrowing: Narrowing) {
        let Narrowing { names, rest, net, hit, all, cut } = narrowing;
        self.settled = self.settled.saturating_sub(count);
        let Place { item, range, area, depth, .. } = place;
        let scope = Scope::Named(Named { item, names, rest: rest.0 });
        // Pieces that differ side by side more often than by chance differ in most of their entries.
        let run_count = area.as_ref().map_or(0, |parts| parts.len() as u64);
        let by_chance = hit.saturating_mul(all.saturating_sub(hit)) / all.max(1);
        let lie_together = hit > 2 && 2 * run_count <= by_chance;
        let differing = match lie_together {
            true => count,
            false => guess::differing_entries(hit, all).max(net.unsigned_abs()),
        };
        let sum = RangeSum { live: count, ..RangeSum::ZERO };
        let span = Span {
            scope,
            range,
            area,
            sum,
            cut: None,
            peer_empty: false,
            explicit: false,
            differing,
            tries: 0,
            depth,
        };
        if count == 0 {
            self.say_nothing_held(span);
        } else if cut > 0 && count / hit.max(1) > FINE_ENTRY_COUNT && !lie_together {
            let finer = (SURVEYED_COUNT as u64 / hit.max(1)).max(2).ilog2();
            self.ask_pieces(Span { cut: Some(cut.saturating_sub(finer as u8)), ..span });
        } else {
            self.answer_entries(span);
        }
    }
}

impl Locating {
    /// Adds pieces of the group that is being read.
    fn add(&mut self, pieces: Vec<Piece>) {
        let len = |piece: &Piece| size_of::<Piece>() + piece.start.len() + ELEMENT_OVERHEAD_LEN;
        self.pieces_len += pieces.iter().map(len).sum::<usize>();
        self.pieces.extend(pieces);
    }

    /// Takes the chosen pieces of the group that was read. `false` if they are not those of the pass, which only a replica
    /// that is not as of one moment makes of them, or one that was pinned anew.
    fn take_group(&mut self) -> bool {
        let Chosen { marks, numbers, .. } = &*self.chosen;
        let of_group = marks.pieces_of(self.group);
        let (pieces, _) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.pieces_len));
        let sums = of_group.clone().map(|number| marks.sum_of(&[number]));
        if !sums.eq(pieces.iter().map(|piece| piece.sum.fingerprint)) {
            return false;
        }
        let last = numbers.partition_point(|number| *number < of_group.end);
        for number in numbers.get(self.next..last).unwrap_or_default() {
            let index = (number - of_group.start) as usize;
            let Some(piece) = pieces.get(index) else { return false };
            let end = pieces.get(index + 1).map(|piece| piece.start.as_slice());
            self.parts.push(&piece.start, end.or(self.rest.end.as_deref()));
            self.entry_count = self.entry_count.saturating_add(piece.sum.count());
        }
        self.next = last;
        true
    }
}

/// How the pieces of a range are told.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// By so many cells.
    Cells(usize),
    /// One by one, with so many bytes each.
    List(u8),
}

/// Where nothing is known of what differs, but that there are so many pieces.
fn told_of_unknown(piece_count: u64) -> Told {
    let is_less = LISTED_LEN * piece_count <= CELL_LEN * FIRST_CELL_COUNT as u64;
    if is_less { Told::List(LISTED_LEN as u8) } else { Told::Cells(FIRST_CELL_COUNT) }
}

/// The cheaper of sketch and list where about `hit` pieces of a side differ.
fn told_of(hit: u64, marks: &Marks) -> Told {
    let cell_count = cells_for(hit.saturating_mul(2).saturating_add(hit.isqrt()));
    let hash_len = LISTED_LEN + u64::from(hit > SHORT_HASHES_MAX);
    // Where the two cost about the same, the list: it never turns out to be too small.
    let sketch_len = (cell_count as u64).saturating_mul(CELL_LEN);
    if sketch_len.saturating_add(sketch_len / 4) > marks.piece_count.saturating_mul(hash_len) {
        Told::List(hash_len as u8)
    } else {
        Told::Cells(cell_count.min(CELL_COUNT_MAX))
    }
}

/// A bit for each of `count` pieces, set for these.
fn bits_of(numbers: &[u32], count: usize) -> Vec<u8> {
    let mut bits = vec![0; count.div_ceil(8)];
    for &number in numbers {
        if let Some(byte) = bits.get_mut(number as usize / 8) {
            *byte |= 1 << (number % 8);
        }
    }
    bits
}

/// The pieces of an answer that are whole, and where to go on. The last one may hold further fences.
fn whole_pieces(own: Children) -> (Vec<Piece>, Option<Vec<u8>>) {
    let Children { mut pieces, more, .. } = own;
    let next = if more && pieces.len() > 1 { pieces.pop().map(|piece| piece.start) } else { None };
    (pieces, next)
}
