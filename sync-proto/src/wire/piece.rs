//! Pieces of a range told as a set: by a sketch or a list of their sums, and named in answer to that.
//!
//! Used by the session's `narrow`. A piece is a bucket of the store, or several; see [`super::item`] for scopes.
//!
//! Easy to get wrong: fingerprints and hashes of pieces are short. A scope that names pieces holds the sum of all others, by
//! which the receiver checks what was taken for equal.

use super::codec::{Decoded, Malformed, Reader, put_bytes, put_rising, put_uint, put_varint};
use super::item::Scope;
use super::sketched::{cells, put_cells};
use crate::limits::{CELL_COUNT_MAX, LISTED_COUNT_MAX};
use crate::sketch::Sketch;

/// The peer's sketched pieces of item `item` that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) item: u32,
    pub(crate) names: Names,
    /// Sum of the fingerprints of the sender's pieces that do not differ, in full width.
    pub(crate) rest: u128,
}

/// How pieces are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Names {
    /// By their fingerprints in a sketch, rising strictly.
    Fingerprints(Vec<u64>),
    /// By their places in a list.
    Bits(Vec<u8>),
}

impl Names {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        match self {
            Names::Fingerprints(fingerprints) => size_of_val(fingerprints.as_slice()),
            Names::Bits(bits) => bits.len(),
        }
    }
}

impl Named {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match &self.names {
            Names::Fingerprints(fingerprints) => {
                out.push(0);
                put_varint(out, fingerprints.len() as u64);
                put_rising(out, fingerprints);
            }
            Names::Bits(bits) => {
                out.push(1);
                put_bytes(out, bits);
            }
        }
        out.extend_from_slice(&self.rest.to_le_bytes());
    }

    pub(super) fn decode(item: u32, reader: &mut Reader<'_>) -> Decoded<Named> {
        let names = match reader.u8()? {
            0 => {
                let count = reader.count(0, CELL_COUNT_MAX, 1)?;
                let fingerprints = reader.rising(count, SketchedPieces::FINGERPRINT_LEN)?;
                if !fingerprints.is_sorted_by(|a, b| a < b) {
                    return Err(Malformed("fingerprints do not rise"));
                }
                Names::Fingerprints(fingerprints)
            }
            1 => Names::Bits(reader.bytes(LISTED_COUNT_MAX / 8)?.to_vec()),
            _ => return Err(Malformed("form of names")),
        };
        Ok(Named { item, names, rest: reader.u128()? })
    }
}

/// "The range falls into these pieces at my fences of level `cut`", by a sketch of the pieces that hold any entry, or by
/// a list of all. An element of the sketch is 4 bytes of xxh3-64 over `salt 16 | fingerprint 16`, as for entries, with the
/// fingerprint of the piece; a hash of the list has other bytes of the same.
///
/// ```text
/// ..  scope        1   cut        v   number of pieces with entries        v   number of entries in them
/// ..  cells; if there are none, a list:
/// 1   bytes of a hash: 2 to 4        1   density
/// v   number of groups of pieces, at least 1; then for each:
/// 3   id of the fence that it starts at        v   number of pieces, at least 1        ..  their hashes, or syndromes of these
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SketchedPieces {
    pub(crate) scope: Scope,
    pub(crate) cut: u8,
    pub(crate) piece_count: u64,
    pub(crate) entry_count: u64,
    pub(crate) form: PieceForm,
}

/// How pieces are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PieceForm {
    /// By the cells of a sketch.
    Cells(Sketch),
    /// One by one, in key order.
    List(PieceList),
}

/// What is told of each group of pieces: their hashes, or, where that takes fewer bytes, syndromes of these
/// ([`crate::reed_solomon`]), from which follows which of them differ if not too many do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PieceList {
    /// Bytes of a hash, and of a syndrome.
    pub(crate) hash_len: u8,
    /// About how many of 256 pieces differ.
    pub(crate) density: u8,
    /// Id of the fence that each group starts at, and number of its pieces.
    pub(crate) groups: Vec<(u32, u32)>,
    /// Hashes or syndromes of all groups, for each as many as [`PieceList::told_count`] says.
    pub(crate) symbols: Vec<u32>,
}

