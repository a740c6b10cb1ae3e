//! What foreign entries of keyspaces with a resolver come to: two versions become a third one.
//!
//! Used by [`Store::apply`](super::Store::apply); local puts of such keyspaces are merged by `db`, before they are commits.
//!
//! Easy to get wrong: the result's stamp is the greater one of the two and never a new one, or replicas would pass ever newer
//! versions of the same state round in a circle. So two versions of a key may have one stamp here. And without its resolver a
//! value must not be merged in another way: what one side wrote would be lost without a word.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::hash::PREFIX_LEN;
use crate::resolver::{Rank, Resolver};
use crate::types::{Kind, Slice};

use super::commit::Write;
use super::keyspace::{Prefix, is_merged, user_key};
use super::{AtUnknown, Store};

/// A version of a key as merging sees it.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) rank: Rank,
    pub(super) expires_at: u64,
    pub(super) meta: Slice,
    pub(super) value: Slice,
}

/// The resolvers at hand of keyspaces that the catalogue has.
#[derive(Debug, Default)]
pub(crate) struct Resolving(BTreeMap<Prefix, Arc<dyn Resolver>>);

impl Store {
    /// What it takes to merge `writes`.
    ///
    /// # Errors
    /// `Corruption` or `Io` of reading the catalogue, which is read if one of them is of a keyspace with a resolver.
    pub(crate) fn resolving(&self, writes: &[Write]) -> Result<Resolving> {
        let mut resolving = Resolving::default();
        if writes.iter().any(|write| is_merged(&write.key)) {
            for (name, resolver) in self.catalogue(AtUnknown::Stop)? {
                if let Some(known) = self.options.resolvers.get(&resolver) {
                    let prefix = Prefix::of(&self.measure.hasher, &name, &resolver);
                    resolving.0.insert(prefix, known.clone());
                }
            }
        }
        Ok(resolving)
    }
}

impl Resolving {
    /// The resolver of this inner key, if it is at hand.
    pub(super) fn of(&self, key: &[u8]) -> Option<&dyn Resolver> {
        let prefix = Prefix(*key.first_chunk::<PREFIX_LEN>()?);
        self.0.get(&prefix).map(|resolver| &**resolver)
    }
}

/// What two versions of the inner key `key` come to. Tombstones, which no keyspace with a resolver makes, are not merged: there
/// the later one stays.
pub(super) fn join(resolver: &dyn Resolver, key: &[u8], a: &Version, b: &Version) -> Version {
    let (older, newer) = if a.rank < b.rank { (a, b) } else { (b, a) };
    if older.rank.kind != Kind::Put || newer.rank.kind != Kind::Put {
        return newer.clone();
    }
    let value = resolver.merge(user_key(key), &older.value, &newer.value);
    let value = if *value == *newer.value { newer.value.clone() } else { Slice::from(value) };
    Version { value, ..newer.clone() }
}
