//! What happens between two sessions when messages are tampered with: a stranger in the middle reads, changes and writes
//! every message, so that rare branches (collisions of short hashes, full lists, restarts) are taken at will, and liars
//! are played without writing a second implementation.

use std::collections::VecDeque;
use std::time::Duration;

use super::{End, Input, Outcome, Session};
use crate::driver::{Pump, Step};
use crate::error::{AbortReason, PeerReason};
use crate::hash::SessionSalt;
use crate::limits::{FRAME_LEN_MAX, Limits, MEMORY_MAX};
use crate::options::{Mode, Options};
use crate::test_model::rng::{Rng, diverged};
use crate::test_model::{Model, Truth, entry};
use crate::types::KeyRange;
use crate::wire::codec::Reader;
use crate::wire::frame::{self, FRAME_HEADER_LEN};
use crate::wire::hello::Done;
use crate::wire::item::{Children, Lacking, List, Pieces, Scope, Split};
use crate::wire::message::Message;

mod healing;
mod narrow;
mod scan;

const NOW: Duration = Duration::ZERO;

/// What a stranger in the middle does to the messages of one frame. `true`: from the left side.
type Tamper<'a> = &'a mut dyn FnMut(bool, &mut Vec<Message>);

fn messages(frame: &[u8]) -> Vec<Message> {
    let mut reader = Reader::new(&frame[FRAME_HEADER_LEN..]);
    let mut messages = Vec::new();
    while !reader.is_empty() {
        let bytes = &frame[frame.len() - reader.remaining_len()..];
        let mut one = Reader::new(bytes);
        messages.push(Message::decode(&mut one).expect("sessions send messages"));
        reader = Reader::new(&bytes[bytes.len() - one.remaining_len()..]);
    }
    messages
}

/// Without sketches, which settle everything of this size otherwise.
fn lists_only(nonce: u64) -> Options {
    let mut options = Options::new(nonce);
    options.limits = Limits { sketch_count: 0, fan_out: 8, ..Limits::default() };
    options
}

/// A frame that is not sealed yet.
fn packed(messages: &[Message], last: bool) -> Vec<u8> {
    let mut frame = frame::begin();
    messages.iter().for_each(|message| message.encode(&mut frame));
    if last {
        frame::set_last(&mut frame);
    }
    frame
}

fn run(left: &Model, right: &Model, options: Options, tamper: Tamper<'_>) -> (Outcome, Outcome) {
    run_raw(left, right, options, &mut |from_left, frame, last| {
        let mut messages = messages(frame);
        tamper(from_left, &mut messages);
        *frame = packed(&messages, last);
    })
}

/// As [`run`], on the bytes of the frames. The connection ends when one side has, or when both wait.
fn run_raw(
    left: &Model,
    right: &Model,
    options: Options,
    damage: &mut dyn FnMut(bool, &mut Vec<u8>, bool),
) -> (Outcome, Outcome) {
    let mut pumps = [
        Pump::new(Session::initiator(options.clone(), NOW)),
        Pump::new(Session::responder(Options { nonce: 99, ..options }, NOW)),
    ];
    let mut outcomes = [None, None];
    let (mut waiting_count, mut numbers) = (0, [0; 2]);
    while outcomes.iter().any(Option::is_none) {
        for (side, model) in [left, right].into_iter().enumerate() {
            while outcomes[side].is_none() {
                match pumps[side].step(model, NOW) {
                    Step::Send(mut frame) => {
                        let last = frame::check(&frame, numbers[side]).expect("sealed");
                        damage(side == 0, &mut frame, last);
                        frame::seal(&mut frame, numbers[side]);
                        numbers[side] += 1;
                        pumps[1 - side].handle(Input::Frame(frame), NOW);
                        waiting_count = 0;
                        break;
                    }
                    Step::Tell(_) => {}
                    Step::Receive => {
                        waiting_count += 1;
                        if outcomes[1 - side].is_some() || waiting_count > 3 {
                            pumps[side].handle(Input::Closed, NOW);
                        } else {
                            break;
                        }
                    }
                    Step::Ended(outcome) => outcomes[side] = Some(*outcome),
                }
            }
            assert!(pumps.iter().all(|pump| pump.memory_len() < MEMORY_MAX));
        }
    }
    outcomes.map(|outcome| outcome.expect("both ended")).into()
}

