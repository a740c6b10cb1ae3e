//! The items of the walk: what the two sides say of ranges, each in answer to an item of the flight before.
//!
//! An item names the range that it speaks of by a [`Scope`]: pieces of an item of the peer's last flight, so that no
//! keys travel. Both sides know which keys are meant, each in its own terms.
//!
//! Easy to get wrong: the items of a flight are numbered from 0 in the order of sending; [`Settle`] and [`Later`], which
//! nothing answers, are not counted. Scopes rise: within a flight they name disjoint pieces in order, which bounds the
//! work that a flight can cause to one pass.

use super::codec::{
    Decoded, Malformed, Reader, put_clock_after, put_key_after, put_positions, put_range, put_rising,
    put_stamp, put_uint, put_varint,
};
use super::piece::Named;
use crate::limits::{CELL_COUNT_MAX, LIST_COUNT_MAX, PIECE_COUNT_MAX, PLAIN_COUNT_MAX, SPAN_COUNT_MAX};
use crate::types::{KeyRange, Stamp};

/// Which range an item speaks of.
///
/// ```text
/// v   0 = explicit keys, n + 1 = item n of the peer's last flight
/// ..  range, if explicit; otherwise:
/// v   lo       v   number of pieces; 0 = of sketched pieces those named here, lo is 0 as well:
/// 1   0 = named by fingerprints, 1 = by a bit map
/// v   number of pieces named; for each: v  its fingerprint in the sketch less the one before, rising; or:
/// v   length of the bit map and its bytes; the first piece of the list is the lowest bit of the first byte
/// 16  sum of the fingerprints of those of the sender's pieces that have an equal one among the peer's
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// These keys. Only the initiator says so, of ranges that it had put aside.
    Keys(KeyRange),
    /// Pieces of the peer's last flight.
    Pieces(Pieces),
    /// Some of the pieces that an item of the peer's last flight sketched.
    Named(Named),
}

/// Pieces `lo..hi` of item `item`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pieces {
    pub(crate) item: u32,
    pub(crate) lo: u32,
    pub(crate) hi: u32,
}

impl Pieces {
    /// The only piece of an item.
    pub(crate) fn whole(item: u32) -> Pieces {
        Pieces { item, lo: 0, hi: 1 }
    }

    fn encode_span(self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.lo));
        put_varint(out, u64::from(self.hi - self.lo));
    }

    fn decode_span(item: u32, reader: &mut Reader<'_>) -> Decoded<Pieces> {
        let (lo, count) = (reader.varint_u32()?, reader.varint_u32()?);
        Pieces::new(item, lo, count)
    }

    fn new(item: u32, lo: u32, count: u32) -> Decoded<Pieces> {
        match lo.checked_add(count) {
            Some(hi) if count > 0 => Ok(Pieces { item, lo, hi }),
            _ => Err(Malformed("pieces")),
        }
    }
}

