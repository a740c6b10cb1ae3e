//! Ranges settled by a sketch of their entries: each side passes over its heads in chunks and keeps little of them.
//!
//! ```text
//!   one side: pass 1, sketch of its range ---->  the other: pass 1, takes its own entries off and peels;
//!                                                pass 2, if it holds what the sketch lacks, to find that
//!   pass 2, to find what the peer lacks   <----  unmatched
//!   settle ------------------------------------>
//! ```
//!
//! A sketch that does not decode is answered in its place by one from the other side, with as many cells as the first
//! one showed to be needed, or, where very much differs, by a cut. Where much is expected to differ the fingerprints go
//! one by one instead of in cells.
//!
//! A first pass remembers where the entries lie, so that a second one reads only the stretches that it needs.
//!
//! Easy to get wrong: both passes are of one moment, so a second one that finds other entries than the first has met two
//! short fingerprints that are the same, or a lie. It then does not close the range, and the range is looked at more closely
//! instead.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::leaf;
use super::machine::Session;
use super::narrow::Then;
use super::parts::{Course, Parts};
use super::seen::Seen;
use super::table::{Body, Item, Sketching};
use super::walk::{Place, Span, Walking};
use crate::error::AbortReason;
use crate::hash::Salt;
use crate::limits::{
    ALL_SEEN_LEN_MAX, ELEMENT_OVERHEAD_LEN, HEADS_LEN_MAX, KEYS_LEN_MAX, PLAIN_COUNT_MAX, SEEN_LEN_MAX,
    SMALL_COUNT_MAX,
};
use crate::replica::{Heads, ReadLimit, ReadRequest};
use crate::sketch::{Difference, Sketch, estimate, more_than};
use crate::types::{Fingerprint, Head, RangeSum};
use crate::wire::item::{Extra, Lacking};
use crate::wire::message::Message;
use crate::wire::sketched::{Form, Sketched};

/// How many heads are read at a time.
const CHUNK: ReadLimit = ReadLimit { count: 4096, bytes: KEYS_LEN_MAX as u32 };
/// Entries times cells beyond which fingerprints have 5 bytes: below it, those of 4 collide in one range of 50.
const SHORT_FINGERPRINTS_MAX: u64 = 1 << 27;

/// A pass over a range, or parts of one.
#[derive(Debug)]
pub(crate) struct Scan {
    course: Course,
    /// Sum of what was read.
    sum: RangeSum,
    /// Length of the short fingerprints.
    fingerprint_len: u8,
    pass: Pass,
}

/// What a pass is for.
#[derive(Debug)]
enum Pass {
    /// To sketch the range.
    Sketch { span: Span, form: Form, seen: Seen },
    /// To take this side's entries off the peer's sketch, of so many entries.
    Compare { place: Place, sketch: Sketch, seen: Seen, peer_count: u64 },
    /// To find what does not match the peer's fingerprints.
    Match { place: Place, unmatched: Unmatched, found: Found },
    /// To find what the peer's sketch lacks of this side's entries, whose sum was `held`; this side lacks `lacking` of the
    /// peer's `peer_count` entries.
    Extra { place: Place, held: RangeSum, lacking: Vec<u64>, found: Found, peer_count: u64 },
    /// To find what the peer lacks of the range that this side sketched, and decide.
    Decide { place: Place, sketching: Sketching, extra: Vec<Extra>, common: Fingerprint, found: Found },
}

/// Fingerprints of the peer, and which of them were met.
#[derive(Debug)]
struct Unmatched {
    fingerprints: Vec<u64>,
    is_met: Vec<bool>,
}

impl Unmatched {
    fn new(fingerprints: Vec<u64>) -> Unmatched {
        let is_met = vec![false; fingerprints.len()];
        Unmatched { fingerprints, is_met }
    }

