//! Repairs two replicas of one process against each other, without threads, sockets or time.

use std::time::Duration;

use super::pump::{Pump, Step};
use crate::options::Options;
use crate::replica::Replica;
use crate::session::{Input, Outcome, Progress, Session};

/// Runs one session in which `left` is the initiator and `right` the responder. Returns the outcome on the left side,
/// and on the right. `observer` hears the left side's progress.
///
/// The two sides take turns on the calling thread, so nothing is waited for and no deadline applies.
pub fn run_pair(
    left: &dyn Replica,
    right: &dyn Replica,
    options: Options,
    observer: &mut dyn FnMut(Progress),
) -> (Outcome, Outcome) {
    let answering = Options { nonce: options.nonce.rotate_left(32), ..options.clone() };
    let mut left_pump = Pump::new(Session::initiator(options, Duration::ZERO));
    let mut right_pump = Pump::new(Session::responder(answering, Duration::ZERO));
    let (mut left_outcome, mut right_outcome) = (None, None);
    loop {
        step(&mut left_pump, left, &mut left_outcome, &mut right_pump, &right_outcome, observer);
        step(&mut right_pump, right, &mut right_outcome, &mut left_pump, &left_outcome, &mut |_| ());
        if let (Some(left), Some(right)) = (&left_outcome, &right_outcome) {
            return (Outcome::clone(left), Outcome::clone(right));
        }
    }
}

/// Steps one side on until it has sent a frame to its peer, waits for one, or is over.
fn step(
    pump: &mut Pump,
    replica: &dyn Replica,
    outcome: &mut Option<Box<Outcome>>,
    peer: &mut Pump,
    peer_outcome: &Option<Box<Outcome>>,
    observer: &mut dyn FnMut(Progress),
) {
    while outcome.is_none() {
        match pump.step(replica, Duration::ZERO) {
            Step::Send(frame) => return peer.handle(Input::Frame(frame), Duration::ZERO),
            Step::Tell(progress) => observer(progress),
            // A peer that is over has left nothing unread here, or this side would not wait.
            Step::Receive if peer_outcome.is_some() => pump.handle(Input::Closed, Duration::ZERO),
            Step::Receive => return,
            Step::Ended(ended) => *outcome = Some(ended),
        }
    }
}
