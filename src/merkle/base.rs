//! [`Base`]: the buckets as of one flush, immutable and cheap to clone.
//!
//! Buckets lie in chunks of about [`CHUNK_LEN`]; a chunk keeps the sum of its buckets and its highest level, so that the
//! sum of a range costs the chunks in it and the buckets of two, and a search for fences of a high level skips chunks.
//! A new base shares every chunk that did not change.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::Differences;
use crate::types::{EpochSums, KeyRange, RangeSum};

/// Level of a bound that stands by decree and not because a key is a fence.
pub(crate) const DECREED: u8 = u8::MAX;

/// Buckets per chunk as built; a chunk is split when cuts have made it twice as long.
const CHUNK_LEN: usize = 64;

/// The entries from `start` to the next bucket's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) start: Box<[u8]>,
    /// Level of the fence that `start` is.
    pub(crate) level: u8,
    pub(crate) sums: EpochSums,
}

#[derive(Debug)]
struct Chunk {
    buckets: Vec<Bucket>,
    total: RangeSum,
    level_max: u8,
}

impl Chunk {
    fn new(buckets: Vec<Bucket>) -> Chunk {
        let total = buckets.iter().map(|bucket| bucket.sums.total).sum();
        let level_max = buckets.iter().map(|bucket| bucket.level).max().unwrap_or(0);
        Chunk { buckets, total, level_max }
    }

    fn start(&self) -> &[u8] {
        self.buckets.first().map_or(&[], |bucket| &bucket.start)
    }
}

/// Place of a bucket: chunk and index in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) chunk: usize,
    pub(super) index: usize,
}

/// A bucket's new parts: its own start first, then one for each new fence in it, in key order.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) parts: Vec<Bucket>,
}

/// The parts of a cut do not add up to the bucket: the sums or the entries are damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CutMismatch {
    pub(crate) start: Box<[u8]>,
}

/// All buckets, in key order, covering every key. The first bucket starts at the empty key.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    chunks: Arc<[Arc<Chunk>]>,
    total: RangeSum,
}

impl Default for Base {
    fn default() -> Base {
        Base::new(Vec::new())
    }
}

impl Base {
    /// A base of these buckets, in key order. The first one's range is extended down to the empty key.
    pub(crate) fn new(mut buckets: Vec<Bucket>) -> Base {
        if buckets.first().is_none_or(|first| !first.start.is_empty()) {
            let first = Bucket { start: Box::default(), level: DECREED, sums: EpochSums::default() };
            buckets.insert(0, first);
        }
        let mut chunks = Vec::with_capacity(buckets.len() / CHUNK_LEN + 1);
        push_chunks(&mut chunks, buckets);
        Base::of_chunks(chunks)
    }

    fn of_chunks(chunks: Vec<Arc<Chunk>>) -> Base {
        let total = chunks.iter().map(|chunk| chunk.total).sum();
        Base { chunks: chunks.into(), total }
    }

    /// The sum of everything.
    pub(crate) fn total(&self) -> RangeSum {
        self.total
    }

