//! Comparing two lists of pieces, each in key order, that were cut at the same fences but for a few.
//!
//! Pure; used when the peer tells its pieces group by group. Groups of pieces begin at the same keys on both
//! sides, but for those that one side lacks, and name these keys by short ids. Between two bounds that both know, pieces
//! pair up one by one, or, if a fence is missing on a side, as the longest common subsequence of their hashes. Where a group
//! is told by fewer symbols than it has pieces, these say which of them differ, unless too many do: then all of it is unpaired.
//!
//! Easy to get wrong: hashes are very short here, and ids may mislead. What is taken for equal is checked by the sum of it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::reed_solomon::Field;
use crate::wire::piece::{Group, PieceList};

/// Hashes of so many bytes are hardly ever equal by chance.
const SURE_HASH_LEN: u8 = 3;
/// Greatest number of pairs of pieces that are compared where a fence is missing.
const COMPARED_MAX: usize = 1 << 16;
/// About how many steps the syndromes of a list may take: some millions in an honest session of the largest stores.
const STEPS_MAX: usize = 1 << 24;

/// This side's pieces that have no equal one on the other side, by their numbers, and the same of the peer's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpaired {
    pub(crate) mine: Vec<u32>,
    pub(crate) theirs: Vec<u32>,
    /// About how many pieces of a side differ: fewer than are unpaired where a group differs too much to tell which do.
    pub(crate) hit: u64,
}

/// The peer's groups between two bounds that both know.
#[derive(Debug, Default)]
struct Stretch<'a> {
    /// Number of the first piece, and of all of them.
    first: usize,
    count: usize,
    /// Where what is told of them begins, and how many symbols that are.
    told_from: usize,
    told: usize,
    /// The last group, and how many there are.
    last: Option<Group<'a>>,
    group_count: usize,
    /// About how many pieces differ if that cannot be told: one more in each group than its symbols would have told.
    hit_at_most: usize,
}

impl<'a> Stretch<'a> {
    fn push(&mut self, group: Group<'a>) {
        self.count += group.count;
        self.told += group.symbols.len();
        self.hit_at_most += group.count.min(group.symbols.len() / 2 + 1);
        self.group_count += 1;
        self.last = Some(group);
    }

    /// An empty one behind this one.
    fn next(&self) -> Stretch<'a> {
        let (first, told_from) = (self.first + self.count, self.told_from + self.told);
        Stretch { first, told_from, ..Stretch::default() }
    }
}

/// Pairs up the pieces of two lists, of which this side's is plain. O(pieces * log groups), but for groups told by syndromes.
pub(crate) fn pair(mine: &PieceList, theirs: &PieceList) -> Unpaired {
    let mut by_id: BTreeMap<u32, Option<usize>> = BTreeMap::new();
    for group in mine.groups() {
        by_id.entry(group.id).and_modify(|first| *first = None).or_insert(Some(group.first));
    }
    let mut pairing = Pairing { mine, theirs, steps_left: STEPS_MAX, unpaired: Unpaired::default() };
    let (mut my_first, mut stretch) = (0, Stretch::default());
    for group in theirs.groups() {
        let known = by_id.get(&group.id).copied().flatten().filter(|first| *first >= my_first);
        if let (Some(my_end), true) = (known, stretch.group_count > 0) {
            pairing.add(my_first..my_end, &stretch);
            (my_first, stretch) = (my_end, stretch.next());
        }
        stretch.push(group);
    }
    pairing.add(my_first..mine.symbols.len(), &stretch);
    pairing.unpaired
}

/// What is being paired up.
struct Pairing<'a> {
    mine: &'a PieceList,
    theirs: &'a PieceList,
    /// See [`STEPS_MAX`].
    steps_left: usize,
    unpaired: Unpaired,
}