    /// Whether the fingerprint is there and was not met as often before: two entries may have the same.
    fn meet(&mut self, fingerprint: u64) -> bool {
        let first = self.fingerprints.partition_point(|other| *other < fingerprint);
        let same = self.fingerprints.iter().skip(first).take_while(|other| **other == fingerprint);
        let mut is_met = self.is_met.iter_mut().skip(first).zip(same).map(|(is_met, _)| is_met);
        is_met.find(|is_met| !**is_met).map(|is_met| *is_met = true).is_some()
    }

    /// Positions of those that were not met.
    fn left(&self) -> Vec<u32> {
        (0u32..).zip(&self.is_met).filter(|(_, is_met)| !**is_met).map(|(position, _)| position).collect()
    }
}

/// Entries looked for by their fingerprints.
#[derive(Debug, Default)]
struct Found {
    wanted: BTreeSet<u64>,
    /// How many are wanted: two may have the same fingerprint.
    wanted_count: usize,
    heads: Vec<Head>,
    heads_len: usize,
}

impl Found {
    fn new(wanted: Vec<u64>) -> Found {
        Found { wanted_count: wanted.len(), wanted: wanted.into_iter().collect(), ..Found::default() }
    }

    fn look_at(&mut self, head: Head, salt: &Salt, len: u8) {
        if self.wanted.contains(&salt.entry_of_len(head.hash, len)) {
            self.push(head);
        }
    }

    /// Keeps an entry, unless there are too many already.
    fn push(&mut self, head: Head) {
        self.heads_len += size_of::<Head>() + head.key.len() + ELEMENT_OVERHEAD_LEN / 2;
        if !self.is_overfull() {
            self.heads.push(head);
        }
    }

    fn is_overfull(&self) -> bool {
        self.heads_len > HEADS_LEN_MAX
    }

    fn memory_len(&self) -> usize {
        self.heads_len.min(HEADS_LEN_MAX) + 2 * size_of::<u64>() * self.wanted.len()
    }

    /// Sum of the entries found.
    fn held(&self) -> Fingerprint {
        self.heads.iter().fold(Fingerprint::default(), |sum, head| sum + Fingerprint(head.hash))
    }

    /// Whether the entries found are those with this sum, all of them. One more, whose short fingerprint is by chance that of
    /// another, is known by its hash and taken off.
    fn are(&mut self, sum: Fingerprint) -> bool {
        let excess = self.held() - sum;
        match self.heads.len().checked_sub(self.wanted_count) {
            Some(0) => excess == Fingerprint::default(),
            Some(1) => {
                let stranger = self.heads.iter().position(|head| Fingerprint(head.hash) == excess);
                stranger.map(|at| self.heads.remove(at)).is_some()
            }
            _ => false,
        }
    }

    /// Sum of the entries found, if they are all that were looked for, and nothing else.
    fn sum(&self) -> Option<Fingerprint> {
        (self.heads.len() == self.wanted_count).then(|| self.held())
    }
}

impl Scan {
    fn new(parts: Arc<Parts>, fingerprint_len: u8, pass: Pass) -> Scan {
        Scan { course: Course::new(parts), sum: RangeSum::ZERO, fingerprint_len, pass }
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        let pass_len = match &self.pass {
            Pass::Sketch { span, form, seen } => span.memory_len() + form.memory_len() + seen.memory_len(),
            Pass::Compare { place, sketch, seen, .. } => {
                place.memory_len() + size_of_val(sketch.cells()) + seen.memory_len()
            }
            Pass::Match { place, unmatched, found } => {
                let unmatched_len = (size_of::<u64>() + 1) * unmatched.fingerprints.len();
                place.memory_len() + unmatched_len + found.memory_len()
            }
            Pass::Extra { place, lacking, found, .. } => {
                place.memory_len() + size_of_val(lacking.as_slice()) + found.memory_len()
            }
            Pass::Decide { place, sketching, extra, found, .. } => {
                let told_len = sketching.memory_len() + size_of_val(extra.as_slice());
                place.memory_len() + told_len + found.memory_len()
            }
        };
        pass_len + self.course.memory_len()
    }
}

