//! The seeded mutator: inputs from inputs, without coverage, so that a seed is enough to make one again.

use crate::random::Random;

/// Longer inputs are cut.
const LEN_MAX: usize = 4 << 10;

/// Bytes that lengths and counts like to be.
const NUMBERS: [&[u8]; 6] = [&[0], &[1], &[0xff], &[0x7f], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 1, 0]];

/// An input made from some of `corpus`, or from nothing.
pub fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = match corpus {
        [] => Vec::new(),
        corpus => random.pick(corpus).clone(),
    };
    for _ in 0..1 + random.below(6) {
        let place = |random: &mut Random, input: &[u8]| random.below(input.len() as u64 + 1) as usize;
        let (a, b) = (place(random, &input), place(random, &input));
        let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 64));
        match random.below(7) {
            0 => {
                input.drain(from..to);
            }
            1 => {
                let copy = input[from..to].to_vec();
                input.splice(b..b, copy);
            }
            2 => {
                let fresh: Vec<u8> = (0..1 + random.below(16)).map(|_| random.next() as u8).collect();
                input.splice(a..a, fresh);
            }
            3 if !corpus.is_empty() => {
                let other = random.pick(corpus);
                let start = place(random, other);
                input.truncate(a);
                input.extend_from_slice(&other[start..]);
            }
            4 => {
                let number = *random.pick(&NUMBERS);
                let end = input.len().min(a + number.len());
                input.splice(a..end, number.iter().copied());
            }
            _ if a < input.len() => input[a] ^= 1 << random.below(8),
            _ => input.push(random.next() as u8),
        }
        input.truncate(LEN_MAX);
    }
    input
}
