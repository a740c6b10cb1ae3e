//! [`Parts`]: disjoint ranges in key order, in one allocation. What is left of a range when the pieces of it that are
//! equal are taken out.
//!
//! Easy to get wrong: neighbours are joined, so there are at most as many parts as ranges pushed.

use super::keys::KeyList;
use crate::limits::KEYS_LEN_MAX;
use crate::replica::{Children, Piece, ReadLimit};
use crate::types::KeyRange;

/// How many pieces are read at a time.
pub(super) const CHUNK: ReadLimit = ReadLimit { count: 4096, bytes: KEYS_LEN_MAX as u32 };

/// Disjoint ranges, rising.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Start and end of each in turn; that of an open end is missing.
    bounds: KeyList,
}

impl Parts {
    /// One range.
    pub(crate) fn of(range: &KeyRange) -> Parts {
        let mut parts = Parts::default();
        parts.push(&range.start, range.end.as_deref());
        parts
    }

    pub(crate) fn len(&self) -> usize {
        self.bounds.len().div_ceil(2)
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.bounds.memory_len()
    }

    /// Adds a range behind all others. One that begins where the last one ends makes that longer.
    pub(crate) fn push(&mut self, start: &[u8], end: Option<&[u8]>) {
        if self.bounds.last() == Some(start) {
            self.bounds.pop();
        } else {
            self.bounds.push(start);
        }
        if let Some(end) = end {
            self.bounds.push(end);
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<KeyRange> {
        let start = self.bounds.get(2 * index)?.to_vec();
        Some(KeyRange { start, end: self.bounds.get(2 * index + 1).map(<[u8]>::to_vec) })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = KeyRange> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// What lies in both.
    pub(crate) fn intersection(&self, other: &Parts) -> Parts {
        let mut both = Parts::default();
        let (mut mine, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            let common = a.intersection(b);
            if !common.is_empty() {
                both.push(&common.start, common.end.as_deref());
            }
            let a_ends_first = a.end.is_some() && (b.end.is_none() || a.end <= b.end);
            if a_ends_first {
                mine.next()
            } else {
                theirs.next()
            };
        }
        both
    }

    /// Where the part ends that `key` lies in; `None` if it has no end, or there is none.
    pub(crate) fn end_of(&self, key: &[u8]) -> Option<&[u8]> {
        let (mut lo, mut hi) = (0, self.len());
        while lo < hi {
            let middle = lo + (hi - lo) / 2;
            let is_after = self.bounds.get(2 * middle).is_none_or(|start| start > key);
            if is_after { hi = middle } else { lo = middle + 1 }
        }
        self.bounds.get(2 * lo.checked_sub(1)? + 1)
    }
}

/// Reads through parts in order.
#[derive(Debug)]
pub(crate) struct Course {
    parts: std::sync::Arc<Parts>,
    next: usize,
    /// What is left of the part that is being read.
    rest: Option<KeyRange>,
}

impl Course {
    pub(crate) fn new(parts: std::sync::Arc<Parts>) -> Course {
        let rest = parts.get(0);
        Course { parts, next: 1, rest }
    }

    /// What to read next.
    pub(crate) fn range(&self) -> Option<&KeyRange> {
        self.rest.as_ref()
    }

    /// Goes on at `next` in the part that was read, or with the next part. `false` if that would be going back.
    pub(crate) fn advance(&mut self, next: Option<Vec<u8>>) -> bool {
        match (next, &mut self.rest) {
            (Some(next), Some(rest)) if next > rest.start => rest.start = next,
            (Some(_), _) => return false,
            (None, rest) => {
                *rest = self.parts.get(self.next);
                self.next += 1;
            }
        }
        true
    }

    pub(crate) fn memory_len(&self) -> usize {
        self.parts.memory_len()
    }
}

/// The pieces of an answer that are whole, and where to go on. The last one may hold further fences.
pub(super) fn whole_pieces(own: Children) -> (Vec<Piece>, Option<Vec<u8>>) {
    let Children { mut pieces, more, .. } = own;
    let next = if more && pieces.len() > 1 { pieces.pop().map(|piece| piece.start) } else { None };
    (pieces, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::rng::Rng;

    fn parts(ranges: &[(u8, Option<u8>)]) -> Parts {
        let mut parts = Parts::default();
        ranges.iter().for_each(|(start, end)| parts.push(&[*start], end.as_ref().map(std::slice::from_ref)));
        parts
    }

    #[test]
    fn neighbours_are_joined_and_ends_are_found() {
        let parts = parts(&[(1, Some(3)), (3, Some(5)), (7, Some(9)), (9, None)]);
        let range =
            |start: u8, end: Option<u8>| KeyRange { start: vec![start], end: end.map(|end| vec![end]) };
        assert_eq!(parts.iter().collect::<Vec<_>>(), [range(1, Some(5)), range(7, None)]);
        assert_eq!(
            (parts.end_of(&[2]), parts.end_of(&[7]), parts.end_of(&[0])),
            (Some(&[5][..]), None, None)
        );
    }

    #[test]
    fn a_key_is_in_the_intersection_if_it_is_in_both() {
        for seed in 0..300 {
            let rng = &mut Rng(seed);
            let mut draw = || {
                let mut bounds: Vec<u8> = (0..rng.below(9)).map(|_| rng.below(30) as u8).collect();
                bounds.sort_unstable();
                bounds.dedup();
                parts(&bounds.chunks(2).map(|pair| (pair[0], pair.get(1).copied())).collect::<Vec<_>>())
            };
            let (a, b) = (draw(), draw());
            let both = a.intersection(&b);
            for key in 0..32u8 {
                let is_in = |parts: &Parts| parts.iter().any(|range| range.contains(&[key]));
                assert_eq!(is_in(&both), is_in(&a) && is_in(&b), "seed {seed}: {key} of {a:?} and {b:?}");
            }
        }
    }
}
