//! Holes: what of a run is passed over, because its block is damaged or because what it says was replaced.
//!
//! A run with holes is another run in memory over the same file, so whoever holds the one without them goes on as before.
//!
//! Easy to get wrong: a hole's ends are no keys of the run, but fences, so a walk that ends at one must not read the block
//! behind it; and what lies in a hole may be intact, and is passed over all the same.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::types::{KeyRange, Ranges, successor};

use super::decoded::DecodedBlocks;
use super::run::Run;

impl Run {
    /// This run with more holes.
    pub(crate) fn with_holes<'a>(&self, more: impl IntoIterator<Item = &'a KeyRange>) -> Run {
        let mut holes = self.holes.clone();
        more.into_iter().for_each(|range| holes.insert(range.clone(), ()));
        let checked = self.checked.iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed)));
        Run {
            id: self.id,
            path: self.path.clone(),
            file: self.file.clone(),
            hasher: self.hasher.clone(),
            filter: self.filter.clone(),
            fences: self.fences.clone(),
            properties: self.properties.clone(),
            checked: checked.collect(),
            decoded: DecodedBlocks::default(),
            filter_damage: self.filter_damage.clone(),
            holes,
        }
    }

    /// Where lookups and walks find nothing.
    pub(crate) fn holes(&self) -> &Ranges<()> {
        &self.holes
    }

    /// Whether lookups of `key`, which block `number` would have, find nothing. A key behind all of the run lies in no hole and
    /// would still be looked for in the last block.
    pub(super) fn is_hole(&self, key: &[u8], number: usize) -> bool {
        self.holes.find(key).is_some() || self.is_passed_over(number)
    }

    /// The keys that block `number` may hold: from its fence to before the next one.
    pub(super) fn block_range(&self, number: usize) -> Option<KeyRange> {
        let start = self.fence(number)?;
        let end = self.fence(number + 1).unwrap_or_else(|| successor(&self.properties().keys.1));
        Some(KeyRange::new(start, Some(end)))
    }

    /// Whether lookups and walks find nothing in block `number`.
    pub(super) fn is_passed_over(&self, number: usize) -> bool {
        !self.holes.is_empty() && self.block_range(number).is_some_and(|range| self.holes.covers(&range))
    }

    /// The keys that are lost with the block at `offset` in the file, if that cannot be read as it should.
    pub(crate) fn damaged_at(&self, offset: u64) -> Option<KeyRange> {
        let number = self.block_number_at(offset)?;
        // What is passed over already counts as right, and is known to be lost.
        match self.is_passed_over(number)
            || matches!(self.recheck(number as u64, |_, _| ()), Err(Error::Corruption { .. }))
        {
            true => self.block_range(number),
            false => None,
        }
    }
}
