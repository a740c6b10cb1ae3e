//! Comparing two lists of pieces, each in key order, that were cut at the same fences but for a few.
//!
//! Pure; used when the peer tells the hashes of its pieces one by one. Groups of pieces begin at the same keys on both
//! sides, but for those that one side lacks, and name these keys by short ids. Between two bounds that both know, pieces
//! pair up one by one, or, if a fence is missing on a side, as the longest common subsequence of their hashes.
//!
//! Easy to get wrong: hashes are very short here, and ids may mislead. What is taken for equal is checked by the sum of it.

use std::collections::BTreeMap;

use crate::wire::item::PieceList;

/// Hashes of so many bytes are hardly ever equal by chance.
const SURE_HASH_LEN: u8 = 3;
/// Greatest number of pairs of pieces that are compared where a fence is missing.
const COMPARED_MAX: usize = 1 << 16;

/// This side's pieces that have no equal one on the other side, by their numbers, and the same of the peer's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpaired {
    pub(crate) mine: Vec<u32>,
    pub(crate) theirs: Vec<u32>,
}

/// Pairs up the pieces of two lists. O(pieces * log groups).
pub(crate) fn pair(mine: &PieceList, theirs: &PieceList) -> Unpaired {
    let mut by_id: BTreeMap<u32, Option<usize>> = BTreeMap::new();
    for (first, id) in firsts(mine) {
        by_id.entry(id).and_modify(|first| *first = None).or_insert(Some(first));
    }
    let mut unpaired = Unpaired::default();
    let (mut my_first, mut their_first) = (0, 0);
    let ends = firsts(theirs).skip(1).filter_map(|(first, id)| Some((by_id.get(&id).copied()??, first)));
    for (my_end, their_end) in ends.chain([(mine.hashes.len(), theirs.hashes.len())]) {
        if my_end >= my_first {
            unpaired.add(mine, my_first..my_end, theirs, their_first..their_end);
            (my_first, their_first) = (my_end, their_end);
        }
    }
    unpaired
}

/// The number of the first piece of each group, and the group's id.
fn firsts(list: &PieceList) -> impl Iterator<Item = (usize, u32)> {
    let mut next = 0usize;
    list.groups.iter().map(move |&(id, count)| {
        let first = next;
        next = next.saturating_add(count as usize);
        (first, id)
    })
}

impl Unpaired {
    /// Adds what is unpaired of two stretches between the same bounds.
    fn add(
        &mut self,
        mine: &PieceList,
        my_numbers: std::ops::Range<usize>,
        theirs: &PieceList,
        their_numbers: std::ops::Range<usize>,
    ) {
        let my_hashes = mine.hashes.get(my_numbers.clone()).unwrap_or_default();
        let their_hashes = theirs.hashes.get(their_numbers.clone()).unwrap_or_default();
        let mut paired = if my_hashes.len() == their_hashes.len() {
            let both = my_hashes.iter().zip(their_hashes).enumerate();
            both.filter(|(_, (mine, theirs))| mine == theirs).map(|(at, _)| (at, at)).collect()
        } else {
            common(my_hashes, their_hashes, mine.hash_len >= SURE_HASH_LEN)
        };
        paired.push((my_hashes.len(), their_hashes.len()));
        let (mut my_next, mut their_next) = (my_numbers.start, their_numbers.start);
        for (my_at, their_at) in paired {
            let (my_at, their_at) = (my_numbers.start + my_at, their_numbers.start + their_at);
            self.mine.extend((my_next..my_at).map(|number| number as u32));
            self.theirs.extend((their_next..their_at).map(|number| number as u32));
            (my_next, their_next) = (my_at + 1, their_at + 1);
        }
    }
}

/// The places of a longest common subsequence, or, where finding one would take too long, of equal ends. `is_sure` says
/// whether a pair of equal hashes may stand alone. O(a * b).
fn common(a: &[u32], b: &[u32], is_sure: bool) -> Vec<(usize, usize)> {
    let before = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a_left, b_left) = (a.get(before..).unwrap_or_default(), b.get(before..).unwrap_or_default());
    let after = a_left.iter().rev().zip(b_left.iter().rev()).take_while(|(a, b)| a == b).count();
    let a_left = a_left.get(..a_left.len() - after).unwrap_or_default();
    let b_left = b_left.get(..b_left.len() - after).unwrap_or_default();
    let mut places: Vec<(usize, usize)> = (0..before).map(|at| (at, at)).collect();
    if a_left.len().saturating_mul(b_left.len()) <= COMPARED_MAX {
        places.extend(longest(a_left, b_left).into_iter().map(|(a, b)| (before + a, before + b)));
    }
    places.extend((1..=after).rev().map(|from_end| (a.len() - from_end, b.len() - from_end)));
    // Of so many pairs of very short hashes some are equal by chance; two in a row hardly ever.
    let follows = |at: usize| {
        let (here, next) = (places.get(at), places.get(at + 1));
        here.zip(next).is_some_and(|(here, next)| (here.0 + 1, here.1 + 1) == *next)
    };
    let stays = |at: usize| {
        let is_end = at < before || at + after >= places.len();
        is_sure || is_end || follows(at) || at.checked_sub(1).is_some_and(follows)
    };
    (0..places.len()).filter(|&at| stays(at)).filter_map(|at| places.get(at).copied()).collect()
}

