//! What Syncline uses of `arc_swap`, under the scheduler of shuttle: others may run before and after every look.
//!
//! Easy to get wrong: the models show orders of operations and not weak memory, so nothing is lost by a lock here.

use std::ops::Deref;
use std::sync::Arc;

use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::{Mutex, PoisonError};

/// A pointer that is replaced as a whole.
#[derive(Debug)]
pub struct ArcSwap<T> {
    current: Mutex<Arc<T>>,
    /// Looked at so that others may run.
    others: AtomicBool,
}

/// What [`ArcSwap::load`] found.
#[derive(Debug)]
pub struct Guard<T>(T);

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> ArcSwap<T> {
    /// A pointer to `value`.
    pub fn from_pointee(value: T) -> ArcSwap<T> {
        ArcSwap { current: Mutex::new(Arc::new(value)), others: AtomicBool::new(false) }
    }

    /// What it points to.
    pub fn load(&self) -> Guard<Arc<T>> {
        Guard(self.load_full())
    }

    /// What it points to.
    pub fn load_full(&self) -> Arc<T> {
        self.with(|current| current.clone())
    }

    /// Points to `new`; returns what it pointed to.
    pub fn swap(&self, new: Arc<T>) -> Arc<T> {
        self.with(|current| std::mem::replace(current, new))
    }

    fn with<U>(&self, use_it: impl FnOnce(&mut Arc<T>) -> U) -> U {
        let used = use_it(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        self.others.load(Ordering::SeqCst);
        used
    }
}
