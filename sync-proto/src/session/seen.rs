//! [`Seen`]: where in a range the entries lie that a pass has read, kept in three bytes each, so that a second pass that
//! looks for a few of them need not read the whole range again.
//!
//! Easy to get wrong: it is a hint. Three bytes of a fingerprint fit others as well; whoever looks where it points counts what
//! he finds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::keys::KeyList;
use super::parts::Parts;

/// Entries that share the key from which they are read again: a few of them cost as much as one.
const STRETCH_LEN: usize = 32;

/// The lowest bytes of a short fingerprint.
type Mark = [u8; 3];

fn mark(fingerprint: u64) -> Mark {
    let [a, b, c, ..] = fingerprint.to_le_bytes();
    [a, b, c]
}

/// The entries of a range in key order, by three bytes of their short fingerprints.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    marks: Vec<Mark>,
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
        self.marks.capacity() * size_of::<Mark>() + self.starts.memory_len()
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
        self.marks.push(mark(fingerprint));
    }

    /// The parts of `area` in which entries with these fingerprints may lie.
    pub(crate) fn parts(&self, area: &Arc<Parts>, wanted: &BTreeSet<u64>) -> Arc<Parts> {
        if wanted.is_empty() {
            return Arc::default();
        }
        if self.is_full {
            return area.clone();
        }
        let wanted: BTreeSet<Mark> = wanted.iter().copied().map(mark).collect();
        let mut stretches = Parts::default();
        for (index, stretch) in self.marks.chunks(STRETCH_LEN).enumerate() {
            let Some(start) = self.starts.get(index) else { continue };
            if stretch.iter().any(|mark| wanted.contains(mark)) {
                stretches.push(start, self.starts.get(index + 1));
            }
        }
        Arc::new(stretches.intersection(area))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::KeyRange;

    fn key(n: u32) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    #[test]
    fn the_parts_hold_what_is_wanted_and_little_else() {
        let mut area = Parts::default();
        area.push(&key(0), Some(&key(310)));
        area.push(&key(320), None);
        let area = Arc::new(area);
        let mut seen = Seen::default();
        (0..10_000).for_each(|n| seen.push(&key(n), u64::from(n) << 20 | u64::from(n), usize::MAX));
        let wanted = |ns: &[u64]| ns.iter().map(|n| n << 20 | n).collect::<BTreeSet<u64>>();
        let parts = seen.parts(&area, &wanted(&[300, 330, 600, 9_999]));
        let part = |start, end: Option<u32>| KeyRange { start: key(start), end: end.map(key) };
        let expected = [part(288, Some(310)), part(320, Some(352)), part(576, Some(608)), part(9_984, None)];
        assert_eq!(parts.iter().collect::<Vec<_>>(), expected);
        assert_eq!(seen.parts(&area, &wanted(&[])).len(), 0);
    }

    #[test]
    fn what_does_not_fit_is_looked_for_everywhere() {
        let area = Arc::new(Parts::of(&KeyRange { start: key(0), end: Some(key(9)) }));
        let mut seen = Seen::default();
        (0..10_000).for_each(|n| seen.push(&key(n), u64::from(n), 10_000));
        assert!(seen.memory_len() <= 10_000);
        assert_eq!(seen.parts(&area, &BTreeSet::from([1])), area);
        assert_eq!(seen.parts(&area, &BTreeSet::new()).len(), 0, "nothing is wanted");
    }
}
