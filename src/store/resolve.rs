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
use super::keyspace::{Prefix, is_merged, parse_catalogue_key, user_key};
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
        match writes.iter().any(|write| is_merged(&write.key)) {
            true => Ok(self.at_hand(self.catalogue(AtUnknown::Stop)?)),
            false => Ok(Resolving::default()),
        }
    }

    /// As [`Store::resolving`], for `writes` that heal: what of the catalogue is unknown may be among them.
    ///
    /// # Errors
    /// As reading what is known of the catalogue.
    pub(crate) fn resolving_to_heal(&self, writes: &[Write]) -> Result<Resolving> {
        let mut catalogue = self.catalogue(AtUnknown::Skip)?;
        let names = Prefix::CATALOGUE.whole();
        let healed = writes.iter().filter(|write| write.kind == Kind::Put && names.contains(&write.key));
        let healed = healed.filter_map(|write| parse_catalogue_key(user_key(&write.key)));
        catalogue.extend(healed.map(|(name, resolver)| (name.to_owned(), resolver.to_owned())));
        Ok(self.at_hand(catalogue))
    }

    /// Those resolvers of keyspaces, each with name and resolver's name, that the store was opened with.
    fn at_hand(&self, catalogue: Vec<(String, String)>) -> Resolving {
        let at_hand = catalogue.into_iter().filter_map(|(name, resolver)| {
            let known = self.options.resolvers.get(&resolver)?;
            Some((Prefix::of(&self.measure.hasher, &name, &resolver), known.clone()))
        });
        Resolving(at_hand.collect())
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
