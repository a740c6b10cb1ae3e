//! The machine itself: what goes in and comes out, what state there is, and the loop that moves it on.
//!
//! Easy to get wrong: everything that a peer can make grow is a field here, is counted by [`Session::memory_len`], and
//! is bounded where it grows.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::backlog::{Backlog, Deferred};
use super::finish::Closing;
use super::healing::{Asking, Losses};
use super::hello::{Opening, Terms};
use super::horizon::{Meet, Tables};
use super::io::{Answer, Input, Output};
use super::outbox::Outbox;
use super::receive::Staging;
use super::report::{Progress, Reasons, Report};
use super::send::{Sending, Sends};
use super::table::Table;
use super::walk::{Span, Walking};
use crate::error::AbortReason;
use crate::hash::Salt;
use crate::limits::{ELEMENT_OVERHEAD_LEN, READS_MIN, READS_PER_ENTRY_MAX};
use crate::options::Options;
use crate::replica::{ReadRequest, ReplicaInfo};
use crate::wire::codec::{Malformed, Reader};
use crate::wire::frame::{self, FRAME_HEADER_LEN};
use crate::wire::hello::{Abort, Done};
use crate::wire::message::Message;

/// Which side a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// Whose turn it is, and what is left of this side's.
#[derive(Debug)]
pub(crate) enum State {
    /// The initiator gathers what its hello says.
    Opening,
    /// The peer's flight comes in.
    Listening,
    /// What the peer has lost goes out, and what this side has lost is asked for.
    Heal,
    /// The initiator takes up ranges that it had put aside.
    Reopen,
    /// What is not answered in this flight is said.
    PutAside,
    /// Entries go out.
    Entries,
    /// The flight ends, perhaps with "done".
    Closing(Closing),
    /// Over.
    Ended,
}

/// Who waits for the replica's answer.
#[derive(Debug)]
pub(crate) enum Waiting {
    Opening(Opening),
    Meeting(Meet),
    Healing(Asking),
    Walking(Box<Walking>),
    Sending(Sending),
    Apply,
    Stage,
    Closing(Closing),
}

impl Waiting {
    /// Bytes held.
    fn memory_len(&self) -> usize {
        match self {
            Waiting::Walking(walking) => walking.memory_len(),
            _ => 0,
        }
    }
}

/// What is known of the peer's flight that is coming in.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Items so far, which number them.
    pub(crate) items: u32,
    /// Bytes of messages other than entries so far.
    pub(crate) items_len: usize,
    /// Messages so far.
    pub(crate) messages: u64,
    /// Messages that move the session on.
    pub(crate) moves: u64,
    /// The next piece of this side's table that may be referred to.
    pub(crate) next_piece: (u32, u32),
    /// Where the explicit ranges have come to; `None` before the first.
    pub(crate) reopened_to: Option<Option<Vec<u8>>>,
    /// Said at its end.
    pub(crate) done: Option<Done>,
}

/// A frame that was checked.
#[derive(Debug)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    /// Where the next message begins.
    next: usize,
    /// Whether it is the last of its flight.
    last: bool,
}

