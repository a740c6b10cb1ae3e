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
        let to_right = step(&mut left_pump, left, &mut left_outcome, observer);
        deliver(to_right, &mut right_pump);
        let to_left = step(&mut right_pump, right, &mut right_outcome, &mut |_| ());
        deliver(to_left, &mut left_pump);
        if let (Some(left), Some(right)) = (&left_outcome, &right_outcome) {
            return (Outcome::clone(left), Outcome::clone(right));
        }
    }
}

/// Steps one side on until it sends something, waits, or is over.
fn step(
    pump: &mut Pump,
    replica: &dyn Replica,
    outcome: &mut Option<Box<Outcome>>,
    observer: &mut dyn FnMut(Progress),
) -> Sent {
    while outcome.is_none() {
        match pump.step(replica, Duration::ZERO) {
            Step::Send(frame) => return Sent::Frame(frame),
            Step::Tell(progress) => observer(progress),
            Step::Receive => return Sent::Nothing,
            Step::Ended(ended) => *outcome = Some(ended),
        }
    }
    Sent::Closed
}

/// What one side leaves for the other.
enum Sent {
    Frame(Vec<u8>),
    Nothing,
    Closed,
}

fn deliver(sent: Sent, pump: &mut Pump) {
    match sent {
        Sent::Frame(frame) => pump.handle(Input::Frame(frame), Duration::ZERO),
        Sent::Nothing => {}
        Sent::Closed => pump.handle(Input::Closed, Duration::ZERO),
    }
}
