//! [`Walk`]: a walk over the entries of a range that does not pass silently over keys that are unknown.
//!
//! It is a cursor between every two unknown spans. Where one has ended and a span begins, the walk from that side ends with
//! an error, or goes on behind the span if the caller has said so. Without unknown spans, which is nearly always, it is one
//! cursor and nothing more.
//!
//! Easy to get wrong: both ends walk in one and the same cursor once nothing is left between them.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::index::MergeCursor;
use crate::types::{Head, KeyRange, Location, Slice, Stamp, ValueDigest};

/// What a walk does where keys are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtUnknown {
    /// It ends with an error.
    Stop,
    /// It goes on behind them.
    Skip,
}

/// A double-ended walk over the newest version of every known key in a range, tombstones included.
#[derive(Debug)]
pub(crate) struct Walk {
    front: MergeCursor,
    parted: Option<Box<Parted>>,
}

/// What lies behind the first unknown span.
#[derive(Debug)]
struct Parted {
    at_unknown: AtUnknown,
    /// The spans that are left, and behind each a cursor.
    rest: VecDeque<(KeyRange, MergeCursor)>,
    /// Whether the last step was one from the back.
    is_back: bool,
    failed: Option<Error>,
}

impl Walk {
    /// A walk of `front`, and behind each of the unknown spans, in order, of the cursor that comes with it.
    pub(super) fn new(
        front: MergeCursor,
        rest: impl IntoIterator<Item = (KeyRange, MergeCursor)>,
        at_unknown: AtUnknown,
    ) -> Walk {
        let rest: VecDeque<_> = rest.into_iter().collect();
        let parted = Parted { at_unknown, rest, is_back: false, failed: None };
        Walk { front, parted: (!parted.rest.is_empty()).then(|| Box::new(parted)) }
    }

    /// A walk that has ended with `error` before its first step.
    pub(crate) fn failed(error: Error) -> Walk {
        Walk { front: MergeCursor::failed(error), parted: None }
    }

    /// Moves to the least key that is left. `false` if there is none.
    ///
    /// # Errors
    /// `Corruption` or `Io` of a run, `Unknown`; from then on always.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if self.parted.is_none() {
            return self.front.advance();
        }
        self.advance_parted()
    }

    /// Moves to the greatest key that is left. `false` if there is none.
    ///
    /// # Errors
    /// As [`Walk::advance`].
    pub(crate) fn advance_back(&mut self) -> Result<bool> {
        if self.parted.is_none() {
            return self.front.advance_back();
        }
        self.advance_back_parted()
    }

    fn advance_parted(&mut self) -> Result<bool> {
        let Walk { front, parted: Some(parted) } = self else { return Ok(false) };
        parted.is_back = false;
        parted.check()?;
        while !front.advance()? {
            let Some((span, next)) = parted.rest.pop_front() else { return Ok(false) };
            parted.cross(span)?;
            *front = next;
        }
        Ok(true)
    }

    fn advance_back_parted(&mut self) -> Result<bool> {
        let Walk { front, parted: Some(parted) } = self else { return Ok(false) };
        parted.is_back = true;
        parted.check()?;
        while let Some((_, last)) = parted.rest.back_mut() {
            if last.advance_back()? {
                return Ok(true);
            }
            if let Some((span, _)) = parted.rest.pop_back() {
                parted.cross(span)?;
            }
        }
        front.advance_back()
    }

    /// The cursor that stands where the last step moved to.
    fn cursor(&self) -> &MergeCursor {
        let back = self.parted.as_ref().filter(|parted| parted.is_back).and_then(|parted| parted.rest.back());
        back.map_or(&self.front, |(_, cursor)| cursor)
    }

    /// The key that the last step moved to; empty before it and at the end.
    pub(crate) fn key(&self) -> &[u8] {
        self.cursor().key()
    }

    /// Goes on behind unknown spans from now on.
    pub(crate) fn skip_unknown(&mut self) {
        if let Some(parted) = &mut self.parted {
            parted.at_unknown = AtUnknown::Skip;
        }
    }

    /// Stamp of the entry that the last step moved to.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.cursor().head().map(|head| head.stamp)
    }

    /// As [`MergeCursor::value`].
    pub(crate) fn value(&self) -> &[u8] {
        self.cursor().value()
    }

    /// As [`MergeCursor::log_value`].
    pub(crate) fn log_value(&self) -> Option<(Location, ValueDigest)> {
        self.cursor().log_value()
    }

    /// As [`MergeCursor::value_slice`].
    pub(crate) fn value_slice(&self) -> Option<Slice> {
        self.cursor().value_slice()
    }

    /// As [`MergeCursor::is_visible`].
    pub(crate) fn is_visible(&self, now_ms: u64) -> bool {
        self.cursor().is_visible(now_ms)
    }
}

impl Iterator for Walk {
    type Item = Result<(Vec<u8>, Head)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|_| self.cursor().entry()).transpose()
    }
}

impl Parted {
    /// # Errors
    /// The one that the walk has ended with.
    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Goes over the unknown `span`.
    ///
    /// # Errors
    /// `Unknown` unless the caller has said that it may.
    fn cross(&mut self, span: KeyRange) -> Result<()> {
        if self.at_unknown == AtUnknown::Stop {
            self.failed = Some(Error::Unknown { spans: vec![span] });
        }
        self.check()
    }
}