/// Two replicas of `n` random keys, of which the left has newer versions of `stale`.
fn stale_pair(n: u64, stale: impl IntoIterator<Item = u64>) -> (Model, Model) {
    let left = Model::new(1);
    let key = |index| [vec![1], Rng(index).bytes(12)].concat();
    (0..n).for_each(|index| left.put(entry(key(index), 100, 1, "old")));
    let right = left.copy(2);
    stale.into_iter().for_each(|index| left.put(entry(key(index), 200, 1, "new")));
    (left, right)
}

#[test]
fn a_collision_that_hides_a_difference_is_listed_again_and_then_in_full_width() {
    for collisions in 0..=2 {
        let (left, right) = stale_pair(60, [5]);
        let (mut hidden, mut lists, mut full) = (0, 0, 0);
        let (outcome, _) = run(&left, &right, lists_only(1), &mut |_, messages| {
            for message in messages {
                match message {
                    Message::List(_) => lists += 1,
                    Message::FullList(_) => full += 1,
                    // As if both versions had the same short fingerprint: they match, and only the sum knows better.
                    Message::Unmatched(unmatched) if hidden < collisions => {
                        (unmatched.lacking, unmatched.extra) = (Lacking::Positions(Vec::new()), Vec::new());
                        hidden += 1;
                    }
                    _ => {}
                }
            }
        });
        assert_eq!(outcome.end, End::Complete);
        assert_eq!(left.root(), right.root());
        assert_eq!((lists, full), [(1, 0), (2, 0), (2, 1)][collisions], "{collisions} collisions");
        assert_eq!(outcome.report.entries_differing, 1);
    }
}

#[test]
fn every_list_in_full_width_converges_as_well() {
    for seed in 0..60 {
        let (left, right) = diverged(seed);
        let _ = run(&left, &right, Options::new(seed), &mut |_, messages| {
            for message in messages {
                if let Message::Unmatched(unmatched) = message {
                    unmatched.common = !unmatched.common;
                }
            }
        });
        assert_eq!(left.root(), right.root(), "seed {seed}");
    }
}

#[test]
fn a_sketch_that_does_not_close_is_looked_at_more_closely() {
    for collisions in 0..3 {
        let (left, right) = stale_pair(5000, [5, 2000]);
        let (mut hidden, mut sketches, mut others) = (0, 0, 0);
        let (outcome, _) = run(&left, &right, Options::new(1), &mut |_, messages| {
            for message in messages {
                match message {
                    Message::Sketched(_) => sketches += 1,
                    Message::Children(_) | Message::Split(_) | Message::List(_) => others += 1,
                    // As if the versions of one key had the same short fingerprint.
                    Message::Unmatched(unmatched) if hidden < collisions => {
                        match &mut unmatched.lacking {
                            Lacking::Positions(positions) => positions.clear(),
                            Lacking::Fingerprints(_, fingerprints) => fingerprints.clear(),
                        }
                        unmatched.extra.clear();
                        hidden += 1;
                    }
                    _ => {}
                }
            }
        });
        assert_eq!(outcome.end, End::Complete);
        assert_eq!(left.root(), right.root());
        assert_eq!(outcome.report.entries_differing, 2);
        assert!(sketches > 0 && others >= hidden, "{collisions} collisions: {sketches} sketches, {others}");
    }
}

