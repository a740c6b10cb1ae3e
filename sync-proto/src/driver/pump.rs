//! [`Pump`]: runs a session against its replica. What is left to a transport is moving whole frames.
//!
//! Easy to get wrong: [`Pump::step`] blocks for as long as the replica does. Call it where blocking is allowed, and
//! always with the same replica. A peer without the right to write sees a replica that is read-only, so an honest one
//! sends nothing; what another one sends all the same is refused here.

use std::time::Duration;

use crate::error::{ReplicaError, ReplicaErrorKind};
use crate::replica::{
    ApplyRequest, EntryWriter, ReadAnswer, ReadRequest, Replica, ReplicaReader, ValueWriter, serve_read,
};
use crate::rights::Rights;
use crate::session::{Answer, Input, Outcome, Output, Progress, Session};

/// A session, and the long value that it may be taking in.
pub struct Pump {
    session: Session,
    rights: Rights,
    writer: Option<Box<dyn ValueWriter>>,
    /// Where entries go, if the replica gathers them.
    entries: Option<Box<dyn EntryWriter>>,
    /// What the session and its peer leave out, in clock units.
    cut: u64,
    /// What is read of the replica's entries, since some of them were.
    pinned: Option<Box<dyn ReplicaReader>>,
    /// Whether something was read since the last frame that need not be durable yet.
    has_read: bool,
}

/// What a transport is to do next.
#[derive(Debug)]
pub enum Step {
    /// Send this frame, and step on.
    Send(Vec<u8>),
    /// Tell whoever wants to know, and step on.
    Tell(Progress),
    /// Receive a frame, [`Pump::handle`] it, and step on.
    Receive,
    /// The session is over: close the connection.
    Ended(Box<Outcome>),
}

impl Pump {
    /// For a session that has just begun, with a peer that may do everything.
    pub fn new(session: Session) -> Pump {
        Pump::with_rights(session, Rights::ALL)
    }

    /// For a session that has just begun, with a peer that may do no more than `rights` say.
    pub fn with_rights(session: Session, rights: Rights) -> Pump {
        Pump { session, rights, writer: None, entries: None, cut: 0, pinned: None, has_read: false }
    }

    /// Hands an input to the session: a frame when [`Step::Receive`] asked for one, or that the connection ended, or
    /// that time passed.
    pub fn handle(&mut self, input: Input, now: Duration) {
        self.session.handle(input, now);
    }

    /// See [`Session::deadline`].
    pub fn deadline(&self) -> Option<Duration> {
        self.session.deadline()
    }

    /// See [`Session::memory_len`].
    pub fn memory_len(&self) -> usize {
        self.session.memory_len()
    }

    /// Runs the session against `replica` until the transport has something to do.
    pub fn step(&mut self, replica: &dyn Replica, now: Duration) -> Step {
        loop {
            let result = match self.session.poll_output() {
                None => return Step::Receive,
                // One wait for the disk for all that a frame tells, not one for each answer.
                Some(Output::Send(frame)) => match std::mem::take(&mut self.has_read) {
                    false => return Step::Send(frame),
                    true => match replica.persist() {
                        Ok(()) => return Step::Send(frame),
                        Err(error) => Err(error),
                    },
                },
                Some(Output::Event(progress)) => return Step::Tell(progress),
                Some(Output::Done(outcome)) => {
                    (self.writer, self.entries, self.pinned) = (None, None, None);
                    return Step::Ended(outcome);
                }
                Some(Output::Unpin) => {
                    self.pinned = None;
                    continue;
                }
                Some(Output::Read(request)) => self.read(replica, request).map(Answer::Read),
                Some(Output::Apply(request)) => self.apply(replica, request),
                Some(Output::Persist) => {
                    self.has_read = false;
                    self.settle().and_then(|()| replica.persist()).map(|()| Answer::Finished)
                }
            };
            let input = match result {
                Ok(answer) => Input::Answer(answer),
                Err(error) => {
                    // What is left to say is why.
                    self.has_read = false;
                    Input::Failed(error)
                }
            };
            self.session.handle(input, now);
        }
    }