impl Session {
    /// Sets out to sketch a range with so many cells, or, if there are none, to tell all fingerprints.
    pub(crate) fn ask_sketch(&mut self, span: Span, cell_count: usize) {
        let count = span.sum.count();
        let differing = if cell_count == 0 { count } else { cell_count as u64 };
        let fingerprint_len = if count.saturating_mul(differing) <= SHORT_FINGERPRINTS_MAX { 4 } else { 5 };
        let form = match cell_count {
            0 => Form::Plain(Vec::new()),
            _ => Form::Cells(Sketch::new(cell_count)),
        };
        let parts = span.parts();
        let pass = Pass::Sketch { span, form, seen: Seen::default() };
        self.go_on(Scan::new(parts, fingerprint_len, pass));
    }

    pub(crate) fn on_sketched(&mut self, sketched: Sketched) -> Result<(), AbortReason> {
        let place = self.enter(&sketched.scope)?;
        if !self.has_room() {
            self.put_off(place.pieces(1), place.range, place.depth);
        } else {
            self.locate(place, Then::Entries(sketched));
        }
        Ok(())
    }

    /// Passes over the range that the peer has sketched.
    pub(crate) fn compare_sketched(&mut self, place: Place, sketched: Sketched) {
        let Sketched { entry_count: peer_count, fingerprint_len, form, .. } = sketched;
        let parts = place.parts();
        let pass = match form {
            Form::Cells(sketch) => Pass::Compare { place, sketch, seen: Seen::default(), peer_count },
            Form::Plain(fingerprints) => {
                let unmatched = Unmatched::new(fingerprints);
                Pass::Match { place, unmatched, found: Found::default() }
            }
        };
        self.go_on(Scan::new(parts, fingerprint_len, pass));
    }

    /// Goes on with a sketch of this side that the peer has decoded: it lacks what is told.
    pub(crate) fn ask_lacking(
        &mut self,
        place: Place,
        mut sketching: Sketching,
        lacking: Lacking,
        extra: Vec<Extra>,
        common: Fingerprint,
    ) -> Result<(), AbortReason> {
        let mut fingerprint_len = sketching.fingerprint_len;
        let lacking = match lacking {
            Lacking::Fingerprints(len, fingerprints)
                if len <= sketching.fingerprint_len && sketching.plain.is_empty() =>
            {
                fingerprint_len = len;
                fingerprints
            }
            Lacking::Positions(positions) if !sketching.plain.is_empty() => {
                let plain = std::mem::take(&mut sketching.plain);
                let of = |&position: &u32| plain.get(position as usize).copied();
                let lacking: Option<Vec<u64>> = positions.iter().map(of).collect();
                lacking.ok_or(AbortReason::Protocol("positions beyond the list"))?
            }
            _ => return Err(AbortReason::Protocol("an answer to another sketch")),
        };
        let found = Found::new(lacking);
        let parts = std::mem::take(&mut sketching.seen).parts(&place.parts(), &found.wanted);
        let pass = Pass::Decide { place, sketching, extra, common, found };
        self.go_on(Scan::new(parts, fingerprint_len, pass));
        Ok(())
    }

    /// Reads the next part of what a pass is to read, or ends the pass.
    fn go_on(&mut self, scan: Scan) {
        match scan.course.range() {
            Some(range) => {
                let request = ReadRequest::Heads { range: range.clone(), limit: CHUNK };
                self.ask_walking(request, Walking::Scan(scan));
            }
            None => self.passed(scan),
        }
    }

