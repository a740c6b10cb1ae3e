//! [`Bounds`]: where the buckets of a base begin.
//!
//! Immutable and cheap to clone. Bounds lie in chunks, which neighbouring generations share as long as nothing in them
//! was cut; a chunk knows its highest level, so that a search for high fences skips it.
//!
//! Easy to get wrong: bounds lag behind fences, so what is a fence by its hash need not be a bound yet.

use std::sync::Arc;

use super::keys::SortedKeys;
use super::{COVERED_END, COVERED_START, DECREED};
use crate::types::KeyRange;

/// Buckets per chunk as built; a chunk is split when cuts have made it twice as long. Tests have few buckets, and want
/// them in many chunks.
const CHUNK_LEN: usize = if cfg!(test) { 4 } else { 64 };

/// A bound and its level, as they are made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bound {
    /// The first key of its bucket.
    pub(crate) key: Vec<u8>,
    /// Level of the fence that the key is, or [`DECREED`].
    pub(crate) level: u8,
}

/// Place of a bucket: chunk, and index in the chunk. The end of all keys is index 0 of one chunk beyond the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) chunk: usize,
    pub(super) index: usize,
}

impl Place {
    /// Of the first bucket.
    pub(super) const FIRST: Place = Place { chunk: 0, index: 0 };

    /// Of the next chunk's first bucket.
    pub(super) fn next_chunk(self) -> Place {
        Place { chunk: self.chunk + 1, index: 0 }
    }
}

/// The bounds of neighbouring buckets.
#[derive(Debug)]
pub(super) struct ChunkBounds {
    keys: SortedKeys,
    levels: Box<[u8]>,
    level_max: u8,
}

impl ChunkBounds {
    pub(super) fn new<'a>(bounds: impl Iterator<Item = &'a Bound> + Clone) -> ChunkBounds {
        let levels: Box<[u8]> = bounds.clone().map(|bound| bound.level).collect();
        let level_max = levels.iter().copied().max().unwrap_or(0);
        ChunkBounds { keys: SortedKeys::new(bounds.map(|bound| &bound.key[..])), levels, level_max }
    }

    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    pub(super) fn key(&self, index: usize) -> &[u8] {
        self.keys.get(index)
    }

    pub(super) fn level(&self, index: usize) -> u8 {
        self.levels.get(index).copied().unwrap_or(0)
    }
}

/// Where buckets begin, in key order. The first one begins where the covered keys do.
#[derive(Debug, Clone)]
pub(crate) struct Bounds(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// First key of each chunk.
    starts: SortedKeys,
    chunks: Box<[Arc<ChunkBounds>]>,
}

impl Bounds {
    pub(super) fn of_chunks(chunks: Vec<Arc<ChunkBounds>>) -> Bounds {
        let starts = SortedKeys::new(chunks.iter().map(|chunk| chunk.key(0)));
        Bounds(Arc::new(Inner { starts, chunks: chunks.into() }))
    }

    /// Number of buckets. O(chunks).
    pub(crate) fn len(&self) -> usize {
        self.0.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// The level of the bound `key`, if it is one. The end of the covered keys is one.
    pub(crate) fn level_of(&self, key: &[u8]) -> Option<u8> {
        let place = self.locate(key);
        let level = self.0.chunks.get(place.chunk).map_or(DECREED, |chunk| chunk.level(place.index));
        (self.key(place) == key).then_some(level)
    }

    /// The greatest bound at or before `key`: where its bucket begins.
    pub(crate) fn floor(&self, key: &[u8]) -> &[u8] {
        self.key(self.locate(key))
    }

    /// The least bound at or after `key`.
    pub(crate) fn ceil(&self, key: &[u8]) -> &[u8] {
        let place = self.locate(key);
        let floor = self.key(place);
        if floor >= key { floor } else { self.key(self.after(place)) }
    }

    /// The range of the bucket that `key` lies in.
    pub(crate) fn bucket_range(&self, key: &[u8]) -> KeyRange {
        let place = self.locate(key);
        KeyRange::new(self.key(place), Some(self.key(self.after(place)).to_vec()))
    }

    /// The bounds strictly inside `range` whose level is at least `level`, in key order.
    pub(crate) fn fences<'a>(
        &'a self,
        range: &'a KeyRange,
        level: u8,
    ) -> impl Iterator<Item = (&'a [u8], u8)> {
        let chunks = self.0.chunks.get(self.locate(&range.start).chunk..).unwrap_or_default();
        let is_before_end = |key: &[u8]| range.end.as_deref().is_none_or(|end| key < end);
        chunks
            .iter()
            .take_while(move |chunk| is_before_end(chunk.key(0)))
            .filter(move |chunk| chunk.level_max >= level)
            .flat_map(|chunk| (0..chunk.len()).map(move |index| (chunk.key(index), chunk.level(index))))
            .filter(move |&(key, found)| found >= level && key > &range.start[..] && is_before_end(key))
    }

    pub(super) fn chunks(&self) -> &[Arc<ChunkBounds>] {
        &self.0.chunks
    }

    /// The bucket that `key` lies in. Keys before all others lie in the first one; those behind are at the end place.
    pub(super) fn locate(&self, key: &[u8]) -> Place {
        if key >= COVERED_END {
            return self.end();
        }
        let chunk = self.0.starts.count_through(key).saturating_sub(1);
        let index =
            self.0.chunks.get(chunk).map_or(0, |chunk| chunk.keys.count_through(key).saturating_sub(1));
        Place { chunk, index }
    }

    /// Where the bucket at `place` begins; the end of the covered keys for the end place.
    pub(super) fn key(&self, place: Place) -> &[u8] {
        self.0.chunks.get(place.chunk).map_or(COVERED_END, |chunk| chunk.key(place.index))
    }

    pub(super) fn end(&self) -> Place {
        Place { chunk: self.0.chunks.len(), index: 0 }
    }

    /// The place after `place`.
    pub(super) fn after(&self, place: Place) -> Place {
        let len = self.0.chunks.get(place.chunk).map_or(0, |chunk| chunk.len());
        if place.index + 1 < len {
            Place { index: place.index + 1, ..place }
        } else {
            Place { chunk: (place.chunk + 1).min(self.0.chunks.len()), index: 0 }
        }
    }
}

/// The bound that every list begins with.
pub(super) fn first_bound() -> Bound {
    Bound { key: COVERED_START.to_vec(), level: DECREED }
}

/// Cuts what `bounds` bounds into pieces that a chunk may have: everything, unless that would be twice as long as a
/// chunk is meant to be.
pub(super) fn chunk_lens(mut count: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let len = if count > 2 * CHUNK_LEN { CHUNK_LEN } else { count };
        count -= len;
        (len > 0).then_some(len)
    })
}
