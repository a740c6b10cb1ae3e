//! Passes over the pieces of a range: to tell them, by a sketch or a list, and to compare them with what the peer told.
//!
//! Used by `narrow`, which goes on with those that differ. The replica's pieces and their sums cost no read of an entry.
//!
//! Easy to get wrong: a sketch of pieces that does not decode is answered by one from the other side that is large enough, and
//! that only so often; a piece in which nothing lies is in no sketch, but has its place in a list.

use std::sync::Arc;

use super::guess;
use super::machine::Session;
use super::marks::Marks;
use super::narrow::{Choice, Chosen, Narrowing, Outline, Then};
use super::pair::pair;
use super::parts::{CHUNK, Course, Parts, whole_pieces};
use super::table::{Body, Item};
use super::walk::{Place, Span, Walking};
use crate::error::AbortReason;
use crate::limits::{
    ALL_SEEN_LEN_MAX, CELL_COUNT_MAX, FIRST_CELL_COUNT, LISTED_COUNT_MAX, MARKS_LEN_MAX, PIECE_TRY_COUNT_MAX,
    SURVEYED_COUNT,
};
use crate::replica::{Children, Cut, ReadRequest};
use crate::sketch::{Difference, cells_for, cells_len, estimate, more_than};
use crate::types::RangeSum;
use crate::wire::message::Message;
use crate::wire::piece::{Names, PieceForm, PieceList, SketchedPieces};

/// Fewer pieces tell too little.
const PIECE_COUNT_MIN: u64 = 8;
/// Where more pieces than this share are known to differ, nine in ten entries lie in them, and it is not told which do.
const NARROWED_SHARE: (u64, u64) = (2, 3);
/// Bytes of a piece in a list.
const LISTED_LEN: u8 = 2;
/// Bytes up to which hashes are told one by one: to tell fewer would save little, and now and then a group be read in vain.
const PLAIN_LIST_LEN: u64 = 4096;
/// Beyond so many pieces that differ their hashes have a byte more: two of different pieces are equal too often.
const SHORT_HASHES_MAX: u64 = 2500;

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

impl Session {
    /// Sets out to sketch the pieces of a range.
    pub(crate) fn ask_pieces(&mut self, span: Span) {
        // Where much is remembered already, coarser pieces have to do.
        let room = ALL_SEEN_LEN_MAX.saturating_sub(self.sent.seen_len() + self.draft.seen_len());
        let count = (room / 32).clamp(PIECE_COUNT_MIN as usize, SURVEYED_COUNT);
        let cut = span.cut.map_or(Cut::Pieces(count as u32), Cut::Level);
        self.survey(span.parts(), cut, Goal::Say(span));
    }

    /// Sets out to compare this side's pieces of a place with those that the peer told.
    pub(super) fn compare_told(&mut self, place: Place, said: SketchedPieces) {
        self.survey(place.parts(), Cut::Level(said.cut), Goal::Compare(place, said));
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
        let is_listed = matches!(told, Told::List { .. });
        let is_too_long = is_listed && marks.len() > LISTED_COUNT_MAX;
        if is_too_long || held_len + marks.memory_len() > ALL_SEEN_LEN_MAX {
            return self.ask_cut(span);
        }
        let form = match told {
            Told::Cells(cell_count) => PieceForm::Cells(marks.sketch(&self.spoken_salt, cell_count)),
            Told::List { hash_len, density } => {
                PieceForm::List(marks.list(&self.spoken_salt, hash_len, density))
            }
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
                let hit = added.len().max(removed.len()) as u64;
                (marks.find(&self.heard_salt, &removed), Names::Fingerprints(added), hit)
            }
            PieceForm::List(theirs) => {
                let mine = marks.list(&self.heard_salt, theirs.hash_len, PieceList::PLAIN);
                let unpaired = pair(&mine, &theirs);
                let names = Names::Bits(bits_of(&unpaired.theirs, theirs.piece_count()));
                (Some(unpaired.mine), names, unpaired.hit)
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
            hit,
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
}

/// How the pieces of a range are told.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// By so many cells.
    Cells(usize),
    /// Group by group, in symbols of so many bytes, where so many of 256 pieces differ.
    List { hash_len: u8, density: u8 },
}

/// Where nothing is known of what differs, but that there are so many pieces.
fn told_of_unknown(piece_count: u64) -> Told {
    let is_less = u64::from(LISTED_LEN) * piece_count <= cells_len(FIRST_CELL_COUNT);
    match is_less {
        true => Told::List { hash_len: LISTED_LEN, density: PieceList::PLAIN },
        false => Told::Cells(FIRST_CELL_COUNT),
    }
}

/// The cheaper of sketch and list where about `hit` pieces of a side differ.
fn told_of(hit: u64, marks: &Marks) -> Told {
    let cell_count = cells_for(hit.saturating_mul(2).saturating_add(hit.isqrt()));
    let hash_len = LISTED_LEN + u8::from(hit > SHORT_HASHES_MAX);
    let density = match marks.list_len(hash_len, PieceList::PLAIN) {
        ..=PLAIN_LIST_LEN => PieceList::PLAIN,
        _ => {
            let share = hit.saturating_mul(256).div_ceil(marks.piece_count.max(1));
            u8::try_from(share).unwrap_or(PieceList::PLAIN)
        }
    };
    // Where the two cost about the same, the list: where that turns out to be too small, it is so for a few groups.
    let sketch_len = cells_len(cell_count);
    if sketch_len.saturating_add(sketch_len / 4) > marks.list_len(hash_len, density) {
        Told::List { hash_len, density }
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
