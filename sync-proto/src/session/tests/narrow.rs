//! Pieces that are taken for equal by mistake, that do not exist, or that a liar makes up.

use super::{lie_to, run, spans, stale_pair};
use crate::error::AbortReason;
use crate::options::Options;
use crate::session::End;
use crate::sketch::Sketch;
use crate::test_model::rng::Rng;
use crate::test_model::{Model, entry};
use crate::wire::item::{Pieces, Scope};
use crate::wire::message::Message;
use crate::wire::piece::{Named, Names, PieceForm, SketchedPieces};

/// The names of pieces in the scopes of these messages.
fn named(messages: &mut [Message]) -> impl Iterator<Item = &mut Named> {
    messages.iter_mut().filter_map(|message| match message {
        Message::Sketched(sketched) => match &mut sketched.scope {
            Scope::Named(named) => Some(named),
            _ => None,
        },
        _ => None,
    })
}

#[test]
fn pieces_that_differ_and_are_taken_for_equal_are_noticed_by_the_sum_of_all_others() {
    // A few differences are told by a sketch of the pieces, many by a list of them.
    for stale in [vec![5, 2000, 4000], (0..300).map(|n| 16 * n).collect()] {
        let (left, right) = stale_pair(5000, stale.iter().copied());
        let (mut hidden, mut cuts) = (0, 0);
        let (outcome, _) = run(&left, &right, Options::new(1), &mut |_, messages| {
            cuts += messages.iter().filter(|message| matches!(message, Message::Children(_))).count();
            for named in named(messages) {
                // As if two different pieces had the same short fingerprint: it is not named.
                hidden += usize::from(hidden == 0);
                match &mut named.names {
                    Names::Fingerprints(fingerprints) if cuts == 0 => drop(fingerprints.pop()),
                    Names::Bits(bits) if cuts == 0 => {
                        let byte = bits.iter_mut().find(|byte| **byte > 0).expect("something differs");
                        *byte &= *byte - 1;
                    }
                    _ => {}
                }
            }
        });
        assert_eq!((outcome.end, left.root()), (End::Complete, right.root()));
        assert_eq!(outcome.report.entries_differing, stale.len() as u64);
        assert!(hidden > 0 && cuts > 0, "{hidden} hidden, {cuts} cuts");
    }
}

#[test]
fn names_of_pieces_that_do_not_exist_do_no_harm() {
    for seed in 0..60 {
        let rng = &mut Rng(seed);
        let (left, right) = stale_pair(3000, (0..1 + rng.below(300)).map(|n| 9 * n));
        let (outcome, _) = run(&left, &right, Options::new(seed), &mut |_, messages| {
            for named in named(messages) {
                if rng.one_in(2) {
                    continue;
                }
                named.names = match rng.below(3) {
                    0 => Names::Fingerprints(vec![rng.next() >> 33, 1 << 31 | rng.next() >> 33]),
                    1 => Names::Bits(rng.bytes(40)),
                    _ => Names::Fingerprints(Vec::new()),
                };
            }
        });
        assert_eq!((outcome.end, left.root()), (End::Complete, right.root()), "seed {seed}");
    }
}

#[test]
fn a_liar_with_endless_sketches_of_pieces_ends() {
    for named in [false, true] {
        let (model, _) = stale_pair(20_000, []);
        let mut rng = Rng(4);
        let (end, flights) = lie_to(&model, Options::new(1), |flight| {
            let mut sketch = Sketch::new(30);
            (0..200).for_each(|_| sketch.add(rng.next() >> 32));
            let names = Names::Fingerprints(Vec::new());
            let scope = |pieces: Pieces| match named {
                true => Scope::Named(Named {
                    item: pieces.item,
                    names: names.clone(),
                    rest: model.root().fingerprint.0,
                }),
                false => Scope::Pieces(pieces),
            };
            let lie = |pieces| {
                let form = PieceForm::Cells(sketch.clone());
                let (cut, piece_count, entry_count) = (0, 2000, 20_000);
                Message::SketchedPieces(SketchedPieces {
                    scope: scope(pieces),
                    cut,
                    piece_count,
                    entry_count,
                    form,
                })
            };
            spans(flight).into_iter().map(lie).collect()
        });
        assert!(
            matches!(end, End::Aborted(AbortReason::Limit(_) | AbortReason::Protocol(_))),
            "{named}: {end:?}"
        );
        assert!(flights < 300, "{named}: {flights}");
    }
}

#[test]
fn a_group_of_pieces_that_is_too_long_to_hold_is_cut_instead() {
    // Every key is a fence, and some 32 of them make a group.
    let mut left = Model::new(1);
    left.config.bucket_bits = 0;
    let key = |n: u64| [vec![1], Rng(n).bytes(12), vec![7; 16 << 10]].concat();
    (0..1100).for_each(|n| left.put(entry(key(n), 100, 1, "old")));
    let right = left.copy(2);
    (0..1100).step_by(150).for_each(|n| left.put(entry(key(n), 200, 1, "new")));
    let (mut pieces, mut cuts) = (0, 0);
    let (outcome, _) = run(&left, &right, Options::new(1), &mut |_, messages| {
        pieces += messages.iter().filter(|message| matches!(message, Message::SketchedPieces(_))).count();
        cuts += messages.iter().filter(|message| matches!(message, Message::Children(_))).count();
    });
    assert_eq!((outcome.end, left.root()), (End::Complete, right.root()));
    assert!(pieces > 0 && cuts > 0, "{pieces} sketches of pieces, {cuts} cuts");
}
