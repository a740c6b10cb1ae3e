//! Opening: both sides say who they are and what they hold, and the terms of the session follow.
//!
//! Easy to get wrong: the responder checks set, hash key and node before it says anything of its data, and the initiator
//! checks the responder's proof of the same. The nonces make every salt; before both are known nothing can be compared.

use super::machine::{Session, Waiting};
use super::report::Reason;
use super::table::{Body, Item};
use super::walk::Span;
use crate::error::AbortReason;
use crate::hash::{SessionSalt, set_proof};
use crate::options::{Mode, Versions};
use crate::replica::{Origin, ReadAnswer, ReadRequest, ReplicaInfo};
use crate::types::{KeyRange, RangeSum};
use crate::wire::hello::{Hello, HelloBody, HelloReply, Party};
use crate::wire::item::{Pieces, Scope};
use crate::wire::message::Message;

/// What both sides agreed on.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) version: u8,
    pub(crate) salt: SessionSalt,
    pub(crate) mode: Mode,
    /// The keys that the session is about.
    pub(crate) scope: KeyRange,
    /// Whether a filter narrows `scope`.
    pub(crate) filtered: bool,
    /// Whether entries may go from this side to the peer, and the other way.
    pub(crate) may_give: bool,
    pub(crate) may_take: bool,
    /// Whether a dry run looks at all that would move.
    pub(crate) weighs: bool,
    /// Names that the initiator still wants to hear.
    pub(crate) names_left: u32,
    pub(crate) origin: Origin,
    pub(crate) peer_read_only: bool,
    /// What the peer takes: bytes of items in one flight, and of a value.
    pub(crate) window_len: usize,
    pub(crate) value_len_max: u64,
}

impl Terms {
    /// Before both hellos are known.
    pub(crate) fn unknown() -> Terms {
        Terms {
            version: 0,
            salt: SessionSalt::new(0, 0),
            mode: Mode::Both,
            scope: KeyRange::all(),
            filtered: false,
            may_give: false,
            may_take: false,
            weighs: false,
            names_left: 0,
            origin: Origin { node: 0, horizon: 0 },
            peer_read_only: false,
            window_len: 0,
            value_len_max: 0,
        }
    }
}

/// What an opening waits for.
#[derive(Debug)]
pub(crate) enum Opening {
    /// The initiator: what its replica is.
    Own,
    /// The initiator: what its replica has lost.
    OwnLost,
    /// The initiator: the sum of the filtered range.
    OwnFiltered,
    /// The responder: what its replica is, at the initiator's horizon.
    Asked(Box<HelloBody>),
    /// The responder: what its replica has lost.
    AskedLost(Box<HelloBody>),
    /// The responder: the sum of the filtered range.
    AskedFiltered(Box<HelloBody>),
    /// The initiator: its own root at the responder's higher horizon, to compare with the responder's.
    AtHorizon(RangeSum),
}

impl Session {
    /// Goes on with an opening when the replica has answered.
    pub(crate) fn open(&mut self, opening: Opening, answer: ReadAnswer) -> Result<(), AbortReason> {
        match (opening, answer) {
            (Opening::Own, ReadAnswer::Info(info)) => {
                let filter = self.options.filter.clone();
                self.set_scope(&info, filter.as_ref())?;
                self.own = Some(info);
                self.ask_lost(Waiting::Opening(Opening::OwnLost));
            }
            (Opening::OwnLost, ReadAnswer::Lost { lost, .. }) => {
                self.note_lost(&lost);
                match self.has_scope_sum() {
                    true => self.ask_scope_sum(Opening::OwnFiltered),
                    false => self.say_hello(self.own_root()),
                }
            }
            (Opening::OwnFiltered, ReadAnswer::Sums(sums)) => self.say_hello(whole(&sums)?),
            (Opening::Asked(hello), ReadAnswer::Info(info)) => self.check_peer(hello, info)?,
            (Opening::AskedLost(hello), ReadAnswer::Lost { lost, .. }) => {
                self.note_lost(&lost);
                if let Some(hello) = self.meets_asked(hello) {
                    match self.has_scope_sum() {
                        true => self.ask_scope_sum(Opening::AskedFiltered(hello)),
                        false => self.reply(*hello, self.own_root()),
                    }
                }
            }
            (Opening::AskedFiltered(hello), ReadAnswer::Sums(sums)) => self.reply(*hello, whole(&sums)?),
            (Opening::AtHorizon(theirs), ReadAnswer::Info(info)) => {
                // Who says that nothing differs says nothing else.
                self.skips_items = info.root.is_same_set(&theirs) && !self.losses.are_any();
                self.report.root_left = info.root;
                self.report.roots_before = Some((info.root, theirs));
            }
            _ => return Err(AbortReason::Inconsistent("an answer to another question")),
        }
        Ok(())
    }