/// Pieces that lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    /// Id of the fence that it starts at.
    pub(crate) id: u32,
    /// Number of its first piece.
    pub(crate) first: usize,
    /// How many there are.
    pub(crate) count: usize,
    /// Their hashes, or fewer syndromes of these.
    pub(crate) symbols: &'a [u32],
}

impl SketchedPieces {
    /// Bytes of an element.
    pub(crate) const FINGERPRINT_LEN: u8 = 4;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        out.push(self.cut);
        put_varint(out, self.piece_count);
        put_varint(out, self.entry_count);
        match &self.form {
            PieceForm::Cells(sketch) => put_cells(out, sketch, SketchedPieces::FINGERPRINT_LEN),
            PieceForm::List(list) => {
                out.push(0);
                list.encode(out);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<SketchedPieces> {
        let scope = Scope::decode(reader)?;
        let cut = reader.u8()?;
        let (piece_count, entry_count) = (reader.varint()?, reader.varint()?);
        let form = match cells(reader, SketchedPieces::FINGERPRINT_LEN)? {
            Some(sketch) => PieceForm::Cells(sketch),
            None => PieceForm::List(PieceList::decode(reader)?),
        };
        Ok(SketchedPieces { scope, cut, piece_count, entry_count, form })
    }
}

impl PieceForm {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        match self {
            PieceForm::Cells(sketch) => size_of_val(sketch.cells()),
            PieceForm::List(list) => {
                size_of_val(list.groups.as_slice()) + size_of_val(list.symbols.as_slice())
            }
        }
    }
}

impl PieceList {
    /// Bytes of the id of a fence, the lowest ones of 4.
    pub(crate) const ID_LEN: usize = 3;
    /// The density at which all hashes are told.
    pub(crate) const PLAIN: u8 = u8::MAX;
    /// Groups of more pieces are told one by one: what it takes to read syndromes grows with the square of it.
    const CODED_COUNT_MAX: u32 = 512;

    /// How many symbols are told of a group of so many pieces: two for each piece that is expected to differ, and for one and a half
    /// times the standard error of that, and two more; never more than pieces.
    pub(crate) fn told_count(count: u32, density: u8) -> u32 {
        if count > PieceList::CODED_COUNT_MAX {
            return count;
        }
        // In 256ths, as the density is.
        let expected = count * u32::from(density);
        count.min(2 + (2 * expected + 4 * (256 * expected).isqrt()) / 256)
    }

    /// Number of pieces in all groups.
    pub(crate) fn piece_count(&self) -> usize {
        self.groups.iter().map(|&(_, count)| count as usize).sum()
    }

    /// The groups, in key order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let (mut first, mut left) = (0, self.symbols.as_slice());
        self.groups.iter().map(move |&(id, count)| {
            let told = PieceList::told_count(count, self.density) as usize;
            let (symbols, rest) = left.split_at(told.min(left.len()));
            left = rest;
            let group = Group { id, first, count: count as usize, symbols };
            first += group.count;
            group
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.hash_len, self.density]);
        put_varint(out, self.groups.len() as u64);
        for group in self.groups() {
            put_uint(out, u64::from(group.id), PieceList::ID_LEN);
            put_varint(out, group.count as u64);
            group.symbols.iter().for_each(|&symbol| put_uint(out, u64::from(symbol), self.hash_len.into()));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Decoded<PieceList> {
        let hash_len = match reader.u8()? {
            len @ 2..=4 => len,
            _ => return Err(Malformed("length of hashes")),
        };
        let density = reader.u8()?;
        let len = usize::from(hash_len);
        let group_count = reader.count(1, LISTED_COUNT_MAX, PieceList::ID_LEN + 1 + len)?;
        let mut list = PieceList { hash_len, density, ..PieceList::default() };
        let mut left = LISTED_COUNT_MAX;
        for _ in 0..group_count {
            let id = reader.uint(PieceList::ID_LEN)? as u32;
            let count = reader.count(1, left, 0)?;
            left -= count;
            list.groups.push((id, count as u32));
            for _ in 0..PieceList::told_count(count as u32, density) {
                list.symbols.push(reader.uint(len)? as u32);
            }
        }
        Ok(list)
    }
}
