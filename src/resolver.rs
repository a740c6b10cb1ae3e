//! How two entries of one key become one: the merge order, and [`Resolver`].
//!
//! Merging is a function: deterministic, commutative, associative, idempotent. Last writer wins needs no value and no name but
//! its own; every other resolver is a user's, registered by name at each open. The name is persisted with each keyspace, so
//! that replicas that chose differently find out.
//!
//! Easy to get wrong: a resolver sees states, not operations. What one replica did to its state since the last session has to
//! be in the state, or the other's copy swallows it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::types::{EntryHash, Kind, Stamp};

/// What stands in place of a [`Resolver`]'s name where there is none: of two entries the one with the greater stamp stays.
pub const LAST_WRITER_WINS: &str = "last-writer-wins";

/// Merges the values of a keyspace that was made with it: a set that grows, a counter with a part for each node, a text.
///
/// Replicas exchange values in any order and again and again, so `merge` must be commutative, associative and idempotent, as
/// the join of a lattice is (Shapiro, Preguica, Baquero, Zawirski, "Conflict-free Replicated Data Types", 2011), and a
/// function of its arguments alone: not of time, place or chance. Whoever breaks that has replicas that never become equal.
///
/// ```
/// # fn main() -> syncline::Result<()> {
/// # let dir = tempfile::tempdir().expect("a folder");
/// use syncline::{Db, Resolver};
///
/// /// The greater of two numbers, as bytes of one length.
/// #[derive(Debug)]
/// struct Greatest;
///
/// impl Resolver for Greatest {
///     fn name(&self) -> &str {
///         "greatest"
///     }
///
///     fn merge(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
///         older.max(newer).to_vec()
///     }
/// }
///
/// let db = Db::builder(dir.path()).resolver(Greatest).open_or_create()?;
/// let best = db.keyspace_with("best scores", "greatest")?;
/// best.put("ann", 700u32.to_be_bytes())?;
/// best.put("ann", 300u32.to_be_bytes())?;
/// assert_eq!(best.get("ann")?.as_deref(), Some(&700u32.to_be_bytes()[..]));
/// # Ok(()) }
/// ```
pub trait Resolver: Debug + Send + Sync + 'static {
    /// Its name, of 1 to 255 bytes and without a zero byte. It is kept with each keyspace for good and is a part of what
    /// makes it the same on all replicas: what merges differently needs another name.
    fn name(&self) -> &str;

    /// The value of a key that had `older` and `newer`, in the order of their stamps, which no rule asks it to heed. Bytes
    /// that it does not understand came from somewhere all the same: it must choose, and never panic.
    ///
    /// It runs under the lock that orders all commits: quick, and without a call to the store.
    fn merge(&self, key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8>;
}

/// The resolvers that an opener brought, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolvers(BTreeMap<String, Arc<dyn Resolver>>);

impl Resolvers {
    /// # Errors
    /// `InvalidArgument` if another one has its name, or the name is the store's own.
    pub(crate) fn add(&mut self, resolver: Arc<dyn Resolver>) -> Result<()> {
        let name = resolver.name().to_owned();
        if name == LAST_WRITER_WINS || self.0.contains_key(&name) {
            return Err(Error::invalid(format!("two resolvers are called {name:?}")));
        }
        self.0.insert(name, resolver);
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Resolver>> {
        self.0.get(name)
    }
}

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
