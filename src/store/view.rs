//! What readers read: a [`View`] is the memtables, runs and value segments of one moment.
//!
//! A view is immutable but for its active memtable, which only grows. Whoever holds one can read at any sequence number
//! that was visible when it was taken, whatever is flushed, compacted or removed meanwhile; that is all that snapshots
//! and iterators need.
//!
//! Easy to get wrong: of a view and a sequence number taken one after the other, neither may be newer than the other
//! allows. [`Views::read_point`] takes both at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

use crate::error::{Error, Result};
use crate::hash::{KeyHash, SetHasher};
use crate::index::{Found, Levels, Memtable, MergeCursor};
use crate::log::ValueSegments;
use crate::quarantine::Spans;
use crate::types::{Head, KeyRange, Location, SeqNo, Slice, ValueDigest, ValueRef};

use super::keyspace::is_merged;
use super::walk::{AtUnknown, Walk};

/// The structures that together hold every key at one moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Takes the present commits.
    pub(crate) active: Arc<Memtable>,
    /// Full memtables that wait for their flush, newest first.
    pub(crate) sealed: Vec<Arc<Memtable>>,
    pub(crate) levels: Levels,
    /// The sealed segments that heads in the runs point into.
    pub(crate) values: Arc<ValueSegments>,
    /// Where keys are unknown for damage.
    pub(crate) unknown: Arc<Spans>,
}

impl View {
    /// The newest entry of `key`, tombstones included, among commits up to `at`.
    ///
    /// # Errors
    /// `Unknown` if there may have been a newer one that is lost; `Corruption`, `Io`.
    pub(crate) fn head(&self, key: &[u8], hash: KeyHash, at: SeqNo) -> Result<Option<Head>> {
        let found = self.left(key, hash, at)?;
        if self.unknown.is_empty() {
            return Ok(found);
        }
        // Where versions are merged, a newer one does not have all that was lost.
        let found = found.filter(|_| !is_merged(key) || !self.unknown.contains(key));
        self.unknown.check(key, found, |head| head.stamp.hlc)
    }

    /// As [`View::head`], but where keys are unknown what is left there.
    pub(super) fn left(&self, key: &[u8], hash: KeyHash, at: SeqNo) -> Result<Option<Head>> {
        match self.in_memory(key, hash, at) {
            Some(head) => Ok(Some(head.clone())),
            None => self.levels.get(key, hash),
        }
    }

    /// # Errors
    /// As [`View::head`].
    #[inline]
    fn check(&self, key: &[u8], hash: KeyHash, at: SeqNo) -> Result<()> {
        if self.unknown.is_empty() { Ok(()) } else { self.head(key, hash, at).map(drop) }
    }

    /// The newest entry of `key` in a memtable, among commits up to `at`.
    pub(crate) fn in_memory(&self, key: &[u8], hash: KeyHash, at: SeqNo) -> Option<&Head> {
        // Each hash table is a miss of the processor's caches, and waiting for them one by one would take as long as all of
        // them together.
        let touched = self.sealed.iter().fold(0, |touched, memtable| touched ^ memtable.touch(hash));
        std::hint::black_box(touched);
        let in_sealed = || self.sealed.iter().find_map(|memtable| memtable.get(key, hash, at));
        self.active.get(key, hash, at).or_else(in_sealed)
    }

