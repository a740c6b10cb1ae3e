//! Larger ranges, settled by a sketch: each side passes over its heads in chunks and keeps little of them.
//!
//! ```text
//!   one side: pass 1, sketch of its range ---->  the other: pass 1, takes its own entries off and peels;
//!                                                pass 2, if it holds what the sketch lacks, to find that
//!   pass 2, to find what the peer lacks   <----  unmatched
//!   settle ------------------------------------>
//! ```
//!
//! A sketch that does not decode is answered in its place by one from the other side, with as many cells as the first
//! one showed to be needed, or, where very much differs, by a cut.
//!
//! A first pass remembers where the entries lie, so that a second one reads only the stretches that it needs.
//!
//! Easy to get wrong: a chunk is read at one snapshot, the next one at a later one. That is as good as one snapshot of
//! all, for what counts is that every key was looked at once, at some moment of the session, and that the sum is that of
//! the entries seen. But a second pass may find other entries than the first. It then does not close the range, and the
//! range is looked at more closely instead.

use std::collections::BTreeSet;

use super::leaf;
use super::machine::{Session, Waiting};
use super::seen::Seen;
use super::table::{Body, Item, Sketching};
use super::walk::{Place, Span, Walking};
use crate::error::AbortReason;
use crate::hash::Salt;
use crate::limits::{ALL_SEEN_LEN_MAX, KEYS_LEN_MAX, SEEN_LEN_MAX};
use crate::replica::{Heads, ReadLimit, ReadRequest};
use crate::sketch::{Difference, Sketch, estimate};
use crate::types::{Fingerprint, Head, KeyRange, RangeSum};
use crate::wire::item::{Extra, Lacking, Sketched};
use crate::wire::message::Message;

/// How many heads are read at a time.
const CHUNK: ReadLimit = ReadLimit { count: 4096, bytes: KEYS_LEN_MAX as u32 };
/// Entries times cells beyond which fingerprints have 5 bytes: below it, those of 4 collide in one range of 50.
const SHORT_FINGERPRINTS_MAX: u64 = 1 << 27;

/// A pass over a range.
#[derive(Debug)]
pub(crate) struct Scan {
    /// What is still to be read, the next part last.
    rest: Vec<KeyRange>,
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
    Sketch { span: Span, sketch: Sketch, seen: Seen },
    /// To take this side's entries off the peer's sketch, of so many entries.
    Compare { place: Place, sketch: Sketch, seen: Seen, peer_count: u64 },
    /// To find what the peer's sketch lacks of this side's entries, whose sum was `held`; this side lacks `lacking`.
    Extra { place: Place, held: RangeSum, lacking: Vec<u64>, found: Found },
    /// To find what the peer lacks of the range that this side sketched, and decide.
    Decide { place: Place, sketching: Sketching, extra: Vec<Extra>, common: Fingerprint, found: Found },
}

/// Entries looked for by their fingerprints.
#[derive(Debug)]
struct Found {
    wanted: BTreeSet<u64>,
    heads: Vec<Head>,
}

impl Found {
    fn new(wanted: Vec<u64>) -> Found {
        Found { wanted: wanted.into_iter().collect(), heads: Vec::new() }
    }

    fn look_at(&mut self, head: Head, salt: &Salt, len: u8) {
        if self.wanted.contains(&salt.entry_of_len(head.hash, len)) {
            self.heads.push(head);
        }
    }

    /// Sum of the entries found, if they are all that were looked for, and nothing else.
    fn sum(&self) -> Option<Fingerprint> {
        let sum = self.heads.iter().fold(Fingerprint::default(), |sum, head| sum + Fingerprint(head.hash));
        (self.heads.len() == self.wanted.len()).then_some(sum)
    }
}

impl Scan {
    fn new(rest: Vec<KeyRange>, fingerprint_len: u8, pass: Pass) -> Scan {
        Scan { rest, sum: RangeSum::ZERO, fingerprint_len, pass }
    }

    /// Bytes held, but for the heads found, which soon become a message.
    pub(crate) fn memory_len(&self) -> usize {
        match &self.pass {
            Pass::Sketch { sketch, seen, .. } | Pass::Compare { sketch, seen, .. } => {
                size_of_val(sketch.cells()) + seen.memory_len()
            }
            Pass::Decide { sketching, .. } => sketching.seen.memory_len(),
            Pass::Extra { .. } => 0,
        }
    }
}

impl Session {
    /// Sets out to sketch a range with so many cells.
    pub(crate) fn ask_sketch(&mut self, span: Span, cell_count: usize) {
        let weight = span.sum.count().saturating_mul(cell_count as u64);
        let fingerprint_len = if weight <= SHORT_FINGERPRINTS_MAX { 4 } else { 5 };
        let rest = vec![span.range.clone()];
        let pass = Pass::Sketch { span, sketch: Sketch::new(cell_count), seen: Seen::default() };
        self.go_on(Scan::new(rest, fingerprint_len, pass).into());
    }

    pub(crate) fn on_sketched(&mut self, sketched: Sketched) -> Result<(), AbortReason> {
        let place = self.enter(&sketched.scope)?;
        if !self.has_room() {
            self.put_off(place.pieces(1), place);
            return Ok(());
        }
        let Sketched { entry_count: peer_count, fingerprint_len, sketch, .. } = sketched;
        let rest = vec![place.range.clone()];
        let pass = Pass::Compare { place, sketch, seen: Seen::default(), peer_count };
        self.go_on(Scan::new(rest, fingerprint_len, pass).into());
        Ok(())
    }

