//! Passes over entries that turn out longer than what they were chosen for.

use super::NOW;
use crate::error::AbortReason;
use crate::limits::{Limits, PLAIN_COUNT_MAX, SMALL_COUNT_MAX};
use crate::options::Options;
use crate::replica::{Heads, ReadAnswer, ReadRequest};
use crate::session::narrow::Choice;
use crate::session::seen::Seen;
use crate::session::table::Sketching;
use crate::session::walk::{Place, Span};
use crate::session::{Answer, End, Input, Output, Session};
use crate::sketch::Sketch;
use crate::types::{Fingerprint, Head, KeyRange, Kind, RangeSum, Stamp};
use crate::wire::item::{Extra, Lacking, Scope};
use crate::wire::sketched::{Form, Sketched};

const CHUNK_COUNT: u64 = 4096;

fn session(sketch_count: u32) -> Session {
    let limits = Limits { sketch_count, ..Limits::default() };
    Session::responder(Options { limits, ..Options::new(1) }, NOW)
}

/// Answers every request for heads with a chunk of them, and for ever. Returns how many were read, and what came instead.
fn read_on(session: &mut Session) -> (u64, Output) {
    let mut count = 0;
    loop {
        match session.poll_output().expect("it asks, or it ends") {
            Output::Read(ReadRequest::Heads { .. }) => {
                let key = |n: u64| n.to_be_bytes().to_vec();
                let head = |n| Head {
                    key: key(n),
                    stamp: Stamp { hlc: 1, node: 1 },
                    kind: Kind::Put,
                    expires_at: 0,
                    hash: u128::from(n) << 64 | u128::from(n),
                    value_len: 0,
                    is_merged: false,
                };
                let heads = (count..count + CHUNK_COUNT).map(head).collect();
                count += CHUNK_COUNT;
                let heads = Heads { heads, next: Some(key(count)) };
                session.handle(Input::Answer(Answer::Read(ReadAnswer::Heads(heads))), NOW);
            }
            Output::Send(_) => {}
            other => return (count, other),
        }
    }
}

fn place() -> Place {
    let range = KeyRange::all();
    Place { item: 0, range, area: None, choice: Choice::All, depth: 0, tries: 0 }
}

fn sketched() -> Sketched {
    let form = Form::Cells(Sketch::new(1));
    Sketched { scope: Scope::Keys(KeyRange::all()), entry_count: 1, fingerprint_len: 4, form }
}

#[test]
fn a_range_that_grows_beyond_what_a_message_tells_one_by_one_is_cut() {
    let mut session = session(1 << 22);
    let sum = RangeSum { live: PLAIN_COUNT_MAX as u64 - 1, ..RangeSum::ZERO };
    session.ask_sketch(Span::new(Scope::Keys(KeyRange::all()), KeyRange::all(), sum, 0), 0);
    let (count, output) = read_on(&mut session);
    assert!(matches!(output, Output::Read(ReadRequest::Children { .. })), "{output:?}");
    assert!(count <= PLAIN_COUNT_MAX as u64 + CHUNK_COUNT, "{count}");
}

#[test]
fn a_peer_that_sketches_more_than_this_side_reads_at_once_is_answered_by_a_cut() {
    for sketch_count in [0, 1000, 10_000] {
        let mut session = session(sketch_count);
        session.compare_sketched(place(), sketched());
        let (count, output) = read_on(&mut session);
        assert!(matches!(output, Output::Read(ReadRequest::Children { .. })), "{output:?}");
        assert!(count <= u64::from(sketch_count).max(SMALL_COUNT_MAX) + CHUNK_COUNT, "{count}");
    }
}

#[test]
fn a_session_that_reads_far_more_than_there_is_ends() {
    let mut session = session(u32::MAX);
    session.compare_sketched(place(), sketched());
    let (count, output) = read_on(&mut session);
    let Output::Done(outcome) = output else { panic!("{output:?}") };
    assert_eq!(outcome.end, End::Aborted(AbortReason::Limit("entries read")));
    assert!(count < 2 << 20, "{count}");
}

#[test]
fn what_a_pass_is_told_to_look_for_counts() {
    let mut session = session(1 << 22);
    let before = session.memory_len();
    let sketching = Sketching {
        count: 100_000,
        fingerprint: Fingerprint(1),
        fingerprint_len: 4,
        plain: Vec::new(),
        seen: Seen::full(),
        tries: 0,
    };
    let extra = vec![Extra { key: 1, hlc: 1 }; 30_000];
    let lacking = Lacking::Fingerprints(4, (0..30_000).collect());
    session.ask_lacking(place(), sketching, lacking, extra, Fingerprint(1)).expect("an answer to the sketch");
    let held = session.memory_len() - before;
    assert!(held > 30_000 * (size_of::<Extra>() + size_of::<u64>()), "{held}");
}
