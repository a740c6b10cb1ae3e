//! From pieces to entries and back: how many of one differ if so many of the other do.
//!
//! Pure; used to choose the size of sketches. Differences are taken to fall at random on entries, and pieces to be alike:
//! one in `m` pieces is missed by `d` of them with the probability `exp(-d / m)`. Where differences lie together there are
//! more of them than that, which shows by the runs of pieces that differ, or when a sketch does not decode.
//!
//! Easy to get wrong: a guess decides what is cheap, and never what is true.

/// Elements for each key that differs: one where the key is missing on a side, two where both hold it.
const ELEMENTS_PER_KEY: f64 = 1.5;

/// About how many entries differ, those of either side counted, if `hit` of `all` pieces do.
pub(crate) fn differing_entries(hit: u64, all: u64) -> u64 {
    let all = all.max(1) as f64;
    // If all are hit, as if half of one was not.
    let missed = (all - hit as f64).max(0.5) / all;
    (ELEMENTS_PER_KEY * -all * missed.ln()).ceil().max(1.0) as u64
}

/// About how many of `all` pieces differ if so many entries do.
pub(crate) fn differing_pieces(entries: u64, all: u64) -> u64 {
    let all = all.max(1) as f64;
    let hit = -(-(entries as f64) / ELEMENTS_PER_KEY / all).exp_m1() * all;
    hit.ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_entries_and_pieces_again() {
        for (hit, entries) in [(1, 2), (100, 151), (5000, 10_398), (9999, 138_156)] {
            assert_eq!(differing_entries(hit, 10_000), entries);
            assert!(differing_pieces(entries, 10_000).abs_diff(hit) <= 1, "{hit}");
        }
        assert!(differing_entries(u64::MAX, u64::MAX) > 0 && differing_pieces(u64::MAX, 0) == 1);
    }
}