fn longest(a: &[u32], b: &[u32]) -> Vec<(usize, usize)> {
    // Row by row from the end: how long a common subsequence of what follows two places is.
    let width = b.len() + 1;
    let mut lens = vec![0u16; (a.len() + 1) * width];
    let len = |lens: &[u16], i: usize, j: usize| lens.get(i * width + j).copied().unwrap_or_default();
    for (i, a) in a.iter().enumerate().rev() {
        for (j, b) in b.iter().enumerate().rev() {
            let best = match a == b {
                true => len(&lens, i + 1, j + 1) + 1,
                false => len(&lens, i + 1, j).max(len(&lens, i, j + 1)),
            };
            if let Some(place) = lens.get_mut(i * width + j) {
                *place = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut places = Vec::new();
    while let (Some(mine), Some(theirs)) = (a.get(i), b.get(j)) {
        if mine == theirs {
            places.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if len(&lens, i + 1, j) >= len(&lens, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::rng::Rng;

    /// A piece is the start of it and what it holds; every eighth start begins a group.
    fn list(pieces: &BTreeMap<u32, u32>) -> PieceList {
        let mut list = PieceList::default();
        for (&start, &hash) in pieces {
            if start % 8 == 0 || list.groups.is_empty() {
                list.groups.push((start, 0));
            }
            list.groups.last_mut().expect("one was pushed").1 += 1;
            list.hashes.push(hash);
        }
        list
    }

    #[test]
    fn what_pairs_up_is_equal_and_what_changed_does_not() {
        for seed in 0..2000 {
            let rng = &mut Rng(seed);
            let mut mine: BTreeMap<u32, u32> = (0..200).map(|start| (start, rng.next() as u32)).collect();
            let mut theirs = mine.clone();
            let changes = rng.below(12);
            for _ in 0..changes {
                let (start, hash) = (rng.below(200) as u32, rng.next() as u32);
                let side = if rng.one_in(2) { &mut mine } else { &mut theirs };
                if rng.one_in(3) {
                    side.remove(&start)
                } else {
                    side.insert(start, hash)
                };
            }
            let (mine, theirs) = (list(&mine), list(&theirs));
            let found = pair(&mine, &theirs);
            let rest = |list: &PieceList, unpaired: &[u32]| -> Vec<u32> {
                let is_paired = |(number, _): &(usize, &u32)| !unpaired.contains(&(*number as u32));
                list.hashes.iter().enumerate().filter(is_paired).map(|(_, hash)| *hash).collect()
            };
            assert_eq!(rest(&mine, &found.mine), rest(&theirs, &found.theirs), "seed {seed}");
            assert!(found.mine.is_sorted_by(|a, b| a < b) && found.theirs.is_sorted_by(|a, b| a < b));
            assert!(found.mine.len() as u64 <= 10 * changes, "seed {seed}: {}", found.mine.len());
        }
    }

    #[test]
    fn groups_of_a_liar_do_no_harm() {
        for seed in 0..2000 {
            let rng = &mut Rng(seed);
            let mut draw = || {
                let groups: Vec<_> = (0..rng.below(6)).map(|_| (rng.below(4) as u32, 3)).collect();
                let hashes = (0..3 * groups.len()).map(|_| rng.below(3) as u32).collect();
                PieceList { hash_len: 2, groups, hashes }
            };
            let (mine, theirs) = (draw(), draw());
            let found = pair(&mine, &theirs);
            for (list, unpaired) in [(&mine, &found.mine), (&theirs, &found.theirs)] {
                assert!(unpaired.iter().all(|&number| (number as usize) < list.hashes.len()), "seed {seed}");
                assert!(unpaired.is_sorted_by(|a, b| a < b), "seed {seed}");
            }
        }
    }
}
