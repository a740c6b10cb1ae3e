//! How two entries of one key become one: the merge order, and the names of resolvers.
//!
//! Merging is a function: deterministic, commutative, associative, idempotent. Today there is one resolver, last writer
//! wins; its name is persisted with each keyspace so that replicas that chose differently find out.

use crate::types::{EntryHash, Kind, Stamp};

/// Name of the resolver that keeps the greatest entry in merge order.
pub(crate) const LAST_WRITER_WINS: &str = "last-writer-wins";

/// An entry's place in the merge order: stamp, then kind, then entry hash. The order is total over every hashed field,
/// so that even a stamp used twice converges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) stamp: Stamp,
    pub(crate) kind: Kind,
    pub(crate) hash: EntryHash,
}

/// What merging a foreign entry into a held one comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The foreign entry replaces what is held.
    Take,
    /// What is held is the same or newer.
    Covered,
}

/// Merges by last writer wins.
pub(crate) fn last_writer_wins(held: Option<Rank>, foreign: Rank) -> Merge {
    if held.is_none_or(|held| held < foreign) { Merge::Take } else { Merge::Covered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_order_of_arrival_the_greatest_entry_stays() {
        let rank = |hlc, node, kind, hash| Rank { stamp: Stamp { hlc, node }, kind, hash: EntryHash(hash) };
        let ranks = [
            rank(1, 1, Kind::Tombstone, 9),
            rank(2, 1, Kind::Put, 1),
            rank(2, 2, Kind::Put, 3),
            rank(2, 2, Kind::Put, 4),
            rank(2, 2, Kind::Tombstone, 2),
        ];
        for rotation in 0..ranks.len() {
            let mut held = None;
            for step in 0..2 * ranks.len() {
                let foreign = ranks[(step * 3 + rotation) % ranks.len()];
                if last_writer_wins(held, foreign) == Merge::Take {
                    held = Some(foreign);
                }
            }
            assert_eq!(held, Some(ranks[4]), "starting at {rotation}");
        }
    }
}
