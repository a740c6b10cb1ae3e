//! Which places of two words differ, from a few symbols that one side tells of its own: the syndromes of a Reed-Solomon code
//! (Reed and Solomon, "Polynomial Codes over Certain Finite Fields", 1960), read by Massey's algorithm ("Shift-register
//! synthesis and BCH decoding", 1969).
//!
//! The symbols of a word are numbers of a prime field, and its syndrome `j` is the sum of `symbol * (place + 1)^j`. Those of
//! the difference of two words are the differences of theirs; `2 e` of them tell the places of any `e` that are not zero. What
//! stands there is not asked for.
//!
//! Pure; used where the hashes of pieces are told group by group: two symbols for each piece that differs cost less than one
//! for each piece.
//!
//! Easy to get wrong: where more places differ than the syndromes tell, nothing is found, or, once in many thousand times,
//! something else. Whoever uses this checks what it took for equal.

/// The largest prime below 256^n, for symbols of `n` = 2, 3 or 4 bytes.
const PRIMES: [u64; 3] = [65_521, 16_777_213, 4_294_967_291];

/// The field that symbols of one length are taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    prime: u64,
}

impl Field {
    /// That of symbols of so many bytes, 2 to 4.
    pub(crate) fn of_len(symbol_len: u8) -> Field {
        let [two, three, four] = PRIMES;
        let prime = match symbol_len {
            ..=2 => two,
            3 => three,
            _ => four,
        };
        Field { prime }
    }

    /// The first `count` syndromes of a word. O(word * count).
    pub(crate) fn syndromes(self, word: impl IntoIterator<Item = u32>, count: usize) -> Vec<u32> {
        let mut syndromes = vec![0; count];
        for (place, symbol) in (1u64..).zip(word) {
            let mut term = u64::from(symbol) % self.prime;
            for syndrome in &mut syndromes {
                *syndrome = self.add(u64::from(*syndrome), term) as u32;
                term = self.mul(term, place);
            }
        }
        syndromes
    }

    /// Those of `a` less those of `b`, place by place.
    pub(crate) fn difference(self, a: &[u32], b: &[u32]) -> Vec<u32> {
        a.iter().zip(b).map(|(&a, &b)| self.sub(u64::from(a) % self.prime, u64::from(b)) as u32).collect()
    }

    /// The places below `len` at which a word of these syndromes is not zero, rising; `None` if there are more than half as
    /// many as syndromes. O(syndromes² + syndromes * len).
    pub(crate) fn places(self, syndromes: &[u32], len: usize) -> Option<Vec<usize>> {
        let locator = self.locator(syndromes);
        let error_count = locator.len() - 1;
        if 2 * error_count > syndromes.len() {
            return None;
        }
        // The locator is the product of `1 - x (place + 1)`, and read backwards that of `x - (place + 1)`.
        let is_root = |place: &usize| {
            let x = *place as u64 + 1;
            locator.iter().fold(0, |value, &term| self.add(self.mul(value, x), term)) == 0
        };
        let places: Vec<usize> = (0..len).filter(is_root).collect();
        (places.len() == error_count).then_some(places)
    }

    /// The shortest recurrence that the syndromes keep to: its coefficients, the first of which is 1.
    fn locator(self, syndromes: &[u32]) -> Vec<u64> {
        let (mut current, mut before) = (vec![1], vec![1]);
        // Length of the recurrence; how far back `before` was in use, and by what it was off there.
        let (mut len, mut since, mut off_before) = (0, 1, 1);
        for (index, _) in syndromes.iter().enumerate() {
            let told = syndromes.get(..=index).unwrap_or_default().iter().rev();
            let terms = current.iter().zip(told).map(|(&term, &told)| self.mul(term, u64::from(told)));
            let off = terms.fold(0, |sum, term| self.add(sum, term));
            if off == 0 {
                since += 1;
                continue;
            }
            let factor = self.mul(off, self.inverse(off_before));
            let mut next: Vec<u64> = current.clone();
            next.resize(next.len().max(before.len() + since), 0);
            for (term, &correction) in next.iter_mut().skip(since).zip(&before) {
                *term = self.sub(*term, self.mul(factor, correction));
            }
            if 2 * len <= index {
                len = index + 1 - len;
                (before, off_before, since) = (current, off, 0);
            }
            since += 1;
            current = next;
        }
        current.resize(len + 1, 0);
        current
    }

    fn add(self, a: u64, b: u64) -> u64 {
        (a + b) % self.prime
    }

    fn sub(self, a: u64, b: u64) -> u64 {
        (a + self.prime - b % self.prime) % self.prime
    }

    fn mul(self, a: u64, b: u64) -> u64 {
        a * b % self.prime
    }

    /// By Fermat: `a^(prime - 2)`.
    fn inverse(self, a: u64) -> u64 {
        let (mut power, mut square, mut exponent) = (1, a, self.prime - 2);
        while exponent > 0 {
            if exponent % 2 == 1 {
                power = self.mul(power, square);
            }
            square = self.mul(square, square);
            exponent /= 2;
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::test_model::rng::Rng;

    #[test]
    fn as_many_places_as_half_the_syndromes_are_told() {
        for seed in 0..10_000 {
            let rng = &mut Rng(seed);
            let symbol_len = 2 + rng.below(3) as u8;
            let field = Field::of_len(symbol_len);
            let draw = |rng: &mut Rng| (rng.next() >> (64 - 8 * u32::from(symbol_len))) as u32;
            let len = 1 + rng.below(100) as usize;
            let mine: Vec<u32> = (0..len).map(|_| draw(rng)).collect();
            let mut theirs = mine.clone();
            let mut changed = BTreeSet::new();
            for _ in 0..rng.below(12) {
                let place = rng.below(len as u64) as usize;
                theirs[place] = draw(rng);
                changed.insert(place);
            }
            let differs = |place: &usize| {
                u64::from(mine[*place]) % field.prime != u64::from(theirs[*place]) % field.prime
            };
            let changed: Vec<usize> = changed.into_iter().filter(differs).collect();
            let count = rng.below(24) as usize;
            let told = field.syndromes(theirs.iter().copied(), count);
            let difference = field.difference(&told, &field.syndromes(mine, count));
            let found = field.places(&difference, len);
            if 2 * changed.len() <= count {
                assert_eq!(found, Some(changed), "seed {seed}");
            } else {
                // Once in 65,521 / len times one symbol too few looks like another place.
                let is_rare = found.as_ref().is_some_and(|found| 2 * found.len() == count / 2 * 2);
                assert!(found.is_none() || is_rare || count == 0, "seed {seed}: {changed:?} and {found:?}");
            }
        }
    }

    #[test]
    fn the_primes_are_primes() {
        for (len, prime) in (2u32..).zip(PRIMES) {
            assert!(prime < 1 << (8 * len));
            assert!((2..=65_536).take_while(|d| d * d <= prime).all(|d| prime % d != 0), "{prime}");
        }
    }

    #[test]
    fn syndromes_of_a_liar_end() {
        for seed in 0..10_000 {
            let rng = &mut Rng(seed);
            let field = Field::of_len(2 + rng.below(3) as u8);
            let told: Vec<u32> = (0..rng.below(40)).map(|_| rng.next() as u32).collect();
            let own = field.syndromes((0..50).map(|_| rng.next() as u32), told.len());
            let found = field.places(&field.difference(&told, &own), 50);
            assert!(found.is_none_or(|places| 2 * places.len() <= told.len()), "seed {seed}");
        }
    }
}
