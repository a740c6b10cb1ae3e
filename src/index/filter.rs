//! Filters: which keys a run certainly does not hold.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): every key
//! sets its bits within one 64-byte line, so a question costs one cache miss. Ten bits a key and seven probes give about
//! one false answer in a hundred. The bits come from the lower half of the key's hash; fences use the upper one.
//!
//! The builder is sized before the keys are known, by an upper bound of their number, so that no list of hashes is kept.
//! Halving folds it afterwards: lines 2i and 2i + 1 of a filter are, or-ed together, line i of one half as long.

use crate::hash::KeyHash;

/// Bytes of a line.
const LINE_LEN: usize = 64;

/// Bits of a line.
const LINE_BITS: usize = 8 * LINE_LEN;

/// Bits that a key sets.
const PROBES: u32 = 7;

/// Bits per key, from which the number of lines is chosen.
const BITS_PER_KEY: usize = 10;

/// A filter while keys are added. Takes 1.25 bytes for each key expected.
#[derive(Debug)]
pub(super) struct FilterBuilder {
    lines: Vec<[u8; LINE_LEN]>,
    keys: usize,
}

impl FilterBuilder {
    /// A filter for at most `keys_max` keys; more make it answer wrongly more often.
    pub(super) fn new(keys_max: usize) -> FilterBuilder {
        let lines = lines_for(keys_max);
        // Made even so often that it can be halved down to a few lines; that adds at most a sixteenth.
        let lines = lines.next_multiple_of(1 << (lines / 16).max(1).ilog2());
        FilterBuilder { lines: vec![[0; LINE_LEN]; lines], keys: 0 }
    }

    /// Adds a key.
    pub(super) fn insert(&mut self, hash: KeyHash) {
        self.keys += 1;
        let count = self.lines.len();
        if let Some(line) = self.lines.get_mut(line_of(hash, count)) {
            for bit in bits(hash) {
                line[bit / 8] |= 1 << (bit % 8);
            }
        }
    }

    /// The filter's bytes: a whole number of lines, between 10 and 20 bits for each key added, or 10 for each expected.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let wanted = lines_for(self.keys);
        while self.lines.len().is_multiple_of(2) && self.lines.len() / 2 >= wanted {
            let halves = self.lines.chunks_exact(2);
            self.lines = halves.map(|pair| std::array::from_fn(|at| pair[0][at] | pair[1][at])).collect();
        }
        self.lines.into_flattened()
    }
}

fn lines_for(keys: usize) -> usize {
    (keys * BITS_PER_KEY).div_ceil(LINE_BITS).max(1)
}

/// Whether a run with this filter may hold the key: a false "no" never, a false "yes" for about one key in a hundred.
/// `true` for bytes that are no filter.
pub(super) fn may_contain(filter: &[u8], hash: KeyHash) -> bool {
    let (lines, _) = filter.as_chunks::<LINE_LEN>();
    let Some(line) = lines.get(line_of(hash, lines.len())) else { return true };
    // All of them, without stopping early: a branch on each bit would be mispredicted half of the time.
    bits(hash).fold(true, |is_set, bit| is_set & (line[bit / 8] & (1 << (bit % 8)) != 0))
}

/// Reads a byte of the line that [`may_contain`] will look at.
pub(super) fn touch(filter: &[u8], hash: KeyHash) -> u64 {
    let (lines, _) = filter.as_chunks::<LINE_LEN>();
    lines.get(line_of(hash, lines.len())).map_or(0, |line| u64::from(line[0]))
}

/// Multiplying instead of dividing maps the upper bits evenly to any number of lines (Lemire: "Fast Random Integer
/// Generation in an Interval", 2019), and keeps the order of hashes, on which halving rests.
fn line_of(hash: KeyHash, lines: usize) -> usize {
    ((u128::from(hash.0 as u64) * lines as u128) >> 64) as usize
}

/// Positions within a line, nine bits of hash for each. The line is chosen by the hash's upper bits; in the product they
/// stir only the upper ones, and the rest is even whatever they are.
fn bits(hash: KeyHash) -> impl Iterator<Item = usize> {
    let mixed = (hash.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| (mixed >> (9 * probe)) as usize % LINE_BITS)
}