#[test]
fn what_only_one_side_holds_is_sent_without_being_asked_for() {
    for left_lacks in [false, true] {
        let (left, right) = stale_pair(5000, []);
        let lacking = if left_lacks { &left } else { &right };
        [3, 400, 4000].into_iter().for_each(|n| lacking.remove(&[vec![1], Rng(n).bytes(12)].concat()));
        let mut settles = 0;
        let (outcome, on_right) = run(&left, &right, Options::new(1), &mut |_, messages| {
            settles += messages.iter().filter(|message| matches!(message, Message::Settle(_))).count();
        });
        assert_eq!((outcome.end, left.root()), (End::Complete, right.root()), "{left_lacks}");
        // The initiator sketches its entries. If the responder holds more, it sends that at once.
        let expected = (usize::from(!left_lacks), 6);
        assert_eq!((settles, outcome.report.legs), expected, "{left_lacks}");
        for report in [&outcome.report, &on_right.report] {
            let only = if left_lacks { report.only_right } else { report.only_left };
            assert_eq!((only, report.entries_differing), (3, 3), "{left_lacks}");
        }
    }
}

#[test]
fn a_side_that_holds_one_entry_in_a_hundred_gets_the_others_in_a_few_flights() {
    // It knows almost none of the fences that the other side cuts at, and what it sketches never decodes.
    for left_lacks in [false, true] {
        let (left, right) = stale_pair(12_000, []);
        let few = if left_lacks { &left } else { &right };
        let kept = |n: &u64| !n.is_multiple_of(100);
        (0..12_000).filter(kept).for_each(|n| few.remove(&[vec![1], Rng(n).bytes(12)].concat()));
        let truth = Truth::of(&left, &right);
        let (outcome, on_right) = run(&left, &right, Options::new(1), &mut |_, _| ());
        assert_eq!((outcome.end, left.root()), (End::Complete, right.root()), "{left_lacks}");
        let sent = outcome.report.entries_sent + on_right.report.entries_sent;
        assert_eq!(sent, truth.entries_to_send(), "{left_lacks}");
        assert!(outcome.report.legs < 16, "{left_lacks}: {}", outcome.report.legs);
    }
}

#[test]
fn an_entry_overwritten_between_two_passes_is_not_lost() {
    for on_left in [false, true] {
        let (left, right) = stale_pair(3000, [5, 100, 2000]);
        let key = [vec![1], Rng(100).bytes(12)].concat();
        let mut overwritten = 0;
        // Either side may be the one that has answered a sketch and now looks for the entry.
        let (outcome, _) = run(&left, &right, Options::new(1), &mut |_, messages| {
            for message in messages {
                let sketched = matches!(message, Message::Sketched(_) | Message::Unmatched(_));
                if sketched && overwritten < 2 {
                    overwritten += 1;
                    let side = if on_left { &left } else { &right };
                    side.put(entry(key.clone(), 300 + overwritten, 1, "newest"));
                }
            }
        });
        assert_eq!((outcome.end, overwritten), (End::Complete, 2), "{on_left}");
        // What a side took in meanwhile may be left to the next session.
        let _ = run(&left, &right, Options::new(2), &mut |_, _| ());
        assert_eq!(left.root(), right.root(), "{on_left}");
        assert_eq!(left.contents()[&key].entry.value, b"newest", "{on_left}");
    }
}

#[test]
fn keys_with_the_same_short_fingerprint_are_sent_after_all() {
    // Each side has one key that the other lacks. In the middle the fingerprint of the left one becomes that of the
    // right one, so that the deciding right side takes the two for versions of one key, whichever of them is newer.
    for left_hlc in [300, 500] {
        let (left, right) = stale_pair(20, []);
        let (left_key, right_key) = ([1, 7], [1, 8]);
        left.put(entry(left_key, left_hlc, 1, "left"));
        right.put(entry(right_key, 400, 2, "right"));
        let salt = SessionSalt::new(1, 99);
        let (mut leg, mut collisions) = (0, 0);
        let (on_left, on_right) = run(&left, &right, Options::new(1), &mut |_, messages| {
            leg += 1;
            for message in messages {
                if let Message::Unmatched(unmatched) = message {
                    assert_eq!(unmatched.extra.len(), 1);
                    assert!(!unmatched.lacking.is_empty());
                    unmatched.extra[0].key = salt.leg(leg).key_of_len(&right_key, 4);
                    collisions += 1;
                }
            }
        });
        assert_eq!(collisions, 1);
        assert_eq!((on_left.end, on_right.end), (End::Complete, End::Complete), "{left_hlc}");
        assert_eq!(left.root(), right.root(), "{left_hlc}");
        assert!(left.is_durable() && right.is_durable(), "{left_hlc}");
    }
}

