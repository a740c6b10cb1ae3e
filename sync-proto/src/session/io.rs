//! What goes into a session and what comes out of it: two closed enums, and the answers of the replica.
//!
//! Easy to get wrong: every [`Output::Read`], [`Output::Apply`] and [`Output::Persist`] is answered exactly once, by
//! [`Input::Answer`] or [`Input::Failed`]; the session has at most one of them open.

use super::report::{Outcome, Progress};
use crate::error::ReplicaError;
use crate::replica::{Applied, ApplyRequest, ReadAnswer, ReadRequest};

/// What comes into a session.
#[derive(Debug)]
pub enum Input {
    /// A whole frame from the peer, header included. Only when [`crate::Session::poll_output`] has nothing more to say.
    Frame(Vec<u8>),
    /// The replica did what the last [`Output::Read`], [`Output::Apply`] or [`Output::Persist`] asked for.
    Answer(Answer),
    /// The replica could not.
    Failed(ReplicaError),
    /// The connection ended.
    Closed,
    /// Time has passed: the deadline may be over.
    Tick,
}

/// What the replica did.
#[derive(Debug)]
pub enum Answer {
    /// To [`Output::Read`].
    Read(ReadAnswer),
    /// To [`ApplyRequest::Entries`], [`ApplyRequest::Heal`], [`ApplyRequest::CommitValue`] and
    /// [`ApplyRequest::HealValue`].
    Applied(Applied),
    /// To every other [`Output::Apply`], and to [`Output::Persist`].
    Finished,
}

/// What a session wants done.
#[derive(Debug)]
pub enum Output {
    /// Ask the replica ([`crate::serve_read`]) and answer. Before the first read of entries it is pinned
    /// ([`crate::Replica::pin`]).
    Read(ReadRequest),
    /// Let go of the moment at which the replica is compared: the next read of entries pins it anew. Has no answer.
    Unpin,
    /// Change the replica and answer.
    Apply(ApplyRequest),
    /// Make everything that the replica holds or applied durable, and answer.
    Persist,
    /// Send a frame to the peer.
    Send(Vec<u8>),
    /// Tell whoever wants to know.
    Event(Progress),
    /// The session is over. Nothing comes after this.
    Done(Box<Outcome>),
}
