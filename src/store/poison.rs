//! The mark that a store bears after a failed write: it takes no more of them until it is reopened.
//!
//! After such a failure the page cache may show bytes that the disk never got, so neither a retry nor going on is
//! honest. Reads go on below the durable sequence number.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};

/// Set once, by the first failure.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    reason: OnceLock<Arc<str>>,
}

impl Poison {
    /// # Errors
    /// `Poisoned`, with the first failure, if there was one.
    pub(crate) fn check(&self) -> Result<()> {
        match self.reason.get() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// What made the store refuse writes, if it does.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(|reason| &**reason)
    }

    /// Passes `result` on, and poisons the store if it is an error.
    pub(crate) fn note<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let _ = self.reason.set(error.to_string().into());
        }
        result
    }
}
