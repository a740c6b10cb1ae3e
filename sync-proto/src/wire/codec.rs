//! Reading and writing the simple parts of messages: integers, keys, ranges, sums, positions.
//!
//! Used by the messages only. Writing appends to a `Vec<u8>` and cannot fail; reading checks every length against the
//! bytes that are left before it allocates, and refuses what could have been written in another way.
//!
//! Easy to get wrong: fixed-width integers are little-endian. Keys of a list are written against the key before them.

use crate::limits::{KEY_LEN_MAX, MESSAGE_KEYS_LEN_MAX};
use crate::types::{Fingerprint, KeyRange, RangeSum, Stamp};

/// What is wrong with bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Result of reading from a peer's bytes.
pub(crate) type Decoded<T> = Result<T, Malformed>;

/// The bytes of one message of a peer, read from the front. Further messages may follow in them.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes of keys made so far. Shared prefixes cost nothing on the wire, so what they unfold to has a limit.
    keys_len: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, keys_len: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn remaining_len(&self) -> usize {
        self.rest.len()
    }

    /// So many numbers of at most `len` bytes that rise, or stay.
    pub(crate) fn rising(&mut self, count: usize, len: u8) -> Decoded<Vec<u64>> {
        let max = u64::MAX >> (64 - 8 * u32::from(len.clamp(1, 8)));
        let mut numbers = Vec::with_capacity(count.min(self.rest.len()));
        let mut previous = 0u64;
        for _ in 0..count {
            let next = previous.checked_add(self.varint()?).filter(|&next| next <= max);
            previous = next.ok_or(Malformed("a number too large"))?;
            numbers.push(previous);
        }
        Ok(numbers)
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Decoded<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Decoded<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// LEB128: seven bits a byte, least first; the highest bit says that another byte follows. Only the shortest form
    /// is accepted.
    pub(crate) fn varint(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed("integer too large"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(Malformed("integer not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(Malformed("integer too long"))
    }

    /// A varint that fits in 32 bits.
    pub(crate) fn varint_u32(&mut self) -> Decoded<u32> {
        u32::try_from(self.varint()?).map_err(|_| Malformed("integer too large"))
    }

    /// A count between `min` and `max` of elements that take at least `element_len` bytes each.
    pub(crate) fn count(&mut self, min: usize, max: usize, element_len: usize) -> Decoded<usize> {
        let count = usize::try_from(self.varint()?).map_err(|_| Malformed("count too large"))?;
        if count < min || count > max {
            return Err(Malformed("count out of bounds"));
        }
        if count.checked_mul(element_len).is_none_or(|len| len > self.rest.len()) {
            return Err(Malformed("more elements than bytes"));
        }
        Ok(count)
    }

    /// Bytes preceded by their length, at most `max`.
    pub(crate) fn bytes(&mut self, max: usize) -> Decoded<&'a [u8]> {
        let len = self.count(0, max, 1)?;
        self.take(len)
    }

    /// A key written against `previous`.
    pub(crate) fn key_after(&mut self, previous: &[u8]) -> Decoded<Vec<u8>> {
        let prefix = self.prefix_of(previous)?;
        let suffix = self.bytes(KEY_LEN_MAX)?;
        self.key_of(prefix, suffix)
    }

    /// See [`put_key_of_len_after`].
    pub(crate) fn key_of_len_after(&mut self, previous: &[u8]) -> Decoded<Vec<u8>> {
        let prefix = self.prefix_of(previous)?;
        let suffix = self.take(previous.len() - prefix.len())?;
        self.key_of(prefix, suffix)
    }

    fn prefix_of<'p>(&mut self, previous: &'p [u8]) -> Decoded<&'p [u8]> {
        let shared = usize::try_from(self.varint()?).map_err(|_| Malformed("shared prefix too long"))?;
        previous.get(..shared).ok_or(Malformed("shared prefix too long"))
    }

    /// The key that these make, whose bytes count.
    fn key_of(&mut self, prefix: &[u8], suffix: &[u8]) -> Decoded<Vec<u8>> {
        if prefix.len() + suffix.len() > KEY_LEN_MAX {
            return Err(Malformed("key too long"));
        }
        self.keys_len += prefix.len() + suffix.len();
        if self.keys_len > MESSAGE_KEYS_LEN_MAX {
            return Err(Malformed("too many bytes of keys"));
        }
        Ok([prefix, suffix].concat())
    }

    /// A range that is not empty.
    pub(crate) fn range(&mut self) -> Decoded<KeyRange> {
        let start = self.key_after(&[])?;
        let end = match self.u8()? {
            0 => None,
            1 => Some(self.key_after(&start)?),
            _ => return Err(Malformed("range")),
        };
        let range = KeyRange { start, end };
        if range.is_empty() { Err(Malformed("empty range")) } else { Ok(range) }
    }

    /// A clock written against `previous`.
    pub(crate) fn clock_after(&mut self, previous: u64) -> Decoded<u64> {
        let distance = self.varint()?;
        Ok(previous.wrapping_add((distance >> 1) ^ (distance & 1).wrapping_neg()))
    }

    /// `len` bytes as an integer, at most 8.
    pub(crate) fn uint(&mut self, len: usize) -> Decoded<u64> {
        let taken = self.take(len)?;
        Ok(taken.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    pub(crate) fn stamp(&mut self) -> Decoded<Stamp> {
        Ok(Stamp { hlc: self.u64()?, node: self.u64()? })
    }

    pub(crate) fn sum(&mut self) -> Decoded<RangeSum> {
        Ok(RangeSum {
            fingerprint: Fingerprint(self.u128()?),
            live: self.varint()?,
            tombstones: self.varint()?,
            bytes: self.varint()?,
        })
    }

    /// Positions that rise strictly, at most `max` of them.
    pub(crate) fn positions(&mut self, max: usize) -> Decoded<Vec<u32>> {
        let count = self.count(0, max, 1)?;
        let mut positions = Vec::with_capacity(count);
        let mut next = 0u32;
        for _ in 0..count {
            let position = next.checked_add(self.varint_u32()?).ok_or(Malformed("position too large"))?;
            positions.push(position);
            next = position.checked_add(1).ok_or(Malformed("position too large"))?;
        }
        Ok(positions)
    }
}

/// See [`Reader::varint`].
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// See [`Reader::bytes`].
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// `shared varint | suffix_len varint | suffix`: the key is the first `shared` bytes of `previous`, then the suffix.
pub(crate) fn put_key_after(out: &mut Vec<u8>, previous: &[u8], key: &[u8]) {
    let shared = shared_len(previous, key);
    put_varint(out, shared as u64);
    put_bytes(out, key.get(shared..).unwrap_or_default());
}

/// As [`put_key_after`], of a key that is as long as the one before: the length of what follows is not said.
pub(crate) fn put_key_of_len_after(out: &mut Vec<u8>, previous: &[u8], key: &[u8]) {
    let shared = shared_len(previous, key);
    put_varint(out, shared as u64);
    out.extend_from_slice(key.get(shared..).unwrap_or_default());
}

fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// `start key | has_end 1 | end key against the start`.
pub(crate) fn put_range(out: &mut Vec<u8>, range: &KeyRange) {
    put_key_after(out, &[], &range.start);
    match &range.end {
        None => out.push(0),
        Some(end) => {
            out.push(1);
            put_key_after(out, &range.start, end);
        }
    }
}

/// The signed distance from `previous`, modulo 2^64, as a varint: its sign in the lowest bit.
pub(crate) fn put_clock_after(out: &mut Vec<u8>, previous: u64, clock: u64) {
    let distance = clock.wrapping_sub(previous) as i64;
    put_varint(out, ((distance << 1) ^ (distance >> 63)) as u64);
}

/// The lowest `len` bytes of an integer.
pub(crate) fn put_uint(out: &mut Vec<u8>, value: u64, len: usize) {
    out.extend(value.to_le_bytes().iter().take(len));
}

/// `hlc 8 | node 8`.
pub(crate) fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.hlc.to_le_bytes());
    out.extend_from_slice(&stamp.node.to_le_bytes());
}

