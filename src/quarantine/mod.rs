//! What a store has lost and knows that it has lost: plain data that the manifest keeps and that readers look at.
//!
//! A damaged block of a run makes its *span*, the keys between the intact ones on either side, unknown: whatever is found
//! there in other places may be older than what was lost. It is not if it is stamped above the span's *floor*, the greatest
//! clock value that anything lost can have had; so what is written there later can be read. A damaged large value is *lost*
//! while its head, stamp and digest included, is intact.
//!
//! Easy to get wrong: unknown is not absent. Whoever asks for a key in a span is told so, unless what is there is newer than
//! whatever was lost.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::types::{KeyRange, Ranges, Stamp, ValueDigest};

/// Lost values that are remembered; more are found anew whenever they are read.
pub(crate) const LOST_MAX: usize = 4096;

/// A large value that was found damaged: that of the key's entry with this stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostValue {
    pub(crate) stamp: Stamp,
    pub(crate) digest: ValueDigest,
}

/// What a store knows that it does not know, of inner keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Quarantine {
    pub(crate) spans: Spans,
    /// Lost values by key.
    pub(crate) lost: BTreeMap<Vec<u8>, LostValue>,
}

impl Quarantine {
    /// Notes that the value of `key`'s entry is lost, in the place of what was noted of the key before.
    pub(crate) fn lose(&mut self, key: Vec<u8>, value: LostValue) {
        if self.lost.len() < LOST_MAX || self.lost.contains_key(&key) {
            self.lost.insert(key, value);
        }
    }
}

/// The spans of unknown keys and their floors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Spans(Ranges<u64>);

impl Spans {
    /// Makes `span` unknown but for entries stamped above `floor`, in clock units.
    pub(crate) fn add(&mut self, span: KeyRange, floor: u64) {
        self.0.insert(span, floor);
    }

    /// Makes the keys of `range` known.
    pub(crate) fn heal(&mut self, range: &KeyRange) {
        self.0.remove(range);
    }

    /// Whether every key is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The spans and their floors, in order.
    pub(crate) fn ranges(&self) -> &Ranges<u64> {
        &self.0
    }

    /// Whether `key` is in a span.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.0.find(key).is_some()
    }

    /// Passes on what was found of `key`, stamped as `hlc` says, if that is all that there ever was.
    ///
    /// # Errors
    /// `Unknown` if there may have been more.
    pub(crate) fn check<T>(
        &self,
        key: &[u8],
        found: Option<T>,
        hlc: impl FnOnce(&T) -> u64,
    ) -> Result<Option<T>> {
        match self.0.find(key) {
            Some((span, floor)) if found.as_ref().is_none_or(|found| hlc(found) <= *floor) => {
                Err(Error::Unknown { spans: vec![span.clone()] })
            }
            _ => Ok(found),
        }
    }

    /// # Errors
    /// `Unknown` if a key of `range` is unknown, with all spans that have a part in it.
    pub(crate) fn check_range(&self, range: &KeyRange) -> Result<()> {
        let spans: Vec<KeyRange> = self.0.overlapping(range).map(|(span, _)| span.clone()).collect();
        if spans.is_empty() { Ok(()) } else { Err(Error::Unknown { spans }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_stamped_above_everything_lost_is_shown_in_a_span() {
        let mut spans = Spans::default();
        spans.add(KeyRange::new(*b"b", Some(b"d".to_vec())), 10);
        let check = |key: &[u8], found: Option<u64>| spans.check(key, found, |hlc| *hlc);
        assert!(matches!(check(b"b", None), Err(Error::Unknown { .. })), "it is not absent");
        assert!(matches!(check(b"c", Some(10)), Err(Error::Unknown { .. })), "it may be an older version");
        assert_eq!(check(b"c", Some(11)).expect("newer than what was lost"), Some(11));
        assert_eq!(check(b"d", None).expect("behind the span"), None);
        let touched = spans.check_range(&KeyRange::new(*b"a", None));
        assert!(matches!(touched, Err(Error::Unknown { spans }) if spans.len() == 1));
        assert!(spans.check_range(&KeyRange::new(*b"a", Some(b"b".to_vec()))).is_ok());
    }
}