    /// Number of buckets.
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.buckets.len()).sum()
    }

    /// All buckets in key order.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.chunks.iter().flat_map(|chunk| &chunk.buckets)
    }

    /// The buckets that `previous` does not have, or has with other sums.
    pub(super) fn changed_since(&self, previous: &Base) -> Vec<&Bucket> {
        let kept: HashSet<_> = previous.chunks.iter().map(Arc::as_ptr).collect();
        let changed = self.chunks.iter().filter(|chunk| !kept.contains(&Arc::as_ptr(chunk)));
        let is_changed = |bucket: &&Bucket| previous.bucket(previous.locate(&bucket.start)) != Some(*bucket);
        changed.flat_map(|chunk| &chunk.buckets).filter(is_changed).collect()
    }

    /// The bucket that `key` lies in.
    pub(super) fn locate(&self, key: &[u8]) -> Place {
        let chunk = self.chunks.partition_point(|chunk| chunk.start() <= key).saturating_sub(1);
        let buckets = self.chunks.get(chunk).map_or(&[][..], |chunk| &chunk.buckets);
        let index = buckets.partition_point(|bucket| &*bucket.start <= key).saturating_sub(1);
        Place { chunk, index }
    }

    fn bucket(&self, place: Place) -> Option<&Bucket> {
        self.chunks.get(place.chunk)?.buckets.get(place.index)
    }

    /// The place after `place`, in the next chunk if need be; one beyond the last chunk at the end.
    fn after(&self, place: Place) -> Place {
        let len = self.chunks.get(place.chunk).map_or(0, |chunk| chunk.buckets.len());
        if place.index + 1 < len {
            Place { index: place.index + 1, ..place }
        } else {
            Place { chunk: place.chunk + 1, index: 0 }
        }
    }

    /// The least bound at or after `key`; `None` if the last bucket begins before it.
    pub(crate) fn bound_at_or_after(&self, key: &[u8]) -> Option<&[u8]> {
        let place = self.locate(key);
        let bucket = self.bucket(place)?;
        if *bucket.start == *key {
            return Some(&bucket.start);
        }
        self.bucket(self.after(place)).map(|bucket| &*bucket.start)
    }

    /// The greatest bound at or before `key`: the start of its bucket.
    pub(crate) fn bound_at_or_before(&self, key: &[u8]) -> &[u8] {
        self.bucket(self.locate(key)).map_or(&[], |bucket| &bucket.start)
    }

    /// The level of the bound `start`.
    pub(crate) fn level_of(&self, start: &[u8]) -> u8 {
        self.bucket(self.locate(start)).map_or(0, |bucket| bucket.level)
    }

    /// The range of the bucket that `key` lies in.
    pub(crate) fn bucket_range(&self, key: &[u8]) -> KeyRange {
        let place = self.locate(key);
        let start = self.bucket(place).map(|bucket| bucket.start.to_vec()).unwrap_or_default();
        KeyRange::new(start, self.bucket(self.after(place)).map(|bucket| bucket.start.to_vec()))
    }

    /// The sum of the buckets from the one that starts at `start` to before the one that starts at `end`; both must be
    /// bounds, `None` being the end of all keys.
    pub(crate) fn sum(&self, start: &[u8], end: Option<&[u8]>) -> RangeSum {
        let (from, to) = self.places(start, end);
        sum_between(
            from,
            to,
            |chunk| self.chunk_len(chunk),
            |chunk| self.chunks.get(chunk).map_or(RangeSum::ZERO, |chunk| chunk.total),
            |place| self.bucket(place).map_or(RangeSum::ZERO, |bucket| bucket.sums.total),
        )
    }

    /// Places of two bounds.
    pub(super) fn places(&self, start: &[u8], end: Option<&[u8]>) -> (Place, Place) {
        let to = end.map_or(Place { chunk: self.chunks.len(), index: 0 }, |end| self.locate(end));
        (self.locate(start), to)
    }

    /// Number of chunks, and of buckets in chunk `chunk`.
    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    pub(super) fn chunk_len(&self, chunk: usize) -> usize {
        self.chunks.get(chunk).map_or(0, |chunk| chunk.buckets.len())
    }

    /// The fence level that cuts `range` into about `pieces`, judged by its number of entries; lower if no fence of that
    /// level lies inside.
    pub(crate) fn cut_level(&self, range: &KeyRange, pieces: u64, bucket_bits: u8) -> u8 {
        let start = self.bound_at_or_before(&range.start);
        let end = range.end.as_deref().map(|end| self.bound_at_or_before(end));
        let counts = self.sum(start, end).counts;
        let per_piece = (counts.live + counts.tombstones) / pieces.max(1);
        let level = per_piece.checked_ilog2().unwrap_or(0).saturating_sub(u32::from(bucket_bits)) as u8;
        (1..=level).rev().find(|&level| !self.fences(range, level, 1).is_empty()).unwrap_or(0)
    }

    /// Bounds strictly inside `range` whose level is at least `level`, in key order, at most `limit`.
    pub(crate) fn fences(&self, range: &KeyRange, level: u8, limit: usize) -> Vec<Vec<u8>> {
        let mut fences = Vec::new();
        let first = self.locate(&range.start).chunk;
        for chunk in self.chunks.iter().skip(first) {
            if range.end.as_deref().is_some_and(|end| chunk.start() >= end) {
                break;
            }
            if chunk.level_max < level {
                continue;
            }
            let inside = |bucket: &&Bucket| {
                bucket.level >= level && *bucket.start > *range.start && range.contains(&bucket.start)
            };
            for bucket in chunk.buckets.iter().filter(inside) {
                if fences.len() == limit {
                    return fences;
                }
                fences.push(bucket.start.to_vec());
            }
        }
        fences
    }

    /// This base with `differences`, which were made against its own bounds, added. Chunks without one are shared.
    pub(crate) fn fold(&self, differences: &Differences) -> Base {
        let chunks = self.chunks.iter().enumerate().map(|(at, chunk)| match differences.chunk(at) {
            None => chunk.clone(),
            Some(changed) => {
                let fold = |(bucket, sums): (&Bucket, &EpochSums)| {
                    let mut bucket = bucket.clone();
                    bucket.sums.add(sums);
                    bucket
                };
                Arc::new(Chunk::new(chunk.buckets.iter().zip(changed).map(fold).collect()))
            }
        });
        Base::of_chunks(chunks.collect())
    }

    /// This base with some buckets replaced by their parts.
    ///
    /// # Errors
    /// [`CutMismatch`] if the parts of a bucket do not add up to it.
    pub(crate) fn cut(&self, cuts: Vec<Cut>) -> Result<Base, CutMismatch> {
        let mut by_chunk: BTreeMap<usize, Vec<(usize, Cut)>> = BTreeMap::new();
        for cut in cuts {
            let Some(first) = cut.parts.first() else { continue };
            let place = self.locate(&first.start);
            let mut sums = EpochSums::default();
            cut.parts.iter().for_each(|part| sums.add(&part.sums));
            if self.bucket(place).is_none_or(|bucket| bucket.start != first.start || bucket.sums != sums) {
                return Err(CutMismatch { start: first.start.clone() });
            }
            by_chunk.entry(place.chunk).or_default().push((place.index, cut));
        }
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for (at, chunk) in self.chunks.iter().enumerate() {
            let Some(cuts) = by_chunk.remove(&at) else {
                chunks.push(chunk.clone());
                continue;
            };
            let mut parts: BTreeMap<usize, Cut> = cuts.into_iter().collect();
            let mut buckets = Vec::with_capacity(chunk.buckets.len() + parts.len());
            for (index, bucket) in chunk.buckets.iter().enumerate() {
                match parts.remove(&index) {
                    Some(cut) => buckets.extend(cut.parts),
                    None => buckets.push(bucket.clone()),
                }
            }
            push_chunks(&mut chunks, buckets);
        }
        Ok(Base::of_chunks(chunks))
    }
}