    fn set_scope(&mut self, info: &ReplicaInfo, filter: Option<&KeyRange>) -> Result<(), AbortReason> {
        self.terms.filtered = filter.is_some();
        self.terms.scope = match filter {
            Some(filter) => info.replicated.intersection(filter),
            None => info.replicated.clone(),
        };
        if self.terms.scope.is_empty() {
            return Err(AbortReason::Protocol("the filter holds no replicated key"));
        }
        Ok(())
    }

    /// Whether what the session is about has a sum of its own.
    fn has_scope_sum(&self) -> bool {
        self.terms.filtered && !self.losses.has_unknown
    }

    fn own_root(&self) -> RangeSum {
        self.own.as_ref().map_or(RangeSum::ZERO, |own| own.root)
    }

    pub(crate) fn ask_scope_sum(&mut self, opening: Opening) {
        let request = ReadRequest::Sums { range: self.terms.scope.clone(), bounds: Vec::new() };
        self.ask(request, Waiting::Opening(opening));
    }

    /// What this side says of itself.
    fn party(&self) -> Option<Party> {
        let own = self.own.as_ref()?;
        Some(Party {
            node: own.node,
            nonce: self.options.nonce,
            opens: own.opens,
            durable_seqno: own.durable_seqno,
            horizon: own.horizon,
            members_checksum: own.members_checksum,
            keyspaces_checksum: own.keyspaces_checksum,
            window_len: self.options.limits.window_len,
            value_len_max: self.options.limits.value_len_max,
            read_only: own.read_only,
            has_unknown: self.losses.has_unknown,
            has_lost_values: self.losses.has_lost_values,
        })
    }

    fn say_hello(&mut self, root: RangeSum) {
        let (Some(own), Some(party)) = (self.own.as_ref(), self.party()) else { return };
        let body = HelloBody {
            set_id: own.set_id,
            hash_check: own.hash_check,
            party,
            mode: self.options.mode,
            weighs: self.options.weighs,
            names_max: self.options.names_max,
            root,
            filter: self.terms.filtered.then(|| self.terms.scope.clone()),
        };
        self.report.root_left = root;
        self.total = root.count();
        self.outbox.push(&Message::Hello(Hello { versions: self.options.versions, body: body.encode() }));
        self.draft.push(Item::whole(&self.terms.scope, 0, Body::Pieces));
        self.end_flight();
    }

    /// Whether the message that is being read is the first of its flight, but for a table.
    fn is_first(&self) -> bool {
        self.heard.messages == 1 + u64::from(self.tables.heard.is_some())
    }

    /// The reason to end for lack of a common version.
    pub(crate) fn version_mismatch(&self, theirs: Versions) -> AbortReason {
        let ours = self.options.versions;
        AbortReason::Version {
            ours_min: ours.min,
            ours_max: ours.max,
            theirs_min: theirs.min,
            theirs_max: theirs.max,
        }
    }

    pub(crate) fn on_hello(&mut self, hello: Hello) -> Result<(), AbortReason> {
        if self.initiates() || !self.is_first() || self.established {
            return Err(AbortReason::Protocol("a hello out of place"));
        }
        let Some(version) = self.options.versions.common(hello.versions) else {
            return Err(self.version_mismatch(hello.versions));
        };
        self.terms.version = version;
        let body = HelloBody::decode(&hello.body)?;
        let horizon = Some(body.party.horizon);
        self.ask(ReadRequest::Info { horizon }, Waiting::Opening(Opening::Asked(Box::new(body))));
        Ok(())
    }

    fn check_peer(&mut self, hello: Box<HelloBody>, info: Box<ReplicaInfo>) -> Result<(), AbortReason> {
        if hello.set_id != info.set_id {
            return Err(AbortReason::OtherSet);
        }
        if hello.hash_check != info.hash_check {
            return Err(AbortReason::OtherHashKey);
        }
        if hello.party.node == info.node {
            return Err(AbortReason::SameNode);
        }
        self.set_scope(&info, hello.filter.as_ref())?;
        self.own = Some(info);
        self.ask_lost(Waiting::Opening(Opening::AskedLost(hello)));
        Ok(())
    }

    /// The responder's first flight: either "equal", or its root and how it is cut.
    fn reply(&mut self, hello: HelloBody, root: RangeSum) {
        let (Some(party), Some(own)) = (self.party(), self.own.as_ref()) else { return };
        let set_proof = set_proof(&own.set_id, &own.hash_check, hello.party.nonce);
        // A root taken at a higher horizon than the initiator's is not comparable with the one in the hello. The
        // initiator compares when it hears it.
        let comparable = own.horizon <= hello.party.horizon;
        let is_same = comparable && root.is_same_set(&hello.root);
        (self.report.root_left, self.report.root_right) = (hello.root, root);
        self.report.roots_before = comparable.then_some((hello.root, root));
        self.total = root.count();
        let salt = SessionSalt::new(hello.party.nonce, party.nonce);
        self.establish(salt, &hello.party, hello.mode);
        self.set_wanted(hello.weighs, hello.names_max);
        self.settle_losses(&hello.party, &hello.root);
        let equal = is_same && !self.losses.are_any();
        // The peer may have something to ask for.
        self.expects_more = self.losses.are_any();
        let reply =
            HelloReply { version: self.terms.version, set_proof, party, root: (!equal).then_some(root) };
        self.outbox.push(&Message::HelloReply(reply));
        self.heard.moves += 1;
        if is_same || self.losses.heals {
            self.equal = equal;
            return;
        }
        let peer_empty = comparable && hello.root.is_same_set(&RangeSum::ZERO);
        let span = Span::new(Scope::Pieces(Pieces::whole(0)), self.terms.scope.clone(), root, 0);
        self.spans.push_back(Span { peer_empty, ..span });
    }

