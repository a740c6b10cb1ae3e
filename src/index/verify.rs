//! The full check of a run: every block's checksum, the order of keys, tags, filter, fences, and what the properties say.
//!
//! Easy to get wrong: a damaged block is reported and the check goes on behind it, but what the properties say can then no
//! longer be compared. What is passed over already is of no interest.

use crate::error::{Error, Result};

use super::block::{Block, Layout, PlacedHead};
use super::entry::HeadRef;
use super::layout::Properties;
use super::run::Run;

impl Run {
    /// Reads everything and checks it. Returns what does not hold, at most one error for each block. After every block
    /// `go_on` is told how many entries there were so far, and stops the work by `false`.
    ///
    /// # Errors
    /// `Aborted`.
    pub(crate) fn verify(&self, mut go_on: impl FnMut(u64) -> bool) -> Result<Vec<Error>> {
        let mut found = Properties { blocks: self.properties().blocks, ..Properties::default() };
        let mut last_key = Vec::new();
        let mut errors: Vec<Error> = self.filter_damage().cloned().into_iter().collect();
        let mut is_whole = true;
        for number in 0..self.block_count() {
            if self.is_passed_over(number) {
                is_whole = false;
            } else if let Err(error) = self.verify_block(number, &mut found, &mut last_key) {
                errors.push(error);
                is_whole = false;
            }
            if !go_on(found.entries) {
                return Err(Error::Aborted);
            }
        }
        found.keys.1 = last_key;
        if is_whole && found != *self.properties() {
            errors.push(self.corruption(self.len(), "the run's properties do not agree with its entries"));
        }
        Ok(errors)
    }

    /// Checks block `number` as the medium has it now, tells `each` of the entries whose values are in the log, and returns its
    /// length in the file. What is passed over is not checked.
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub(crate) fn recheck(&self, number: u64, mut each: impl FnMut(&[u8], HeadRef<'_>)) -> Result<u64> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if self.is_passed_over(number) {
            return Ok(self.block_len(number));
        }
        let bytes = self.recheck_block(number)?;
        let malformed = |malformed| self.malformed_block(number, malformed);
        let layout = Layout::parse(&bytes).map_err(malformed)?;
        let block = Block::new(&bytes, &layout);
        let (mut key, mut head) = (Vec::new(), PlacedHead::default());
        for index in 0..block.count() {
            block.place(index, &mut key, &mut head).map_err(malformed)?;
            if head.value().is_err() {
                each(&key, head.borrowed(&bytes));
            }
        }
        Ok(self.block_len(number))
    }

    fn verify_block(&self, number: usize, found: &mut Properties, last_key: &mut Vec<u8>) -> Result<()> {
        let bytes = self.recheck_block(number)?;
        let malformed = |malformed| self.malformed_block(number, malformed);
        let layout = Layout::parse(&bytes).map_err(malformed)?;
        let block = Block::new(&bytes, &layout);
        let fence = self.fence(number).unwrap_or_default();
        if found.entries > 0 && *fence <= **last_key {
            return Err(
                self.corruption(self.block_offset(number), "a fence is not above the block before it")
            );
        }
        let (mut key, mut head) = (Vec::new(), PlacedHead::default());
        for index in 0..block.count() {
            block.place(index, &mut key, &mut head).map_err(malformed)?;
            let is_above = if found.entries > 0 { *last_key < key } else { true };
            let hash = self.hasher().key(&key);
            let what = if !is_above || key < fence {
                "keys are out of order"
            } else if !block.has_tag(index, hash) {
                "a tag does not belong to its key"
            } else if !block.has_head(index).map_err(malformed)? {
                "a head does not belong to its key"
            } else if !self.may_contain(hash) {
                "the filter lacks a key"
            } else {
                found.add(&key, &head.borrowed(&bytes));
                std::mem::swap(last_key, &mut key);
                continue;
            };
            return Err(self.corruption(self.block_offset(number), what));
        }
        Ok(())
    }
}