/// Adds `buckets` as chunks: one, unless there are so many that it would be twice as long as a chunk is meant to be.
fn push_chunks(chunks: &mut Vec<Arc<Chunk>>, buckets: Vec<Bucket>) {
    let mut left = buckets.len();
    let mut buckets = buckets.into_iter();
    while left > 0 {
        let len = if left > 2 * CHUNK_LEN { CHUNK_LEN } else { left };
        chunks.push(Arc::new(Chunk::new(buckets.by_ref().take(len).collect())));
        left -= len;
    }
}

/// Adds up what lies between two places: whole chunks where possible, single buckets at both ends.
pub(super) fn sum_between(
    from: Place,
    to: Place,
    chunk_len: impl Fn(usize) -> usize,
    chunk_total: impl Fn(usize) -> RangeSum,
    bucket: impl Fn(Place) -> RangeSum,
) -> RangeSum {
    let buckets = |chunk: usize, indexes: Range<usize>| -> RangeSum {
        indexes.map(|index| bucket(Place { chunk, index })).sum()
    };
    match from.chunk.cmp(&to.chunk) {
        Ordering::Equal => buckets(from.chunk, from.index..to.index),
        Ordering::Greater => RangeSum::ZERO,
        Ordering::Less => {
            let head = match from.index {
                0 => chunk_total(from.chunk),
                index => buckets(from.chunk, index..chunk_len(from.chunk)),
            };
            let middle: RangeSum = (from.chunk + 1..to.chunk).map(&chunk_total).sum();
            head + middle + buckets(to.chunk, 0..to.index)
        }
    }
}
