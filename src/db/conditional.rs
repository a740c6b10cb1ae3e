//! Changes that depend on what they replace: `compare_and_swap` and `fetch_update` of a keyspace.
//!
//! Easy to get wrong: an entry that has expired is absent here as it is to reads, and one replica's condition says nothing
//! of another's: a session may still bring a newer entry of the key from elsewhere.

use super::{Db, Keyspace};
use crate::error::Result;
use crate::store::Write;
use crate::types::{Head, Slice};

/// Why a [`compare_and_swap`](Keyspace::compare_and_swap) changed nothing: the key had another value than expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key {}", if current.is_some() { "has another value than expected" } else { "is not there" })]
#[non_exhaustive]
pub struct CompareAndSwapError {
    /// What it had at that moment; `None` if it was not there.
    pub current: Option<Slice>,
}

impl Keyspace {
    /// Sets `key` to `new`, or deletes it if that is `None`, if its value is `expected`, `None` meaning that it is not
    /// there. The comparison and the change are one step: no other commit of this store comes between. Values are compared
    /// by length and 128-bit digest, so no file is read for it. The store's default durability applies.
    ///
    /// An entry that has expired is not there. The condition holds in this store alone: of two replicas that both swapped, a
    /// session keeps one entry, and overrules the other one.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let db = syncline::Db::builder(dir.path().join("store")).create()?;
    /// let locks = db.keyspace("locks")?;
    /// assert!(locks.compare_and_swap("job-7", None, Some(b"ann"))?.is_ok());
    /// let refused = locks.compare_and_swap("job-7", None, Some(b"bob"))?.unwrap_err();
    /// assert_eq!(refused.current.as_deref(), Some(&b"ann"[..]));
    /// assert!(locks.compare_and_swap("job-7", Some(b"ann"), None)?.is_ok());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The inner one if the value was another one: nothing changed, and it says what it was. The outer one as
    /// [`Keyspace::put`] and [`Keyspace::get`].
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Result<(), CompareAndSwapError>> {
        let new = self.merged(key.as_ref(), expected, new)?;
        let write = change(&self.prefix().inner(key.as_ref())?, new.as_deref());
        let store = self.db().store();
        let expected = expected.map(|value| (value.len() as u64, store.measure.hasher.value(value)));
        let is_expected =
            |visible: Option<&Head>| visible.map(|head| (head.value.len(), head.digest)) == expected;
        match self.db().commit_if(write, is_expected)? {
            Ok(()) => Ok(Ok(())),
            Err(visible) => {
                let current = visible.map(|entry| entry.value(store)).transpose()?;
                Ok(Err(CompareAndSwapError { current }))
            }
        }
    }

    /// Replaces the value of `key` by what `update` makes of it (`None` meaning that it is not there, or is to be deleted),
    /// and returns what it was. No change of another thread is lost in between.
    ///
    /// `update` runs outside all locks, so it may take its time and may call the store; if another commit changed the key
    /// meanwhile it runs again, on the newer value. It should therefore have no effects of its own. As with
    /// [`Keyspace::compare_and_swap`], an entry that has expired is not there, and a session may bring a newer entry from a
    /// replica that updated the key as well.
    ///
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a folder");
    /// # let db = syncline::Db::builder(dir.path().join("store")).create()?;
    /// let increment = |old: Option<&[u8]>| {
    ///     let count = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_be_bytes);
    ///     Some((count + 1).to_be_bytes())
    /// };
    /// assert_eq!(db.fetch_update("visits", increment)?, None);
    /// assert_eq!(db.fetch_update("visits", increment)?.as_deref(), Some(&1u64.to_be_bytes()[..]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Keyspace::put`] and [`Keyspace::get`]; nothing changed.
    pub fn fetch_update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        mut update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Slice>> {
        let inner = self.prefix().inner(key.as_ref())?;
        let store = self.db().store();
        loop {
            let seen = store.visible_entry(&inner)?;
            let old = seen.as_ref().map(|entry| entry.value(store)).transpose()?;
            let updated = update(old.as_deref());
            let new = self.merged(key.as_ref(), old.as_deref(), updated.as_ref().map(AsRef::as_ref))?;
            let write = change(&inner, new.as_deref());
            let seen = seen.map(|entry| entry.version());
            let is_unchanged = |visible: Option<&Head>| visible.map(|head| (head.stamp, head.digest)) == seen;
            if self.db().commit_if(write, is_unchanged)?.is_ok() {
                return Ok(old);
            }
        }
    }
}

/// The default keyspace's.
impl Db {
    /// [`Keyspace::compare_and_swap`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Result<(), CompareAndSwapError>> {
        self.default_keyspace().compare_and_swap(key, expected, new)
    }

    /// [`Keyspace::fetch_update`] on the default keyspace.
    ///
    /// # Errors
    /// As there.
    pub fn fetch_update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Slice>> {
        self.default_keyspace().fetch_update(key, update)
    }
}

/// Sets the inner key `key` to `new`, or deletes it.
fn change(key: &[u8], new: Option<&[u8]>) -> Write {
    match new {
        Some(value) => Write::put(&[], key, value),
        None => Write::delete(&[], key),
    }
}
