//! [`Histogram`]: counts of numbers in buckets 1.6 % wide. Counting one is an addition in an array: what is counted are
//! operations of a few hundred nanoseconds, and a general histogram costs a tenth of that.

/// Buckets between two powers of two, as a power of two itself.
const BITS: u32 = 6;

/// Counts numbers. Bucket `i` below `2 << BITS` holds the number `i`; above, each power of two is cut into `1 << BITS`.
#[derive(Debug)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; bucket_of(u64::MAX) + 1] }
    }

    /// Counts a number.
    pub fn record(&mut self, number: u64) {
        self.counts[bucket_of(number)] += 1;
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// The number that a share of all numbers does not exceed, but for the width of its bucket. 0 if there is none.
    pub fn quantile(&self, share: f64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|&count| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, least_of)
    }
}

fn bucket_of(number: u64) -> usize {
    let shift = (u64::BITS - number.leading_zeros()).saturating_sub(BITS + 1);
    ((shift as usize) << BITS) + (number >> shift) as usize
}

/// The least number of a bucket.
fn least_of(bucket: usize) -> u64 {
    let shift = (bucket >> BITS).saturating_sub(1);
    ((bucket - (shift << BITS)) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lies_in_a_bucket_that_begins_at_most_its_width_below() {
        let powers = (0..64).map(|power| 1u64 << power);
        for number in powers.flat_map(|power| [power - 1, power, power + power / 3]).chain([u64::MAX]) {
            let least = least_of(bucket_of(number));
            assert!(least <= number && number - least <= number >> BITS, "{number} in the bucket of {least}");
            assert_eq!(bucket_of(least), bucket_of(number));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_numbers() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|number| histogram.record(number));
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| histogram.quantile(share)), [1, 50, 99, 100]);
    }
}