#[test]
fn a_mistaken_bound_is_noticed_when_a_range_is_put_aside_and_nothing_is_lost() {
    // Windows of a few items, so that almost everything is put aside, and a middle that shifts what is referred to: the
    // two sides mean different keys by the same pieces.
    let mut restarts = 0;
    for seed in 0..60 {
        let rng = &mut Rng(seed);
        let (left, right) = stale_pair(2000, (0..2000).step_by(3));
        let mut options = lists_only(seed);
        options.limits.window_len = 200;
        let mut shifts = 2;
        let truth = Truth::of(&left, &right);
        let (outcome, on_right) = run(&left, &right, options, &mut |_, messages| {
            for message in messages {
                match message {
                    Message::Later(later) if shifts > 0 && rng.one_in(3) => {
                        later.check ^= 1;
                        shifts -= 1;
                    }
                    Message::Restart => restarts += 1,
                    _ => {}
                }
            }
        });
        assert_eq!(outcome.end, End::Complete, "seed {seed}");
        assert_eq!(left.root(), right.root(), "seed {seed}");
        let sent = outcome.report.entries_sent + on_right.report.entries_sent;
        assert_eq!(sent, truth.entries_to_send(), "seed {seed}: nothing is sent again");
    }
    assert!(restarts > 0, "the responder noticed, too");
}

#[test]
fn narrow_windows_cost_legs_and_nothing_else() {
    for seed in 0..60 {
        let (left, right) = diverged(seed);
        let truth = Truth::of(&left, &right);
        let mut options = lists_only(seed);
        options.limits.window_len = 300;
        let (on_left, on_right) = run(&left, &right, options, &mut |_, _| ());
        assert_eq!(on_left.end, End::Complete, "seed {seed}");
        assert_eq!(left.root(), right.root(), "seed {seed}");
        let sent = on_left.report.entries_sent + on_right.report.entries_sent;
        assert_eq!(sent, truth.entries_to_send(), "seed {seed}");
    }
}

#[test]
fn what_the_other_side_lacks_of_many_sketches_is_not_all_held_at_once() {
    for left_lacks in [false, true] {
        let left = Model::new(1);
        let key = |n: u64| [vec![1], Rng(n).bytes(12), vec![7; 1000]].concat();
        (0..24_000).for_each(|n| left.put(entry(key(n), 100, 1, "v")));
        let right = left.copy(2);
        let lacking = if left_lacks { &left } else { &right };
        (0..24_000).filter(|n| n % 3 > 0).for_each(|n| lacking.remove(&key(n)));
        let mut options = Options::new(1);
        options.limits = Limits { sketch_count: 1000, fan_out: 48, ..Limits::default() };
        // The sketches of a flight are short, and the keys of all that they show to be lacking are not.
        let (outcome, _) = run(&left, &right, options, &mut |_, _| ());
        assert_eq!((outcome.end, left.root()), (End::Complete, right.root()), "{left_lacks}");
    }
}

