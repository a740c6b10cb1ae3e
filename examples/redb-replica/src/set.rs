//! The hash functions of a Syncline replica set, written from the section "Hashes" of `docs/format.md`: whoever shares a
//! set with Syncline stores gives the same hashes to the same entries.
//!
//! A database whose peers are all of its own kind may hash as it likes.
//!
//! Easy to get wrong: the fields of an entry are hashed jointly, never as a sum of hashes.

use sync_proto::{Entry, Kind};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_secret};

/// The parameters that all replicas of a set share, and what is made from them.
#[derive(Clone)]
pub(crate) struct Set {
    pub(crate) id: [u8; 16],
    bucket_bits: u8,
    epoch_len: u64,
    key: [u8; 192],
    value: [u8; 192],
    entry: [u8; 192],
    keyspace: [u8; 192],
}

impl Set {
    pub(crate) fn new(set: &syncline::ReplicaSet) -> Set {
        let secret = |purpose: u8| {
            let mut secret = [0; 192];
            for (block, number) in secret.chunks_mut(16).zip(0u8..) {
                let input = [&set.hash_key[..], &[purpose, number]].concat();
                block.copy_from_slice(&xxh3_128(&input).to_le_bytes());
            }
            secret
        };
        Set {
            id: set.id,
            bucket_bits: set.bucket_bits,
            epoch_len: set.epoch_len,
            key: secret(1),
            value: secret(2),
            entry: secret(3),
            keyspace: secret(4),
        }
    }

    /// What the peers of a set compare instead of the secret itself.
    pub(crate) fn hash_check(&self) -> [u8; 8] {
        let input = [&b"syncline set"[..], &[self.bucket_bits], &self.epoch_len.to_le_bytes()].concat();
        (xxh3_128_with_secret(&input, &self.keyspace) as u64).to_le_bytes()
    }

    /// What stands before users' keys in the keyspace of this name.
    pub(crate) fn key_start(&self, name: &str) -> Vec<u8> {
        let input = [&(name.len() as u64).to_le_bytes(), name.as_bytes(), b"last-writer-wins"].concat();
        let hash = (xxh3_128_with_secret(&input, &self.keyspace) >> 64) as u64;
        [&[1][..], &hash.to_be_bytes()].concat()
    }

    /// The level of the fence at `key`, if it is one.
    pub(crate) fn fence_level(&self, key: &[u8]) -> Option<u8> {
        let hash = (xxh3_128_with_secret(key, &self.key) >> 64) as u64;
        (hash.trailing_zeros() as u8).checked_sub(self.bucket_bits)
    }

    pub(crate) fn entry_hash(&self, entry: &Entry) -> u128 {
        let mut input = Vec::with_capacity(73);
        input.extend_from_slice(&xxh3_128_with_secret(&entry.key, &self.key).to_le_bytes());
        input.extend_from_slice(&entry.stamp.hlc.to_le_bytes());
        input.extend_from_slice(&entry.stamp.node.to_le_bytes());
        input.push(if entry.kind == Kind::Put { 1 } else { 2 });
        input.extend_from_slice(&entry.expires_at.to_le_bytes());
        for bytes in [&entry.meta, &entry.value] {
            input.extend_from_slice(&xxh3_128_with_secret(bytes, &self.value).to_le_bytes());
        }
        xxh3_128_with_secret(&input, &self.entry)
    }
}
