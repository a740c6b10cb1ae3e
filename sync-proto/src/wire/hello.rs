//! The messages that open and end a session: hello, its reply, done, abort.
//!
//! Easy to get wrong: what must be read before the version is known (magic and window) never moves, in any version. The
//! rest of a hello is therefore decoded in a second step, so that a peer of another version is told so.

use super::codec::{Decoded, Malformed, Reader, put_range, put_sum, put_varint};
use crate::error::PeerReason;
use crate::limits::FRAME_LEN_MAX;
use crate::options::{Mode, Versions};
use crate::types::{KeyRange, RangeSum};

const MAGIC: [u8; 4] = *b"SYNL";

/// The first message of a session, from the initiator.
///
/// ```text
/// 4   magic "SYNL"
/// 1   least version      1   greatest version
/// ..  the body, by the greatest common version
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: Versions,
    /// The undecoded [`HelloBody`].
    pub(crate) body: Vec<u8>,
}

impl Hello {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[self.versions.min, self.versions.max]);
        out.extend_from_slice(&self.body);
    }

    /// Takes all bytes that are left: a hello is alone in its frame.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Hello> {
        if reader.array()? != MAGIC {
            return Err(Malformed("magic"));
        }
        let [min, max] = reader.array()?;
        if min > max {
            return Err(Malformed("version window"));
        }
        let body = reader.take(reader.remaining_len())?.to_vec();
        Ok(Hello { versions: Versions { min, max }, body })
    }
}

/// What either side says of itself.
///
/// ```text
/// 8   node                    8   nonce
/// v   opens                   v   durable seqno         v   horizon
/// 8   checksum of members     8   checksum of keyspaces
/// v   window_len              v   value_len_max
/// 1   bit 0 = read-only, 1 = keys that the session is about are unknown, 2 = values of theirs are lost
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) node: u64,
    pub(crate) nonce: u64,
    pub(crate) opens: u64,
    pub(crate) durable_seqno: u64,
    pub(crate) horizon: u64,
    pub(crate) members_checksum: u64,
    pub(crate) keyspaces_checksum: u64,
    pub(crate) window_len: u32,
    pub(crate) value_len_max: u64,
    pub(crate) read_only: bool,
    pub(crate) has_unknown: bool,
    pub(crate) has_lost_values: bool,
}

const READ_ONLY: u8 = 1;
const HAS_UNKNOWN: u8 = 2;
const HAS_LOST_VALUES: u8 = 4;

impl Party {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        put_varint(out, self.opens);
        put_varint(out, self.durable_seqno);
        put_varint(out, self.horizon);
        out.extend_from_slice(&self.members_checksum.to_le_bytes());
        out.extend_from_slice(&self.keyspaces_checksum.to_le_bytes());
        put_varint(out, u64::from(self.window_len));
        put_varint(out, self.value_len_max);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            flag(self.read_only, READ_ONLY)
                | flag(self.has_unknown, HAS_UNKNOWN)
                | flag(self.has_lost_values, HAS_LOST_VALUES),
        );
    }

    fn decode(reader: &mut Reader<'_>) -> Decoded<Party> {
        let mut party = Party {
            node: reader.u64()?,
            nonce: reader.u64()?,
            opens: reader.varint()?,
            durable_seqno: reader.varint()?,
            horizon: reader.varint()?,
            members_checksum: reader.u64()?,
            keyspaces_checksum: reader.u64()?,
            window_len: match reader.varint_u32()? {
                len if len as usize <= FRAME_LEN_MAX => len,
                _ => return Err(Malformed("window")),
            },
            value_len_max: reader.varint()?,
            read_only: false,
            has_unknown: false,
            has_lost_values: false,
        };
        let flags = reader.u8()?;
        if flags & !(READ_ONLY | HAS_UNKNOWN | HAS_LOST_VALUES) != 0 {
            return Err(Malformed("flags of a party"));
        }
        party.read_only = flags & READ_ONLY != 0;
        party.has_unknown = flags & HAS_UNKNOWN != 0;
        party.has_lost_values = flags & HAS_LOST_VALUES != 0;
        Ok(party)
    }
}

