//! What the two sides of a repair hold. The peers of `sync` are given cases and build their own stores from them.
//!
//! The left side is a replica that was away: it lacks some entries and holds older versions of others. It opens the session;
//! the right side has everything. So every differing entry has to move from right to left, and nothing the other way.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::{Data, Key, Random};

/// Differing entries in a run of shape [`Shape::C`].
const RUN_LEN: u64 = 100;

/// Where the differing keys lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "verbatim")]
pub enum Shape {
    /// Scattered at random.
    U,
    /// In contiguous runs of a hundred.
    C,
    /// The newest of keys that are ordered by time.
    T,
}

impl Shape {
    /// How the keys of such a case come about.
    pub fn order(self) -> Order {
        match self {
            Shape::U | Shape::C => Order::Random,
            Shape::T => Order::Time,
        }
    }
}

/// How keys come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Random bytes.
    Random,
    /// Each greater than those before.
    Time,
}

/// What the left side holds: every key at version 0.
#[derive(Debug)]
pub struct Common {
    /// The keys, rising.
    pub keys: Vec<Key>,
    /// Makes the values.
    pub data: Data,
    /// What keys and choices follow from.
    pub seed: u64,
}

impl Common {
    /// `entries` keys with values of `value_len` bytes.
    pub fn new(seed: u64, order: Order, entries: u64, value_len: usize) -> Common {
        let data = Data::new(seed, value_len);
        let mut keys: Vec<Key> = match order {
            Order::Random => (0..entries).map(|number| data.key(number)).collect(),
            Order::Time => (0..entries).map(|number| data.ascending_key(number)).collect(),
        };
        keys.sort_unstable();
        Common { keys, data, seed }
    }

    /// The case in which the right side differs in `differing` keys: it holds version 1 of half of them, which the left side
    /// has at version 0, and the other half alone. `None` if there are not enough keys for that.
    pub fn case(&self, shape: Shape, differing: u64) -> Option<Case> {
        let entries = self.keys.len() as u64;
        // Keys of the left side beside or at which something differs.
        let anchors = if shape == Shape::U { differing } else { differing.div_ceil(2) };
        if anchors > entries {
            return None;
        }
        let mut random = Random::new(self.seed ^ differing);
        let ranks: Vec<u64> = match shape {
            Shape::U => random.permutation(entries).into_iter().take(anchors as usize).collect(),
            Shape::C => {
                let len = RUN_LEN / 2;
                let starts = random.permutation(entries.div_ceil(len)).into_iter().map(|run| run * len);
                let ranks = starts.flat_map(|start| start..(start + len).min(entries));
                ranks.take(anchors as usize).collect()
            }
            Shape::T => (entries - anchors..entries).collect(),
        };
        let anchors = ranks.into_iter().map(|rank| self.keys[rank as usize]);
        let keys: Vec<Key> = match shape {
            Shape::U => {
                anchors.enumerate().map(|(i, key)| if i % 2 == 0 { after(key) } else { key }).collect()
            }
            Shape::C | Shape::T => {
                anchors.flat_map(|key| [after(key), key]).take(differing as usize).collect()
            }
        };
        let (mut stale, mut missing): (Vec<Key>, Vec<Key>) =
            keys.into_iter().partition(|key| self.keys.binary_search(key).is_ok());
        stale.sort_unstable();
        missing.sort_unstable();
        Some(Case { stale, missing })
    }
}

/// The key just behind another one: none of random keys.
fn after(key: Key) -> Key {
    u128::from_be_bytes(key).wrapping_add(1).to_be_bytes()
}

/// What the right side holds besides.
#[derive(Debug)]
pub struct Case {
    /// The keys that the right side has at version 1, rising.
    pub stale: Vec<Key>,
    /// The keys that it alone has, at version 1, rising.
    pub missing: Vec<Key>,
}

impl Case {
    /// The entries that have to move, in no order.
    pub fn differing(&self) -> impl Iterator<Item = Key> {
        self.stale.iter().chain(&self.missing).copied()
    }

    /// How many those are.
    pub fn differing_count(&self) -> u64 {
        (self.stale.len() + self.missing.len()) as u64
    }

    /// Keys and versions on the right side, rising.
    pub fn right<'a>(&'a self, common: &'a Common) -> Vec<(Key, u64)> {
        let version = |key| u64::from(self.stale.binary_search(key).is_ok());
        let kept = common.keys.iter().map(|key| (*key, version(key)));
        let mut right: Vec<(Key, u64)> = kept.chain(self.missing.iter().map(|key| (*key, 1))).collect();
        right.sort_unstable();
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_its_number_of_differing_keys_half_of_them_missing() {
        for shape in [Shape::U, Shape::C, Shape::T] {
            let common = Common::new(7, shape.order(), 1_000, 16);
            for differing in [0, 1, 2, 99, 100, 101, 999, 1_000] {
                let case = common.case(shape, differing).expect("there are enough keys");
                assert_eq!(case.differing_count(), differing, "{shape:?}");
                assert_eq!(case.missing.len() as u64, differing.div_ceil(2), "{shape:?} {differing}");
                assert_eq!(case.right(&common).len(), 1_000 + case.missing.len());
            }
        }
    }

    #[test]
    fn clustered_keys_lie_in_runs_and_newest_ones_at_the_end() {
        let rank_span = |shape: Shape, differing| {
            let common = Common::new(7, shape.order(), 100_000, 16);
            let case = common.case(shape, differing).expect("there are enough keys");
            let rank = |key: &Key| common.keys.binary_search(key).expect("a stale key is a common one");
            let ranks: Vec<usize> = case.stale.iter().map(rank).collect();
            (ranks[0], ranks[ranks.len() - 1])
        };
        let (first, last) = rank_span(Shape::C, 100);
        assert_eq!(last - first, 49);
        assert_eq!(rank_span(Shape::T, 1_000), (99_500, 99_999));
        let (first, last) = rank_span(Shape::U, 100);
        assert!(last - first > 50_000);
    }
}
