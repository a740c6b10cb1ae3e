//! Between the inner keys of the protocol and keyspaces with user's keys: [`KeyNames`] for whoever shows what differs,
//! [`inner_range`] and [`catalogue`] for whoever repairs a part of a store.
//!
//! Easy to get wrong: the names are those of one store at one moment. A keyspace that only the other replica knows has none
//! here, and its keys are still keys.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

use sync_proto::KeyRange;

use super::DbReplica;
use crate::db::{Keyspace, key_range};
use crate::error::Result;
use crate::hash::PREFIX_LEN;
use crate::store::{Prefix, user_key};
use crate::types;

/// What an inner key is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyName<'a> {
    /// A user's key.
    User {
        /// Its keyspace; `None` if this store does not know it.
        keyspace: Option<&'a str>,
        /// The key in it.
        key: &'a [u8],
    },
    /// An entry of the catalogue, which lists the keyspaces, or a bound before the first keyspace.
    Catalogue,
}

/// The keyspaces of a store, by the prefixes of their inner keys.
#[derive(Debug, Clone)]
pub struct KeyNames(BTreeMap<Prefix, Arc<str>>);

impl KeyNames {
    /// What `inner`, a key or bound of a session, is called.
    pub fn name<'a>(&'a self, inner: &'a [u8]) -> KeyName<'a> {
        let prefix = inner.first_chunk::<PREFIX_LEN>().copied().map(Prefix);
        match prefix.filter(Prefix::is_users) {
            Some(prefix) => {
                let keyspace = self.0.get(&prefix).map(AsRef::as_ref);
                KeyName::User { keyspace, key: user_key(inner) }
            }
            None => KeyName::Catalogue,
        }
    }
}

/// The keys of a session that are those of `range` in `keyspace`: a filter for
/// [`sync_proto::Options::filter`]. The same on all replicas of the set.
pub fn inner_range<K: AsRef<[u8]>>(keyspace: &Keyspace, range: impl RangeBounds<K>) -> KeyRange {
    keyspace.prefix().range(&key_range(&range)).into()
}

/// As [`inner_range`], of all keys of `keyspace` that begin with `prefix`.
pub fn inner_prefix(keyspace: &Keyspace, prefix: &[u8]) -> KeyRange {
    keyspace.prefix().range(&types::KeyRange::prefix(prefix)).into()
}

/// The keys of a session that say which keyspaces there are. Whoever repairs a keyspace alone repairs these as well, so that the
/// other side knows what it has.
pub fn catalogue() -> KeyRange {
    Prefix::CATALOGUE.whole().into()
}

impl DbReplica {
    /// The names of the keyspaces that the store has now.
    ///
    /// # Errors
    /// `Corruption` or `Io` while reading the catalogue.
    pub fn key_names(&self) -> Result<KeyNames> {
        self.db.keyspace_names().map(KeyNames)
    }
}