/// Plays a peer that answers every flight with `lie`, until the session ends. Returns how it ended and how many flights
/// that took.
fn lie_to(model: &Model, options: Options, mut lie: impl FnMut(&[Message]) -> Vec<Message>) -> (End, u32) {
    let mut pump = Pump::new(Session::initiator(options, NOW));
    let mut honest = Pump::new(Session::responder(Options::new(2), NOW));
    let (other, mut greeted, mut flight) = (stale_pair(10, []).1, false, Vec::new());
    let mut flights = 0;
    loop {
        match pump.step(model, NOW) {
            Step::Send(frame) if !greeted => honest.handle(Input::Frame(frame), NOW),
            Step::Send(frame) => flight.extend(messages(&frame)),
            Step::Tell(_) => {}
            Step::Receive => {
                let number = u64::from(flights);
                flights += 1;
                let answer = if greeted {
                    lie(&std::mem::take(&mut flight))
                } else {
                    greeted = true;
                    let Step::Send(frame) = honest.step(&other, NOW) else { panic!("no hello") };
                    let hello = messages(&frame).swap_remove(0);
                    std::iter::once(hello).chain(lie(&[])).collect()
                };
                let mut frame = packed(&answer, true);
                frame::seal(&mut frame, number);
                pump.handle(Input::Frame(frame), NOW);
                assert!(pump.memory_len() < MEMORY_MAX);
            }
            Step::Ended(outcome) => return (outcome.end, flights),
        }
    }
}

/// All pieces of the items of a flight.
fn spans(flight: &[Message]) -> Vec<Pieces> {
    let piece_count = |message: &Message| match message {
        Message::Children(children) => Some(children.hashes.len()),
        Message::Split(split) => Some(split.hashes.len()),
        Message::List(_) | Message::FullList(_) | Message::Unmatched(_) => Some(1),
        Message::Sketched(_) | Message::SketchedPieces(_) => Some(1),
        _ => None,
    };
    let counts = flight.iter().filter_map(piece_count).enumerate();
    let pieces = |(item, hi): (usize, usize)| Pieces { item: item as u32, lo: 0, hi: hi as u32 };
    if flight.is_empty() { vec![Pieces { item: 0, lo: 0, hi: 1 }] } else { counts.map(pieces).collect() }
}

#[test]
fn a_liar_with_endless_depth_ends() {
    let (model, _) = stale_pair(20_000, []);
    let mut rng = Rng(4);
    let (end, flights) = lie_to(&model, Options::new(1), |flight| {
        let cut = |pieces| {
            let ids = vec![7; 7];
            let hashes = (0..8).map(|_| rng.next()).collect();
            Message::Children(Children { scope: Scope::Pieces(pieces), cut: 1, differing: 0, ids, hashes })
        };
        spans(flight).into_iter().map(cut).collect()
    });
    assert!(matches!(end, End::Aborted(AbortReason::Limit("depth"))), "{end:?}");
    assert!(flights < 200, "{flights}");
}

#[test]
fn a_liar_who_cuts_lists_for_ever_ends() {
    let (model, _) = stale_pair(500, []);
    let (end, flights) = lie_to(&model, Options::new(1), |flight| {
        let cut = |pieces| {
            let bounds = vec![vec![1, 0, 0]];
            Message::Split(Split { scope: Scope::Pieces(pieces), bounds, hashes: vec![1, 2] })
        };
        spans(flight).into_iter().map(cut).collect()
    });
    assert!(matches!(end, End::Aborted(AbortReason::Limit("depth"))), "{end:?}");
    assert!(flights < 200, "{flights}");
}

#[test]
fn a_peer_that_only_puts_off_or_says_nothing_is_left() {
    let (model, _) = stale_pair(500, []);
    let list = |pieces| Message::List(List { scope: Scope::Pieces(pieces), fingerprints: vec![1, 2, 3] });
    let mut flights = 0;
    let (end, _) = lie_to(&model, Options::new(1), |flight| {
        flights += 1;
        if flights == 1 { spans(flight).into_iter().map(list).collect() } else { Vec::new() }
    });
    assert!(matches!(end, End::Aborted(AbortReason::Protocol(_))), "{end:?}");
}

#[test]
fn a_peer_that_claims_absurd_numbers_overflows_nothing() {
    let (model, _) = stale_pair(500, []);
    let claims = [Message::Stream(u64::MAX), Message::Stream(u64::MAX)];
    let done = Done { reasons: 0, refused: u64::MAX, deferred: u64::MAX, root: model.root() };
    let (end, _) = lie_to(&model, Options::new(1), |_| {
        claims.iter().cloned().chain([Message::Done(done.clone())]).collect()
    });
    assert_eq!(end, End::Complete, "it says that it is done, and this side has nothing to add");
}

