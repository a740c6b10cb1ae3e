//! How keyspaces share one ordered index: inner keys, the catalogue, and the names that are taken.
//!
//! An inner key is one class byte, eight bytes that name the keyspace, and the user's key. Class 1 is replicated, and the last
//! writer wins; class 2 is replicated, and a resolver merges, so that a key says what a foreign entry of it needs. The
//! catalogue is the keyspace of eight zero bytes, so it comes first in every walk; its entries are ordinary ones.
//! The keyspace `default` exists by decree, without an entry.
//!
//! Easy to get wrong: the eight bytes are a hash of name *and resolver*, so the same name with another resolver is
//! another keyspace, and a name with two of them is ambiguous until the caller says which one is meant.

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::hash::{PREFIX_LEN, SetHasher};
use crate::resolver::LAST_WRITER_WINS;
use crate::types::{Key, KeyRange, prefix_end};

use super::commit::Write;
use super::{AtUnknown, Store};

/// First byte of inner keys of which the last writer wins.
const LAST_WRITER: u8 = 1;

/// First byte of inner keys that a resolver merges.
const MERGED: u8 = 2;

/// Name of the keyspace that every store has.
pub(crate) const DEFAULT_KEYSPACE: &str = "default";

/// Greatest length of a keyspace's name in bytes.
pub(crate) const NAME_LEN_MAX: usize = 255;

/// The first bytes of a keyspace's inner keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix(pub(crate) [u8; PREFIX_LEN]);