impl Pairing<'_> {
    /// Adds what is unpaired of two stretches between the same bounds.
    fn add(&mut self, my_numbers: Range<usize>, theirs: &Stretch<'_>) {
        let my_hashes = self.mine.symbols.get(my_numbers.clone()).unwrap_or_default();
        let told = self.theirs.symbols.get(theirs.told_from..theirs.told_from + theirs.told);
        let paired = match theirs.last {
            // No group tells more symbols than it has pieces, so all of them are told one by one.
            _ if theirs.told == theirs.count => {
                Some(plainly(my_hashes, told.unwrap_or_default(), self.mine.hash_len >= SURE_HASH_LEN))
            }
            Some(group) if theirs.group_count == 1 => self.by_syndromes(my_hashes, &group),
            _ => None,
        };
        self.unpaired.hit += match &paired {
            Some(paired) => my_hashes.len().max(theirs.count) - paired.len(),
            None => theirs.hit_at_most,
        } as u64;
        let ends = [(my_hashes.len(), theirs.count)];
        let (mut my_next, mut their_next) = (my_numbers.start, theirs.first);
        for (my_at, their_at) in paired.unwrap_or_default().into_iter().chain(ends) {
            let (my_at, their_at) = (my_numbers.start + my_at, theirs.first + their_at);
            self.unpaired.mine.extend((my_next..my_at).map(|number| number as u32));
            self.unpaired.theirs.extend((their_next..their_at).map(|number| number as u32));
            (my_next, their_next) = (my_at + 1, their_at + 1);
        }
    }

    /// The places of equal hashes in a stretch and in a group that is told by syndromes; `None` if too many differ to tell.
    ///
    /// Where a side has a fence more, one piece of one side stands for two of the other's: at whichever place explains the most.
    fn by_syndromes(&mut self, mine: &[u32], theirs: &Group<'_>) -> Option<Vec<(usize, usize)>> {
        let (mine_len, their_len, told) = (mine.len(), theirs.count, theirs.symbols.len());
        let attempts = match mine_len.abs_diff(their_len) {
            0 => 1,
            1 => mine_len.min(their_len),
            _ => return None,
        };
        self.steps_left = self.steps_left.checked_sub(attempts * told * (their_len + told))?;
        let field = Field::of_len(self.theirs.hash_len);
        let differing = |word: &mut dyn Iterator<Item = u32>| {
            let own = field.syndromes(word, told);
            field.places(&field.difference(theirs.symbols, &own), their_len)
        };
        if mine_len == their_len {
            let places = differing(&mut mine.iter().copied())?;
            let equal = (0..their_len).filter(|at| places.binary_search(at).is_err());
            return Some(equal.map(|at| (at, at)).collect());
        }
        // What lies before `at` on both sides pairs up one by one, and so does what lies behind the pieces that stand for each other.
        let (mine_skipped, their_skipped) = if mine_len < their_len { (1, 2) } else { (2, 1) };
        let behind = |at: usize| mine.get(at + mine_skipped..).unwrap_or_default().iter();
        let (at, places) = (0..attempts)
            .filter_map(|at| {
                let before = mine.get(..at).unwrap_or_default().iter();
                let between = std::iter::repeat_n(&0, their_skipped);
                let places = differing(&mut before.chain(between).chain(behind(at)).copied())?;
                Some((at, places))
            })
            .min_by_key(|(_, places)| places.len())?;
        let is_equal = |place: &usize| places.binary_search(place).is_err();
        let before = (0..at).filter(is_equal).map(|place| (place, place));
        let behind = (at + their_skipped..their_len).filter(is_equal);
        Some(before.chain(behind.map(|place| (place + mine_skipped - their_skipped, place))).collect())
    }
}

