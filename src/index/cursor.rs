//! [`RunCursor`]: a double-ended walk over the entries of a run in a key range.
//!
//! Each end stands at an entry of a block that it holds, and lends key and value from there; nothing is copied but the
//! key. What is left lies between two positions (block, index), and the walk is over when they meet; a range's own ends
//! are only looked up in their blocks once the walk comes to these.
//!
//! Easy to get wrong: an end that stands in the other one's block must stop at the other one's position, not at the
//! block's edge.

use std::sync::Arc;

use crate::codec::Malformed;
use crate::error::Result;
use crate::types::{KeyRange, Location, Slice, ValueDigest};

use super::block::{Block, Layout, PlacedHead};
use super::entry::{HeadRef, StoredHead};
use super::read_ahead::ReadAhead;
use super::run::Run;

/// The ends of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

/// A walk over a run.
#[derive(Debug)]
pub(super) struct RunCursor {
    run: Arc<Run>,
    range: Arc<KeyRange>,
    /// Where what is left begins and ends.
    low: Position,
    high: Position,
    front: Stand,
    back: Stand,
}

/// Before entry `index` of a block. `None` stands for where the range begins or ends in it, not yet looked up.
#[derive(Debug, Clone, Copy)]
struct Position {
    block: usize,
    index: Option<usize>,
}

/// Where an end stands: its entry, and the block that this is in.
#[derive(Debug, Default)]
pub(super) struct Stand {
    held: Option<HeldBlock>,
    ahead: ReadAhead,
    key: Vec<u8>,
    head: PlacedHead,
}

#[derive(Debug)]
struct HeldBlock {
    number: usize,
    bytes: Slice,
    layout: Layout,
}

impl HeldBlock {
    fn block(&self) -> Block<'_> {
        Block::new(&self.bytes, &self.layout)
    }
}

impl RunCursor {
    /// A walk over `range`. Reads nothing yet.
    pub(super) fn new(run: Arc<Run>, range: Arc<KeyRange>) -> RunCursor {
        let beginning = Position { block: 0, index: Some(0) };
        let find = |key: &[u8]| {
            let block = run.block_at(key);
            block.map_or(beginning, |block| Position { block, index: None })
        };
        // At either end there may be a block that is passed over, has nothing of the range, and must not be read.
        let is_passed_over = |at: &Position| at.index.is_none() && run.is_passed_over(at.block);
        let first = |key: &[u8]| match find(key) {
            at if is_passed_over(&at) => Position { block: at.block + 1, index: Some(0) },
            at => at,
        };
        let last = |key: &[u8]| match find(key) {
            at if is_passed_over(&at) => Position { index: Some(0), ..at },
            at => at,
        };
        let past_the_last = Position { block: run.block_count(), index: Some(0) };
        let (low, high) = match &range.end {
            _ if range.is_empty() => (beginning, beginning),
            Some(end) => (first(&range.start), last(end)),
            None => (first(&range.start), past_the_last),
        };
        RunCursor { run, range, low, high, front: Stand::default(), back: Stand::default() }
    }

    /// Begins to fetch what the first step from either end will look at. Called for several walks one right after the other,
    /// so that they wait for memory together. (Few ranges have two ends, and an open one costs nothing.)
    pub(super) fn touch(&self) {
        self.run.touch(self.low.block);
        self.run.touch(self.high.block);
    }

    /// Moves `end` to the outermost entry that is left there. `false` if there is none, and the end stands where it did.
    ///
    /// # Errors
    /// `Corruption`, `Io`; the walk cannot go on.
    pub(super) fn step(&mut self, end: End) -> Result<bool> {
        match end {
            End::Front => self.next(),
            End::Back => self.next_back(),
        }
    }

    /// Where an end stands, after a step that was `true`.
    pub(super) fn stand(&self, end: End) -> &Stand {
        match end {
            End::Front => &self.front,
            End::Back => &self.back,
        }
    }

    /// Lets each end stand where the other one does. Only once nothing is left between them.
    pub(super) fn swap_ends(&mut self) {
        std::mem::swap(&mut self.front, &mut self.back);
    }