    pub(crate) fn on_hello_reply(&mut self, reply: HelloReply) -> Result<(), AbortReason> {
        if !self.initiates() || !self.is_first() || self.established {
            return Err(AbortReason::Protocol("a hello reply out of place"));
        }
        let Some(own) = self.own.as_ref() else {
            return Err(AbortReason::Inconsistent("no hello"));
        };
        let versions = self.options.versions;
        if !(versions.min..=versions.max).contains(&reply.version) {
            return Err(self.version_mismatch(Versions { min: reply.version, max: reply.version }));
        }
        if reply.set_proof != set_proof(&own.set_id, &own.hash_check, self.options.nonce) {
            return Err(AbortReason::OtherSet);
        }
        if reply.party.node == own.node {
            return Err(AbortReason::SameNode);
        }
        match self.meets_replied(reply) {
            Some(reply) => self.take_reply(reply),
            None => Ok(()),
        }
    }

    /// Takes in what a checked reply says.
    pub(crate) fn take_reply(&mut self, reply: HelloReply) -> Result<(), AbortReason> {
        let Some(own) = self.own.as_ref() else {
            return Err(AbortReason::Inconsistent("no hello"));
        };
        let (horizon, own_horizon) = (reply.party.horizon, own.horizon);
        let raise = horizon > own_horizon && !self.terms.filtered;
        let salt = SessionSalt::new(self.options.nonce, reply.party.nonce);
        self.establish(salt, &reply.party, self.options.mode);
        self.set_wanted(self.options.weighs, self.options.names_max);
        self.settle_losses(&reply.party, &reply.root.unwrap_or(self.report.root_left));
        self.heard.moves += 1;
        match reply.root {
            None if self.losses.are_any() => {
                return Err(AbortReason::Protocol("an end before what is lost was asked for"));
            }
            None => {
                self.report.root_right = self.report.root_left;
                self.report.roots_before = Some((self.report.root_left, self.report.root_left));
                self.equal = true;
            }
            Some(root) => {
                self.report.root_right = root;
                if horizon <= own_horizon {
                    self.report.roots_before = Some((self.report.root_left, root));
                }
                if raise && !self.losses.heals {
                    let request = ReadRequest::Info { horizon: Some(horizon) };
                    self.ask(request, Waiting::Opening(Opening::AtHorizon(root)));
                }
            }
        }
        Ok(())
    }

    /// What the initiator of a dry run wants to know.
    fn set_wanted(&mut self, weighs: bool, names_max: u32) {
        if self.terms.mode == Mode::DryRun {
            (self.terms.weighs, self.terms.names_left) = (weighs, names_max);
        }
    }

    fn establish(&mut self, salt: SessionSalt, peer: &Party, mode: Mode) {
        let own_read_only = self.own.as_ref().is_some_and(|own| own.read_only);
        let initiates = self.initiates();
        let (forth, back) = match mode {
            Mode::Both => (true, true),
            Mode::Push => (true, false),
            Mode::Pull => (false, true),
            Mode::DryRun => (false, false),
        };
        let (gives, takes) = if initiates { (forth, back) } else { (back, forth) };
        self.terms = Terms {
            salt,
            mode,
            may_give: gives && !peer.read_only,
            may_take: takes && !own_read_only,
            origin: Origin { node: peer.node, horizon: peer.horizon },
            peer_read_only: peer.read_only,
            window_len: peer.window_len as usize,
            value_len_max: peer.value_len_max,
            ..std::mem::replace(&mut self.terms, Terms::unknown())
        };
        if matches!(mode, Mode::Pull | Mode::Push) {
            self.reasons.insert(Reason::Mode);
        }
        if mode == Mode::DryRun {
            self.reasons.insert(Reason::DryRun);
        }
        if self.terms.filtered {
            self.reasons.insert(Reason::Filter);
        }
        self.established = true;
        self.set_salts();
    }
}

/// The one sum of a range without inner bounds.
pub(crate) fn whole(sums: &[RangeSum]) -> Result<RangeSum, AbortReason> {
    match sums {
        [sum] => Ok(*sum),
        _ => Err(AbortReason::Inconsistent("other than one sum of one range")),
    }
}