/// The places of equal hashes in two stretches.
fn plainly(mine: &[u32], theirs: &[u32], is_sure: bool) -> Vec<(usize, usize)> {
    if mine.len() != theirs.len() {
        return common(mine, theirs, is_sure);
    }
    let both = mine.iter().zip(theirs).enumerate();
    both.filter(|(_, (mine, theirs))| mine == theirs).map(|(at, _)| (at, at)).collect()
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
        let mut list = PieceList { hash_len: 2, density: PieceList::PLAIN, ..PieceList::default() };
        for (&start, &hash) in pieces {
            if start % 8 == 0 || list.groups.is_empty() {
                list.groups.push((start, 0));
            }
            list.groups.last_mut().expect("one was pushed").1 += 1;
            list.symbols.push(hash);
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
                list.symbols.iter().enumerate().filter(is_paired).map(|(_, hash)| *hash).collect()
            };
            assert_eq!(rest(&mine, &found.mine), rest(&theirs, &found.theirs), "seed {seed}");
            assert!(found.mine.is_sorted_by(|a, b| a < b) && found.theirs.is_sorted_by(|a, b| a < b));
            assert!(found.mine.len() as u64 <= 10 * changes, "seed {seed}: {}", found.mine.len());
        }
    }

    /// The same list with groups of 64, told by syndromes where these are fewer.
    fn coded(pieces: &BTreeMap<u32, u32>, density: u8) -> PieceList {
        let mut list = PieceList { hash_len: 2, density, ..PieceList::default() };
        let of_group = |start: u32| pieces.range(start..start + 64).map(|(_, &hash)| hash);
        for start in (0..256).step_by(64) {
            let count = of_group(start).count() as u32;
            list.groups.push((start, count));
            match PieceList::told_count(count, density) {
                told if told == count => list.symbols.extend(of_group(start)),
                told => list.symbols.extend(Field::of_len(2).syndromes(of_group(start), told as usize)),
            }
        }
        list
    }

    /// Hashes by starts that are never on one side only, and others.
    fn draw(rng: &mut Rng) -> BTreeMap<u32, u32> {
        let starts = (0..256).filter(|start| start % 64 == 0 || start % 5 > 0);
        starts.map(|start| (start, rng.below(65_521) as u32)).collect()
    }

    #[test]
    fn syndromes_tell_which_pieces_differ_and_where_a_fence_is_missing() {
        let mut told = 0;
        for seed in 0..2000 {
            let rng = &mut Rng(seed);
            let mine = draw(rng);
            let mut theirs = mine.clone();
            for _ in 0..rng.below(40) {
                let start = rng.below(256) as u32;
                theirs.entry(start).and_modify(|hash| *hash = rng.below(65_521) as u32);
            }
            let changed = mine.iter().filter(|(start, hash)| theirs.get(start) != Some(hash)).count();
            // A fence more or less makes one piece of two that lie side by side, or two of one.
            let (mut mine, start) = (mine, 1 + 64 * rng.below(4) as u32 + 5 * rng.below(12) as u32);
            let whole = rng.below(65_521) as u32;
            let fences = match rng.below(3) {
                0 => 0,
                1 => {
                    theirs.remove(&(start + 1));
                    theirs.insert(start, whole);
                    1
                }
                _ => {
                    mine.remove(&(start + 1));
                    mine.insert(start, whole);
                    1
                }
            };
            let found = pair(&coded(&mine, PieceList::PLAIN), &coded(&theirs, 16));
            let rest = |pieces: &BTreeMap<u32, u32>, unpaired: &[u32]| -> Vec<u32> {
                let is_paired = |(number, _): &(usize, &u32)| !unpaired.contains(&(*number as u32));
                pieces.values().enumerate().filter(is_paired).map(|(_, hash)| *hash).collect()
            };
            assert_eq!(rest(&mine, &found.mine), rest(&theirs, &found.theirs), "seed {seed}");
            let is_told = found.mine.len().min(found.theirs.len()) <= changed + fences;
            told += u32::from(is_told);
            // Where a group does not tell, it is unpaired, and counts for a little more than it could have told.
            assert!(found.hit <= 40 + 2 + 8, "seed {seed}: {}", found.hit);
            assert!(is_told || found.mine.len() >= 50, "seed {seed}: {found:?}");
        }
        assert!((1000..1900).contains(&told), "{told}");
    }

    #[test]
    fn groups_of_a_liar_do_no_harm() {
        for seed in 0..2000 {
            let rng = &mut Rng(seed);
            let mut draw = || {
                let groups: Vec<_> = (0..rng.below(6)).map(|_| (rng.below(4) as u32, 3)).collect();
                let symbols = (0..3 * groups.len()).map(|_| rng.below(3) as u32).collect();
                PieceList { hash_len: 2, density: PieceList::PLAIN, groups, symbols }
            };
            let (mine, mut theirs) = (draw(), draw());
            if rng.one_in(2) {
                // Two syndromes of each group of three.
                theirs.density = 0;
                theirs.symbols.truncate(2 * theirs.groups.len());
            }
            let found = pair(&mine, &theirs);
            for (list, unpaired) in [(&mine, &found.mine), (&theirs, &found.theirs)] {
                assert!(unpaired.iter().all(|&number| (number as usize) < list.piece_count()), "seed {seed}");
                assert!(unpaired.is_sorted_by(|a, b| a < b), "seed {seed}");
            }
        }
    }
}
