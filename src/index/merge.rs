//! [`MergeCursor`]: one ordered walk over memtables and runs, the newest version of each key.
//!
//! Sources come newest first; where several have a key, the first one's version is it. Tombstones are yielded: who reads
//! for a user hides them. A linear search for the least key is the fastest for the few sources there are.
//!
//! Easy to get wrong: an end that has run dry may still find its last entry peeked by the other end; and an error must
//! not be skipped, so it is returned again and again.

use std::sync::Arc;

use super::memtable::{Memtable, MemtableCursor};
use super::run::{Run, RunCursor};
use crate::error::{Error, Result};
use crate::types::{Head, KeyRange, SeqNo};

type Found = (Vec<u8>, Head);

/// A double-ended walk over the newest version of each key. Owned; holds what it reads.
#[derive(Debug)]
pub(crate) struct MergeCursor {
    sources: Vec<Source>,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Source {
    cursor: SourceCursor,
    front: Option<Found>,
    back: Option<Found>,
}

#[derive(Debug)]
enum SourceCursor {
    Memtable(Box<MemtableCursor>),
    Run(Box<RunCursor>),
}

impl Source {
    fn new(cursor: SourceCursor) -> Source {
        Source { cursor, front: None, back: None }
    }

    /// The source's least remaining entry.
    fn peek_front(&mut self) -> Result<Option<&Found>> {
        if self.front.is_none() {
            let found = match &mut self.cursor {
                SourceCursor::Memtable(cursor) => cursor.next().map(|(key, head)| (key.into_vec(), head)),
                SourceCursor::Run(cursor) => cursor.next()?,
            };
            self.front = found.or_else(|| self.back.take());
        }
        Ok(self.front.as_ref())
    }

    /// The source's greatest remaining entry.
    fn peek_back(&mut self) -> Result<Option<&Found>> {
        if self.back.is_none() {
            let found = match &mut self.cursor {
                SourceCursor::Memtable(cursor) => {
                    cursor.next_back().map(|(key, head)| (key.into_vec(), head))
                }
                SourceCursor::Run(cursor) => cursor.next_back()?,
            };
            self.back = found.or_else(|| self.front.take());
        }
        Ok(self.back.as_ref())
    }
}

impl MergeCursor {
    /// A walk over `range` of these memtables (each at a sequence number) and runs, all newest first.
    pub(crate) fn new<'a>(
        memtables: impl Iterator<Item = (Arc<Memtable>, SeqNo)>,
        runs: impl Iterator<Item = &'a Arc<Run>>,
        range: &KeyRange,
    ) -> MergeCursor {
        let memtables = memtables.map(|(memtable, at)| MemtableCursor::new(memtable, range, at));
        let runs = runs.map(|run| RunCursor::new(run.clone(), range));
        let sources = memtables
            .map(|cursor| SourceCursor::Memtable(Box::new(cursor)))
            .chain(runs.map(|cursor| SourceCursor::Run(Box::new(cursor))));
        MergeCursor { sources: sources.map(Source::new).collect(), failed: None }
    }

    fn step_front(&mut self) -> Result<Option<Found>> {
        let mut least: Option<(usize, Vec<u8>)> = None;
        for (index, source) in self.sources.iter_mut().enumerate() {
            if let Some((key, _)) = source.peek_front()?
                && least.as_ref().is_none_or(|(_, least)| key < least)
            {
                least = Some((index, key.clone()));
            }
        }
        let Some((newest, key)) = least else { return Ok(None) };
        let older = self.sources.iter_mut().skip(newest + 1);
        for source in older.filter(|source| source.front.as_ref().is_some_and(|(other, _)| *other == key)) {
            source.front = None;
        }
        Ok(self.sources.get_mut(newest).and_then(|source| source.front.take()))
    }

    fn step_back(&mut self) -> Result<Option<Found>> {
        let mut greatest: Option<(usize, Vec<u8>)> = None;
        for (index, source) in self.sources.iter_mut().enumerate() {
            if let Some((key, _)) = source.peek_back()?
                && greatest.as_ref().is_none_or(|(_, greatest)| key > greatest)
            {
                greatest = Some((index, key.clone()));
            }
        }
        let Some((newest, key)) = greatest else { return Ok(None) };
        let older = self.sources.iter_mut().skip(newest + 1);
        for source in older.filter(|source| source.back.as_ref().is_some_and(|(other, _)| *other == key)) {
            source.back = None;
        }
        Ok(self.sources.get_mut(newest).and_then(|source| source.back.take()))
    }

    fn guarded(&mut self, step: fn(&mut MergeCursor) -> Result<Option<Found>>) -> Option<Result<Found>> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let found = step(self);
        if let Err(error) = &found {
            self.failed = Some(error.clone());
        }
        found.transpose()
    }
}

impl Iterator for MergeCursor {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        self.guarded(MergeCursor::step_front)
    }
}

impl DoubleEndedIterator for MergeCursor {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.guarded(MergeCursor::step_back)
    }
}
