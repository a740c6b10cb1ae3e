//! The keyed hashes of a replica set: of keys, values, entries and keyspace names, and the fence rule.
//!
//! All of them use xxh3-128 with secrets stretched from the set's 32-byte key, one secret per purpose, so that a hash
//! made for one purpose says nothing about another. They keep outsiders from crafting collisions; a peer of the set
//! knows the key and can always lie. A key's hash is computed once per operation and serves filter, tag, fence test
//! and entry hash alike.
//!
//! Easy to get wrong: an entry's fields are hashed *jointly*. A sum of separate hashes of key and stamp could not see
//! two keys swapping their versions.

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_secret};

use crate::types::{EntryHash, Head, Kind, Stamp, ValueDigest};

/// Length of a keyspace's inner prefix: one class byte and eight bytes of keyed hash.
pub(crate) const PREFIX_LEN: usize = 9;

/// Secret length that xxh3's long-input loop was designed with.
const SECRET_LEN: usize = 192;

/// Keyed 128-bit hash of an inner key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct KeyHash(pub(crate) u128);

impl KeyHash {
    /// Number of trailing zero bits in the half of the hash that the fence rule looks at. A key is a fence where this
    /// is at least the set's `bucket_bits`; what is beyond is the fence's level.
    pub(crate) fn fence_bits(self) -> u8 {
        // The upper half: filters and tags use the lower one, and must not correlate with fences.
        ((self.0 >> 64) as u64).trailing_zeros() as u8
    }
}

/// The hash functions of one replica set. About 600 bytes; share it behind an `Arc`.
#[derive(Clone)]
pub(crate) struct SetHasher {
    key: [u8; SECRET_LEN],
    value: [u8; SECRET_LEN],
    entry: [u8; SECRET_LEN],
    keyspace: [u8; SECRET_LEN],
    /// Digest of the empty value: that of most entries' meta.
    empty: ValueDigest,
}

impl std::fmt::Debug for SetHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetHasher(..)")
    }
}

impl SetHasher {
    /// The hash functions of the set whose secret is `hash_key`.
    pub(crate) fn new(hash_key: &[u8; 32]) -> SetHasher {
        let secret = |purpose: u8| {
            let mut secret = [0; SECRET_LEN];
            for (counter, chunk) in secret.chunks_mut(16).enumerate() {
                let mut input = [0; 34];
                input[..32].copy_from_slice(hash_key);
                input[32] = purpose;
                input[33] = counter as u8;
                chunk.copy_from_slice(&xxh3_128(&input).to_le_bytes());
            }
            secret
        };
        let value = secret(2);
        let empty = ValueDigest(xxh3_128_with_secret(&[], &value));
        SetHasher { key: secret(1), value, entry: secret(3), keyspace: secret(4), empty }
    }

    /// Hash of an inner key (keyspace prefix included).
    pub(crate) fn key(&self, inner_key: &[u8]) -> KeyHash {
        KeyHash(xxh3_128_with_secret(inner_key, &self.key))
    }

    /// Digest of a value's bytes.
    pub(crate) fn value(&self, value: &[u8]) -> ValueDigest {
        ValueDigest(xxh3_128_with_secret(value, &self.value))
    }

    /// Hash of a whole entry, from the hash of its key and its head.
    pub(crate) fn head(&self, key: KeyHash, head: &Head) -> EntryHash {
        self.entry(key, head.stamp, head.kind, head.expires_at, &head.meta, head.digest)
    }

    /// Hash of a whole entry from its fields: the keyed hash of the 73 bytes
    /// `key hash 16 | hlc 8 | node 8 | kind 1 | expires_at 8 | digest of meta 16 | value digest 16`.
    pub(crate) fn entry(
        &self,
        key: KeyHash,
        stamp: Stamp,
        kind: Kind,
        expires_at: u64,
        meta: &[u8],
        digest: ValueDigest,
    ) -> EntryHash {
        let mut input = [0u8; 73];
        input[..16].copy_from_slice(&key.0.to_le_bytes());
        input[16..24].copy_from_slice(&stamp.hlc.to_le_bytes());
        input[24..32].copy_from_slice(&stamp.node.to_le_bytes());
        input[32] = kind as u8;
        input[33..41].copy_from_slice(&expires_at.to_le_bytes());
        let meta = if meta.is_empty() { self.empty } else { self.value(meta) };
        input[41..57].copy_from_slice(&meta.0.to_le_bytes());
        input[57..73].copy_from_slice(&digest.0.to_le_bytes());
        EntryHash(xxh3_128_with_secret(&input, &self.entry))
    }

    /// The eight bytes that tell a keyspace's inner keys from others': a hash of name *and* resolver, so that it is
    /// the same on every replica whatever the order of creation.
    pub(crate) fn keyspace(&self, name: &str, resolver: &str) -> [u8; 8] {
        let mut input = Vec::with_capacity(8 + name.len() + resolver.len());
        input.extend_from_slice(&(name.len() as u64).to_le_bytes());
        input.extend_from_slice(name.as_bytes());
        input.extend_from_slice(resolver.as_bytes());
        ((xxh3_128_with_secret(&input, &self.keyspace) >> 64) as u64).to_be_bytes()
    }

    /// Eight bytes that two stores compare to learn whether hash key and parameters are the same, without showing the key.
    pub(crate) fn check(&self, bucket_bits: u8, epoch_len: u64) -> [u8; 8] {
        let input = [&b"syncline set"[..], &[bucket_bits], &epoch_len.to_le_bytes()].concat();
        (xxh3_128_with_secret(&input, &self.keyspace) as u64).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_an_entry_changes_its_hash() {
        let hasher = SetHasher::new(&[7; 32]);
        let key = hasher.key(b"key");
        let stamp = Stamp { hlc: 5, node: 9 };
        let digest = hasher.value(b"value");
        let hash = |key, stamp, kind, expires_at, meta: &[u8], digest| {
            hasher.entry(key, stamp, kind, expires_at, meta, digest)
        };
        let all = [
            hash(key, stamp, Kind::Put, 0, b"", digest),
            hash(hasher.key(b"kez"), stamp, Kind::Put, 0, b"", digest),
            hash(key, Stamp { hlc: 6, node: 9 }, Kind::Put, 0, b"", digest),
            hash(key, Stamp { hlc: 5, node: 8 }, Kind::Put, 0, b"", digest),
            hash(key, stamp, Kind::Tombstone, 0, b"", digest),
            hash(key, stamp, Kind::Put, 1, b"", digest),
            hash(key, stamp, Kind::Put, 0, b"m", digest),
            hash(key, stamp, Kind::Put, 0, b"", hasher.value(b"valuf")),
            SetHasher::new(&[8; 32]).entry(key, stamp, Kind::Put, 0, b"", digest),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "hash {i} stands twice");
        }
    }

    #[test]
    fn about_one_key_in_sixty_four_is_a_fence() {
        let hasher = SetHasher::new(&[1; 32]);
        let fences = (0u64..64_000).filter(|n| hasher.key(&n.to_be_bytes()).fence_bits() >= 6).count();
        assert!((850..1150).contains(&fences), "{fences} fences among 64,000 keys");
    }
}
