//! Keys, values and the numbers that choose among them: everything a workload writes, and the check of what it reads.
//!
//! A value tells by itself whether it belongs to its key: it begins with a hash of key and version, and the version. So
//! every read is verified without a copy of the data.

/// Bytes of a key.
pub const KEY_LEN: usize = 16;

/// Bytes of the smallest value: the hash and the version.
pub const VALUE_LEN_MIN: usize = 16;

/// Bytes of random material that the bodies of values are cut from. Small, so that checking a value costs no cache miss.
const POOL_LEN: usize = 32 << 10;

/// A key.
pub type Key = [u8; KEY_LEN];

/// A bijection of 64-bit numbers that leaves no pattern (the finaliser of splitmix64).
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Makes keys and values of one seed and checks values.
#[derive(Debug)]
pub struct Data {
    seed: u64,
    value_len: usize,
    pool: Vec<u8>,
}

impl Data {
    /// Values of `value_len` bytes, at least [`VALUE_LEN_MIN`].
    pub fn new(seed: u64, value_len: usize) -> Data {
        assert!(value_len >= VALUE_LEN_MIN, "a value must have room for its hash");
        let mut random = Random::new(seed);
        let pool_len = POOL_LEN + value_len;
        let pool = std::iter::repeat_with(|| random.next().to_le_bytes()).flatten().take(pool_len).collect();
        Data { seed: mix(seed), value_len, pool }
    }

    /// Bytes of a value.
    pub fn value_len(&self) -> usize {
        self.value_len
    }

    /// The key of a number: unique, and without order or pattern.
    pub fn key(&self, number: u64) -> Key {
        key_of(mix(number ^ self.seed), mix(number.wrapping_add(self.seed)))
    }

    /// A key that [`Data::key`] makes of no number below 2^40.
    pub fn missing_key(&self, number: u64) -> Key {
        self.key(number | 1 << 40)
    }

    /// The key of a number, in the order of numbers.
    pub fn ascending_key(&self, number: u64) -> Key {
        key_of(number, mix(number.wrapping_add(self.seed)))
    }

    /// Writes into `value` what `key` holds as of `version`: hash, version, a random half and a half of zeros.
    pub fn fill_value(&self, key: &Key, version: u64, value: &mut Vec<u8>) {
        let hash = self.hash(key, version);
        value.clear();
        value.extend_from_slice(&hash.to_le_bytes());
        value.extend_from_slice(&version.to_le_bytes());
        value.extend_from_slice(self.random_half(hash));
        value.resize(self.value_len, 0);
    }

    /// Checks a value that a read of `key` gave.
    ///
    /// # Panics
    /// If it is not what was written there: an engine that answers wrongly has no speed.
    pub fn check(&self, key: &[u8], value: &[u8]) {
        assert!(self.is_right(key, value), "{} wrong bytes under {key:02x?}", value.len());
    }

    fn is_right(&self, key: &[u8], value: &[u8]) -> bool {
        let (Ok(key), Some((head, body))) = (key.try_into(), value.split_first_chunk::<VALUE_LEN_MIN>())
        else {
            return false;
        };
        let head = u128::from_le_bytes(*head);
        let (hash, version) = (head as u64, (head >> 64) as u64);
        hash == self.hash(key, version)
            && value.len() == self.value_len
            && body.starts_with(self.random_half(hash))
    }

    fn hash(&self, key: &Key, version: u64) -> u64 {
        let key = u128::from_le_bytes(*key);
        mix((key as u64) ^ mix((key >> 64) as u64 ^ mix(version ^ self.seed)))
    }

    /// The random part of the body of a value, found by its hash.
    fn random_half(&self, hash: u64) -> &[u8] {
        let start = hash as usize % POOL_LEN;
        &self.pool[start..start + (self.value_len - VALUE_LEN_MIN) / 2]
    }
}

fn key_of(high: u64, low: u64) -> Key {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// A sequence of random numbers (splitmix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Random {
        Random(mix(seed))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound` (Lemire's multiplication; the bias is below 2^-32).
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `count` numbers below `bound`, each as likely as any.
    pub fn uniform(&mut self, bound: u64, count: u64) -> Vec<u64> {
        (0..count).map(|_| self.below(bound)).collect()
    }

    /// All numbers below `bound`, shuffled (Fisher and Yates).
    pub fn permutation(&mut self, bound: u64) -> Vec<u64> {
        let mut numbers: Vec<u64> = (0..bound).collect();
        for last in (1..numbers.len()).rev() {
            numbers.swap(last, self.below(last as u64 + 1) as usize);
        }
        numbers
    }

    /// `count` numbers below `bound` by Zipf's law with exponent 0.99, the frequent ones scattered: the request
    /// distribution of YCSB, by the method of Gray et al., "Quickly generating billion-record synthetic databases", 1994.
    pub fn zipf(&mut self, bound: u64, count: u64) -> Vec<u64> {
        const THETA: f64 = 0.99;
        let zeta = |n: u64| (1..=n).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>();
        let (n, zeta_n, zeta_2) = (bound as f64, zeta(bound), zeta(2));
        let eta = (1.0 - (2.0 / n).powf(1.0 - THETA)) / (1.0 - zeta_2 / zeta_n);
        let mut rank = || {
            let fraction = self.fraction();
            match fraction * zeta_n {
                below if below < 1.0 => 0,
                below if below < zeta_2 => 1,
                _ => (n * (eta * fraction - eta + 1.0).powf(1.0 / (1.0 - THETA))) as u64,
            }
        };
        (0..count).map(|_| mix(rank()) % bound).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_right_under_its_own_key_alone() {
        for value_len in [16, 17, 100, 16_384] {
            let data = Data::new(7, value_len);
            let (key, other) = (data.key(1), data.key(2));
            let mut value = Vec::new();
            data.fill_value(&key, 3, &mut value);
            assert_eq!(value.len(), value_len);
            assert!(data.is_right(&key, &value));
            assert!(!data.is_right(&other, &value));
            assert!(!data.is_right(&key, &value[..value_len - 1]));
        }
    }

    #[test]
    fn the_most_frequent_tenth_of_zipf_numbers_takes_most_requests() {
        let mut counts = vec![0u32; 1_000];
        for number in Random::new(7).zipf(1_000, 100_000) {
            counts[number as usize] += 1;
        }
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let share = counts[..100].iter().sum::<u32>();
        assert!((65_000..80_000).contains(&share), "{share} of 100,000");
    }
}
