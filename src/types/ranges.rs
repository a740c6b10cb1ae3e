//! [`Ranges`]: disjoint key ranges in order, each with a value: what of a run is passed over, which keys are unknown.
//!
//! Easy to get wrong: an end of `None` lies above every key, so ends are never compared as options.

use super::KeyRange;

/// Disjoint key ranges in order, each with a value. A range that comes in is united with those that it overlaps, and the
/// greatest of their values is that of all. Every operation costs the number of ranges at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranges<T> {
    parts: Vec<(KeyRange, T)>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Ranges<T> {
        Ranges { parts: Vec::new() }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The ranges and their values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(KeyRange, T)> {
        self.parts.iter()
    }

    /// The range that `key` lies in, if one does. O(log ranges).
    pub(crate) fn find(&self, key: &[u8]) -> Option<&(KeyRange, T)> {
        let after = self.parts.partition_point(|(range, _)| &range.start[..] <= key);
        self.parts.get(after.checked_sub(1)?).filter(|(range, _)| range.contains(key))
    }

    /// The ranges that have a key in common with `range`, in order.
    pub(crate) fn overlapping<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a (KeyRange, T)> {
        self.parts.iter().filter(|(part, _)| part.overlaps(range))
    }

    /// Whether one of them holds every key of `range`.
    pub(crate) fn covers(&self, range: &KeyRange) -> bool {
        let is_within = |end: &KeyRange| match (&end.end, &range.end) {
            (None, _) => true,
            (Some(end), Some(wanted)) => end >= wanted,
            (Some(_), None) => false,
        };
        self.find(&range.start).is_some_and(|(part, _)| is_within(part))
    }

    /// Adds a range that is not empty.
    pub(crate) fn insert(&mut self, mut range: KeyRange, mut value: T) {
        if range.is_empty() {
            return;
        }
        self.parts.retain(|(part, other)| {
            let is_beside =
                part.end.as_ref() == Some(&range.start) || range.end.as_ref() == Some(&part.start);
            let is_united = part.overlaps(&range) || is_beside && *other == value;
            if is_united {
                range = range.united(part);
                value = value.max(*other);
            }
            !is_united
        });
        let at = self.parts.partition_point(|(part, _)| part.start < range.start);
        self.parts.insert(at, (range, value));
    }

    /// Takes the keys of `range` out.
    pub(crate) fn remove(&mut self, range: &KeyRange) {
        let left = |(part, value): (KeyRange, T)| {
            let before = KeyRange::new(part.start.clone(), Some(range.start.clone()));
            let after = range.end.clone().map(|end| KeyRange { start: end, end: part.end.clone() });
            let rest = match part.overlaps(range) {
                true => [(range.start > part.start).then_some(before), after],
                false => [Some(part), None],
            };
            rest.into_iter().flatten().filter(|rest| !rest.is_empty()).map(move |rest| (rest, value))
        };
        self.parts = std::mem::take(&mut self.parts).into_iter().flat_map(left).collect();
    }

    /// What of `range` lies between its overlapping ranges, from before the first to behind the last: one part more than
    /// there are such ranges, any of which may be empty.
    pub(crate) fn between(&self, range: &KeyRange) -> Vec<KeyRange> {
        let mut start = range.start.clone();
        let mut parts = Vec::new();
        for (part, _) in self.overlapping(range) {
            parts.push(KeyRange::new(std::mem::take(&mut start), Some(part.start.clone())));
            match &part.end {
                Some(end) => start.clone_from(end),
                // Nothing is behind it.
                None => {
                    parts.push(KeyRange::new(Vec::new(), Some(Vec::new())));
                    return parts;
                }
            }
        }
        parts.push(KeyRange { start, end: range.end.clone() });
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a value for each of some keys.
    #[test]
    fn ranges_are_what_their_keys_say() {
        for seed in 0..300u64 {
            let mut state: u64 = seed;
            let mut below = |bound: u64| {
                state = (state ^ seed)
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % bound
            };
            let (mut ranges, mut model) = (Ranges::default(), [None; 24]);
            for _ in 0..12 {
                let (start, len) = (below(24), below(8));
                let end = (below(6) > 0).then(|| vec![(start + len) as u8]);
                let range = KeyRange::new(vec![start as u8], end);
                let inside = |key: usize| range.contains(&[key as u8]);
                if below(3) > 0 {
                    let least = below(3);
                    ranges.insert(range.clone(), least);
                    let mut united: Vec<usize> = (0..24).filter(|key| inside(*key)).collect();
                    if let Some((whole, value)) = united.first().and_then(|key| ranges.find(&[*key as u8])) {
                        united = (0..24).filter(|key| whole.contains(&[*key as u8])).collect();
                        assert!(
                            *value >= least && united.iter().all(|key| model[*key] <= Some(*value)),
                            "seed {seed}"
                        );
                        united.iter().for_each(|key| model[*key] = Some(*value));
                    }
                } else {
                    ranges.remove(&range);
                    (0..24).filter(|key| inside(*key)).for_each(|key| model[key] = None);
                }
                let found = |key: usize| ranges.find(&[key as u8]).map(|(_, value)| *value);
                assert!((0..24).all(|key| found(key) == model[key]), "seed {seed}: {ranges:?} {model:?}");
                let between = ranges.between(&range);
                assert_eq!(between.len(), 1 + ranges.overlapping(&range).count());
                let is_between = |key: usize| between.iter().any(|part| part.contains(&[key as u8]));
                let is_right = |key: usize| is_between(key) == (inside(key) && model[key].is_none());
                assert!((0..24).all(is_right), "seed {seed}: {between:?}");
                assert!(
                    ranges.parts.iter().is_sorted() && ranges.parts.iter().all(|(part, _)| !part.is_empty())
                );
            }
        }
    }
}