impl Scope {
    /// Bytes held beside those of keys.
    pub(crate) fn memory_len(&self) -> usize {
        match self {
            Scope::Named(named) => named.names.memory_len(),
            Scope::Keys(_) | Scope::Pieces(_) => 0,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Scope::Keys(range) => {
                out.push(0);
                put_range(out, range);
            }
            Scope::Pieces(pieces) => {
                put_varint(out, u64::from(pieces.item) + 1);
                pieces.encode_span(out);
            }
            Scope::Named(named) => {
                put_varint(out, u64::from(named.item) + 1);
                out.extend_from_slice(&[0, 0]);
                named.encode(out);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Scope> {
        let Some(item) = reader.varint_u32()?.checked_sub(1) else {
            return Ok(Scope::Keys(reader.range()?));
        };
        let (lo, count) = (reader.varint_u32()?, reader.varint_u32()?);
        if (lo, count) == (0, 0) {
            return Ok(Scope::Named(Named::decode(item, reader)?));
        }
        Ok(Scope::Pieces(Pieces::new(item, lo, count)?))
    }
}

/// "I hold the range as these pieces, cut at my fences of level `cut`."
///
/// ```text
/// ..  scope        1   cut        v   about how many entries differ, 0 = unknown
/// v   number of pieces, at least 2
/// 8   hash of the first piece; then for each further piece:
/// 4   id of the fence that it starts at        8   its hash
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Children {
    pub(crate) scope: Scope,
    pub(crate) cut: u8,
    /// About how many entries differ in the range, those of either side counted: for choosing how to go on.
    pub(crate) differing: u64,
    /// Ids of the inner bounds: one fewer than hashes.
    pub(crate) ids: Vec<u32>,
    pub(crate) hashes: Vec<u64>,
}

impl Children {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        out.push(self.cut);
        put_varint(out, self.differing);
        put_varint(out, self.hashes.len() as u64);
        for (position, hash) in self.hashes.iter().enumerate() {
            if let Some(id) = position.checked_sub(1).and_then(|before| self.ids.get(before)) {
                out.extend_from_slice(&id.to_le_bytes());
            }
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Children> {
        let scope = Scope::decode(reader)?;
        let cut = reader.u8()?;
        let differing = reader.varint()?;
        let count = reader.count(2, PIECE_COUNT_MAX, 8)?;
        let mut ids = Vec::with_capacity(count);
        let mut hashes = Vec::with_capacity(count);
        hashes.push(reader.u64()?);
        for _ in 1..count {
            ids.push(reader.u32()?);
            hashes.push(reader.u64()?);
        }
        Ok(Children { scope, cut, differing, ids, hashes })
    }
}

/// "I hold the range as these pieces", with the bounds in full. Said where ids of fences did not help.
///
/// ```text
/// ..  scope        v   number of pieces, at least 2
/// 8   hash of the first piece; then for each further piece:
/// ..  its first key, against the bound before        8   its hash
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) scope: Scope,
    /// The inner bounds, rising strictly: one fewer than hashes.
    pub(crate) bounds: Vec<Vec<u8>>,
    pub(crate) hashes: Vec<u64>,
}

impl Split {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        put_varint(out, self.hashes.len() as u64);
        let mut previous: &[u8] = &[];
        for (position, hash) in self.hashes.iter().enumerate() {
            if let Some(bound) = position.checked_sub(1).and_then(|before| self.bounds.get(before)) {
                put_key_after(out, previous, bound);
                previous = bound;
            }
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Split> {
        let scope = Scope::decode(reader)?;
        let count = reader.count(2, PIECE_COUNT_MAX, 8)?;
        let mut bounds: Vec<Vec<u8>> = Vec::with_capacity(count);
        let mut hashes = Vec::with_capacity(count);
        hashes.push(reader.u64()?);
        for _ in 1..count {
            let bound = match bounds.last() {
                None => reader.key_after(&[])?,
                Some(previous) => {
                    let bound = reader.key_after(previous)?;
                    if bound <= *previous {
                        return Err(Malformed("bounds do not rise"));
                    }
                    bound
                }
            };
            bounds.push(bound);
            hashes.push(reader.u64()?);
        }
        Ok(Split { scope, bounds, hashes })
    }
}

/// "These are my entries of the range", in key order, by their short fingerprints. Empty: "send me all of yours".
///
/// ```text
/// ..  scope        v   number of entries
/// 4   fingerprint, for each entry
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) scope: Scope,
    pub(crate) fingerprints: Vec<u32>,
}

impl List {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        put_varint(out, self.fingerprints.len() as u64);
        for fingerprint in &self.fingerprints {
            out.extend_from_slice(&fingerprint.to_le_bytes());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<List> {
        let scope = Scope::decode(reader)?;
        let count = reader.count(0, LIST_COUNT_MAX, 4)?;
        let mut fingerprints = Vec::with_capacity(count);
        for _ in 0..count {
            fingerprints.push(reader.u32()?);
        }
        Ok(List { scope, fingerprints })
    }
}

/// "These are my entries of the range", in full width. Said when short fingerprints failed twice to close the range.
///
/// ```text
/// ..  scope        v   number of entries, at least 1; then for each:
/// ..  key, against the one before        8   hlc        8   node        16  entry hash
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullList {
    pub(crate) scope: Scope,
    /// Keys rise strictly.
    pub(crate) entries: Vec<Listed>,
}

/// One entry of a [`FullList`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) key: Vec<u8>,
    pub(crate) stamp: Stamp,
    pub(crate) hash: u128,
}

impl FullList {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        put_varint(out, self.entries.len() as u64);
        let mut previous: &[u8] = &[];
        for entry in &self.entries {
            put_key_after(out, previous, &entry.key);
            put_stamp(out, entry.stamp);
            out.extend_from_slice(&entry.hash.to_le_bytes());
            previous = &entry.key;
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<FullList> {
        let scope = Scope::decode(reader)?;
        let count = reader.count(1, LIST_COUNT_MAX, 34)?;
        let mut entries: Vec<Listed> = Vec::with_capacity(count);
        for _ in 0..count {
            let previous = entries.last().map(|entry| entry.key.as_slice());
            let key = reader.key_after(previous.unwrap_or_default())?;
            if previous.is_some_and(|previous| key.as_slice() <= previous) {
                return Err(Malformed("keys do not rise"));
            }
            entries.push(Listed { key, stamp: reader.stamp()?, hash: reader.u128()? });
        }
        Ok(FullList { scope, entries })
    }
}

/// The answer to a [`List`] or a [`Sketched`]: "of your entries I lack these; of mine you lack these; what is left sums
/// up to this".
///
/// ```text
/// v   item: the list or sketch
/// 1   0 = positions follow, 4 to 8 = so many of the lowest bytes of fingerprints follow
/// ..  positions in the list that the sender lacks, or:
/// v   number of fingerprints in the sketch that the sender lacks; for each: v  it less the one before, rising
/// v   number of entries that the peer lacks, by their clocks; then for each:
/// 4   fingerprint of its key, 5 if there are more than 1024        v   hlc, against the one before
/// 16  fingerprint of the sender's range less these entries
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmatched {
    pub(crate) item: u32,
    pub(crate) lacking: Lacking,
    pub(crate) extra: Vec<Extra>,
    pub(crate) common: u128,
}

/// Entries of the peer that the sender lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// By their positions in a list, or among the fingerprints told one by one.
    Positions(Vec<u32>),
    /// By the lowest bytes of their fingerprints in a sketch, how many of them, and these, which rise strictly.
    Fingerprints(u8, Vec<u64>),
}

/// One entry that the peer lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Short fingerprint of its key.
    pub(crate) key: u64,
    pub(crate) hlc: u64,
}

