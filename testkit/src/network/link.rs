//! [`Link`]: one connection, and a session at each end.
//!
//! Easy to get wrong: a connection is a stream. Its frames come whole and in order or it ends; but what is lost, doubled,
//! swapped or damaged on a worse one must only ever end a session, so the simulator does that, too.

use std::time::Duration;

use sync_proto::driver::{Pump, Step};
use sync_proto::{Input, Options, Outcome, Replica, Session};

use super::witness::Held;

/// One end of a connection.
pub(super) struct End {
    pub(super) node: usize,
    /// The node's life in which the session began.
    pub(super) life: u64,
    pump: Pump,
    replica: Box<dyn Replica>,
    /// What the node held when the session began.
    pub(super) begun: Held,
    pub(super) outcome: Option<Outcome>,
}

/// A connection.
pub(super) struct Link {
    pub(super) ends: [End; 2],
    /// No frame of an end arrives before its earlier ones.
    pub(super) arrival: [u64; 2],
    pub(super) is_cut: bool,
}

fn now(time: u64) -> Duration {
    Duration::from_millis(time)
}

impl End {
    pub(super) fn new(
        initiates: bool,
        nonce: u64,
        time: u64,
        (node, life): (usize, u64),
        replica: Box<dyn Replica>,
        begun: Held,
    ) -> End {
        let mut options = Options::new(nonce);
        // Small, so that small stores have walks with levels in them.
        options.limits.list_count = 4;
        let session = match initiates {
            true => Session::initiator(options, now(time)),
            false => Session::responder(options, now(time)),
        };
        End { node, life, pump: Pump::new(session), replica, begun, outcome: None }
    }

    /// Works until the session waits or is over; the frames that it sends. Fails if it holds more memory than it may.
    pub(super) fn work(&mut self, time: u64) -> Result<Vec<Vec<u8>>, String> {
        let mut frames = Vec::new();
        while self.outcome.is_none() {
            let memory = self.pump.memory_len();
            if memory > sync_proto::limits::MEMORY_MAX {
                return Err(format!("a session holds {memory} bytes"));
            }
            match self.pump.step(&*self.replica, now(time)) {
                Step::Send(frame) => frames.push(frame),
                Step::Tell(_) => {}
                Step::Receive => break,
                Step::Ended(outcome) => self.outcome = Some(*outcome),
            }
        }
        Ok(frames)
    }

    /// Hands the session what came; it must have worked until it waits.
    pub(super) fn take(&mut self, input: Input, time: u64) {
        if self.outcome.is_none() {
            self.pump.handle(input, now(time));
        }
    }

    /// When it will have waited too long, in milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.pump.deadline().map(|deadline| deadline.as_millis() as u64)
    }
}
