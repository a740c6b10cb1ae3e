//! Filters: which keys a run certainly does not hold.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): every key
//! sets its bits within one 64-byte line, so a question costs one cache miss. Ten bits a key and seven probes give about
//! one false answer in a hundred. The bits come from the lower half of the key's hash; fences use the upper one.

use crate::hash::KeyHash;

/// Bytes of a line.
const LINE_LEN: usize = 64;

/// Bits that a key sets.
const PROBES: u32 = 7;

/// Bits per key, from which the number of lines is chosen.
const BITS_PER_KEY: usize = 10;

/// The filter of these keys, a whole number of lines.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let lines = (hashes.len() * BITS_PER_KEY).div_ceil(LINE_LEN * 8).max(1);
    let mut filter = vec![0; lines * LINE_LEN];
    for &hash in hashes {
        let line = line_of(hash, lines) * LINE_LEN;
        for bit in bits(hash) {
            if let Some(byte) = filter.get_mut(line + bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    filter
}

/// The part of a key's hash that filters use.
pub(crate) fn filter_hash(hash: KeyHash) -> u64 {
    hash.0 as u64
}

/// Whether a run with this filter may hold the key. `true` for a filter of an impossible length.
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let lines = filter.len() / LINE_LEN;
    if lines == 0 {
        return true;
    }
    let start = line_of(hash, lines) * LINE_LEN;
    let Some(line) = filter.get(start..start + LINE_LEN) else { return true };
    bits(hash).all(|bit| line.get(bit / 8).is_none_or(|byte| byte & (1 << (bit % 8)) != 0))
}

/// Multiplying instead of dividing maps the upper bits evenly to any number of lines (Lemire 2016).
fn line_of(hash: u64, lines: usize) -> usize {
    ((u128::from(hash) * lines as u128) >> 64) as usize
}

/// Positions within a line: nine bits for each probe, from a hash that the choice of the line did not use up.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    (0..PROBES).map(move |probe| (mixed >> (9 * probe)) as usize % (LINE_LEN * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
    }

    #[test]
    fn every_key_is_found_and_few_others_are() {
        for count in [0, 1, 50, 20_000] {
            let hashes: Vec<u64> = (0..count).map(hash).collect();
            let filter = build(&hashes);
            assert!(hashes.iter().all(|&hash| may_contain(&filter, hash)));
            let wrong = (count..count + 20_000).filter(|&number| may_contain(&filter, hash(number))).count();
            assert!(wrong < 400, "{wrong} of 20,000 absent keys pass the filter of {count}");
        }
    }
}
