//! What is lost: [`UnknownSpan`] and [`LostValue`], as the store tells of them.
//!
//! Easy to get wrong: a span is one of keys as they are stored, and may reach over keyspaces.

use super::Db;
use crate::hash::PREFIX_LEN;
use crate::quarantine;
use crate::store::{Prefix, user_key};
use crate::types::{KeyRange, Stamp, ValueDigest};

/// Keys of which a file is damaged, so that it is unknown what they hold: reads of them fail with
/// [`Error::Unknown`](crate::Error::Unknown) until they are healed from a replica, but for what was written since.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownSpan {
    /// The keys as they are stored: nine bytes of their keyspace's prefix, then the user's key.
    pub stored_span: KeyRange,
    /// The keyspace that all of them belong to, if it is one that is known by name.
    pub keyspace: Option<String>,
    /// The keys in that keyspace; `None` without one.
    pub keys: Option<KeyRange>,
}

/// A large value that is damaged, while its entry is intact: reads of it fail with
/// [`Error::ValueLost`](crate::Error::ValueLost) until it is healed from a replica or written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostValue {
    /// The key as it is stored: nine bytes of its keyspace's prefix, then the user's key.
    pub stored_key: Vec<u8>,
    /// Its keyspace, if that is known by name.
    pub keyspace: Option<String>,
    /// The key in its keyspace.
    pub key: Vec<u8>,
    /// Stamp of the entry.
    pub stamp: Stamp,
    /// Digest of the value.
    pub value_digest: ValueDigest,
}

impl Db {
    /// The spans of keys that are unknown for damage, in order. What damage nobody has met yet is in none:
    /// [`Db::scrub`] and [`Db::verify`] look for it.
    pub fn unknown_spans(&self) -> Vec<UnknownSpan> {
        let unknown = self.store().unknown();
        if unknown.is_empty() {
            return Vec::new();
        }
        let names = self.keyspace_names().unwrap_or_default();
        let told = |span: &KeyRange| {
            let is_within = |prefix: &Prefix| {
                let whole = prefix.whole();
                span.end.as_ref().is_some_and(|end| whole.end.as_ref().is_none_or(|last| end <= last))
            };
            let prefix = prefix(&span.start).filter(is_within);
            let named = prefix.and_then(|prefix| Some((prefix, names.get(&prefix)?)));
            let keys = |prefix: Prefix| {
                let end = span.end.as_deref().filter(|end| end.starts_with(&prefix.0));
                KeyRange::new(user_key(&span.start), end.map(|end| user_key(end).to_vec()))
            };
            UnknownSpan {
                stored_span: span.clone(),
                keyspace: named.map(|(_, name)| name.to_string()),
                keys: named.map(|(prefix, _)| keys(prefix)),
            }
        };
        unknown.ranges().iter().map(|(span, _)| told(span)).collect()
    }

    /// The large values that were found damaged and not overwritten since, in order of their stored keys.
    pub fn lost_values(&self) -> Vec<LostValue> {
        let lost = self.store().lost_values();
        if lost.is_empty() {
            return Vec::new();
        }
        let names = self.keyspace_names().unwrap_or_default();
        let told = |(stored_key, value): (Vec<u8>, quarantine::LostValue)| LostValue {
            keyspace: prefix(&stored_key).and_then(|prefix| names.get(&prefix)).map(|name| name.to_string()),
            key: user_key(&stored_key).to_vec(),
            stored_key,
            stamp: value.stamp,
            value_digest: value.digest,
        };
        lost.into_iter().map(told).collect()
    }
}

/// The prefix of a stored key.
fn prefix(stored_key: &[u8]) -> Option<Prefix> {
    stored_key.first_chunk::<PREFIX_LEN>().map(|prefix| Prefix(*prefix))
}