/// One session with one peer.
///
/// The driver hands in what happens by [`Session::handle`], takes out what to do by [`Session::poll_output`] until that
/// returns `None`, and calls again with [`Input::Tick`] when [`Session::deadline`] is over. Time is a duration since
/// any moment that the driver keeps to.
#[derive(Debug)]
pub struct Session {
    pub(crate) role: Role,
    pub(crate) options: Options,
    pub(crate) state: State,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) outputs: VecDeque<Output>,
    /// Number of frames that have left, and of those that have come.
    frames_said: u64,
    frames_heard: u64,
    now: Duration,
    opened_at: Duration,

    /// What both sides agreed on; placeholders until `established`.
    pub(crate) terms: Terms,
    pub(crate) established: bool,
    pub(crate) own: Option<Box<ReplicaInfo>>,
    pub(crate) tables: Tables,
    pub(crate) losses: Losses,

    /// Number of the flight that is coming in or going out; the hello is 1.
    pub(crate) leg: u32,
    /// Salts of the peer's flight and of this side's next or current one.
    pub(crate) heard_salt: Salt,
    pub(crate) spoken_salt: Salt,

    /// The peer's frame that is being read, and how much of its payload was.
    pub(crate) frame: Option<Frame>,
    pub(crate) heard: Heard,
    /// Ranges that differ by the message read last, to be answered before the next.
    pub(crate) spans: VecDeque<Span>,
    /// Whether the hellos showed equal roots, so that the session is over with them.
    pub(crate) equal: bool,
    /// Whether the items of the peer's flight are of no interest, because the roots are equal at the higher horizon.
    pub(crate) skips_items: bool,

    /// This side's last flight, which the peer answers now.
    pub(crate) sent: Table,
    /// This side's next flight.
    pub(crate) draft: Table,
    pub(crate) outbox: Outbox,
    pub(crate) deferred: Deferred,
    /// Ranges put aside: before this flight, and during it. Empty on the responder's side.
    pub(crate) backlog: Backlog,
    pub(crate) aside: Backlog,
    pub(crate) restart_count: u32,
    /// Whether the peer must begin again from the whole range.
    pub(crate) asks_restart: bool,
    /// Where the explicit ranges of this side's flight have come to; `None` before the first.
    pub(crate) reopened_to: Option<Option<Vec<u8>>>,
    /// Whether nothing else is in this side's flight than ranges taken up again.
    pub(crate) reopened_idle: bool,

    pub(crate) sends: Sends,
    /// Whether this side's flight says something beside its items that the peer goes on from.
    pub(crate) expects_more: bool,
    /// Deletions that this side still takes.
    pub(crate) deletes_left: u64,
    /// Deletions that this side still sends.
    pub(crate) deletes_left_to_send: u64,
    pub(crate) staging: Option<Staging>,
    /// Own entries that entries of the peer's flight must cover, or they are sent: of the flight coming in, and of the
    /// one after it.
    pub(crate) uncovered: BTreeSet<Vec<u8>>,
    pub(crate) uncovered_next: BTreeSet<Vec<u8>>,

    /// Whether this side's last flight said "done", and whether the peer's did.
    pub(crate) said_done: bool,
    pub(crate) heard_done: bool,
    /// Whether the session is over with this flight.
    pub(crate) ends: bool,
    /// What the peer said that it refused and deferred.
    pub(crate) peer_refused: u64,
    pub(crate) peer_deferred: u64,
    pub(crate) reasons: Reasons,
    pub(crate) report: Report,
    pub(crate) settled: u64,
    /// Entries of this side within the session's range, when it began.
    pub(crate) total: u64,
}

impl Session {
    /// Opens a session. `now` is the driver's time.
    pub fn initiator(options: Options, now: Duration) -> Session {
        let mut session = Session::new(Role::Initiator, options, State::Opening, now);
        session.ask(ReadRequest::Info { horizon: None }, Waiting::Opening(Opening::Own));
        session
    }

    /// Waits for a hello. Of `options` the nonce, the versions, the limits and `deletes_max` count.
    pub fn responder(options: Options, now: Duration) -> Session {
        Session::new(Role::Responder, options, State::Listening, now)
    }

