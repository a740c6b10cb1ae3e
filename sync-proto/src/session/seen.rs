//! [`Seen`]: where in a range the entries lie that a pass has read, kept in two bytes each, so that a second pass that
//! looks for a few of them need not read the whole range again.
//!
//! Easy to get wrong: it is a hint. Entries may have moved on since, and two bytes of a fingerprint fit others as well;
//! whoever looks where it points counts what he finds.

use std::collections::BTreeSet;

use super::keys::KeyList;
use crate::types::KeyRange;

/// Entries that share the key from which they are read again: a few of them cost as much as one.
const STRETCH_LEN: usize = 256;

/// The entries of a range in key order, by the lower half of their short fingerprints.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    marks: Vec<u16>,
    /// The key of every [`STRETCH_LEN`]th entry.
    starts: KeyList,
    /// Whether there were too many to remember.
    is_full: bool,
}

impl Seen {
    /// Remembers nothing: what is looked for may be anywhere.
    pub(crate) fn full() -> Seen {
        Seen { is_full: true, ..Seen::default() }
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        self.marks.capacity() * size_of::<u16>() + self.starts.memory_len()
    }

    /// Adds the next entry, unless that takes more than `len_max` bytes in all.
    pub(crate) fn push(&mut self, key: &[u8], fingerprint: u64, len_max: usize) {
        if self.is_full {
            return;
        }
        if self.marks.len().is_multiple_of(STRETCH_LEN) {
            if self.marks.len() == self.marks.capacity() {
                // Growth by an eighth: spare room counts as well.
                self.marks.reserve_exact((self.marks.len() / 8).max(STRETCH_LEN));
            }
            self.starts.push(key);
            if self.memory_len() > len_max {
                *self = Seen::full();
                return;
            }
        }
        self.marks.push(fingerprint as u16);
    }

    /// The parts of `range` in which entries with these fingerprints may lie, the last one first.
    pub(crate) fn parts(&self, range: &KeyRange, wanted: &BTreeSet<u64>) -> Vec<KeyRange> {
        if self.is_full {
            return vec![range.clone()];
        }
        let wanted: BTreeSet<u16> = wanted.iter().map(|&fingerprint| fingerprint as u16).collect();
        let mut parts: Vec<KeyRange> = Vec::new();
        for (index, stretch) in self.marks.chunks(STRETCH_LEN).enumerate().rev() {
            let Some(start) = self.starts.get(index) else { continue };
            if !stretch.iter().any(|mark| wanted.contains(mark)) {
                continue;
            }
            let end = self.starts.get(index + 1).or(range.end.as_deref());
            match parts.last_mut() {
                Some(after) if Some(after.start.as_slice()) == end => after.start = start.to_vec(),
                _ => parts.push(KeyRange { start: start.to_vec(), end: end.map(<[u8]>::to_vec) }),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    #[test]
    fn the_parts_hold_what_is_wanted_and_little_else() {
        let range = KeyRange { start: key(0), end: None };
        let mut seen = Seen::default();
        (0..10_000).for_each(|n| seen.push(&key(n), u64::from(n) << 20 | u64::from(n), usize::MAX));
        let wanted = |ns: &[u64]| ns.iter().map(|n| n << 20 | n).collect::<BTreeSet<u64>>();
        let parts = seen.parts(&range, &wanted(&[300, 600, 9_999]));
        let part = |start, end: Option<u32>| KeyRange { start: key(start), end: end.map(key) };
        assert_eq!(parts, [part(9_984, None), part(256, Some(768))]);
        assert!(seen.parts(&range, &wanted(&[])).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_looked_for_everywhere() {
        let range = KeyRange { start: key(0), end: Some(key(9)) };
        let mut seen = Seen::default();
        (0..10_000).for_each(|n| seen.push(&key(n), u64::from(n), 10_000));
        assert!(seen.memory_len() <= 10_000);
        assert_eq!(seen.parts(&range, &BTreeSet::from([1])), [range]);
    }
}
