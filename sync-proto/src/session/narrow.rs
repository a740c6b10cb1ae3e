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
use super::parts::{CHUNK, Parts, whole_pieces};
use super::walk::{Place, Span, Walking};
use crate::error::AbortReason;
use crate::limits::{ELEMENT_OVERHEAD_LEN, PARTS_LEN_MAX, PIECE_TRY_COUNT_MAX, SURVEYED_COUNT};
use crate::replica::{Children, Cut, Piece, ReadRequest};
use crate::types::{Fingerprint, KeyRange, RangeSum};
use crate::wire::item::Scope;
use crate::wire::piece::{Named, Names, SketchedPieces};
use crate::wire::sketched::Sketched;

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
    pub(super) cut: u8,
    pub(super) marks: Marks,
    /// Their numbers, rising.
    pub(super) numbers: Vec<u32>,
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
    pub(super) names: Names,
    /// What all other pieces sum up to.
    pub(super) rest: Fingerprint,
    /// Number of entries that the peer holds less what this side does.
    pub(super) net: i64,
    /// How many pieces of a side differ, of how many.
    pub(super) hit: u64,
    pub(super) all: u64,
    /// The level at which they were cut.
    pub(super) cut: u8,
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
    pub(crate) fn on_sketched_pieces(&mut self, said: SketchedPieces) -> Result<(), AbortReason> {
        let place = self.enter(&said.scope)?;
        if !self.has_room() {
            self.put_off(place.pieces(1), place.range, place.depth);
        } else {
            self.locate(place, Then::Pieces(said));
        }
        Ok(())
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
            Then::Pieces(said) => self.compare_told(place, said),
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
