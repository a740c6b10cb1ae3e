//! How many entries differ, judged by which pieces of a range do.
//!
//! Pure; used when a range was compared, to choose the size of sketches.
//!
//! Easy to get wrong: a guess decides what is cheap, and never what is true.

/// Elements for each key that differs: one where the key is missing on a side, two where both hold it.
const ELEMENTS_PER_KEY: f64 = 1.5;

/// About how many entries differ in each of the pieces that do, those of either side counted. `differing` and `equal`
/// are this side's counts of entries in the pieces that differ and in all others together; `known` is what is known of
/// the whole range, or 0.
///
/// Where differences fall at random on entries, a piece of the share `p` stays equal under `d` of them with probability
/// `exp(-d p)`. The most likely `d` solves `sum of p / (exp(d p) - 1) over what differs = share of what is equal`; a piece
/// that differs then holds `d p / (1 - exp(-d p))` of them.
pub(crate) fn differing_entries(differing: &[u64], equal: u64, known: u64) -> Vec<u64> {
    let all = differing.iter().fold(equal, |sum, &count| sum.saturating_add(count)).max(1) as f64;
    let shares: Vec<f64> = differing.iter().map(|&count| (count as f64 / all).max(1e-9)).collect();
    let differing_share: f64 = shares.iter().sum();
    let least = shares.iter().copied().fold(1.0, f64::min);
    // Where every piece differs, as if half of the least one did not.
    let equal_share = if equal == 0 { least / 2.0 } else { equal as f64 / all };
    let excess = |d: f64| shares.iter().map(|p| p / ((d * p).exp() - 1.0)).sum::<f64>() - equal_share;
    let (mut low, mut high) = (0.0, 1e7);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if excess(middle) > 0.0 { low = middle } else { high = middle }
    }
    let guessed = |p: f64| ELEMENTS_PER_KEY * low.max(1e-6) * p / (1.0 - (-low.max(1e-6) * p).exp());
    shares
        .iter()
        .map(|&p| guessed(p).max(known as f64 * p / differing_share).round().max(1.0) as u64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::rng::Rng;

    #[test]
    fn scattered_differences_are_guessed_within_a_third() {
        for keys in [1, 3, 10, 30, 100] {
            let (mut guessed, tries) = (0, 200);
            for seed in 0..tries {
                let rng = &mut Rng(seed);
                let counts: Vec<u64> = (0..30).map(|_| 1 + rng.below(60_000)).collect();
                let all: u64 = counts.iter().sum();
                let mut hit = [false; 30];
                for _ in 0..keys {
                    let mut at = rng.below(all);
                    let piece = counts.iter().position(|&count| {
                        let inside = at < count;
                        at = at.wrapping_sub(count);
                        inside
                    });
                    hit[piece.expect("below all")] = true;
                }
                let of =
                    |side: bool| counts.iter().zip(hit).filter(move |(_, hit)| *hit == side).map(|(c, _)| *c);
                let differing: Vec<u64> = of(true).collect();
                guessed += differing_entries(&differing, of(false).sum(), 0).iter().sum::<u64>();
            }
            let ratio = guessed as f64 / tries as f64 / (1.5 * keys as f64);
            println!("{keys} keys: {ratio:.2} of what differs");
            assert!((0.67..1.4).contains(&ratio), "{keys}: {ratio}");
        }
    }

    #[test]
    fn what_is_known_is_shared_out_and_nothing_overflows() {
        assert_eq!(differing_entries(&[100, 300], 10_000, 4000), [1000, 3000]);
        assert_eq!(differing_entries(&[], 0, 7), []);
        for counts in [&[0, 0][..], &[u64::MAX, u64::MAX], &[0, u64::MAX]] {
            assert_eq!(differing_entries(counts, u64::MAX, u64::MAX).len(), counts.len());
        }
    }
}
