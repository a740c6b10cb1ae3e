//! [`MemtableCursor`]: a double-ended walk over a memtable.
//!
//! It holds the memtable, not a place in it, and fetches a batch of entries at a time, seeking the next key by its bytes,
//! so that walks neither block the sorting of new keys for long nor are disturbed by it.
//!
//! Easy to get wrong: when the two ends have met, what one has fetched is all that is left for the other.

use std::collections::VecDeque;
use std::sync::Arc;

use super::memtable::Memtable;
use crate::types::{Head, KeyRange, SeqNo, successor};

/// Entries that a walk fetches first, and at most, at a time: few, because many walks end early, then more.
const FETCH_MIN: usize = 8;
const FETCH_MAX: usize = 128;

/// A double-ended walk over the newest visible version of each key in a range.
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

    /// Takes the least entry that is left.
    pub(crate) fn next(&mut self) -> Option<(Vec<u8>, Head)> {
        if self.front.is_empty()
            && let Some(mut rest) = self.rest.take()
        {
            let keys = self.memtable.in_order();
            let found = keys.range(&rest.start, rest.end.as_deref(), self.at);
            self.front.extend(found.take(self.fetch).map(|(key, head)| (key.to_vec(), head.clone())));
            drop(keys);
            if let Some((last, _)) = self.front.back().filter(|_| self.front.len() == self.fetch) {
                rest.start = successor(last);
                self.rest = Some(rest);
            }
            self.fetch = (self.fetch * 2).min(FETCH_MAX);
        }
        self.front.pop_front().or_else(|| self.back.pop_back())
    }

    /// Takes the greatest entry that is left.
    pub(crate) fn next_back(&mut self) -> Option<(Vec<u8>, Head)> {
        if self.back.is_empty()
            && let Some(mut rest) = self.rest.take()
        {
            let keys = self.memtable.in_order();
            let found = keys.range(&rest.start, rest.end.as_deref(), self.at).rev();
            self.back.extend(found.take(self.fetch).map(|(key, head)| (key.to_vec(), head.clone())));
            drop(keys);
            if let Some((last, _)) = self.back.back().filter(|_| self.back.len() == self.fetch) {
                rest.end = Some(last.clone());
                self.rest = Some(rest);
            }
            self.fetch = (self.fetch * 2).min(FETCH_MAX);
        }
        self.back.pop_front().or_else(|| self.front.pop_back())
    }
}
