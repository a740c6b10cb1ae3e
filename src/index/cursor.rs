//! [`RunCursor`]: a double-ended walk over the entries of a run in a key range.
//!
//! Each end holds the block that it stands in. The two ends are positions (block, index), and the walk is over when they
//! meet; a range's own ends are only looked up in their blocks once the walk comes to these.
//!
//! Easy to get wrong: an end that stands in the other one's block must stop at the other one's position, not at the
//! block's edge.

use std::sync::Arc;

use crate::codec::Malformed;
use crate::error::Result;
use crate::types::{KeyRange, Slice};

use super::block::{Block, Layout};
use super::entry::StoredHead;
use super::run::Run;

/// A walk over a run. Makes keys in buffers that the caller gives.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    range: KeyRange,
    /// Where what is left begins and ends; `None` until the first step, for finding it can fail.
    rest: Option<(Position, Position)>,
    front: Option<HeldBlock>,
    back: Option<HeldBlock>,
}

/// Before entry `index` of a block. `None` stands for where the range begins or ends in it, not yet looked up.
#[derive(Debug, Clone, Copy)]
struct Position {
    block: usize,
    index: Option<usize>,
}

/// A block that one of the ends stands in.
#[derive(Debug)]
struct HeldBlock {
    number: usize,
    bytes: Slice,
    layout: Layout,
}

impl RunCursor {
    /// A walk over `range`. Reads nothing yet.
    pub(crate) fn new(run: Arc<Run>, range: &KeyRange) -> RunCursor {
        RunCursor { run, range: range.clone(), rest: None, front: None, back: None }
    }

    /// Takes the least entry that is left: puts its key into `key` and returns its head.
    ///
    /// # Errors
    /// `Corruption`, `Io`; the walk cannot go on.
    pub(crate) fn next(&mut self, key: &mut Vec<u8>) -> Result<Option<StoredHead>> {
        let (mut low, high) = self.rest()?;
        loop {
            let is_last = low.block >= high.block;
            if is_last && high.index == Some(0) {
                return Ok(None);
            }
            let held = hold(&self.run, &mut self.front, low.block)?;
            let block = Block::resume(&held.bytes, held.layout);
            let malformed = |malformed| self.run.malformed_block(held.number, malformed);
            let index = start_in(&block, low, &self.range).map_err(malformed)?;
            let limit =
                if is_last { end_in(&block, high, &self.range).map_err(malformed)? } else { block.count() };
            if index < limit {
                low.index = Some(index + 1);
                let high = if is_last { Position { index: Some(limit), ..high } } else { high };
                self.rest = Some((low, high));
                return block.entry(index, key, &held.bytes).map(Some).map_err(malformed);
            }
            if is_last {
                return Ok(None);
            }
            low = Position { block: low.block + 1, index: Some(0) };
        }
    }

    /// Takes the greatest entry that is left, as [`RunCursor::next`].
    ///
    /// # Errors
    /// `Corruption`, `Io`; the walk cannot go on.
    pub(crate) fn next_back(&mut self, key: &mut Vec<u8>) -> Result<Option<StoredHead>> {
        let (low, mut high) = self.rest()?;
        loop {
            let is_last = high.block <= low.block;
            if high.index == Some(0) {
                if is_last {
                    return Ok(None);
                }
                high = Position { block: high.block - 1, index: None };
                continue;
            }
            let held = hold(&self.run, &mut self.back, high.block)?;
            let block = Block::resume(&held.bytes, held.layout);
            let malformed = |malformed| self.run.malformed_block(held.number, malformed);
            let index = end_in(&block, high, &self.range).map_err(malformed)?;
            let limit = if is_last { start_in(&block, low, &self.range).map_err(malformed)? } else { 0 };
            if index > limit {
                high.index = Some(index - 1);
                let low = if is_last { Position { index: Some(limit), ..low } } else { low };
                self.rest = Some((low, high));
                return block.entry(index - 1, key, &held.bytes).map(Some).map_err(malformed);
            }
            if is_last {
                return Ok(None);
            }
            high.index = Some(0);
        }
    }

    fn rest(&self) -> Result<(Position, Position)> {
        if let Some(rest) = self.rest {
            return Ok(rest);
        }
        let beginning = Position { block: 0, index: Some(0) };
        if self.range.is_empty() {
            return Ok((beginning, beginning));
        }
        let find = |key: &[u8]| {
            let block = self.run.find_block(key);
            Ok(block.map_or(beginning, |block| Position { block, index: None }))
        };
        let high = match &self.range.end {
            Some(end) => find(end)?,
            None => Position { block: self.run.block_count(), index: Some(0) },
        };
        Ok((find(&self.range.start)?, high))
    }
}

/// The block `number`, which is read unless it is the one that is held.
fn hold<'a>(run: &Run, held: &'a mut Option<HeldBlock>, number: usize) -> Result<&'a HeldBlock> {
    if held.as_ref().is_none_or(|held| held.number != number) {
        let bytes = run.block(number)?;
        let layout =
            Block::parse(&bytes).map_err(|malformed| run.malformed_block(number, malformed))?.layout();
        *held = Some(HeldBlock { number, bytes, layout });
    }
    Ok(held.as_ref().expect("held since just now"))
}

fn start_in(block: &Block<'_>, low: Position, range: &KeyRange) -> Result<usize, Malformed> {
    low.index.map_or_else(|| block.count_below(&range.start), Ok)
}

fn end_in(block: &Block<'_>, high: Position, range: &KeyRange) -> Result<usize, Malformed> {
    match (high.index, &range.end) {
        (Some(index), _) => Ok(index),
        (None, Some(end)) => block.count_below(end),
        (None, None) => Ok(block.count()),
    }
}