    fn new(role: Role, options: Options, state: State, now: Duration) -> Session {
        let terms = Terms::unknown();
        let deletes_left = options.deletes_max;
        let deletes_left_to_send = options.deletes_max;
        Session {
            role,
            options,
            state,
            waiting: None,
            outputs: VecDeque::new(),
            frames_said: 0,
            frames_heard: 0,
            now,
            opened_at: now,
            heard_salt: terms.salt.leg(0),
            spoken_salt: terms.salt.leg(0),
            terms,
            established: false,
            own: None,
            tables: Tables::default(),
            losses: Losses::default(),
            leg: 1,
            frame: None,
            heard: Heard::default(),
            spans: VecDeque::new(),
            equal: false,
            skips_items: false,
            sent: Table::default(),
            draft: Table::default(),
            outbox: Outbox::new(),
            deferred: Deferred::default(),
            backlog: Backlog::default(),
            aside: Backlog::default(),
            restart_count: 0,
            asks_restart: false,
            reopened_to: None,
            reopened_idle: false,
            sends: Sends::default(),
            expects_more: false,
            deletes_left,
            deletes_left_to_send,
            staging: None,
            uncovered: BTreeSet::new(),
            uncovered_next: BTreeSet::new(),
            said_done: false,
            heard_done: false,
            ends: false,
            peer_refused: 0,
            peer_deferred: 0,
            reasons: Reasons::default(),
            report: Report::default(),
            settled: 0,
            total: 0,
        }
    }

    /// Takes in what happened. Once the session is over, nothing has an effect.
    pub fn handle(&mut self, input: Input, now: Duration) {
        if matches!(self.state, State::Ended) {
            return;
        }
        if matches!(input, Input::Tick) {
            if now >= self.ends_at() {
                self.fail(AbortReason::Limit("time"));
            } else if self.deadline().is_some_and(|deadline| now >= deadline) {
                self.fail(AbortReason::Timeout);
            }
            return;
        }
        self.now = now;
        let result = match input {
            // Also asked where entries go out without end, and nothing is waited for but the replica.
            Input::Frame(_) | Input::Answer(_) if now >= self.ends_at() => Err(AbortReason::Limit("time")),
            Input::Frame(frame) => self.take_frame(frame),
            Input::Answer(answer) => self.resume(answer),
            Input::Failed(error) => Err(AbortReason::Replica(error)),
            Input::Closed => Err(AbortReason::Closed),
            Input::Tick => Ok(()),
        };
        if let Err(reason) = result {
            self.fail(reason);
        }
    }