    /// Goes on when the next heads are there.
    pub(crate) fn scanned(&mut self, mut scan: Scan, heads: Heads) -> Result<(), AbortReason> {
        self.count_read(heads.heads.len());
        let (spoken, heard, before) = (self.spoken_salt, self.heard_salt, self.said_salt());
        let len = scan.fingerprint_len;
        for head in heads.heads {
            scan.sum += head.sum();
            match &mut scan.pass {
                Pass::Sketch { form, seen, .. } => {
                    let fingerprint = spoken.entry_of_len(head.hash, len);
                    match form {
                        Form::Cells(sketch) => sketch.add(fingerprint),
                        Form::Plain(fingerprints) => fingerprints.push(fingerprint),
                    }
                    seen.push(&head.key, fingerprint, SEEN_LEN_MAX);
                }
                Pass::Compare { sketch, seen, .. } => {
                    let fingerprint = heard.entry_of_len(head.hash, len);
                    sketch.remove(fingerprint);
                    seen.push(&head.key, fingerprint, SEEN_LEN_MAX);
                }
                Pass::Match { unmatched, found, .. } => {
                    if !unmatched.meet(heard.entry_of_len(head.hash, len)) {
                        found.push(head);
                    }
                }
                Pass::Extra { found, .. } => found.look_at(head, &heard, len),
                Pass::Decide { found, .. } => found.look_at(head, &before, len),
            }
        }
        if !scan.course.advance(heads.next) {
            return Err(AbortReason::Inconsistent("an answer that answers nothing"));
        }
        match scan.pass {
            // More than the form was chosen for, which was a guess.
            Pass::Sketch { span, form: Form::Plain(fingerprints), .. }
                if fingerprints.len() > PLAIN_COUNT_MAX =>
            {
                self.ask_cut(span);
            }
            // The peer chose what is read here, and what it holds of it itself is its word alone.
            Pass::Compare { place, .. } | Pass::Match { place, .. } if self.is_too_much(&scan.sum) => {
                self.ask_cut(place.into_span(scan.sum, 0));
            }
            _ => self.go_on(scan),
        }
        Ok(())
    }

    /// Whether a pass over entries of this sum is more than this side reads to settle one range. What is more can be cut.
    fn is_too_much(&self, sum: &RangeSum) -> bool {
        sum.count() > u64::from(self.options.limits.sketch_count).max(SMALL_COUNT_MAX)
    }

    /// Goes on when the range was read.
    fn passed(&mut self, scan: Scan) {
        let Scan { sum, fingerprint_len, pass, .. } = scan;
        match pass {
            Pass::Sketch { span, .. } if sum.count() == 0 => self.say_nothing_held(span),
            Pass::Sketch { span, form, seen } => self.say_sketch(span, sum, fingerprint_len, form, seen),
            Pass::Compare { place, sketch, seen, peer_count } => {
                let net = peer_count.wrapping_sub(sum.count()) as i64;
                let differing = more_than(estimate(&sketch, net), sketch.cells().len());
                match sketch.peel() {
                    None => self.answer(place.into_span(sum, differing)),
                    Some(Difference { added: lacking, removed }) => {
                        let found = Found::new(removed);
                        let parts = seen.parts(&place.parts(), &found.wanted);
                        let pass = Pass::Extra { place, held: sum, lacking, found, peer_count };
                        self.go_on(Scan::new(parts, fingerprint_len, pass));
                    }
                }
            }
            Pass::Match { place, unmatched, found } => {
                if found.is_overfull() {
                    return self.ask_cut(place.into_span(sum, 0));
                }
                self.settled = self.settled.saturating_add(sum.count());
                let common = sum.fingerprint - found.held();
                self.push_unmatched(&place, Lacking::Positions(unmatched.left()), found.heads, common);
            }
            Pass::Extra { place, held, lacking, found, peer_count } => match found.sum() {
                Some(extra_sum) => {
                    self.settled = self.settled.saturating_add(held.count());
                    let lacking = Lacking::in_short(fingerprint_len, lacking, peer_count);
                    self.push_unmatched(&place, lacking, found.heads, held.fingerprint - extra_sum);
                }
                None => self.answer_finer(place.into_span(held, 0)),
            },
            Pass::Decide { place, sketching, extra, common, mut found } => {
                if !found.are(sketching.fingerprint - common) {
                    let held = RangeSum { live: sketching.count, ..RangeSum::ZERO };
                    return self.answer_finer(place.into_span(held, 0));
                }
                self.settled = self.settled.saturating_add(sketching.count);
                if !(found.heads.is_empty() && extra.is_empty()) {
                    self.rule(place.item, leaf::decide(found.heads, &extra, &self.heard_salt));
                }
            }
        }
    }