    /// Goes on with a sketch of this side that the peer has decoded: it lacks the entries with these fingerprints.
    pub(crate) fn ask_lacking(
        &mut self,
        place: Place,
        sketching: Sketching,
        lacking: Vec<u64>,
        extra: Vec<Extra>,
        common: Fingerprint,
    ) {
        let fingerprint_len = sketching.fingerprint_len;
        let found = Found::new(lacking);
        let rest = sketching.seen.parts(&place.range, &found.wanted);
        let pass = Pass::Decide { place, sketching, extra, common, found };
        self.go_on(Scan::new(rest, fingerprint_len, pass).into());
    }

    /// Reads the next part of what a pass is to read, or ends the pass.
    fn go_on(&mut self, scan: Box<Scan>) {
        match scan.rest.last() {
            Some(part) => {
                let request = ReadRequest::Heads { range: part.clone(), limit: CHUNK };
                self.ask(request, Waiting::Walking(Walking::Scan(scan)));
            }
            None => self.passed(*scan),
        }
    }

    /// Goes on when the next heads are there.
    pub(crate) fn scanned(&mut self, mut scan: Box<Scan>, heads: Heads) -> Result<(), AbortReason> {
        self.count_read(heads.heads.len());
        let (spoken, heard, before) = (self.spoken_salt, self.heard_salt, self.terms.salt.leg(self.leg - 1));
        let len = scan.fingerprint_len;
        for head in heads.heads {
            scan.sum += head.sum();
            match &mut scan.pass {
                Pass::Sketch { sketch, seen, .. } => {
                    let fingerprint = spoken.entry_of_len(head.hash, len);
                    sketch.add(fingerprint);
                    seen.push(&head.key, fingerprint, SEEN_LEN_MAX);
                }
                Pass::Compare { sketch, seen, .. } => {
                    let fingerprint = heard.entry_of_len(head.hash, len);
                    sketch.remove(fingerprint);
                    seen.push(&head.key, fingerprint, SEEN_LEN_MAX);
                }
                Pass::Extra { found, .. } => found.look_at(head, &heard, len),
                Pass::Decide { found, .. } => found.look_at(head, &before, len),
            }
        }
        let Some(part) = scan.rest.pop() else {
            return Err(AbortReason::Inconsistent("an answer to no question"));
        };
        match heads.next {
            Some(next) if next <= part.start => {
                return Err(AbortReason::Inconsistent("an answer that answers nothing"));
            }
            Some(next) => scan.rest.push(KeyRange { start: next, end: part.end }),
            None => {}
        }
        self.go_on(scan);
        Ok(())
    }

    /// Goes on when the range was read.
    fn passed(&mut self, scan: Scan) {
        let Scan { sum, fingerprint_len, pass, .. } = scan;
        match pass {
            Pass::Sketch { span, .. } if sum.count() == 0 => self.say_nothing_held(span),
            Pass::Sketch { span, sketch, seen } => {
                let Span { scope, range, tries, depth, .. } = span;
                let (count, fingerprint) = (sum.count(), sum.fingerprint);
                let held_len = self.sent.seen_len() + self.draft.seen_len();
                let fits = held_len + seen.memory_len() <= ALL_SEEN_LEN_MAX;
                let seen = if fits { seen } else { Seen::full() };
                let sketching = Sketching { count, fingerprint, fingerprint_len, seen, tries };
                let sketched = Sketched { scope, entry_count: count, fingerprint_len, sketch };
                self.outbox.push(&Message::Sketched(sketched));
                self.draft.push(Item::whole(&range, depth, Body::Sketch(sketching)));
            }
            Pass::Compare { place, sketch, seen, peer_count } => {
                let net = peer_count.wrapping_sub(sum.count()) as i64;
                let differing = more_than(estimate(&sketch, net), sketch.cells().len());
                match sketch.peel() {
                    None => self.answer(place.into_span(sum, differing)),
                    Some(Difference { added: lacking, removed }) => {
                        let found = Found::new(removed);
                        let rest = seen.parts(&place.range, &found.wanted);
                        let pass = Pass::Extra { place, held: sum, lacking, found };
                        self.go_on(Scan::new(rest, fingerprint_len, pass).into());
                    }
                }
            }
            Pass::Extra { place, held, lacking, found } => match found.sum() {
                Some(extra_sum) => {
                    self.settled = self.settled.saturating_add(held.count());
                    let lacking = Lacking::Fingerprints(fingerprint_len, lacking);
                    self.push_unmatched(&place, lacking, found.heads, held.fingerprint - extra_sum);
                }
                None => self.answer_finer(place.into_span(held, 0)),
            },
            Pass::Decide { place, sketching, extra, common, found } => {
                let closes = found.sum().is_some_and(|lacking| sketching.fingerprint - lacking == common);
                if !closes {
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

    /// Looks closer at a range that a sketch did not settle.
    fn answer_finer(&mut self, span: Span) {
        if span.sum.count() <= u64::from(self.options.limits.list_count) {
            self.ask_list(span, 0);
        } else {
            self.ask_cut(span);
        }
    }
}

/// What to expect where so many cells were too few and showed about `estimate`: more by the standard error of that.
fn more_than(estimate: u64, cell_count: usize) -> u64 {
    let margin = (2.0 / cell_count.max(1) as f64).sqrt();
    (estimate.max(cell_count as u64) as f64 * (1.0 + margin)) as u64
}
