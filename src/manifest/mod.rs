//! The manifest: the durable list of what belongs to a store, and the store's identity.
//!
//! [`State`] is one version of that list, [`Change`] one difference between two. The file holds the whole state first
//! and then edits; every open begins a new file, so nothing is ever appended to an old one. `store` is the only user.
//!
//! Easy to get wrong: an edit may name a file only after that file and its name are durable, and a file may be removed
//! only after the edit that forgets it is.

mod edit;
mod file;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use edit::Change;
pub(crate) use file::{Manifest, load};
pub use state::{ReplicaSet, SET_KEY_LEN};
pub(crate) use state::{Retained, State};
