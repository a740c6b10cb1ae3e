//! [`pick`]: which runs to merge next, as a pure function of their lengths.
//!
//! Size-tiered, always from the newest run on (known as "universal" compaction): a run joins the merge while it is not much
//! longer than all newer ones together, and a merge of fewer than [`WIDTH`] is not worth its while. An entry is then
//! rewritten about once for each doubling or trebling of what lies before it. Two bounds hold whatever the lengths: no more
//! than [`RUNS_MAX`] runs stand, and newer runs are at most [`NEWER_MAX`] times as long as the oldest one, which bounds
//! what shadowed versions cost on disk. `docs/decisions/0006` says what else was tried.
//!
//! Easy to get wrong: only neighbours in age may be merged, for no run between them may hold a version in between.

use std::ops::Range;

/// The fewest runs that are merged of their own accord.
const WIDTH: usize = 4;

/// A list of more runs than this is always shortened.
pub(crate) const RUNS_MAX: usize = 8;

/// All runs are merged once the newer ones together are so many times as long as the oldest.
const NEWER_MAX: u64 = 1;

/// The runs to merge next, as places in `lens`, the lengths in bytes of all runs, newest first. `None` if nothing needs to
/// be done. Calling it again after each merge comes to an end.
pub(crate) fn pick(lens: &[u64]) -> Option<Range<usize>> {
    let (oldest, newer) = lens.split_last()?;
    if lens.len() < WIDTH {
        return None;
    }
    if newer.iter().sum::<u64>() >= oldest.saturating_mul(NEWER_MAX) {
        return Some(0..lens.len());
    }
    let mut sum = 0u64;
    let of_similar_len = |len: &&u64| {
        let joins = **len <= sum.saturating_add(sum / 4) || sum == 0;
        sum = sum.saturating_add(**len);
        joins
    };
    let width = lens.iter().take_while(of_similar_len).count();
    let too_many = lens.len().saturating_sub(RUNS_MAX);
    match (width, too_many) {
        (WIDTH.., _) => Some(0..width),
        (_, 1..) => Some(0..width.max(too_many + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flushes of about equal length into a store of `keys` (measured in flushes): a merge of runs that hold a part of the
    /// keys each keeps every key once. Returns bytes written per byte flushed, the longest list of runs, and the most bytes that stood per byte of all keys, once
    /// a store is so large that four flushes make no difference.
    fn simulate(seed: u64, flushes: u64, keys: f64) -> (f64, usize, f64) {
        let mut random = super::super::tests::Random::new(seed);
        let (mut runs, mut written, mut flushed, mut longest) = (Vec::<u64>::new(), 0, 0, 0);
        let mut space = 0f64;
        let unit = 16e6;
        let union = |runs: &[u64]| {
            let missing: f64 = runs.iter().map(|&len| 1.0 - len as f64 / unit / keys).product();
            (1.0 - missing) * unit * keys
        };
        for _ in 0..flushes {
            let len = 10_000_000 + random.below(6_000_000);
            runs.insert(0, len);
            flushed += len;
            written += len;
            while let Some(range) = pick(&runs) {
                assert!(range.len() >= 2 && range.end <= runs.len(), "{range:?} of {runs:?}");
                let merged = union(&runs[range.clone()]) as u64;
                written += merged;
                runs.splice(range, [merged]);
            }
            longest = longest.max(runs.len());
            if union(&runs) > 20.0 * unit {
                space = space.max(runs.iter().sum::<u64>() as f64 / union(&runs));
            }
        }
        (written as f64 / flushed as f64, longest, space)
    }

    #[test]
    fn runs_stay_few_and_rewriting_logarithmic() {
        // (flushes, distinct keys in flushes, rewriting allowed): growing stores, then stores that are overwritten.
        for (flushes, keys, amplification_max) in
            [(64, 1e9, 4.5), (640, 1e9, 6.0), (640, 60.0, 4.5), (3_000, 30.0, 4.2)]
        {
            for seed in 0..5 {
                let (amplification, longest, space) = simulate(seed, flushes, keys);
                assert!(space < 2.2, "seed {seed}: {space:.2} bytes stand for each of {keys} keys");
                assert!(longest <= RUNS_MAX, "seed {seed}: {longest} runs after {flushes} flushes");
                assert!(
                    amplification <= amplification_max,
                    "seed {seed}: each byte written {amplification:.2} times in {flushes} flushes of {keys} keys"
                );
            }
        }
    }

    #[test]
    fn any_list_of_lengths_is_shortened_to_the_bound() {
        for seed in 0..500 {
            let mut random = super::super::tests::Random::new(seed);
            let mut runs: Vec<u64> = (0..random.below(40)).map(|_| 1 << random.below(40)).collect();
            while let Some(range) = pick(&runs) {
                let merged = runs[range.clone()].iter().sum();
                assert!(range.len() >= 2, "seed {seed}: a merge of one run");
                runs.splice(range, [merged]);
            }
            assert!(runs.len() <= RUNS_MAX, "seed {seed}: {} runs stand", runs.len());
        }
    }
}
