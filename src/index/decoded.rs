//! [`DecodedBlocks`]: the plain forms of some compressed blocks of one run, so that reads of the same few blocks decode
//! them once.
//!
//! A block's number tells the set that it may be in, and of a set those few stay that were asked for last. So to find one
//! costs a lock that nobody holds for long, and memory is bounded: 1 MiB for usual blocks, for each run that has compressed
//! ones at all. Walks look here and leave nothing, or a single scan would take the place of what is asked for again.

use std::sync::OnceLock;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::types::Slice;

/// Sets, and blocks that each keeps.
const SETS: usize = 32;
const WAYS: usize = 4;

/// Longer blocks, which hold a single entry, are not kept.
const KEPT_LEN_MAX: usize = 16 << 10;

/// Numbers and plain forms of blocks, those that were asked for last in front.
type Set = Mutex<SmallVec<[(usize, Slice); WAYS]>>;

/// Plain forms of blocks by their numbers.
#[derive(Debug, Default)]
pub(super) struct DecodedBlocks(OnceLock<Box<[Set]>>);

impl DecodedBlocks {
    pub(super) fn get(&self, number: usize) -> Option<Slice> {
        let mut set = self.0.get()?.get(number % SETS)?.lock();
        let at = set.iter().position(|(kept, _)| *kept == number)?;
        set.get_mut(..=at)?.rotate_right(1);
        set.first().map(|(_, block)| block.clone())
    }

    pub(super) fn keep(&self, number: usize, block: &Slice) {
        let sets = self.0.get_or_init(|| (0..SETS).map(|_| Mutex::default()).collect());
        if let Some(set) = sets.get(number % SETS)
            && block.len() <= KEPT_LEN_MAX
        {
            let mut set = set.lock();
            // Another reader may have decoded the same block meanwhile; then it is there twice for a while.
            set.truncate(WAYS - 1);
            set.insert(0, (number, block.clone()));
        }
    }
}
