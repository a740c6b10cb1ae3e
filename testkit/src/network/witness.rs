//! [`Witness`]: remembers every entry that anybody wrote, and knows what must be so of what replicas hold.
//!
//! Easy to get wrong: whether an entry is covered is a matter of its stamp alone, and a tombstone covers like any other.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use syncline::{Db, EntryDigest, Kind, Stamp};
use xxhash_rust::xxh3::Xxh3Default;

/// What a replica holds of each key, tombstones included.
pub(super) type Held = BTreeMap<Vec<u8>, EntryDigest>;

/// Keys that replicas write: few, so that they meet.
pub(super) const KEYS: u64 = 150;

type Seeded = BuildHasherDefault<Xxh3Default>;

/// Who saw every write.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Of each key and stamp, the digest that was written.
    written: HashMap<(Vec<u8>, Stamp), EntryDigest, Seeded>,
}

/// Key number `number`: some short, some with a long prefix in common.
pub(super) fn key(number: u64) -> Vec<u8> {
    match number % 5 {
        0 => [&b"a/prefix/that/is/common/"[..], &number.to_be_bytes()].concat(),
        _ => number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec(),
    }
}

/// Everything that a store holds of the keys in question.
pub(super) fn held(db: &Db) -> Result<Held, String> {
    let mut held = Held::new();
    for number in 0..KEYS {
        let key = key(number);
        if let Some(digest) = db.digest(&key).map_err(|error| format!("a read failed: {error}"))? {
            held.insert(key, digest);
        }
    }
    Ok(held)
}

impl Witness {
    /// Takes note of what a replica has just written under `key`.
    pub(super) fn wrote(&mut self, db: &Db, key: &[u8]) -> Result<(), String> {
        let digest = db.digest(key).map_err(|error| error.to_string())?;
        let digest = digest.ok_or("a write is not there")?;
        self.written.insert((key.to_vec(), digest.stamp), digest);
        Ok(())
    }

    /// Checks that everything that is held was written by somebody, and as it is.
    pub(super) fn check(&self, held: &Held) -> Result<(), String> {
        for (key, digest) in held {
            match self.written.get(&(key.clone(), digest.stamp)) {
                None => return Err(format!("key {key:?} has a stamp that nobody gave: {:?}", digest.stamp)),
                Some(written)
                    if written.kind != digest.kind || written.value_digest != digest.value_digest =>
                {
                    return Err(format!("key {key:?} has another entry than its stamp: {digest:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Checks that `later` holds or covers all of `earlier`.
pub(super) fn covers(later: &Held, earlier: &Held) -> Result<(), String> {
    for (key, old) in earlier {
        match later.get(key) {
            None => return Err(format!("key {key:?} is gone; it was {:?}", old.stamp)),
            Some(new) if new.stamp < old.stamp => {
                let (new, old) = (new.stamp, old.stamp);
                return Err(format!("key {key:?} went back from {old:?} to {new:?}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Number of tombstones, of which a run must have met some.
pub(super) fn tombstones(held: &Held) -> usize {
    held.values().filter(|digest| digest.kind == Kind::Tombstone).count()
}