    /// The value of `key` among commits up to `at`, if reads at the time that `now_ms` tells show one. Computes no digest but
    /// of a value in the log.
    pub(crate) fn visible_value(
        &self,
        key: &[u8],
        hash: KeyHash,
        at: SeqNo,
        now_ms: impl Fn() -> u64,
        hasher: &SetHasher,
    ) -> Result<Option<Slice>> {
        self.check(key, hash, at)?;
        if let Some(head) = self.in_memory(key, hash, at) {
            return if is_visible(head, now_ms) { self.value(head, hasher).map(Some) } else { Ok(None) };
        }
        let value = |found: &Found<'_>| match found.is_visible(&now_ms) {
            true => found.value().map(Some),
            false => Some(None),
        };
        match self.levels.find(key, hash, value)?.flatten() {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err((location, digest))) => self.log_value(location, digest, hasher).map(Some),
            None => Ok(None),
        }
    }

    /// Whether [`View::visible_value`] would find a value. Does not look at it.
    pub(crate) fn is_visible(
        &self,
        key: &[u8],
        hash: KeyHash,
        at: SeqNo,
        now_ms: impl Fn() -> u64,
    ) -> Result<bool> {
        self.check(key, hash, at)?;
        match self.in_memory(key, hash, at) {
            Some(head) => Ok(is_visible(head, now_ms)),
            None => Ok(self.levels.find(key, hash, |found| Some(found.is_visible(&now_ms)))? == Some(true)),
        }
    }

    /// The bytes of a head's value. What comes out of the log is checked against the head's digest.
    pub(crate) fn value(&self, head: &Head, hasher: &SetHasher) -> Result<Slice> {
        match &head.value {
            ValueRef::Inline(value) | ValueRef::Staged { value, .. } => Ok(value.clone()),
            ValueRef::Log(location) => self.log_value(*location, head.digest, hasher),
        }
    }

    /// The bytes of a value in the log, checked against the digest that they should have.
    pub(crate) fn log_value(
        &self,
        location: Location,
        digest: ValueDigest,
        hasher: &SetHasher,
    ) -> Result<Slice> {
        let value = self.values.read(location)?;
        if hasher.value(&value) != digest {
            let path = self.values.path(location.segment);
            return Err(Error::corruption(
                &path,
                u64::from(location.offset),
                "a value does not have its entry's digest",
            ));
        }
        Ok(value)
    }

    /// A walk over the newest entry of every key in `range`, tombstones included, among commits up to `at`. It ends with an
    /// error where keys are unknown.
    pub(crate) fn walk(&self, range: &KeyRange, at: SeqNo) -> Walk {
        self.walk_by(range, at, AtUnknown::Stop)
    }

    /// As [`View::walk`], told what to do where keys are unknown.
    pub(crate) fn walk_by(&self, range: &KeyRange, at: SeqNo, at_unknown: AtUnknown) -> Walk {
        if self.unknown.is_empty() {
            return Walk::new(self.cursor(range, at), [], at_unknown);
        }
        let spans = self.unknown.ranges();
        let mut between = spans.between(range).into_iter().map(|part| self.cursor(&part, at));
        let front = between.next().unwrap_or_else(|| self.cursor(range, at));
        let overlapping = spans.overlapping(range).map(|(span, _)| span.clone());
        Walk::new(front, overlapping.zip(between), at_unknown)
    }

    /// A cursor over what is there of `range`, the remains of unknown spans included.
    pub(crate) fn cursor(&self, range: &KeyRange, at: SeqNo) -> MergeCursor {
        let memtables = std::iter::once(&self.active).chain(&self.sealed);
        MergeCursor::new(memtables.map(|memtable| (memtable.clone(), at)), self.levels.runs().iter(), range)
    }
}

/// As [`Head::is_visible`]. Few entries expire, and asking for the time takes a tenth as long as the whole read.
fn is_visible(head: &Head, now_ms: impl FnOnce() -> u64) -> bool {
    head.is_visible(if head.expires_at == 0 { 0 } else { now_ms() })
}

/// The current view and how far commits are visible in it.
#[derive(Debug)]
pub(crate) struct Views {
    current: ArcSwap<View>,
    visible: AtomicU64,
}

impl Views {
    pub(crate) fn new(view: View, visible: SeqNo) -> Views {
        Views { current: ArcSwap::from_pointee(view), visible: AtomicU64::new(visible.0) }
    }

    pub(crate) fn current(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// As [`Views::current`], for a short look.
    pub(crate) fn peek(&self) -> Guard<Arc<View>> {
        self.current.load()
    }

    pub(crate) fn visible(&self) -> SeqNo {
        SeqNo(self.visible.load(Ordering::Acquire))
    }

    /// A view and the newest commit visible in it, both of one moment. Lock-free: it is tried again only when a seal,
    /// flush or compaction replaced the view in between.
    pub(crate) fn read_point(&self) -> (Arc<View>, SeqNo) {
        loop {
            let view = self.current.load_full();
            let visible = self.visible();
            if Arc::ptr_eq(&view, &self.current.load()) {
                return (view, visible);
            }
        }
    }

    /// The view and the newest commit for a question about one key, without counting a reference, which threads would
    /// take from each other's caches. The view may be newer than the commit, and the answer then newer still, but no
    /// older than the call: enough for one key, and not for several that should be of one moment.
    pub(crate) fn newest(&self) -> (Guard<Arc<View>>, SeqNo) {
        let visible = self.visible();
        (self.current.load(), visible)
    }

    /// Shows commits up to `seqno`. Under the commit lock, after their entries are in the memtable.
    pub(crate) fn publish(&self, seqno: SeqNo) {
        self.visible.store(seqno.0, Ordering::Release);
    }

    /// Replaces the view by one with the same entries in other places, and returns the old one. Under the commit lock.
    pub(crate) fn replace(&self, view: View) -> Arc<View> {
        self.current.swap(Arc::new(view))
    }
}

/// How often others are let run before whoever still holds a view is taken for a snapshot, which may hold it for long.
const YIELDS: usize = 32;

/// Lets go of a view that was replaced.
///
/// Whoever holds a view last frees what it alone has, a memtable or the maps of merged runs, which takes tens of
/// milliseconds. A commit or a read that is just looking at it should not be the one, so it is given time to let go first.
/// Not under the commit lock.
pub(super) fn retire(old: Arc<View>) {
    let mut yields = 0;
    while Arc::strong_count(&old) > 1 && yields < YIELDS {
        std::thread::yield_now();
        yields += 1;
    }
}
