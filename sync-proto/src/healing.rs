//! What a replica has lost, and what brings it back: the plain data of [`Replica::lost`](crate::Replica::lost),
//! [`Replica::healing`](crate::Replica::healing) and [`Replica::heal`](crate::Replica::heal).
//!
//! Easy to get wrong: what heals a range is *all* that a replica holds of it. A part that leaves an entry out deletes it
//! where it is taken, so a replica that cannot give an entry has to leave its key out of the range.

use crate::answers::{Fetched, RangeEntries, ReadLimit};
use crate::types::{Entry, KeyRange};

/// What a replica knows that it does not know any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// Spans of keys that are unknown, in order and disjoint: neither there nor absent, and in no sum.
    pub spans: Vec<KeyRange>,
    /// Keys of entries that are intact but for their values, rising. They are in all sums.
    pub values: Vec<Vec<u8>>,
}

/// All entries that a replica holds of a range, tombstones too, but for what ended at or before a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healing {
    /// Which keys. Not empty.
    pub range: KeyRange,
    /// At least the replica's horizon when the entries were read, in clock units: whatever else it has ever held of these
    /// keys and dropped had ended by then.
    pub cut: u64,
    /// The entries, keys rising.
    pub entries: Vec<Entry>,
    /// If there is one entry alone and its value is long, the length of that, which is left out here: it is fetched in parts, by
    /// [`ReplicaReader::value`](crate::ReplicaReader::value).
    pub value_len: Option<u64>,
}

impl Lost {
    /// Whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.values.is_empty()
    }

    /// What of it lies in `range`, from its start, as far as the limit goes; and the first key that it left out, if any. A
    /// value whose entry lies in a span is not told, for it comes back with the span.
    pub(crate) fn within(self, range: &KeyRange, limit: ReadLimit) -> (Lost, Option<Vec<u8>>) {
        let spans: Vec<KeyRange> = self.spans.iter().map(|span| span.intersection(range)).collect();
        let is_apart = |key: &Vec<u8>| range.contains(key) && !spans.iter().any(|span| span.contains(key));
        let mut values = self.values.into_iter().filter(is_apart).peekable();
        let mut spans = spans.iter().filter(|span| !span.is_empty()).cloned().peekable();
        let mut lost = Lost::default();
        let (mut count, mut len) = (0, 0);
        loop {
            let is_first = |span: &KeyRange| values.peek().is_none_or(|value| span.start < *value);
            let span = spans.next_if(is_first);
            let value = if span.is_none() { values.next() } else { None };
            let (start, end_len) = match (&span, &value) {
                (Some(span), _) => (&span.start, span.end.as_ref().map_or(0, Vec::len)),
                (None, Some(value)) => (value, 0),
                (None, None) => return (lost, None),
            };
            count += 1;
            len += start.len() + end_len;
            if count > 1 && (count > limit.count as usize || len > limit.bytes as usize) {
                return (lost, Some(start.clone()));
            }
            lost.spans.extend(span);
            lost.values.extend(value);
        }
    }
}

impl Healing {
    /// What of `range` an answer to [`ReplicaReader::entries_in`](crate::ReplicaReader::entries_in) tells: a part that ends where the
    /// limit was met, or before the first value that is long or lost, or is that long value's key. It starts where the range does,
    /// or behind entries there whose values are lost: their keys are in no part, for they are neither there nor absent. `None` if
    /// nothing is left of what the answer tells.
    pub(crate) fn of(range: KeyRange, cut: u64, answer: RangeEntries) -> Option<Healing> {
        let RangeEntries { entries: fetched, next } = answer;
        let KeyRange { start, end } = range;
        let mut healing = Healing {
            range: KeyRange { start, end: next.or(end) },
            cut,
            entries: Vec::new(),
            value_len: None,
        };
        for fetched in fetched {
            let is_first = fetched.entry().key == healing.range.start;
            match fetched {
                Fetched::Whole(entry) => healing.entries.push(entry),
                Fetched::Lost(entry) if is_first => healing.range.start = after(&entry.key),
                Fetched::Large { entry, value_len } if is_first => {
                    healing.range.end = Some(after(&entry.key));
                    (healing.entries, healing.value_len) = (vec![entry], Some(value_len));
                    break;
                }
                Fetched::Large { entry, .. } | Fetched::Lost(entry) => {
                    healing.range.end = Some(entry.key);
                    break;
                }
            }
        }
        (!healing.range.is_empty()).then_some(healing)
    }
}

