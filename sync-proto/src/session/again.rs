//! Finding pieces again that an earlier pass has seen, after writes and changes of bounds.
//!
//! Pure; used when the keys of chosen pieces are looked up group by group. Of the earlier pass only the sums of the pieces
//! are known. These add up, so a bound that both passes know is where the pieces before it, or those behind it, add up to
//! the same. Between two such bounds pieces were cut further, or taken together, or written to.
//!
//! Easy to get wrong: what is taken too much is sent again, and what is taken too little is lost. Where it cannot be told
//! which entries a chosen piece held, that is said, and the range is cut instead.

use std::collections::BTreeMap;

use crate::types::Fingerprint;

/// Which of the pieces `read` now hold what the chosen ones of those `recorded` held; `None` where that cannot be told.
/// A piece is recorded with its sum and whether it was chosen. O(pieces * log pieces).
pub(crate) fn find_again(recorded: &[(Fingerprint, bool)], read: &[Fingerprint]) -> Option<Vec<bool>> {
    let zero = Fingerprint::default();
    let old: Vec<(Fingerprint, bool)> = recorded.iter().copied().filter(|(sum, _)| *sum != zero).collect();
    let new: Vec<(usize, Fingerprint)> =
        read.iter().copied().enumerate().filter(|(_, sum)| *sum != zero).collect();
    let mut taken = vec![false; read.len()];
    let bounds = common_bounds(&old, &new);
    for (from, to) in bounds.iter().zip(bounds.iter().skip(1)) {
        let before = old.get(from.0..to.0).unwrap_or_default();
        let after = new.get(from.1..to.1).unwrap_or_default();
        let chosen_count = before.iter().filter(|(_, is_chosen)| *is_chosen).count();
        let takes: Vec<bool> = if chosen_count == 0 || chosen_count == before.len() {
            vec![chosen_count > 0; after.len()]
        } else if is_only_written(before, after) {
            before.iter().map(|(_, is_chosen)| *is_chosen).collect()
        } else {
            return None;
        };
        for ((at, _), takes) in after.iter().zip(takes) {
            if let Some(taken) = taken.get_mut(*at) {
                *taken = takes;
            }
        }
    }
    Some(taken)
}

/// Whether these may be the same pieces one by one, with other entries. They are not if they hold the same in all, or if
/// one that would be left out is a chosen one.
fn is_only_written(before: &[(Fingerprint, bool)], after: &[(usize, Fingerprint)]) -> bool {
    let total = |sum: Fingerprint, next: Fingerprint| sum + next;
    let old_total = before.iter().map(|(sum, _)| *sum).fold(Fingerprint::default(), total);
    let new_total = after.iter().map(|(_, sum)| *sum).fold(Fingerprint::default(), total);
    let is_left_out = |sum: Fingerprint| {
        before.iter().zip(after).any(|((_, is_chosen), (_, left))| !is_chosen && *left == sum)
    };
    before.len() == after.len()
        && old_total != new_total
        && !before.iter().any(|(sum, is_chosen)| *is_chosen && is_left_out(*sum))
}

/// The bounds that both know, by the number of pieces before them: those of a common sum of all that is before them, and,
/// behind these, those of a common sum of all that is behind. Pieces without entries are not among them.
fn common_bounds(old: &[(Fingerprint, bool)], new: &[(usize, Fingerprint)]) -> Vec<(usize, usize)> {
    let old_sums: Vec<Fingerprint> = old.iter().map(|(sum, _)| *sum).collect();
    let new_sums: Vec<Fingerprint> = new.iter().map(|(_, sum)| *sum).collect();
    let mut bounds = vec![(0, 0)];
    bounds.extend(common_sums(old_sums.iter(), new_sums.iter()));
    let last = bounds.last().copied().unwrap_or_default();
    let mut behind: Vec<(usize, usize)> = common_sums(old_sums.iter().rev(), new_sums.iter().rev())
        .into_iter()
        .map(|(old_count, new_count)| (old.len() - old_count, new.len() - new_count))
        .take_while(|bound| bound.0 >= last.0 && bound.1 >= last.1)
        .collect();
    behind.reverse();
    bounds.extend(behind);
    bounds.push((old.len(), new.len()));
    bounds
}

