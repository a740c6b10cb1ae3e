//! What a liar may ask to be healed, and heal.

use super::{lie_to, run, stale_pair};
use crate::error::AbortReason;
use crate::healing::{Healing, Lost};
use crate::options::Options;
use crate::session::End;
use crate::test_model::entry;
use crate::types::KeyRange;
use crate::wire::message::Message;

#[test]
fn healing_that_was_not_asked_for_never_reaches_the_replica() {
    let range = |start: &[u8], end: &[u8]| KeyRange { start: start.to_vec(), end: Some(end.to_vec()) };
    let heal = |range, cut| Message::Heal(Healing { range, cut, entries: Vec::new(), value_len: None });
    let lost = |range| Message::Lost(Lost { spans: vec![range], values: Vec::new() });
    let lies = [
        vec![heal(range(&[2], &[3]), 9)],
        vec![heal(range(&[1], &[1, 200]), 9)],
        vec![heal(range(&[1], &[1, 50]), 9), heal(range(&[1, 49], &[1, 60]), 9)],
        vec![heal(range(&[1], &[1, 50]), 4)],
        vec![lost(range(&[1], &[2])), lost(range(&[1, 5], &[1, 6]))],
        vec![lost(range(&[0], &[2]))],
    ];
    for (number, lie) in lies.iter().enumerate() {
        for is_damaged in [true, false] {
            let mut model = stale_pair(10, []).0;
            model.config.horizon = 5;
            if is_damaged {
                model.lose(range(&[1], &[1, 128]), |_| true);
            }
            let before = model.contents();
            let (end, _) = lie_to(&model, Options::new(1), |asked| {
                if is_damaged && asked.is_empty() { Vec::new() } else { lie.clone() }
            });
            assert!(matches!(end, End::Aborted(AbortReason::Protocol(_))), "{number} {is_damaged}: {end:?}");
            assert!(model.contents() == before && model.losses().1 == 0, "{number}");
        }
    }
}

#[test]
fn what_is_lost_is_asked_for_once_a_flight_by_a_side_that_said_so() {
    let span = |n: u8| KeyRange { start: vec![1, n], end: Some(vec![1, n + 1]) };
    for (says_so, messages_max) in [(true, 1), (true, 2), (false, 1)] {
        let (left, right) = stale_pair(50, []);
        if says_so {
            [3, 7].into_iter().for_each(|n| right.lose(span(n), |_| false));
        } else {
            right.put(entry([1, 200], 5, 5, "new"));
        }
        let (outcome, _) = run(&left, &right, Options::new(1), &mut |from_left, flight| {
            let asks = |message: &Message| matches!(message, Message::Lost(_));
            match flight.iter().position(asks) {
                _ if from_left => {}
                Some(at) if messages_max == 2 => {
                    let parts =
                        [3, 7].map(|n| Message::Lost(Lost { spans: vec![span(n)], values: Vec::new() }));
                    flight.splice(at..=at, parts);
                }
                None if !says_so => {
                    let lost = Lost { spans: Vec::new(), values: vec![vec![1, 3]] };
                    flight.push(Message::Lost(lost));
                }
                _ => {}
            }
        });
        let is_refused = outcome.end == End::Aborted(AbortReason::Protocol("more lost than was said"));
        assert_eq!(is_refused, !says_so || messages_max > 1, "{:?}", outcome.end);
    }
}