/// `fingerprint 16 | live varint | tombstones varint | bytes varint`.
pub(crate) fn put_sum(out: &mut Vec<u8>, sum: &RangeSum) {
    out.extend_from_slice(&sum.fingerprint.0.to_le_bytes());
    put_varint(out, sum.live);
    put_varint(out, sum.tombstones);
    put_varint(out, sum.bytes);
}

/// Appends numbers that rise, or stay: each less the one before.
pub(crate) fn put_rising(out: &mut Vec<u8>, numbers: &[u64]) {
    let mut previous = 0;
    for &number in numbers {
        put_varint(out, number.wrapping_sub(previous));
        previous = number;
    }
}

/// `count varint |` for each position: its distance from the one after the previous, varint.
pub(crate) fn put_positions(out: &mut Vec<u8>, positions: &[u32]) {
    put_varint(out, positions.len() as u64);
    let mut next = 0;
    for &position in positions {
        debug_assert!(position >= next, "positions rise strictly");
        put_varint(out, u64::from(position.wrapping_sub(next)));
        next = position.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_exactly_one_form() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.is_empty());
        }
        assert!(Reader::new(&[0x80, 0x00]).varint().is_err(), "zero in two bytes");
        assert!(Reader::new(&[0xff; 11]).varint().is_err(), "longer than 64 bits");
        assert!(Reader::new(&[0x80]).varint().is_err(), "cut short");
    }

    #[test]
    fn clocks_come_back_from_any_distance() {
        let clocks = [0, 1, 5, 1 << 63, u64::MAX - 1, u64::MAX];
        for (previous, clock) in clocks.iter().flat_map(|a| clocks.iter().map(move |b| (*a, *b))) {
            let mut out = Vec::new();
            put_clock_after(&mut out, previous, clock);
            assert_eq!(Reader::new(&out).clock_after(previous), Ok(clock));
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_at_hand_is_refused_before_it_is_allocated() {
        let mut out = Vec::new();
        put_varint(&mut out, 1000);
        out.extend_from_slice(&[0; 999]);
        assert!(Reader::new(&out).count(0, 1 << 20, 1).is_err());
        assert!(Reader::new(&out).count(0, 999, 0).is_err());
    }

    #[test]
    fn keys_and_ranges_survive_and_empty_ranges_do_not() {
        let mut out = Vec::new();
        put_key_after(&mut out, b"abcd", b"abxy");
        assert_eq!(Reader::new(&out).key_after(b"abcd").as_deref(), Ok(&b"abxy"[..]));
        assert!(Reader::new(&out).key_after(b"a").is_err(), "shares more than there is");
        for end in [None, Some(b"ac".to_vec()), Some(b"aa".to_vec())] {
            let range = KeyRange { start: b"ab".to_vec(), end };
            let mut out = Vec::new();
            put_range(&mut out, &range);
            let expected = if range.is_empty() { Err(Malformed("empty range")) } else { Ok(range) };
            assert_eq!(Reader::new(&out).range(), expected);
        }
    }

    #[test]
    fn positions_rise_and_do_not_wrap() {
        let mut out = Vec::new();
        put_positions(&mut out, &[0, 1, 7, u32::MAX - 1]);
        assert_eq!(Reader::new(&out).positions(4), Ok(vec![0, 1, 7, u32::MAX - 1]));
        let mut wrapping = Vec::new();
        put_varint(&mut wrapping, 2);
        put_varint(&mut wrapping, u64::from(u32::MAX));
        put_varint(&mut wrapping, 0);
        assert!(Reader::new(&wrapping).positions(2).is_err());
    }
}
