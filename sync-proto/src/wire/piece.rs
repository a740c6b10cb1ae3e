//! Pieces of a range told as a set: by a sketch or a list of their sums, and named in answer to that.
//!
//! Used by the session's `narrow`. A piece is a bucket of the store, or several; see [`super::item`] for scopes.
//!
//! Easy to get wrong: fingerprints and hashes of pieces are short. A scope that names pieces holds the sum of all others, by
//! which the receiver checks what was taken for equal.

use super::codec::{Decoded, Malformed, Reader, put_bytes, put_rising, put_uint, put_varint};
use super::item::{Scope, cells, put_cells};
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
/// fingerprint of the piece; a hash of the list has fewer bytes of the same.
///
/// ```text
/// ..  scope        1   cut        v   number of pieces with entries        v   number of entries in them
/// ..  cells; if there are none, a list:
/// 1   bytes of a hash: 1 to 4        v   number of groups of pieces, at least 1; then for each:
/// 4   id of the fence that it starts at        v   number of pieces, at least 1        ..  their hashes
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

/// Hashes of pieces, and which groups they form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PieceList {
    /// Bytes of a hash.
    pub(crate) hash_len: u8,
    /// Id of the fence that each group starts at, and number of its pieces.
    pub(crate) groups: Vec<(u32, u32)>,
    /// Of all groups.
    pub(crate) hashes: Vec<u32>,
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
                size_of_val(list.groups.as_slice()) + size_of_val(list.hashes.as_slice())
            }
        }
    }
}

impl PieceList {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.hash_len);
        put_varint(out, self.groups.len() as u64);
        let mut hashes = self.hashes.iter();
        for &(id, count) in &self.groups {
            out.extend_from_slice(&id.to_le_bytes());
            put_varint(out, u64::from(count));
            let hashes = hashes.by_ref().take(count as usize);
            hashes.for_each(|&hash| put_uint(out, u64::from(hash), usize::from(self.hash_len)));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Decoded<PieceList> {
        let hash_len = match reader.u8()? {
            len @ 1..=4 => len,
            _ => return Err(Malformed("length of hashes")),
        };
        let len = usize::from(hash_len);
        let group_count = reader.count(1, LISTED_COUNT_MAX, 5 + len)?;
        let mut list = PieceList { hash_len, ..PieceList::default() };
        for _ in 0..group_count {
            let id = reader.u32()?;
            let count = reader.count(1, LISTED_COUNT_MAX - list.hashes.len(), len)?;
            list.groups.push((id, count as u32));
            for _ in 0..count {
                list.hashes.push(reader.uint(len)? as u32);
            }
        }
        Ok(list)
    }
}
