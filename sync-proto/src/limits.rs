//! The numbers that a session keeps to: those of the protocol, which both sides share, and those that each side chooses
//! for itself.
//!
//! Easy to get wrong: the constants are part of the protocol version. A peer that exceeds one is malformed, so raising
//! one is a new version; lowering one makes a side refuse what others may send.

use std::time::Duration;

/// Greatest length of a frame's payload in bytes.
pub const FRAME_LEN_MAX: usize = 1 << 20;
/// Values up to this length travel with their entry; longer ones in parts of this length.
pub const CHUNK_LEN: usize = 256 << 10;
/// Greatest length of a key in bytes: a user's key of 64 KiB, and what a store puts before it.
pub const KEY_LEN_MAX: usize = (64 << 10) + 64;
/// Greatest length of an entry's meta in bytes.
pub const META_LEN_MAX: usize = 64 << 10;
/// Greatest number of pieces that a range is cut into by one message.
pub const PIECE_COUNT_MAX: usize = 256;
/// Greatest number of entries that one message lists.
pub const LIST_COUNT_MAX: usize = 8192;
/// Greatest number of cells of a sketch, and of differing entries that are told of one range.
pub const CELL_COUNT_MAX: usize = 32 << 10;
/// Greatest number of fingerprints that one message tells one by one.
pub const PLAIN_COUNT_MAX: usize = 32 << 10;
/// Greatest number of pieces that one message lists.
pub const LISTED_COUNT_MAX: usize = 96 << 10;
/// Greatest number of spans that one message puts aside.
pub(crate) const SPAN_COUNT_MAX: usize = 4096;
/// Greatest number of entries in one batch.
pub const BATCH_COUNT_MAX: usize = 1024;
/// What a session may hold in memory, whatever its peer sends.
pub const MEMORY_MAX: usize = 8 << 20;

/// Greatest number of spans, and of lost values, that one message asks for.
pub(crate) const LOST_COUNT_MAX: usize = 1024;
/// Of what came for a span and is not healed yet: each part that is healed costs a run.
pub(crate) const HEALING_LEN_MAX: usize = 3 << 20;

/// Bytes of the greatest table of members.
pub(crate) const MEMBERS_LEN_MAX: usize = 512 << 10;

/// Of one flight's items: what this side keeps until the answer. Two of them live at a time.
pub(crate) const TABLE_LEN_MAX: usize = 3 << 19;
/// Greatest number of items in a flight; what must be answered in any case may be as much again.
pub(crate) const ITEM_COUNT_MAX: usize = 8192;
/// Of the ranges that the initiator has put aside.
pub(crate) const BACKLOG_LEN_MAX: usize = 1 << 20;
/// Of what is remembered of one range that was read for a sketch, and of all of them.
pub(crate) const SEEN_LEN_MAX: usize = 7 << 18;
pub(crate) const ALL_SEEN_LEN_MAX: usize = 2 << 20;
/// Of the bounds that one range is cut at.
pub(crate) const CUT_KEYS_LEN_MAX: usize = 64 << 10;
/// Of keys read or listed at a time.
pub(crate) const KEYS_LEN_MAX: usize = 256 << 10;
/// Of keys that one message may unfold to: a list of them, one that was one too many, and the two ends of a range.
pub(crate) const MESSAGE_KEYS_LEN_MAX: usize = KEYS_LEN_MAX + 3 * KEY_LEN_MAX;
/// How deep a range may be cut: an honest walk of 2^60 entries stays below half of it.
pub(crate) const DEPTH_MAX: u32 = 64;
/// Of keys that are read back to find a peer's bounds among this side's own.
pub(crate) const FOUND_LEN_MAX: usize = 512 << 10;
/// Of what is remembered of the pieces of one range, and of where those of them lie that differ.
pub(crate) const MARKS_LEN_MAX: usize = 13 << 17;
pub(crate) const PARTS_LEN_MAX: usize = 768 << 10;
/// About how many pieces of a range are sketched, where its replica can cut it so finely. Replicas cut at levels, each of
/// which halves the pieces, so there are up to twice as many.
pub(crate) const SURVEYED_COUNT: usize = 44 << 10;
/// The most that one pass over pieces or entries holds. None begins where less is left of a session's memory, unless
/// nothing else is in the flight.
pub(crate) const PASS_LEN_MAX: usize = 4 << 20;
/// Cells of a sketch of pieces as long as nothing is known of what differs.
pub(crate) const FIRST_CELL_COUNT: usize = 44;
/// A range with at most so many entries on this side is read at once, without regard to pieces.
pub(crate) const SMALL_COUNT_MAX: u64 = 1024;
/// Of heads that were found and are to be told of.
pub(crate) const HEADS_LEN_MAX: usize = 2 << 20;
/// How often the pieces of a range are sketched, by either side in turn, before its entries are.
pub(crate) const PIECE_TRY_COUNT_MAX: u8 = 3;
/// How often a range is sketched, by either side in turn, before it is cut instead.
pub(crate) const SKETCH_TRY_COUNT_MAX: u8 = 3;
/// How often a session may begin again from the whole range because short bound ids misled it.
pub(crate) const RESTART_COUNT_MAX: u32 = 4;
/// How often a long value that changes while it travels is begun again before the session gives up.
pub(crate) const VALUE_TRY_COUNT_MAX: u32 = 8;
/// How often a session reads its side's entries on the average, and how many reads it has in any case. An honest session
/// reads each a few times.
pub(crate) const READS_PER_ENTRY_MAX: u64 = 32;
pub(crate) const READS_MIN: u64 = 1 << 20;
/// What an element costs in memory beside its own bytes: the vector's header and the allocator's.
pub(crate) const ELEMENT_OVERHEAD_LEN: usize = 48;

/// What one side chooses for its sessions. The two sides need not choose alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Greatest length of a value that this side takes, in bytes. The peer is told.
    pub value_len_max: u64,
    /// Bytes of items (walk and lists, not entries) that this side takes in one flight. The peer is told. At most
    /// [`FRAME_LEN_MAX`]; what does not fit is put aside and walked later.
    pub window_len: u32,
    /// About how many pieces a differing range is cut into where sketches do not settle it. More cost more bytes and fewer
    /// round trips.
    pub fan_out: u32,
    /// A range that could not be settled by a sketch is listed if this side holds at most so many entries in it, and
    /// cut otherwise.
    pub list_count: u32,
    /// At most so many entries are read to settle a range at once; where its differing pieces hold more, it is cut first. With
    /// 0 nothing is sketched: ranges are cut until they are small enough for a list.
    pub sketch_count: u32,
    /// Greatest number of flights of a session.
    pub legs_max: u32,
    /// Greatest number of bytes of frames, without values, of a session.
    pub metadata_len_max: u64,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// How long the peer may be silent when it is its turn.
    pub idle_timeout: Duration,
    /// How long the session may take in all, however busy it is: a peer that says a little now and then does not hold it
    /// for good. What was applied stays, so the next session goes on from there.
    pub session_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            value_len_max: 64 << 20,
            window_len: 512 << 10,
            fan_out: 24,
            list_count: 64,
            sketch_count: 4 << 20,
            legs_max: 1 << 16,
            metadata_len_max: 16 << 30,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            session_timeout: Duration::from_secs(24 * 60 * 60),
        }
    }
}
