//! The short salted hashes of the wire: hashes of ranges, ids of bounds, fingerprints of entries and keys.
//!
//! All are xxh3 over a salt and what is named. The salt comes from both sides' nonces and from the number of the flight,
//! so that two things that collide once do not collide again in the next flight or session.
//!
//! Easy to get wrong: a range's hash is *not* additive. Sums are added first, in full width, and salted last.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use crate::types::RangeSum;

/// What both sides of one session know: made from both nonces and both node ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionSalt([u8; 16]);

/// The salt of one flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt([u8; 16]);

impl SessionSalt {
    /// From the initiator's and the responder's nonce.
    pub(crate) fn new(initiator_nonce: u64, responder_nonce: u64) -> SessionSalt {
        let mut input = [0; 16];
        input[..8].copy_from_slice(&initiator_nonce.to_le_bytes());
        input[8..].copy_from_slice(&responder_nonce.to_le_bytes());
        SessionSalt(xxh3_128(&input).to_le_bytes())
    }

    /// The salt of flight number `leg`; the hello is flight 1.
    pub(crate) fn leg(self, leg: u32) -> Salt {
        let mut input = [0; 20];
        input[..16].copy_from_slice(&self.0);
        input[16..].copy_from_slice(&leg.to_le_bytes());
        Salt(xxh3_128(&input).to_le_bytes())
    }

    /// Whether a group of pieces begins at this bound: at about one in 32, and nobody who writes keys knows which: xxh3-64
    /// of the key, seeded with the first 8 bytes of the salt, is a multiple of 32. The same in all flights.
    pub(crate) fn begins_group(&self, start: &[u8]) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        xxh3_64_with_seed(start, u64::from_le_bytes([a, b, c, d, e, f, g, h])).is_multiple_of(32)
    }
}

impl Salt {
    /// Hash of a range: the low 8 bytes of xxh3-128 over `salt 16 | fingerprint 16 | live 8 | tombstones 8`.
    pub(crate) fn range(&self, sum: &RangeSum) -> u64 {
        let mut input = [0; 48];
        input[..16].copy_from_slice(&self.0);
        input[16..32].copy_from_slice(&sum.fingerprint.0.to_le_bytes());
        input[32..40].copy_from_slice(&sum.live.to_le_bytes());
        input[40..].copy_from_slice(&sum.tombstones.to_le_bytes());
        xxh3_128(&input) as u64
    }

    /// Hash of a range without entries: either side recognizes it and need not ask further.
    pub(crate) fn empty_range(&self) -> u64 {
        self.range(&RangeSum::ZERO)
    }

    /// Short fingerprint of an entry, from its full hash: 4 bytes of xxh3-64 over `salt 16 | entry hash 16`.
    pub(crate) fn entry(&self, hash: u128) -> u32 {
        self.entry_of_len(hash, 4) as u32
    }

    /// The same with `len` bytes, at most 8.
    pub(crate) fn entry_of_len(&self, hash: u128, len: u8) -> u64 {
        let mut input = [0; 32];
        input[..16].copy_from_slice(&self.0);
        input[16..].copy_from_slice(&hash.to_le_bytes());
        lowest(xxh3_64(&input), len)
    }

    /// Short fingerprint of a key, and the id of the bound at that key: 4 bytes of xxh3-64 over the key, seeded with
    /// the first 8 bytes of the salt.
    pub(crate) fn key(&self, key: &[u8]) -> u32 {
        self.key_of_len(key, 4) as u32
    }

    /// The same with `len` bytes, at most 8.
    pub(crate) fn key_of_len(&self, key: &[u8], len: u8) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        lowest(xxh3_64_with_seed(key, u64::from_le_bytes([a, b, c, d, e, f, g, h])), len)
    }
}

/// The lowest `len` bytes, at most 8.
fn lowest(hash: u64, len: u8) -> u64 {
    hash & (u64::MAX >> (64 - 8 * u32::from(len.clamp(1, 8))))
}

/// Running hash over many keys in order; the two sides compare it to learn that they speak of the same ranges.
#[derive(Debug, Default)]
pub(crate) struct KeysHash(u64);

impl KeysHash {
    /// Adds one bound; `None` is the open end.
    pub(crate) fn add(&mut self, key: Option<&[u8]>) {
        self.0 = match key {
            Some(key) => xxh3_64_with_seed(key, self.0.wrapping_add(1)),
            None => xxh3_64_with_seed(b"open end", !self.0),
        };
    }

    /// The hash of all keys added.
    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

/// Checksum of a frame's payload, and of the frame's number; finds damage, proves nothing.
pub(crate) fn frame_checksum(payload: &[u8], flags: u8, number: u64) -> u32 {
    xxh3_64_with_seed(payload, u64::from(flags) | number << 8) as u32
}

/// Eight bytes by which the responder shows that it knows the same set id and hash check as the initiator.
pub(crate) fn set_proof(set_id: &[u8; 16], hash_check: &[u8; 8], initiator_nonce: u64) -> u64 {
    let mut input = [0; 24];
    input[..16].copy_from_slice(set_id);
    input[16..].copy_from_slice(hash_check);
    xxh3_64_with_seed(&input, initiator_nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flight_and_every_nonce_salts_differently() {
        let session = SessionSalt::new(1, 2);
        assert_ne!(session, SessionSalt::new(2, 1));
        assert_ne!(session.leg(3).entry(7), session.leg(4).entry(7));
        assert_ne!(session.leg(3).key(b"k"), session.leg(4).key(b"k"));
        assert_ne!(session.leg(3).empty_range(), session.leg(4).empty_range());
    }

    #[test]
    fn groups_begin_elsewhere_in_every_session() {
        let begins = |salt: SessionSalt| -> Vec<u32> {
            (0..3200u32).filter(|n| salt.begins_group(&n.to_be_bytes())).collect()
        };
        let (one, other) = (begins(SessionSalt::new(1, 2)), begins(SessionSalt::new(1, 3)));
        assert!(one.len().abs_diff(100) < 40 && other.len().abs_diff(100) < 40);
        let in_both = one.iter().filter(|n| other.contains(n)).count();
        assert!(in_both < 20, "{in_both}");
    }

    #[test]
    fn a_range_hash_sees_the_counts_as_well() {
        let salt = SessionSalt::new(1, 2).leg(1);
        let one = RangeSum { live: 1, ..RangeSum::ZERO };
        let gone = RangeSum { tombstones: 1, ..RangeSum::ZERO };
        assert_ne!(salt.range(&one), salt.range(&gone));
        assert_ne!(salt.range(&one), salt.empty_range());
    }

    #[test]
    fn the_hash_of_bounds_knows_order_and_open_ends() {
        let hash = |keys: &[Option<&[u8]>]| {
            let mut hash = KeysHash::default();
            keys.iter().for_each(|key| hash.add(*key));
            hash.finish()
        };
        assert_ne!(hash(&[Some(b"a"), Some(b"b")]), hash(&[Some(b"b"), Some(b"a")]));
        assert_ne!(hash(&[Some(b"a"), None]), hash(&[Some(b"a"), Some(b"open end")]));
    }
}