/// The body of a hello, version 1. The root covers the filter if there is one, and everything replicated otherwise.
///
/// ```text
/// 16  set id          8   hash check
/// ..  party
/// 1   mode: 0 both, 1 pull, 2 push, 3 dry run, 4 dry run that weighs
/// v   names_max
/// ..  sum: the root
/// 1   0 = no filter, 1 = filter follows
/// ..  range: the filter
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HelloBody {
    pub(crate) set_id: [u8; 16],
    pub(crate) hash_check: [u8; 8],
    pub(crate) party: Party,
    pub(crate) mode: Mode,
    /// Of a dry run only.
    pub(crate) weighs: bool,
    pub(crate) names_max: u32,
    pub(crate) root: RangeSum,
    pub(crate) filter: Option<KeyRange>,
}

impl HelloBody {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&self.set_id);
        out.extend_from_slice(&self.hash_check);
        self.party.encode(&mut out);
        out.push(match self.mode {
            Mode::Both => 0,
            Mode::Pull => 1,
            Mode::Push => 2,
            Mode::DryRun => 3 + u8::from(self.weighs),
        });
        put_varint(&mut out, u64::from(self.names_max));
        put_sum(&mut out, &self.root);
        out.push(u8::from(self.filter.is_some()));
        if let Some(filter) = &self.filter {
            put_range(&mut out, filter);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Decoded<HelloBody> {
        let mut reader = Reader::new(bytes);
        let (set_id, hash_check, party) = (reader.array()?, reader.array()?, Party::decode(&mut reader)?);
        let (mode, weighs) = match reader.u8()? {
            0 => (Mode::Both, false),
            1 => (Mode::Pull, false),
            2 => (Mode::Push, false),
            3 => (Mode::DryRun, false),
            4 => (Mode::DryRun, true),
            _ => return Err(Malformed("mode")),
        };
        let body = HelloBody {
            set_id,
            hash_check,
            party,
            mode,
            weighs,
            names_max: reader.varint_u32()?,
            root: reader.sum()?,
            filter: match reader.u8()? {
                0 => None,
                1 => Some(reader.range()?),
                _ => return Err(Malformed("filter")),
            },
        };
        if reader.is_empty() { Ok(body) } else { Err(Malformed("bytes after a hello")) }
    }
}

/// The responder's answer to a hello.
///
/// ```text
/// 1   version chosen
/// 8   proof of the set (`hash::set_proof`)
/// ..  party
/// 1   0 = the roots are equal and the session is over, 1 = they differ
/// ..  sum: the responder's root, if they differ
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HelloReply {
    pub(crate) version: u8,
    pub(crate) set_proof: u64,
    pub(crate) party: Party,
    /// The responder's root, unless it is equal to the initiator's.
    pub(crate) root: Option<RangeSum>,
}

impl HelloReply {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.version);
        out.extend_from_slice(&self.set_proof.to_le_bytes());
        self.party.encode(out);
        out.push(u8::from(self.root.is_some()));
        if let Some(root) = &self.root {
            put_sum(out, root);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<HelloReply> {
        Ok(HelloReply {
            version: reader.u8()?,
            set_proof: reader.u64()?,
            party: Party::decode(reader)?,
            root: match reader.u8()? {
                0 => None,
                1 => Some(reader.sum()?),
                _ => return Err(Malformed("verdict")),
            },
        })
    }
}

/// "Everything that I hold or took in is durable, and nothing of mine is outstanding."
///
/// ```text
/// v   reasons why this session is partial (`session::report`)
/// v   entries refused        v   entries deferred
/// ..  sum: the sender's root now
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) reasons: u32,
    pub(crate) refused: u64,
    pub(crate) deferred: u64,
    pub(crate) root: RangeSum,
}

impl Done {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.reasons));
        put_varint(out, self.refused);
        put_varint(out, self.deferred);
        put_sum(out, &self.root);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Done> {
        Ok(Done {
            reasons: reader.varint_u32()?,
            refused: reader.varint()?,
            deferred: reader.varint()?,
            root: reader.sum()?,
        })
    }
}

/// The sender ends the session. May come at any time, alone in its frame.
///
/// ```text
/// 1   code (`error::PeerReason`); 1 = no common version, and then:
/// 1   least version of the sender      1   greatest
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abort {
    Version(Versions),
    Reason(PeerReason),
}

impl Abort {
    const VERSION: u8 = 1;

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Abort::Version(versions) => out.extend_from_slice(&[Abort::VERSION, versions.min, versions.max]),
            Abort::Reason(reason) => out.push(reason.code()),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Abort> {
        Ok(match reader.u8()? {
            Abort::VERSION => Abort::Version(Versions { min: reader.u8()?, max: reader.u8()? }),
            code => Abort::Reason(PeerReason::from_code(code)),
        })
    }
}
