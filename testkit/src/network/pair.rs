//! [`session`]: one session between two replicas, frame by frame, that may lose its connection. Used by rows and by the
//! engine's tests, where a whole simulated network would hide what matters.
//!
//! Easy to get wrong: what was on its way when the connection was lost still arrives, as it does from a socket.

use std::collections::VecDeque;
use std::time::Duration;

use sync_proto::driver::{Pump, Step};
use sync_proto::{Input, Options, Outcome, Replica, Session};

/// Runs one session; the connection is lost after `frames` frames, if that is reached.
pub fn session(replicas: [&dyn Replica; 2], nonce: u64, frames: u64) -> [Outcome; 2] {
    session_with(replicas, nonce, |sent| sent <= frames)
}

/// Runs one session; `passes` hears of every frame by its number, from 1, before it arrives, and the connection is lost at
/// the first for which it returns `false`.
pub fn session_with(
    replicas: [&dyn Replica; 2],
    nonce: u64,
    mut passes: impl FnMut(u64) -> bool,
) -> [Outcome; 2] {
    let mut pumps = [
        Pump::new(Session::initiator(Options::new(nonce), Duration::ZERO)),
        Pump::new(Session::responder(Options::new(!nonce), Duration::ZERO)),
    ];
    let mut wires = [VecDeque::new(), VecDeque::new()];
    let mut outcomes = [None, None];
    let (mut sent, mut is_lost) = (0, false);
    loop {
        for side in 0..2 {
            while outcomes[side].is_none() {
                match pumps[side].step(replicas[side], Duration::ZERO) {
                    Step::Send(frame) => {
                        sent += 1;
                        is_lost = is_lost || !passes(sent);
                        if !is_lost {
                            wires[1 - side].push_back(frame);
                        }
                    }
                    Step::Tell(_) => {}
                    Step::Ended(outcome) => outcomes[side] = Some(*outcome),
                    Step::Receive => match wires[side].pop_front() {
                        Some(frame) => pumps[side].handle(Input::Frame(frame), Duration::ZERO),
                        None if is_lost || outcomes[1 - side].is_some() => {
                            pumps[side].handle(Input::Closed, Duration::ZERO)
                        }
                        None => break,
                    },
                }
            }
        }
        match outcomes {
            [Some(left), Some(right)] => return [left, right],
            unfinished => outcomes = unfinished,
        }
    }
}
