//! From pieces to entries and back: how many of one differ if so many of the other do.
//!
//! Pure; used to choose the size of sketches. Differences are taken to fall at random on entries. Pieces cut at fences are
//! of very different sizes (one is `x` times the average or more with the probability `exp(-x)`), so that of `m` pieces the
//! share missed by `d` differences is `1 / (1 + d / m)`. Where differences lie together there are more of them than that,
//! which shows by the runs of pieces that differ, or when a sketch does not decode.
//!
//! Easy to get wrong: a guess decides what is cheap, and never what is true.

/// Elements for each key that differs: one where the key is missing on a side, two where both hold it.
const ELEMENTS_PER_KEY: f64 = 1.5;

/// About how many entries differ, those of either side counted, if `hit` of `all` pieces do.
pub(crate) fn differing_entries(hit: u64, all: u64) -> u64 {
    let all = all.max(1) as f64;
    // The fewer are missed, the less their number says, and the rather it is guessed too low. If all are hit, as if half of
    // one was not.
    let missed = (all - hit as f64).max(0.0);
    let missed = (missed - missed.sqrt() / 2.0).max(0.5);
    (ELEMENTS_PER_KEY * all * hit as f64 / missed).ceil().max(1.0) as u64
}

/// About how many of `all` pieces differ if so many entries do.
pub(crate) fn differing_pieces(entries: u64, all: u64) -> u64 {
    let (keys, all) = (entries as f64 / ELEMENTS_PER_KEY, all.max(1) as f64);
    (all * keys / (all + keys)).ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_entries_and_pieces_again() {
        for (hit, entries) in [(1, 2), (100, 153), (5000, 15_107), (9999, 299_970_000)] {
            assert_eq!(differing_entries(hit, 10_000), entries);
            assert!(differing_pieces(entries, 10_000).abs_diff(hit) <= 1 + hit / 100, "{hit}");
        }
        assert!(differing_entries(u64::MAX, u64::MAX) > 0 && differing_pieces(u64::MAX, 0) == 1);
    }
}