impl Prefix {
    /// The catalogue's.
    pub(crate) const CATALOGUE: Prefix = Prefix([LAST_WRITER, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// The prefix of the keyspace of this name and resolver.
    pub(crate) fn of(hasher: &SetHasher, name: &str, resolver: &str) -> Prefix {
        let class = if resolver == LAST_WRITER_WINS { LAST_WRITER } else { MERGED };
        let mut prefix = [class; PREFIX_LEN];
        prefix[1..].copy_from_slice(&hasher.keyspace(name, resolver));
        Prefix(prefix)
    }

    /// Whether users can name the keyspace: it is replicated and not the catalogue.
    pub(crate) fn is_users(&self) -> bool {
        matches!(self.0, [LAST_WRITER | MERGED, ..]) && *self != Prefix::CATALOGUE
    }

    /// Whether a resolver merges its values.
    pub(crate) fn is_merged(&self) -> bool {
        is_merged(&self.0)
    }

    /// # Errors
    /// `InvalidArgument` if a resolver merges its values, so that `what` cannot be done to it.
    pub(crate) fn check_plain(&self, what: &'static str) -> Result<()> {
        match self.is_merged() {
            true => Err(Error::invalid(format!(
                "{what} is not for a keyspace with a resolver: put a value that merges to what is wanted"
            ))),
            false => Ok(()),
        }
    }

    /// The inner key of a user's key.
    ///
    /// # Errors
    /// `KeyTooLong`.
    pub(crate) fn inner(&self, key: &[u8]) -> Result<Vec<u8>> {
        check_len(key)?;
        Ok(self.join(key))
    }

    /// Sets a user's key to `value`.
    ///
    /// # Errors
    /// `KeyTooLong`.
    pub(crate) fn put(&self, key: &[u8], value: &[u8]) -> Result<Write> {
        check_len(key)?;
        Ok(Write::put(&self.0, key, value))
    }

    /// Sets a user's key to `value` until `expires_at_ms`.
    ///
    /// # Errors
    /// `KeyTooLong`; `InvalidArgument` for 0, which stands for never.
    pub(crate) fn put_expiring(&self, key: &[u8], value: &[u8], expires_at_ms: u64) -> Result<Write> {
        match expires_at_ms {
            0 => Err(Error::invalid("an expiry of 0 means never: put it without one")),
            expires_at => Ok(Write { expires_at, ..self.put(key, value)? }),
        }
    }

    /// Deletes a user's key.
    ///
    /// # Errors
    /// `KeyTooLong`.
    pub(crate) fn delete(&self, key: &[u8]) -> Result<Write> {
        check_len(key)?;
        Ok(Write::delete(&self.0, key))
    }

    /// As [`Prefix::inner`], for a key that is only looked up: a short one needs no allocation.
    ///
    /// # Errors
    /// `KeyTooLong`.
    pub(crate) fn lookup(&self, key: &[u8]) -> Result<SmallVec<[u8; 64]>> {
        check_len(key)?;
        let (mut short, len) = ([0; 64], PREFIX_LEN + key.len());
        Ok(match short.get_mut(..len) {
            Some(inner) => {
                let (prefix, rest) = inner.split_at_mut(PREFIX_LEN);
                prefix.copy_from_slice(&self.0);
                rest.copy_from_slice(key);
                SmallVec::from_buf_and_len(short, len)
            }
            None => SmallVec::from_vec(self.join(key)),
        })
    }

    fn join(&self, key: &[u8]) -> Vec<u8> {
        let mut inner = Vec::with_capacity(PREFIX_LEN + key.len());
        inner.extend_from_slice(&self.0);
        inner.extend_from_slice(key);
        inner
    }

    /// The inner keys of a range of this keyspace.
    pub(crate) fn range(&self, range: &KeyRange) -> KeyRange {
        let end = match &range.end {
            Some(end) => Some(self.join(end)),
            None => prefix_end(&self.0),
        };
        KeyRange { start: self.join(&range.start), end }
    }

    /// The inner keys of the whole keyspace.
    pub(crate) fn whole(&self) -> KeyRange {
        KeyRange::prefix(&self.0)
    }
}

impl Store {
    /// Name and resolver of every keyspace in the catalogue, in order, as far as `at_unknown` goes.
    ///
    /// # Errors
    /// `Unknown`, `Io`.
    pub(crate) fn catalogue(&self, at_unknown: AtUnknown) -> Result<Vec<(String, String)>> {
        let (view, seqno) = self.read_point();
        let mut catalogue = Vec::new();
        for found in view.walk_by(&Prefix::CATALOGUE.whole(), seqno, at_unknown) {
            let (key, head) = found.map_err(|error| self.met(error))?;
            if let Some((name, resolver)) = parse_catalogue_key(user_key(&key))
                && head.is_visible(self.now_ms())
            {
                catalogue.push((name.to_owned(), resolver.to_owned()));
            }
        }
        Ok(catalogue)
    }
}

fn check_len(key: &[u8]) -> Result<()> {
    match key.len() {
        0..=Key::LEN_MAX => Ok(()),
        len => Err(Error::KeyTooLong { len, max: Key::LEN_MAX }),
    }
}

/// All replicated inner keys: the range whose fingerprint is the root.
pub(crate) fn replicated() -> KeyRange {
    KeyRange { start: vec![LAST_WRITER], end: prefix_end(&[MERGED]) }
}

/// Whether a resolver merges the values of this inner key.
pub(crate) fn is_merged(inner: &[u8]) -> bool {
    inner.first() == Some(&MERGED)
}

/// The user's part of an inner key.
pub(crate) fn user_key(inner: &[u8]) -> &[u8] {
    inner.get(PREFIX_LEN..).unwrap_or_default()
}

/// The catalogue's key for a keyspace: its name, a zero byte, its resolver.
pub(crate) fn catalogue_key(name: &str, resolver: &str) -> Vec<u8> {
    [name.as_bytes(), &[0], resolver.as_bytes()].concat()
}

/// Name and resolver in a catalogue key, if it is one.
pub(crate) fn parse_catalogue_key(key: &[u8]) -> Option<(&str, &str)> {
    let zero = key.iter().position(|&byte| byte == 0)?;
    let name = std::str::from_utf8(key.get(..zero)?).ok()?;
    let resolver = std::str::from_utf8(key.get(zero + 1..)?).ok()?;
    Some((name, resolver))
}

/// Refuses names that no keyspace can have.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.contains('\0') {
        return Err(Error::invalid(format!(
            "a keyspace's name has 1 to {NAME_LEN_MAX} bytes and no zero byte: {name:?}"
        )));
    }
    Ok(())
}

/// The prefix of the default keyspace.
pub(crate) fn default_prefix(hasher: &SetHasher) -> Prefix {
    Prefix::of(hasher, DEFAULT_KEYSPACE, LAST_WRITER_WINS)
}