impl Lacking {
    /// Of fingerprints of so many bytes the lowest ones that tell them from each other, and from nearly all of the peer's
    /// `peer_count` others: one stranger among these it knows by its hash.
    pub(crate) fn in_short(len: u8, fingerprints: Vec<u64>, peer_count: u64) -> Lacking {
        let met = peer_count.saturating_mul(fingerprints.len() as u64);
        // An eighth of a stranger is expected at most, and two in one answer of a hundred.
        let Some(short_len) = (4..len).find(|len| met >> (8 * len - 3) == 0) else {
            return Lacking::Fingerprints(len, fingerprints);
        };
        let mask = u64::MAX >> (64 - 8 * u32::from(short_len));
        let mut short: Vec<u64> = fingerprints.iter().map(|fingerprint| fingerprint & mask).collect();
        short.sort_unstable();
        match short.is_sorted_by(|a, b| a < b) {
            true => Lacking::Fingerprints(short_len, short),
            false => Lacking::Fingerprints(len, fingerprints),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Lacking::Positions(positions) => positions.is_empty(),
            Lacking::Fingerprints(_, fingerprints) => fingerprints.is_empty(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Lacking::Positions(positions) => {
                out.push(0);
                put_positions(out, positions);
            }
            Lacking::Fingerprints(len, fingerprints) => {
                out.push(*len);
                put_varint(out, fingerprints.len() as u64);
                put_rising(out, fingerprints);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Decoded<Lacking> {
        Ok(match reader.u8()? {
            0 => Lacking::Positions(reader.positions(PLAIN_COUNT_MAX)?),
            len @ 4..=8 => {
                let count = reader.count(0, CELL_COUNT_MAX, 1)?;
                let fingerprints = reader.rising(count, len)?;
                if !fingerprints.is_sorted_by(|a, b| a < b) {
                    return Err(Malformed("fingerprints do not rise"));
                }
                Lacking::Fingerprints(len, fingerprints)
            }
            _ => return Err(Malformed("form of what is lacking")),
        })
    }
}

impl Extra {
    /// Bytes of the fingerprints of so many keys: of more than these two would now and then be the same.
    pub(crate) fn key_len(count: usize) -> u8 {
        if count <= 1024 { 4 } else { 5 }
    }
}

impl Unmatched {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.item));
        self.lacking.encode(out);
        put_varint(out, self.extra.len() as u64);
        let mut previous = 0;
        for extra in &self.extra {
            put_uint(out, extra.key, usize::from(Extra::key_len(self.extra.len())));
            put_clock_after(out, previous, extra.hlc);
            previous = extra.hlc;
        }
        out.extend_from_slice(&self.common.to_le_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Unmatched> {
        let item = reader.varint_u32()?;
        let lacking = Lacking::decode(reader)?;
        let count = reader.count(0, CELL_COUNT_MAX, 5)?;
        let mut extra: Vec<Extra> = Vec::with_capacity(count);
        for _ in 0..count {
            let key = reader.uint(usize::from(Extra::key_len(count)))?;
            let hlc = reader.clock_after(extra.last().map_or(0, |extra| extra.hlc))?;
            extra.push(Extra { key, hlc });
        }
        Ok(Unmatched { item, lacking, extra, common: reader.u128()? })
    }
}

/// The verdict on a range, from the side that knows both sides' entries: which of the peer's entries it wants, and how
/// many of its own follow among the entries of this flight. Answers an [`Unmatched`] (positions in its `extra`) or a
/// [`FullList`] (positions in the list).
///
/// ```text
/// v   item: the unmatched or full list
/// ..  positions of entries whose keys the sender lacks
/// ..  positions of entries of whose keys the sender has older versions
/// v   entries of its own whose keys the peer lacks
/// v   entries of its own that are newer than the peer's
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settle {
    pub(crate) item: u32,
    pub(crate) missing: Vec<u32>,
    pub(crate) stale: Vec<u32>,
    pub(crate) only_mine: u64,
    pub(crate) newer_mine: u64,
}

impl Settle {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.item));
        put_positions(out, &self.missing);
        put_positions(out, &self.stale);
        put_varint(out, self.only_mine);
        put_varint(out, self.newer_mine);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Settle> {
        Ok(Settle {
            item: reader.varint_u32()?,
            missing: reader.positions(CELL_COUNT_MAX)?,
            stale: reader.positions(CELL_COUNT_MAX)?,
            only_mine: own_count(reader)?,
            newer_mine: own_count(reader)?,
        })
    }
}

/// A number of entries that one list or sketch can bring about.
fn own_count(reader: &mut Reader<'_>) -> Decoded<u64> {
    match reader.varint()? {
        count if count <= CELL_COUNT_MAX as u64 => Ok(count),
        _ => Err(Malformed("more entries than a sketch can tell")),
    }
}

/// "These I do not answer now; the initiator puts them aside."
///
/// ```text
/// v   number of spans, at least 1; then for each:
/// v   item        v   lo        v   number of pieces, at least 1
/// 8   hash of all start and end keys in order (`hash::KeysHash`)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) spans: Vec<Pieces>,
    /// Both sides must mean the same keys here, for the ranges will be named by their keys when they come up again.
    pub(crate) check: u64,
}

impl Later {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.spans.len() as u64);
        for span in &self.spans {
            put_varint(out, u64::from(span.item));
            span.encode_span(out);
        }
        out.extend_from_slice(&self.check.to_le_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Later> {
        let count = reader.count(1, SPAN_COUNT_MAX, 3)?;
        let mut spans = Vec::with_capacity(count);
        for _ in 0..count {
            let item = reader.varint_u32()?;
            spans.push(Pieces::decode_span(item, reader)?);
        }
        Ok(Later { spans, check: reader.u64()? })
    }
}