#[test]
fn items_that_refer_to_nothing_or_twice_or_to_foreign_ranges_are_refused() {
    let (model, _) = stale_pair(500, []);
    let list = |scope| Message::List(List { scope, fingerprints: vec![1] });
    let pieces = |item, lo, hi| list(Scope::Pieces(Pieces { item, lo, hi }));
    let lies: [Vec<Message>; 5] = [
        vec![pieces(1, 0, 1)],
        vec![pieces(0, 1, 2)],
        vec![pieces(0, 0, 2)],
        vec![pieces(0, 0, 1), pieces(0, 0, 1)],
        vec![list(Scope::Keys(KeyRange::all()))],
    ];
    for lie in lies {
        let (end, flights) = lie_to(&model, Options::new(1), |_| lie.clone());
        assert!(matches!(end, End::Aborted(AbortReason::Protocol(_))), "{lie:?}: {end:?}");
        assert_eq!(flights, 1, "{lie:?}: at once");
    }
}

#[test]
fn entries_that_nobody_may_send_never_reach_the_replica() {
    let (model, _) = stale_pair(500, []);
    let before = model.contents();
    for (mode, key) in [(Mode::Both, [0, 1]), (Mode::Push, [1, 1]), (Mode::DryRun, [1, 1])] {
        let entries = Message::Entries(vec![entry(key, 5, 5, "foreign")]);
        let options = Options { mode, ..Options::new(1) };
        let (end, flights) = lie_to(&model, options, |_| vec![entries.clone()]);
        assert!(matches!(end, End::Aborted(AbortReason::Protocol(_))), "{mode:?}: {end:?}");
        assert_eq!((flights, model.contents() == before), (1, true), "{mode:?}");
    }
}

#[test]
fn a_list_must_be_answered() {
    let (model, _) = stale_pair(20, []);
    let cut = Split {
        scope: Scope::Pieces(Pieces { item: 0, lo: 0, hi: 1 }),
        bounds: vec![vec![1, 128]],
        hashes: vec![1, 2],
    };
    let done = Done { reasons: 0, refused: 0, deferred: 0, root: model.root() };
    let mut flights = 0;
    let (end, _) = lie_to(&model, Options::new(1), |_| {
        flights += 1;
        vec![if flights == 1 { Message::Split(cut.clone()) } else { Message::Done(done.clone()) }]
    });
    assert_eq!(end, End::Aborted(AbortReason::Protocol("a list without an answer")));
}

#[test]
fn damaged_messages_end_typed_and_do_no_harm() {
    // Every frame is sealed again after the damage, so that it reaches the messages and the session behind them.
    let (mut aborted, mut survived) = (0, 0);
    for seed in 0..500 {
        let rng = &mut Rng(seed);
        let (left, right) = diverged(seed % 40);
        let at = rng.below(12);
        let mut count = 0;
        let (on_left, on_right) = run_raw(&left, &right, Options::new(seed), &mut |_, frame, _| {
            count += 1;
            if count != at + 1 || frame.len() <= FRAME_HEADER_LEN {
                return;
            }
            let payload_len = (frame.len() - FRAME_HEADER_LEN) as u64;
            for _ in 0..=rng.below(3) {
                let position = FRAME_HEADER_LEN + rng.below(payload_len) as usize;
                match rng.below(4) {
                    0 => frame.truncate(position),
                    1 if frame.len() < FRAME_LEN_MAX => frame.extend_from_within(position.min(frame.len())..),
                    _ => {
                        if let Some(byte) = frame.get_mut(position) {
                            *byte = rng.next() as u8;
                        }
                    }
                }
            }
        });
        for outcome in [on_left, on_right] {
            match outcome.end {
                End::Aborted(
                    AbortReason::Malformed(_) | AbortReason::Protocol(_) | AbortReason::Limit(_),
                )
                | End::Aborted(AbortReason::Peer(_) | AbortReason::Closed)
                | End::Aborted(AbortReason::OtherSet | AbortReason::OtherHashKey | AbortReason::SameNode)
                | End::Aborted(AbortReason::Version { .. }) => aborted += 1,
                End::Complete | End::Partial(_) => survived += 1,
                end => panic!("seed {seed}: {end:?}"),
            }
        }
    }
    assert!(aborted > 200 && survived > 60, "{aborted} aborted, {survived} survived");
}

