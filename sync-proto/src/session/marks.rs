//! [`Marks`]: the pieces of a range as one pass has seen them, 16 bytes each, so that those that differ can be told from
//! the others, and found again, without keeping where each begins.
//!
//! Easy to get wrong: where a piece lies is found by counting within its group, in a second pass over that. Both passes are
//! of one moment ([`Replica::pin`](crate::Replica::pin)), so they see the same pieces.

use super::keys::KeyList;
use super::parts::Parts;
use crate::hash::Salt;
use crate::reed_solomon::Field;
use crate::sketch::Sketch;
use crate::types::{Fingerprint, KeyRange, RangeSum};
use crate::wire::piece::{PieceList, SketchedPieces};

/// Sums of the pieces of a range, in key order, and where groups of them begin.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    sums: Vec<Fingerprint>,
    /// Where each group starts, and the number of its first piece.
    starts: KeyList,
    firsts: Vec<u32>,
    /// Entries in all pieces.
    pub(crate) entry_count: u64,
    /// Pieces that hold anything.
    pub(crate) piece_count: u64,
}

impl Marks {
    /// Adds the next piece. A group begins with a part of the range, and where [`SessionSalt::begins_group`] says so, on
    /// both sides alike.
    ///
    /// [`SessionSalt::begins_group`]: crate::hash::SessionSalt::begins_group
    pub(crate) fn push(&mut self, start: &[u8], sum: &RangeSum, begins_group: bool) {
        if begins_group || self.firsts.is_empty() {
            self.starts.push(start);
            self.firsts.push(self.sums.len() as u32);
        }
        if self.sums.len() == self.sums.capacity() {
            // Growth by an eighth: spare room counts as well.
            self.sums.reserve_exact((self.sums.len() / 8).max(64));
        }
        self.sums.push(sum.fingerprint);
        self.entry_count = self.entry_count.saturating_add(sum.count());
        self.piece_count += u64::from(sum.count() > 0);
    }

    /// Number of the pieces.
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.sums.capacity() * size_of::<Fingerprint>()
            + self.starts.memory_len()
            + self.firsts.capacity() * size_of::<u32>()
    }

    /// Sum of all pieces.
    pub(crate) fn total(&self) -> Fingerprint {
        self.sums.iter().fold(Fingerprint::default(), |total, &sum| total + sum)
    }

    /// Sum of the pieces with these numbers.
    pub(crate) fn sum_of(&self, numbers: &[u32]) -> Fingerprint {
        let sums = numbers.iter().filter_map(|&number| self.sums.get(number as usize));
        sums.fold(Fingerprint::default(), |total, &sum| total + sum)
    }

    /// Number and short fingerprint of each piece that holds anything.
    fn elements(&self, salt: &Salt) -> impl Iterator<Item = (u32, u64)> {
        (0u32..)
            .zip(&self.sums)
            .filter(|(_, sum)| **sum != Fingerprint::default())
            .map(|(number, sum)| (number, salt.entry_of_len(sum.0, SketchedPieces::FINGERPRINT_LEN)))
    }

    /// The pieces in so many cells.
    pub(crate) fn sketch(&self, salt: &Salt, cell_count: usize) -> Sketch {
        let mut sketch = Sketch::new(cell_count);
        self.elements(salt).for_each(|(_, fingerprint)| sketch.add(fingerprint));
        sketch
    }

    /// Takes the pieces off a sketch.
    pub(crate) fn take_off(&self, salt: &Salt, sketch: &mut Sketch) {
        self.elements(salt).for_each(|(_, fingerprint)| sketch.remove(fingerprint));
    }

    /// The numbers of the pieces with these fingerprints, which rise; `None` unless there is one for each.
    pub(crate) fn find(&self, salt: &Salt, fingerprints: &[u64]) -> Option<Vec<u32>> {
        let wanted = |fingerprint: &u64| fingerprints.binary_search(fingerprint).is_ok();
        let found: Vec<u32> = self
            .elements(salt)
            .filter(|(_, fingerprint)| wanted(fingerprint))
            .map(|(number, _)| number)
            .collect();
        (found.len() == fingerprints.len()).then_some(found)
    }

    /// What is told of the pieces group by group, in symbols of so many bytes, where so many of 256 pieces differ.
    pub(crate) fn list(&self, salt: &Salt, hash_len: u8, density: u8) -> PieceList {
        let mut list = PieceList { hash_len, density, ..PieceList::default() };
        for (group, start) in self.starts.iter().enumerate() {
            let numbers = self.pieces_of(group);
            let count = numbers.end - numbers.start;
            list.groups.push((salt.key(start) & 0xff_ffff, count));
            let sums = self.sums.get(numbers.start as usize..numbers.end as usize).unwrap_or_default();
            let hashes = sums.iter().map(|sum| salt.entry_of_len(sum.0, hash_len) as u32);
            match PieceList::told_count(count, density) {
                told if told == count => list.symbols.extend(hashes),
                told => list.symbols.extend(Field::of_len(hash_len).syndromes(hashes, told as usize)),
            }
        }
        list
    }

    /// Bytes that such a list takes.
    pub(crate) fn list_len(&self, hash_len: u8, density: u8) -> u64 {
        let counts = (0..self.starts.len()).map(|group| self.pieces_of(group).len() as u32);
        let told = counts.map(|count| u64::from(PieceList::told_count(count, density)));
        told.map(|told| 4 + told * u64::from(hash_len)).sum()
    }

    /// The numbers of the pieces with a bit; `None` if there is one too many.
    pub(crate) fn numbers_of(&self, bits: &[u8]) -> Option<Vec<u32>> {
        let all = (0u32..).zip(bits).flat_map(|(byte, bits)| {
            (0..8).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| 8 * byte + bit)
        });
        let numbers: Vec<u32> = all.collect();
        numbers.last().is_none_or(|&last| (last as usize) < self.sums.len()).then_some(numbers)
    }

    /// The group that a piece lies in.
    pub(crate) fn group_of(&self, number: u32) -> usize {
        self.firsts.partition_point(|&first| first <= number).saturating_sub(1)
    }

    /// The numbers of a group's pieces.
    pub(crate) fn pieces_of(&self, group: usize) -> std::ops::Range<u32> {
        let first = self.firsts.get(group).copied().unwrap_or_default();
        first..self.firsts.get(group + 1).copied().unwrap_or(self.sums.len() as u32)
    }

    /// The keys of a group of pieces of `area`.
    pub(crate) fn range_of(&self, group: usize, area: &Parts) -> Option<KeyRange> {
        let start = self.starts.get(group)?.to_vec();
        let part_end = area.end_of(&start).map(<[u8]>::to_vec);
        let next = self.starts.get(group + 1);
        let is_within = next.is_some_and(|next| part_end.as_deref().is_none_or(|end| next < end));
        Some(KeyRange { start, end: if is_within { next.map(<[u8]>::to_vec) } else { part_end } })
    }
}