    /// What to do next, if anything. `None` means that the session waits for an answer of the replica, or for a frame.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(mut output) = self.outputs.pop_front() {
                if let Output::Send(frame) = &mut output {
                    frame::seal(frame, self.frames_said);
                    self.frames_said += 1;
                }
                return Some(output);
            }
            if self.waiting.is_some() || matches!(self.state, State::Ended) {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(reason) => self.fail(reason),
            }
        }
    }

    /// When to call [`Session::handle`] with [`Input::Tick`], if nothing else happens before. There is none while the
    /// session waits for its own replica.
    pub fn deadline(&self) -> Option<Duration> {
        if self.waiting.is_some() || !matches!(self.state, State::Listening) {
            return None;
        }
        let limits = &self.options.limits;
        let silence = if self.established {
            self.now.saturating_add(limits.idle_timeout)
        } else {
            self.opened_at.saturating_add(limits.handshake_timeout)
        };
        Some(silence.min(self.ends_at()))
    }

    /// When the session is over, whatever happens.
    fn ends_at(&self) -> Duration {
        self.opened_at.saturating_add(self.options.limits.session_timeout)
    }

    /// About how many bytes the session holds, the driver's buffers and those of one message apart. Never more than
    /// [`crate::limits::MEMORY_MAX`] in all.
    pub fn memory_len(&self) -> usize {
        let covers = |keys: &BTreeSet<Vec<u8>>| -> usize {
            keys.iter().map(|key| key.len() + ELEMENT_OVERHEAD_LEN).sum()
        };
        self.frame.as_ref().map_or(0, |frame| frame.bytes.len())
            + self.spans.iter().map(Span::memory_len).sum::<usize>()
            + self.waiting.as_ref().map_or(0, Waiting::memory_len)
            + self.sent.seen_len()
            + self.draft.seen_len()
            + self.sent.memory_len()
            + self.draft.memory_len()
            + self.outbox.memory_len()
            + self.backlog.memory_len()
            + self.aside.memory_len()
            + self.sends.memory_len()
            + self.tables.memory_len()
            + self.losses.memory_len()
            + covers(&self.uncovered)
            + covers(&self.uncovered_next)
    }

    pub(crate) fn initiates(&self) -> bool {
        self.role == Role::Initiator
    }

    pub(crate) fn ask(&mut self, request: ReadRequest, waiting: Waiting) {
        self.output_and_wait(Output::Read(request), waiting);
    }

    pub(crate) fn output_and_wait(&mut self, output: Output, waiting: Waiting) {
        debug_assert!(self.waiting.is_none(), "one request at a time");
        self.outputs.push_back(output);
        self.waiting = Some(waiting);
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: Vec<u8>) {
        self.report.metadata_bytes = self.report.metadata_bytes.saturating_add(frame.len() as u64);
        self.outputs.push_back(Output::Send(frame));
    }

    pub(crate) fn tell_progress(&mut self) {
        self.outputs.push_back(Output::Event(Progress {
            legs: self.leg,
            settled: self.settled,
            total: self.total,
            entries_sent: self.report.entries_sent,
            entries_received: self.report.entries_received,
            value_bytes: self.report.value_bytes,
            metadata_bytes: self.report.metadata_bytes.saturating_sub(self.report.value_bytes),
        }));
    }

    fn take_frame(&mut self, bytes: Vec<u8>) -> Result<(), AbortReason> {
        let last = frame::check(&bytes, self.frames_heard)?;
        self.frames_heard += 1;
        // What this frame holds of values is not known yet, so it counts when the next one comes.
        let metadata_len = self.report.metadata_bytes.saturating_sub(self.report.value_bytes);
        if metadata_len > self.options.limits.metadata_len_max {
            return Err(AbortReason::Limit("bytes"));
        }
        self.report.metadata_bytes = self.report.metadata_bytes.saturating_add(bytes.len() as u64);
        let payload = bytes.get(FRAME_HEADER_LEN..).unwrap_or_default();
        if Message::is_abort(payload) {
            return Err(match Message::decode(&mut Reader::new(payload))? {
                Message::Abort(Abort::Version(theirs)) => self.version_mismatch(theirs),
                Message::Abort(Abort::Reason(reason)) => AbortReason::Peer(reason),
                _ => AbortReason::Malformed("abort"),
            });
        }
        if !matches!(self.state, State::Listening) {
            return Err(AbortReason::Protocol("out of turn"));
        }
        if self.frame.is_some() {
            return Err(AbortReason::Limit("a frame before the last one was read"));
        }
        self.frame = Some(Frame { bytes, next: FRAME_HEADER_LEN, last });
        Ok(())
    }

    /// Moves on by one step, or says that there is nothing to do before the next frame.
    fn advance(&mut self) -> Result<bool, AbortReason> {
        if let Some(span) = self.spans.pop_front() {
            self.answer(span);
            return Ok(true);
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Listening => {
                self.state = State::Listening;
                self.listen()
            }
            State::Heal => {
                self.state = State::Heal;
                self.heal();
                Ok(true)
            }
            State::Reopen => {
                self.state = State::Reopen;
                self.reopen();
                Ok(true)
            }
            State::PutAside => {
                self.state = State::Entries;
                self.put_aside();
                Ok(true)
            }
            State::Entries => {
                self.state = State::Entries;
                self.send_entries();
                Ok(true)
            }
            State::Closing(closing) => {
                self.close(closing)?;
                Ok(true)
            }
            state @ (State::Opening | State::Ended) => {
                self.state = state;
                Ok(false)
            }
        }
    }

    /// Reads the next message of the peer's flight, or ends the flight.
    fn listen(&mut self) -> Result<bool, AbortReason> {
        let Some(frame) = &mut self.frame else { return Ok(false) };
        let unread = frame.bytes.get(frame.next..).unwrap_or_default();
        if unread.is_empty() {
            let last = frame.last;
            if last && self.hand_over() {
                return Ok(true);
            }
            self.frame = None;
            if last {
                self.end_of_flight()?;
            }
            return Ok(true);
        }
        let mut reader = Reader::new(unread);
        let message = Message::decode(&mut reader)?;
        let len = unread.len() - reader.remaining_len();
        frame.next += len;
        self.on_message(message, len)?;
        Ok(true)
    }

    fn on_message(&mut self, message: Message, len: usize) -> Result<(), AbortReason> {
        self.heard.messages += 1;
        if self.heard.done.is_some() {
            return Err(AbortReason::Protocol("a message after done"));
        }
        if self.staging.is_some() && !matches!(message, Message::ValuePart(_) | Message::ValueAbandon) {
            return Err(AbortReason::Protocol("a message between the parts of a value"));
        }
        if !self.established
            && !matches!(message, Message::Hello(_) | Message::HelloReply(_) | Message::Table(_))
        {
            return Err(AbortReason::Protocol("no hello"));
        }
        match message {
            Message::Hello(hello) => self.on_hello(hello),
            Message::HelloReply(reply) => self.on_hello_reply(reply),
            Message::Table(table) => self.on_table(table),
            Message::Stream(count) => self.on_stream(count),
            Message::Entries(entries) => self.on_entries(entries, len),
            Message::ValueBegin(begin) => self.on_value_begin(begin),
            Message::ValuePart(bytes) => self.on_value_part(bytes),
            Message::ValueAbandon => self.on_value_abandon(),
            Message::Names(names) => self.on_names(names),
            Message::Moves(moves) => self.on_moves(moves),
            Message::Lost(lost) => self.on_lost(lost),
            Message::Heal(healing) => self.on_heal(healing, len),
            Message::Done(done) => {
                self.heard.done = Some(done);
                Ok(())
            }
            Message::Abort(_) => Err(AbortReason::Protocol("abort among other messages")),
            item => self.on_item(item, len),
        }
    }

    fn resume(&mut self, answer: Answer) -> Result<(), AbortReason> {
        let Some(waiting) = self.waiting.take() else {
            return Err(AbortReason::Inconsistent("an answer to no question"));
        };
        match (waiting, answer) {
            (Waiting::Opening(opening), Answer::Read(answer)) => self.open(opening, answer),
            (Waiting::Meeting(meet), Answer::Read(answer)) => self.met(meet, answer),
            (Waiting::Healing(asking), Answer::Read(answer)) => self.healed(asking, answer),
            (Waiting::Walking(walking), Answer::Read(answer)) => self.walk(*walking, answer),
            (Waiting::Sending(sending), Answer::Read(answer)) => self.fetched(sending, answer),
            (Waiting::Apply, Answer::Applied(applied)) => {
                self.on_applied(applied);
                Ok(())
            }
            (Waiting::Stage, Answer::Finished) => {
                self.commit_whole_value();
                Ok(())
            }
            (Waiting::Closing(closing), answer) => self.closed(closing, answer),
            _ => Err(AbortReason::Inconsistent("an answer to another question")),
        }?;
        // A few bytes of a peer have a whole range read, again and again if it likes.
        let held = self.own.as_ref().map_or(0, |own| own.root.count());
        let reads_max = held.saturating_add(self.report.entries_received).saturating_mul(READS_PER_ENTRY_MAX);
        if self.report.entries_read > reads_max.saturating_add(READS_MIN) {
            return Err(AbortReason::Limit("entries read"));
        }
        Ok(())
    }
}

impl From<Malformed> for AbortReason {
    fn from(malformed: Malformed) -> AbortReason {
        AbortReason::Malformed(malformed.0)
    }
}