    fn read(&mut self, replica: &dyn Replica, request: ReadRequest) -> Result<ReadAnswer, ReplicaError> {
        if !self.rights.read {
            return Err(denied("read"));
        }
        let request = match request {
            // The word of a peer that may not write changes nothing here.
            ReadRequest::Meet { peer, as_of, .. } if !self.rights.write => {
                ReadRequest::Meet { peer, table: None, closes: false, as_of }
            }
            ReadRequest::Complete { .. } if !self.rights.write => return Ok(ReadAnswer::Completed),
            ReadRequest::Info { horizon } => ReadRequest::Info { horizon: horizon.max(Some(self.cut)) },
            ReadRequest::Healing { range, cut, limit } => {
                ReadRequest::Healing { range, cut: cut.max(self.cut), limit }
            }
            request => request,
        };
        // What is told of itself is durable; what is compared as of one moment was made so before the first frame about it.
        let is_sent = matches!(
            request,
            ReadRequest::Entries { .. }
                | ReadRequest::EntriesIn { .. }
                | ReadRequest::Value { .. }
                | ReadRequest::Healing { .. }
        );
        let shows = is_sent || request.reads_entries() && self.pinned.is_none();
        // What is compared is of a moment of before, and what is sent was held when it was asked for.
        if !request.reads_entries() || self.pinned.is_none() {
            self.settle()?;
        }
        let (pinned, cut) = (&mut self.pinned, self.cut);
        let mut answer = serve_read(replica, || reader(pinned, replica, cut), request)?;
        self.has_read |= shows;
        match &mut answer {
            ReadAnswer::Info(info) => info.read_only |= !self.rights.write,
            ReadAnswer::Met(meeting) => (self.cut, self.pinned) = (meeting.cut, None),
            _ => {}
        }
        Ok(answer)
    }

    fn apply(&mut self, replica: &dyn Replica, request: ApplyRequest) -> Result<Answer, ReplicaError> {
        if !self.rights.write {
            return Err(denied("write"));
        }
        if !matches!(request, ApplyRequest::Entries { .. }) {
            self.settle()?;
        }
        match request {
            ApplyRequest::Entries { entries, origin } => {
                if self.entries.is_none() {
                    self.entries = replica.begin_entries();
                }
                let applied = match &mut self.entries {
                    Some(writer) => writer.apply(entries, origin),
                    None => replica.apply(entries, origin),
                };
                return applied.map(Answer::Applied);
            }
            ApplyRequest::Heal { healing, origin } => {
                return replica.heal(healing, origin).map(Answer::Applied);
            }
            ApplyRequest::BeginValue { entry, value_len, origin } => {
                self.writer = Some(replica.begin_value(entry, value_len, origin)?);
            }
            ApplyRequest::AppendValue(bytes) => {
                self.writer.as_mut().ok_or_else(no_value)?.append(&bytes)?;
            }
            ApplyRequest::CommitValue => {
                return self.writer.take().ok_or_else(no_value)?.commit().map(Answer::Applied);
            }
            ApplyRequest::HealValue { range, cut } => {
                return self.writer.take().ok_or_else(no_value)?.heal(range, cut).map(Answer::Applied);
            }
            ApplyRequest::AbandonValue => self.writer = None,
        }
        Ok(Answer::Finished)
    }

    /// Has the replica take in what it gathers.
    fn settle(&mut self) -> Result<(), ReplicaError> {
        self.entries.as_mut().map_or(Ok(()), |writer| writer.settle())
    }
}

/// What is pinned, or is from now on.
fn reader<'a>(
    pinned: &'a mut Option<Box<dyn ReplicaReader>>,
    replica: &dyn Replica,
    cut: u64,
) -> Result<&'a dyn ReplicaReader, ReplicaError> {
    Ok(match pinned {
        Some(reader) => &**reader,
        none => &**none.insert(replica.pin(cut)?),
    })
}

fn denied(right: &str) -> ReplicaError {
    ReplicaError::new(ReplicaErrorKind::Denied, format!("the peer has no right to {right}"))
}

fn no_value() -> ReplicaError {
    ReplicaError::new(ReplicaErrorKind::Storage, "no value was begun")
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").field("session", &self.session).finish_non_exhaustive()
    }
}
