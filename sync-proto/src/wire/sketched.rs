//! Entries told as a set: by the cells of a sketch, or by all of their short fingerprints. `piece` tells pieces by the same cells.
//!
//! Easy to get wrong: what a cell counts is told modulo 4, but for the first ones (see [`crate::sketch`]).

use super::codec::{Decoded, Malformed, Reader, put_rising, put_uint, put_varint};
use super::item::Scope;
use crate::limits::{CELL_COUNT_MAX, PLAIN_COUNT_MAX};
use crate::sketch::{COUNTED, Cell, Sketch};

/// "These are my entries of the range", as a sketch of their short fingerprints (see [`crate::sketch`]), or all of these.
///
/// ```text
/// ..  scope        v   number of entries        1   length of a fingerprint: 4 to 8
/// v   number of cells, 0 = none, but all fingerprints; cells, or:
/// v   for each entry, fingerprints rising: the fingerprint less the one before
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketched {
    pub(crate) scope: Scope,
    pub(crate) entry_count: u64,
    pub(crate) fingerprint_len: u8,
    pub(crate) form: Form,
}

/// How a set of fingerprints is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// By the cells of a sketch.
    Cells(Sketch),
    /// One by one, rising.
    Plain(Vec<u64>),
}

impl Form {
    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        match self {
            Form::Cells(sketch) => size_of_val(sketch.cells()),
            Form::Plain(fingerprints) => size_of_val(fingerprints.as_slice()),
        }
    }
}

impl Sketched {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.scope.encode(out);
        put_varint(out, self.entry_count);
        out.push(self.fingerprint_len);
        match &self.form {
            Form::Cells(sketch) => put_cells(out, sketch, self.fingerprint_len),
            Form::Plain(fingerprints) => {
                out.push(0);
                put_rising(out, fingerprints);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Sketched> {
        let scope = Scope::decode(reader)?;
        let entry_count = reader.varint()?;
        let fingerprint_len = fingerprint_len(reader)?;
        let form = match cells(reader, fingerprint_len)? {
            Some(sketch) => Form::Cells(sketch),
            None => Form::Plain(plain(reader, entry_count, fingerprint_len)?),
        };
        Ok(Sketched { scope, entry_count, fingerprint_len, form })
    }
}

fn plain(reader: &mut Reader<'_>, count: u64, len: u8) -> Decoded<Vec<u64>> {
    match usize::try_from(count) {
        Ok(count @ 1..=PLAIN_COUNT_MAX) => reader.rising(count, len),
        _ => Err(Malformed("number of fingerprints")),
    }
}

/// ```text
/// v   number of cells; then for each:
/// 4-8 exclusive or of the fingerprints
/// 1   exclusive or of their checks, in the upper 6 bits; number of elements in the cell, modulo 4
/// 1   of the first 64 cells: number of elements in the cell, modulo 256, without its lower 2 bits
/// ```
pub(super) fn put_cells(out: &mut Vec<u8>, sketch: &Sketch, fingerprint_len: u8) {
    put_varint(out, sketch.cells().len() as u64);
    for (index, cell) in sketch.cells().iter().enumerate() {
        put_uint(out, cell.sum, usize::from(fingerprint_len));
        out.push(cell.check << 2 | cell.count & 3);
        if index < COUNTED {
            out.push(cell.count >> 2);
        }
    }
}

/// `None` if there are none.
pub(super) fn cells(reader: &mut Reader<'_>, fingerprint_len: u8) -> Decoded<Option<Sketch>> {
    let len = usize::from(fingerprint_len);
    let count = reader.count(0, CELL_COUNT_MAX, len + 1)?;
    let mut cells = Vec::with_capacity(count);
    for index in 0..count {
        let (sum, both) = (reader.uint(len)?, reader.u8()?);
        let more = if index < COUNTED { reader.u8()? } else { 0 };
        if more > 0x3f {
            return Err(Malformed("count of a cell"));
        }
        cells.push(Cell { sum, check: both >> 2, count: more << 2 | both & 3 });
    }
    Ok((count > 0).then(|| Sketch::from_cells(cells)))
}

fn fingerprint_len(reader: &mut Reader<'_>) -> Decoded<u8> {
    match reader.u8()? {
        len @ 4..=8 => Ok(len),
        _ => Err(Malformed("length of fingerprints")),
    }
}