/// After how many pieces of either the sums so far are the same, rising.
fn common_sums<'a>(
    old: impl Iterator<Item = &'a Fingerprint>,
    new: impl Iterator<Item = &'a Fingerprint>,
) -> Vec<(usize, usize)> {
    let running = |sum: &mut Fingerprint, next: &Fingerprint| {
        *sum = *sum + *next;
        Some(sum.0)
    };
    let by_sum: BTreeMap<u128, usize> = old.scan(Fingerprint::default(), running).zip(1..).collect();
    let mut common: Vec<(usize, usize)> = Vec::new();
    for (sum, new_count) in new.scan(Fingerprint::default(), running).zip(1..) {
        if let Some(&old_count) = by_sum.get(&sum)
            && common.last().is_none_or(|(last, _)| *last < old_count)
        {
            common.push((old_count, new_count));
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::rng::Rng;

    /// Sums of the pieces of `entries` that begin where `bounds` says.
    fn cut(entries: &[u128], bounds: &[bool]) -> Vec<(Fingerprint, std::ops::Range<usize>)> {
        let mut starts: Vec<usize> = (1..entries.len()).filter(|&at| bounds[at]).collect();
        starts.insert(0, 0);
        let ends = starts.iter().copied().skip(1).chain([entries.len()]);
        let sum = |range: &std::ops::Range<usize>| {
            entries[range.clone()].iter().fold(0u128, |a, b| a.wrapping_add(*b))
        };
        starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| start..end)
            .map(|range| (Fingerprint(sum(&range)), range))
            .collect()
    }

    fn draw(rng: &mut Rng) -> u128 {
        u128::from(rng.next()) << 64 | u128::from(rng.next())
    }

    #[test]
    fn other_bounds_neither_hide_nor_add_an_entry() {
        let mut told = 0;
        for seed in 0..3000 {
            let rng = &mut Rng(seed);
            let entries: Vec<u128> = (0..60).map(|_| draw(rng)).collect();
            let before: Vec<bool> = entries.iter().map(|_| rng.one_in(5)).collect();
            // Bounds only come, or come and go.
            let (comes, goes) = (rng.below(20) + 2, rng.one_in(2));
            let change =
                |rng: &mut Rng, was: bool| if was { !(goes && rng.one_in(20)) } else { rng.one_in(comes) };
            let after: Vec<bool> = before.iter().map(|&was| change(rng, was)).collect();
            let (old, new) = (cut(&entries, &before), cut(&entries, &after));
            let recorded: Vec<(Fingerprint, bool)> =
                old.iter().map(|(sum, _)| (*sum, rng.one_in(3))).collect();
            let read: Vec<Fingerprint> = new.iter().map(|(sum, _)| *sum).collect();
            let Some(taken) = find_again(&recorded, &read) else {
                assert!(goes, "seed {seed}: finer bounds can always be told");
                continue;
            };
            told += 1;
            let entries_of =
                |which: &[bool], pieces: &[(Fingerprint, std::ops::Range<usize>)]| -> Vec<usize> {
                    let chosen = pieces.iter().zip(which).filter(|(_, is_chosen)| **is_chosen);
                    chosen.flat_map(|((_, range), _)| range.clone()).collect()
                };
            let chosen: Vec<bool> = recorded.iter().map(|(_, is_chosen)| *is_chosen).collect();
            assert_eq!(entries_of(&taken, &new), entries_of(&chosen, &old), "seed {seed}");
        }
        assert!(told > 1500, "{told}");
    }

    #[test]
    fn pieces_that_were_written_to_are_found_by_their_places() {
        for seed in 0..1000 {
            let rng = &mut Rng(seed);
            let recorded: Vec<(Fingerprint, bool)> =
                (0..30).map(|_| (Fingerprint(draw(rng)), rng.one_in(3))).collect();
            let read: Vec<Fingerprint> = recorded
                .iter()
                .map(|(sum, _)| if rng.one_in(6) { Fingerprint(draw(rng)) } else { *sum })
                .collect();
            let chosen: Vec<bool> = recorded.iter().map(|(_, is_chosen)| *is_chosen).collect();
            assert_eq!(find_again(&recorded, &read), Some(chosen), "seed {seed}");
        }
    }
}