    fn say_sketch(&mut self, span: Span, sum: RangeSum, fingerprint_len: u8, mut form: Form, seen: Seen) {
        let Span { scope, range, area, tries, depth, .. } = span;
        let (count, fingerprint) = (sum.count(), sum.fingerprint);
        let mut plain = Vec::new();
        if let Form::Plain(fingerprints) = &mut form {
            fingerprints.sort_unstable();
            plain.clone_from(fingerprints);
        }
        let held_len = self.sent.seen_len() + self.draft.seen_len();
        let fits = held_len + seen.memory_len() <= ALL_SEEN_LEN_MAX;
        let seen = if fits { seen } else { Seen::full() };
        let sketching = Sketching { count, fingerprint, fingerprint_len, plain, seen, tries };
        self.outbox.push(&Message::Sketched(Sketched { scope, entry_count: count, fingerprint_len, form }));
        self.draft.push(Item::whole(&range, depth, Body::Sketch(sketching)).within(area));
    }

    /// Looks closer at a range that a sketch did not settle.
    pub(crate) fn answer_finer(&mut self, span: Span) {
        if span.area.is_none() && span.sum.count() <= u64::from(self.options.limits.list_count) {
            self.ask_list(span, 0);
        } else {
            self.ask_cut(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Kind, Stamp};

    #[test]
    fn a_fingerprint_is_met_as_often_as_it_is_there() {
        let mut unmatched = Unmatched::new(vec![3, 7, 7, 9]);
        let met = [7, 7, 7, 3, 8].map(|fingerprint| unmatched.meet(fingerprint));
        assert_eq!(met, [true, true, false, true, false]);
        assert_eq!(unmatched.left(), [3]);
    }

    #[test]
    fn one_stranger_among_the_entries_found_is_known_by_its_hash() {
        let head = |n: u8| Head {
            key: vec![n],
            stamp: Stamp { hlc: 1, node: 1 },
            kind: Kind::Put,
            expires_at: 0,
            hash: u128::from(n) << 100 | 5,
            value_len: 0,
            is_merged: false,
        };
        let sum = |heads: &[Head]| {
            heads.iter().fold(Fingerprint::default(), |sum, head| sum + Fingerprint(head.hash))
        };
        let heads = [1, 2, 3, 4].map(head);
        let found =
            |heads: &[Head], wanted: &[u64]| Found { heads: heads.to_vec(), ..Found::new(wanted.to_vec()) };
        let told = sum(&heads[..3]);
        let mut exact = found(&heads[..3], &[10, 20, 30]);
        assert!(exact.are(told) && exact.heads.len() == 3);
        let mut with_stranger = found(&heads, &[10, 20, 30]);
        assert!(with_stranger.are(told));
        assert_eq!(with_stranger.heads, heads[..3]);
        // Two with one fingerprint, both of them wanted.
        assert!(found(&heads[..3], &[10, 20, 20]).are(told));
        // One is missing and another there; two strangers; one too many that explains nothing.
        assert!(!found(&heads[1..], &[10, 20, 30]).are(told));
        assert!(!found(&heads, &[10, 20]).are(sum(&heads[..2])));
        assert!(!found(&heads, &[10, 20, 30]).are(sum(&heads[..2])));
    }
}