/// Runs an honest session of which the frame with one number, of both sides' taken together, arrives so often; the outcomes, and
/// how many frames there were.
fn run_with_copies(left: &Model, right: &Model, number: usize, copies: usize) -> ([Outcome; 2], usize) {
    let mut pumps = [
        Pump::new(Session::initiator(Options::new(1), NOW)),
        Pump::new(Session::responder(Options::new(99), NOW)),
    ];
    let (mut wires, mut outcomes, mut count) = ([VecDeque::new(), VecDeque::new()], [None, None], 0);
    while outcomes.iter().any(Option::is_none) {
        let mut waits = true;
        for (side, model) in [left, right].into_iter().enumerate() {
            while outcomes[side].is_none() {
                match pumps[side].step(model, NOW) {
                    Step::Send(frame) => {
                        let copies = if count == number { copies } else { 1 };
                        wires[1 - side].extend(std::iter::repeat_n(frame, copies));
                        count += 1;
                    }
                    Step::Tell(_) => {}
                    Step::Ended(outcome) => outcomes[side] = Some(*outcome),
                    Step::Receive => match wires[side].pop_front() {
                        Some(frame) => pumps[side].handle(Input::Frame(frame), NOW),
                        None if outcomes[1 - side].is_some() => pumps[side].handle(Input::Closed, NOW),
                        None => break,
                    },
                }
                waits = false;
            }
        }
        if waits {
            pumps.iter_mut().for_each(|pump| pump.handle(Input::Closed, NOW));
        }
    }
    (outcomes.map(|outcome| outcome.expect("ended")), count)
}

#[test]
fn a_frame_that_is_missing_or_comes_twice_ends_the_session() {
    // Two values that fill several frames of one flight, beside others.
    let stores = || {
        let (left, right) = diverged(7);
        left.put(entry([2, 1], 900, 1, vec![7; 600 << 10]));
        left.put(entry([2, 2], 901, 1, vec![8; 600 << 10]));
        (left, right)
    };
    let (left, right) = stores();
    let (_, frame_count) = run_with_copies(&left, &right, usize::MAX, 1);
    assert!(frame_count > 10, "{frame_count}");
    let malformed = End::Aborted(AbortReason::Malformed("frame checksum"));
    for number in 0..frame_count {
        let (left, right) = stores();
        let (outcomes, _) = run_with_copies(&left, &right, number, 0);
        // Who says the last one is done.
        let is_last = number + 1 == frame_count;
        let is_complete = |outcome: &Outcome| outcome.end == End::Complete;
        assert!(is_last || !outcomes.iter().any(is_complete), "without {number}: {outcomes:?}");
        let (left, right) = stores();
        let ([on_left, on_right], _) = run_with_copies(&left, &right, number, 2);
        // The last one of each side comes the second time to a session that is over.
        let is_over = number + 2 >= frame_count && on_left.report.is_equal();
        assert!(
            is_over || on_left.end == malformed || on_right.end == malformed,
            "{number} doubled: {on_left:?}"
        );
    }
}

#[test]
fn the_peer_is_told_why_a_session_ends() {
    let (left, mut right) = stale_pair(500, [1]);
    right.config.fails_at = 3;
    let (on_left, on_right) = run(&left, &right, Options::new(1), &mut |_, _| ());
    assert_eq!(on_left.end, End::Aborted(AbortReason::Peer(PeerReason::Replica)));
    assert!(matches!(on_right.end, End::Aborted(AbortReason::Replica(_))));
}
