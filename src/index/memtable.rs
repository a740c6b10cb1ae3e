//! [`Memtable`]: the newest entries, in memory, every version of them.
//!
//! One writer (under the commit lock) and any number of readers, who never wait. Entries order by key and then by
//! falling sequence number, so the newest version that a reader may see is the first one at or after (key, its seqno).
//!
//! Easy to get wrong: versions are never taken out, because the durable sequence number may come to rest on any commit;
//! memory is bounded by sealing the memtable when it is full.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_skiplist::SkipMap;

use crate::types::{Head, KeyRange, SeqNo, ValueRef};

/// What an entry costs beside its key, meta and value, in bytes: its node in the list, its head, and what the allocator
/// adds to each of the three.
const ENTRY_OVERHEAD: usize = 240;

/// Keys that a cursor fetches first, and at most, at a time: few, because many walks end early, then more.
const FETCH_MIN: usize = 8;
const FETCH_MAX: usize = 128;

/// An ordered multi-version map of inner keys.
pub(crate) struct Memtable {
    versions: SkipMap<Version, Head>,
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct Version {
    key: Box<[u8]>,
    seqno: SeqNo,
}

/// As [`Version`], for look-ups.
type Borrowed<'a> = (&'a [u8], SeqNo);

/// A version's place in the order, owned or borrowed: a look-up must not allocate a key.
trait Place {
    fn place(&self) -> Borrowed<'_>;
}

impl Place for Version {
    fn place(&self) -> Borrowed<'_> {
        (&self.key, self.seqno)
    }
}

impl Place for Borrowed<'_> {
    fn place(&self) -> Borrowed<'_> {
        *self
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((key, seqno), (other_key, other_seqno)) = (self.place(), other.place());
        key.cmp(other_key).then(other_seqno.cmp(&seqno))
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self as &dyn Place).cmp(other)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Version {}

impl<'a> Borrow<dyn Place + 'a> for Version {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable").field("versions", &self.len()).finish_non_exhaustive()
    }
}

impl Default for Memtable {
    fn default() -> Memtable {
        Memtable::new()
    }
}

impl Memtable {
    /// A memtable without entries.
    pub(crate) fn new() -> Memtable {
        Memtable { versions: SkipMap::new(), bytes: AtomicUsize::new(0) }
    }

    /// Adds a version. Its sequence number is greater than that of any version of the key that is there.
    pub(crate) fn insert(&self, key: &[u8], head: Head) {
        let value = match &head.value {
            ValueRef::Inline(value) | ValueRef::Staged { value, .. } => value.len(),
            ValueRef::Log(_) => 0,
        };
        let (bytes, seqno) = (key.len() + head.meta.len() + value + ENTRY_OVERHEAD, head.seqno);
        self.versions.insert(Version { key: key.into(), seqno }, head);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// The newest version of `key` among commits up to `at`. Costs the logarithm of the number of versions.
    pub(crate) fn get(&self, key: &[u8], at: SeqNo) -> Option<Head> {
        let from = (key, at);
        let found = self.versions.lower_bound(Bound::Included(&from as &dyn Place))?;
        (*found.key().key == *key).then(|| found.value().clone())
    }

    /// Bytes of memory that it takes, roughly.
    pub(crate) fn approximate_bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether it holds no version.
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Number of versions: an upper bound of the number of keys.
    pub(crate) fn len(&self) -> usize {
        self.versions.len()
    }
}

/// A double-ended walk over the newest visible version of each key in a range. It holds the memtable, not a position in
/// it, and fetches a batch of keys at a time.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    at: SeqNo,
    /// What neither end has fetched yet; `None` when nothing is left.
    rest: Option<KeyRange>,
    fetch: usize,
    front: VecDeque<(Vec<u8>, Head)>,
    back: VecDeque<(Vec<u8>, Head)>,
}

impl MemtableCursor {
    /// A walk over `range` as it stands after commit `at`. Reads nothing yet.
    pub(crate) fn new(memtable: Arc<Memtable>, range: &KeyRange, at: SeqNo) -> MemtableCursor {
        let rest = (!range.is_empty()).then(|| range.clone());
        let (front, back) = (VecDeque::new(), VecDeque::new());
        MemtableCursor { memtable, at, rest, fetch: FETCH_MIN, front, back }
    }

    /// The least entry that is left.
    pub(crate) fn next(&mut self) -> Option<(Vec<u8>, Head)> {
        if self.front.is_empty() {
            self.fetch_front();
        }
        // When the ends have met, what the other one fetched is all that is left.
        self.front.pop_front().or_else(|| self.back.pop_back())
    }

    /// The greatest entry that is left.
    pub(crate) fn next_back(&mut self) -> Option<(Vec<u8>, Head)> {
        if self.back.is_empty() {
            self.fetch_back();
        }
        self.back.pop_front().or_else(|| self.front.pop_back())
    }

    fn fetch_front(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        let (start, end) = bounds(&rest);
        let mut resume_at = None;
        for found in self.memtable.versions.range::<dyn Place + '_, _>((as_places(&start), as_places(&end))) {
            let Version { key, seqno } = found.key();
            // The newest visible version of a key comes first; the others follow it.
            let is_shadowed = self.front.back().is_some_and(|(last, _)| **last == **key);
            if *seqno > self.at || is_shadowed {
                continue;
            }
            if self.front.len() == self.fetch {
                resume_at = Some(key.to_vec());
                break;
            }
            self.front.push_back((key.to_vec(), found.value().clone()));
        }
        if let Some(key) = resume_at {
            self.fetch = (self.fetch * 2).min(FETCH_MAX);
            rest.start = key;
            self.rest = Some(rest);
        }
    }

    fn fetch_back(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        let (start, end) = bounds(&rest);
        let mut resume_before = None;
        let range = self.memtable.versions.range::<dyn Place + '_, _>((as_places(&start), as_places(&end)));
        for found in range.rev() {
            let Version { key, seqno } = found.key();
            if *seqno > self.at {
                continue;
            }
            // Backwards the versions of a key come oldest first, so each visible one replaces the one before.
            let is_full = self.back.len() == self.fetch;
            match self.back.back_mut() {
                Some((last, head)) if **last == **key => *head = found.value().clone(),
                Some((last, _)) if is_full => {
                    resume_before = Some(last.clone());
                    break;
                }
                _ => self.back.push_back((key.to_vec(), found.value().clone())),
            }
        }
        if let Some(key) = resume_before {
            self.fetch = (self.fetch * 2).min(FETCH_MAX);
            rest.end = Some(key);
            self.rest = Some(rest);
        }
    }
}

/// The range as bounds in the order of versions: from the newest version of its first key to before that of its end.
fn bounds(range: &KeyRange) -> (Bound<Borrowed<'_>>, Bound<Borrowed<'_>>) {
    let end = range.end.as_deref().map_or(Bound::Unbounded, |end| Bound::Excluded((end, SeqNo::MAX)));
    (Bound::Included((range.start.as_slice(), SeqNo::MAX)), end)
}

fn as_places<'a>(bound: &'a Bound<Borrowed<'_>>) -> Bound<&'a (dyn Place + 'a)> {
    bound.as_ref().map(|place| place as &dyn Place)
}
