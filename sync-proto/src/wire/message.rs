//! All messages: a tag of one byte, then the fields of the message. A frame's payload is a run of them.
//!
//! Easy to get wrong: a message that decodes is legal in itself (counts, order, lengths), whatever the peer. Whether it
//! is legal *now* is the session's business.

use super::codec::{Decoded, Malformed, Reader, put_bytes, put_varint};
use super::entry::{self, ValueBegin};
use super::healing;
use super::hello::{Abort, Done, Hello, HelloReply};
use super::item::{Children, FullList, Later, List, Settle, Split, Unmatched};
use super::piece::SketchedPieces;
use super::sketched::Sketched;
use crate::healing::{Healing, Lost};
use crate::limits::MEMBERS_LEN_MAX;
use crate::types::{Entry, Moves};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Hello(Hello),
    HelloReply(HelloReply),
    Children(Children),
    Split(Split),
    List(List),
    FullList(FullList),
    Unmatched(Unmatched),
    Settle(Settle),
    Later(Later),
    /// "Begin again from the whole range": the peer's spans to put aside are not the sender's. Has no fields.
    Restart,
    /// "So many entries follow whose keys you lack": a whole range of them, or all that a list or sketch lacks.
    Stream(u64),
    Entries(Vec<Entry>),
    ValueBegin(ValueBegin),
    ValuePart(Vec<u8>),
    /// "Forget the value begun last": it changed while it travelled. Has no fields.
    ValueAbandon,
    Names(Vec<(bool, Vec<u8>)>),
    /// What the sender would send in this flight: entries, bytes of their values, keys that it does not name.
    Moves(Moves),
    Done(Done),
    Abort(Abort),
    /// The sender's table of members, as [`crate::Replica::table`] gave it. Before a hello or its reply, or in the place of
    /// the reply.
    Table(Vec<u8>),
    Sketched(Sketched),
    SketchedPieces(SketchedPieces),
    Lost(Lost),
    Heal(Healing),
}

const HELLO: u8 = 1;
const HELLO_REPLY: u8 = 2;
const CHILDREN: u8 = 3;
const SPLIT: u8 = 4;
const LIST: u8 = 5;
const FULL_LIST: u8 = 6;
const UNMATCHED: u8 = 7;
const SETTLE: u8 = 8;
const LATER: u8 = 9;
const RESTART: u8 = 10;
const STREAM: u8 = 11;
const ENTRIES: u8 = 12;
const VALUE_BEGIN: u8 = 13;
const VALUE_PART: u8 = 14;
const VALUE_ABANDON: u8 = 15;
const NAMES: u8 = 16;
const DONE: u8 = 17;
const ABORT: u8 = 18;
const TABLE: u8 = 32;
const SKETCHED: u8 = 19;
const SKETCHED_PIECES: u8 = 20;
const LOST: u8 = 21;
const HEAL: u8 = 22;
const MOVES: u8 = 23;

impl Message {
    fn tag(&self) -> u8 {
        match self {
            Message::Hello(_) => HELLO,
            Message::HelloReply(_) => HELLO_REPLY,
            Message::Children(_) => CHILDREN,
            Message::Split(_) => SPLIT,
            Message::List(_) => LIST,
            Message::FullList(_) => FULL_LIST,
            Message::Unmatched(_) => UNMATCHED,
            Message::Settle(_) => SETTLE,
            Message::Later(_) => LATER,
            Message::Restart => RESTART,
            Message::Stream(_) => STREAM,
            Message::Entries(_) => ENTRIES,
            Message::ValueBegin(_) => VALUE_BEGIN,
            Message::ValuePart(_) => VALUE_PART,
            Message::ValueAbandon => VALUE_ABANDON,
            Message::Names(_) => NAMES,
            Message::Moves(_) => MOVES,
            Message::Done(_) => DONE,
            Message::Abort(_) => ABORT,
            Message::Table(_) => TABLE,
            Message::Sketched(_) => SKETCHED,
            Message::SketchedPieces(_) => SKETCHED_PIECES,
            Message::Lost(_) => LOST,
            Message::Heal(_) => HEAL,
        }
    }

    /// Appends tag and fields.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.tag());
        match self {
            Message::Hello(hello) => hello.encode(out),
            Message::HelloReply(reply) => reply.encode(out),
            Message::Children(children) => children.encode(out),
            Message::Split(split) => split.encode(out),
            Message::List(list) => list.encode(out),
            Message::FullList(list) => list.encode(out),
            Message::Unmatched(unmatched) => unmatched.encode(out),
            Message::Settle(settle) => settle.encode(out),
            Message::Later(later) => later.encode(out),
            Message::Restart | Message::ValueAbandon => {}
            Message::Stream(count) => put_varint(out, *count),
            Message::Entries(entries) => entry::put_entries(out, entries),
            Message::ValueBegin(begin) => begin.encode(out),
            Message::ValuePart(bytes) => put_bytes(out, bytes),
            Message::Names(names) => entry::put_names(out, names),
            Message::Moves(moves) => {
                put_varint(out, moves.entries);
                put_varint(out, moves.value_bytes);
                put_varint(out, moves.unnamed);
            }
            Message::Done(done) => done.encode(out),
            Message::Abort(abort) => abort.encode(out),
            Message::Table(table) => put_bytes(out, table),
            Message::Sketched(sketched) => sketched.encode(out),
            Message::SketchedPieces(sketched) => sketched.encode(out),
            Message::Lost(lost) => healing::put_lost(out, lost),
            Message::Heal(heal) => healing::put_healing(out, heal),
        }
    }

    /// Whether `payload` begins with an abort.
    pub(crate) fn is_abort(payload: &[u8]) -> bool {
        payload.first() == Some(&ABORT)
    }

    /// Reads one message from the front.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Message> {
        Ok(match reader.u8()? {
            HELLO => Message::Hello(Hello::decode(reader)?),
            HELLO_REPLY => Message::HelloReply(HelloReply::decode(reader)?),
            CHILDREN => Message::Children(Children::decode(reader)?),
            SPLIT => Message::Split(Split::decode(reader)?),
            LIST => Message::List(List::decode(reader)?),
            FULL_LIST => Message::FullList(FullList::decode(reader)?),
            UNMATCHED => Message::Unmatched(Unmatched::decode(reader)?),
            SETTLE => Message::Settle(Settle::decode(reader)?),
            LATER => Message::Later(Later::decode(reader)?),
            RESTART => Message::Restart,
            STREAM => Message::Stream(reader.varint()?),
            ENTRIES => Message::Entries(entry::entries(reader)?),
            VALUE_BEGIN => Message::ValueBegin(ValueBegin::decode(reader)?),
            VALUE_PART => Message::ValuePart(entry::value_part(reader)?),
            VALUE_ABANDON => Message::ValueAbandon,
            NAMES => Message::Names(entry::names(reader)?),
            MOVES => Message::Moves(Moves {
                entries: reader.varint()?,
                value_bytes: reader.varint()?,
                unnamed: reader.varint()?,
            }),
            DONE => Message::Done(Done::decode(reader)?),
            ABORT => Message::Abort(Abort::decode(reader)?),
            TABLE => Message::Table(reader.bytes(MEMBERS_LEN_MAX)?.to_vec()),
            SKETCHED => Message::Sketched(Sketched::decode(reader)?),
            SKETCHED_PIECES => Message::SketchedPieces(SketchedPieces::decode(reader)?),
            LOST => Message::Lost(healing::lost(reader)?),
            HEAL => Message::Heal(healing::healing(reader)?),
            _ => return Err(Malformed("unknown message")),
        })
    }
}
