//! Keys and half-open key ranges.

use std::ops::{Bound, RangeBounds};

/// Limits of keys. A key is any byte string up to [`Key::LEN_MAX`]; keys order as byte strings do.
#[derive(Debug)]
pub struct Key;

impl Key {
    /// Greatest length of a key in bytes.
    pub const LEN_MAX: usize = 64 * 1024;
}

/// The keys from `start` (included) to `end` (excluded; `None` means no upper bound).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyRange {
    /// Least key of the range.
    pub start: Vec<u8>,
    /// First key beyond the range, if it has an upper bound.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// The keys from `start` to before `end`.
    pub fn new(start: impl Into<Vec<u8>>, end: Option<Vec<u8>>) -> KeyRange {
        KeyRange { start: start.into(), end }
    }

    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange::default()
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        KeyRange { start: prefix.to_vec(), end: prefix_end(prefix) }
    }

    /// The same keys as a standard library range: an excluded start is the key just after it.
    pub(crate) fn from_bounds(start: Bound<&[u8]>, end: Bound<&[u8]>) -> KeyRange {
        let start = match start {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => successor(key),
        };
        let end = match end {
            Bound::Unbounded => None,
            Bound::Excluded(key) => Some(key.to_vec()),
            Bound::Included(key) => Some(successor(key)),
        };
        KeyRange { start, end }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether the two have a key in common, as far as their ends tell.
    pub(crate) fn overlaps(&self, other: &KeyRange) -> bool {
        let begins_before =
            |range: &KeyRange, end: &Option<Vec<u8>>| end.as_ref().is_none_or(|end| range.start < *end);
        let is_apart = !begins_before(self, &other.end) || !begins_before(other, &self.end);
        !is_apart && !self.is_empty() && !other.is_empty()
    }

    /// From where the first of the two begins to where the last one ends.
    pub(crate) fn united(&self, other: &KeyRange) -> KeyRange {
        let end = self.end.as_ref().zip(other.end.as_ref()).map(|(end, other)| end.max(other).clone());
        KeyRange { start: self.start.as_slice().min(&other.start).to_vec(), end }
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.end.as_deref().is_some_and(|end| end <= self.start.as_slice())
    }
}

/// So that whatever takes a standard library's range of keys takes this one.
impl RangeBounds<Vec<u8>> for KeyRange {
    fn start_bound(&self) -> Bound<&Vec<u8>> {
        Bound::Included(&self.start)
    }

    fn end_bound(&self) -> Bound<&Vec<u8>> {
        self.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded)
    }
}

/// The least key greater than `key`.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// The least key greater than every key that begins with `prefix`; `None` if there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_before_the_next_prefix() {
        assert_eq!(KeyRange::prefix(b"ab").end.as_deref(), Some(&b"ac"[..]));
        assert_eq!(KeyRange::prefix(b"a\xff").end.as_deref(), Some(&b"b"[..]));
        assert_eq!(KeyRange::prefix(b"\xff\xff").end, None);
        assert!(KeyRange::prefix(b"a\xff").contains(b"a\xff\xff\xff"));
        assert!(!KeyRange::prefix(b"a\xff").contains(b"b"));
    }

    #[test]
    fn bounds_of_every_kind_become_half_open() {
        let range = KeyRange::from_bounds(Bound::Excluded(b"a"), Bound::Included(b"c"));
        assert!(
            !range.contains(b"a")
                && range.contains(b"a\0")
                && range.contains(b"c")
                && !range.contains(b"c\0")
        );
        assert!(KeyRange::new(*b"b", Some(b"a".to_vec())).is_empty());
    }
}
