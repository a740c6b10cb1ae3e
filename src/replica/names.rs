//! [`KeyNames`]: from the inner keys of the protocol back to keyspaces and user's keys, for whoever shows what differs.
//!
//! Easy to get wrong: the names are those of one store at one moment. A keyspace that only the other replica knows has none
//! here, and its keys are still keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::DbReplica;
use crate::error::Result;
use crate::hash::PREFIX_LEN;
use crate::store::{Prefix, user_key};

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

impl DbReplica {
    /// The names of the keyspaces that the store has now.
    ///
    /// # Errors
    /// `Corruption` or `Io` while reading the catalogue.
    pub fn key_names(&self) -> Result<KeyNames> {
        self.db.keyspace_names().map(KeyNames)
    }
}