/// The least key that is greater.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::entry;

    fn range(start: &[u8], end: &[u8]) -> KeyRange {
        KeyRange { start: start.to_vec(), end: Some(end.to_vec()) }
    }

    #[test]
    fn what_is_lost_is_told_in_key_order_and_goes_on_where_the_limit_was_met() {
        let lost = Lost {
            spans: vec![range(b"b", b"d"), range(b"f", b"h"), range(b"k", b"z")],
            values: [&b"a"[..], b"c", b"e", b"j", b"y"].map(<[u8]>::to_vec).to_vec(),
        };
        let (mut all, mut rest) = (Vec::new(), KeyRange { start: b"a\0".to_vec(), end: Some(b"m".to_vec()) });
        loop {
            let (part, next) = lost.clone().within(&rest, ReadLimit { count: 2, bytes: 4 });
            assert!(part.spans.len() + part.values.len() <= 2);
            all.push(part);
            let Some(next) = next else { break };
            assert!(next > rest.start);
            rest.start = next;
        }
        let spans: Vec<_> = all.iter().flat_map(|part| part.spans.clone()).collect();
        assert_eq!(spans, [range(b"b", b"d"), range(b"f", b"h"), range(b"k", b"m")]);
        // Those at `c` and `y` come back with their spans, and `a` lies outside.
        assert!(all.iter().flat_map(|part| part.values.clone()).eq([b"e".to_vec(), b"j".to_vec()]));
        assert!(all.len() > 1);
    }

    #[test]
    fn what_heals_a_range_ends_before_a_long_value_which_is_a_part_of_its_own_and_leaves_out_lost_ones() {
        let large = |key: &[u8]| Fetched::Large { entry: entry(key, 1, 1, ""), value_len: 9 };
        let whole = |key: &[u8]| Fetched::Whole(entry(key, 1, 1, "v"));
        let of = |start: &[u8], entries: Vec<Fetched>, next: Option<&[u8]>| {
            let answer = RangeEntries { entries, next: next.map(<[u8]>::to_vec) };
            let Healing { range, entries, value_len, .. } = Healing::of(range(start, b"z"), 7, answer)?;
            Some((range, entries.len(), value_len))
        };
        let some = |start: &[u8], end: &[u8], count, value_len| Some((range(start, end), count, value_len));
        assert_eq!(of(b"a", vec![whole(b"b"), large(b"c"), whole(b"d")], None), some(b"a", b"c", 1, None));
        assert_eq!(of(b"c", vec![large(b"c"), whole(b"d")], None), some(b"c", b"c\0", 1, Some(9)));
        assert_eq!(of(b"a", vec![whole(b"b")], Some(b"k")), some(b"a", b"k", 1, None));
        assert_eq!(of(b"a", Vec::new(), None), some(b"a", b"z", 0, None), "nothing is all");

        // What is lost is in no part.
        let lost = |key: &[u8]| Fetched::Lost(entry(key, 1, 1, ""));
        assert_eq!(of(b"a", vec![whole(b"b"), lost(b"c"), whole(b"d")], None), some(b"a", b"c", 1, None));
        let first = || vec![lost(b"c"), lost(b"c\0"), whole(b"d"), lost(b"e")];
        assert_eq!(of(b"c", first(), Some(b"f")), some(b"c\0\0", b"e", 1, None));
        assert_eq!(of(b"c", vec![lost(b"c"), large(b"c\0")], None), some(b"c\0", b"c\0\0", 1, Some(9)));
        assert_eq!(of(b"c", vec![lost(b"c")], None), some(b"c\0", b"z", 0, None));
        assert_eq!(of(b"c", vec![lost(b"c")], Some(b"c\0")), None, "the rest begins there");
    }
}