    fn next(&mut self) -> Result<bool> {
        let RunCursor { run, range, low, high, front, back: _ } = self;
        // Nearly always the next entry is in the same block, and the other end far away.
        if let (Some(index), Some(held)) = (low.index, &front.held)
            && held.number == low.block
            && low.block < high.block
            && index < held.layout.count()
        {
            low.index = Some(index + 1);
            let placed = held.block().place(index, &mut front.key, &mut front.head);
            return placed.map(|()| true).map_err(|malformed| run.malformed_block(low.block, malformed));
        }
        loop {
            let is_last = low.block >= high.block;
            if is_last && high.index == Some(0) {
                return Ok(false);
            }
            let number = low.block;
            let block = hold(run, &mut front.held, &mut front.ahead, number)?;
            let malformed = |malformed| run.malformed_block(number, malformed);
            let index = start_in(&block, low, range).map_err(malformed)?;
            let limit = if is_last { end_in(&block, high, range).map_err(malformed)? } else { block.count() };
            if index < limit {
                block.place(index, &mut front.key, &mut front.head).map_err(malformed)?;
                low.index = Some(index + 1);
                return Ok(true);
            }
            if is_last {
                return Ok(false);
            }
            *low = Position { block: low.block + 1, index: Some(0) };
        }
    }

    fn next_back(&mut self) -> Result<bool> {
        let RunCursor { run, range, low, high, back, front: _ } = self;
        if let (Some(index @ 1..), Some(held)) = (high.index, &back.held)
            && held.number == high.block
            && low.block < high.block
        {
            high.index = Some(index - 1);
            let placed = held.block().place(index - 1, &mut back.key, &mut back.head);
            return placed.map(|()| true).map_err(|malformed| run.malformed_block(high.block, malformed));
        }
        loop {
            let is_last = high.block <= low.block;
            if high.index == Some(0) {
                if is_last {
                    return Ok(false);
                }
                let block = high.block - 1;
                *high = Position {
                    block,
                    index: Some(hold(run, &mut back.held, &mut back.ahead, block)?.count()),
                };
                continue;
            }
            let number = high.block;
            let block = hold(run, &mut back.held, &mut back.ahead, number)?;
            let malformed = |malformed| run.malformed_block(number, malformed);
            let index = end_in(&block, high, range).map_err(malformed)?;
            let limit = if is_last { start_in(&block, low, range).map_err(malformed)? } else { 0 };
            if index > limit {
                block.place(index - 1, &mut back.key, &mut back.head).map_err(malformed)?;
                high.index = Some(index - 1);
                return Ok(true);
            }
            if is_last {
                return Ok(false);
            }
            high.index = Some(0);
        }
    }
}

impl Stand {
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value; empty if it is in the log.
    pub(super) fn value(&self) -> &[u8] {
        let value = self.held.as_ref().zip(self.head.value().ok());
        value.and_then(|(held, range)| held.bytes.get(range)).unwrap_or_default()
    }

    /// The value as a slice that pins the block. `None` if it is in the log.
    pub(super) fn value_slice(&self) -> Option<Slice> {
        self.held.as_ref()?.bytes.sub(self.head.value().ok()?)
    }

    /// Where in the log the value is, if it is there.
    pub(super) fn log_value(&self) -> Option<(Location, ValueDigest)> {
        self.head.value().err()
    }

    pub(super) fn is_visible(&self, now_ms: u64) -> bool {
        self.head.is_visible(now_ms)
    }

    /// The head, borrowed from the block.
    pub(super) fn head_ref(&self) -> Option<HeadRef<'_>> {
        Some(self.head.borrowed(&self.held.as_ref()?.bytes))
    }

    /// The head, which pins the block.
    pub(super) fn head(&self) -> Option<StoredHead> {
        let held = self.held.as_ref()?;
        self.head.stored(|range| held.bytes.sub(range))
    }
}

/// The block `number`, which is read unless it is the one that is held.
fn hold<'a>(
    run: &Run,
    held: &'a mut Option<HeldBlock>,
    ahead: &mut ReadAhead,
    number: usize,
) -> Result<Block<'a>> {
    let before = held.as_ref().map(|held| held.number);
    if before != Some(number) {
        if let Some(before) = before {
            run.read_ahead(ahead, before, number);
        }
        let bytes = run.block(number)?;
        let layout = Layout::parse(&bytes).map_err(|malformed| run.malformed_block(number, malformed))?;
        *held = Some(HeldBlock { number, bytes, layout });
    }
    Ok(held.as_ref().expect("held since just now").block())
}

/// Where what is left begins in its block; looked up once.
fn start_in(block: &Block<'_>, low: &mut Position, range: &KeyRange) -> Result<usize, Malformed> {
    let index = low.index.map_or_else(|| block.count_below(&range.start), Ok)?;
    low.index = Some(index);
    Ok(index)
}

/// Where what is left ends in its block; looked up once.
fn end_in(block: &Block<'_>, high: &mut Position, range: &KeyRange) -> Result<usize, Malformed> {
    let index = match (high.index, &range.end) {
        (Some(index), _) => index,
        (None, Some(end)) => block.count_below(end)?,
        (None, None) => block.count(),
    };
    high.index = Some(index);
    Ok(index)
}
