//! How many sessions run with each peer at a time, by the name in its certificate.
//!
//! Easy to get wrong: a place is given back however its session ends, a panic and a server that is cut included, so whoever
//! holds one drops it. A peer without a name has no places of its own: only the cap on all connections holds for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::rights::PeerName;

/// Who holds how many places. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<BTreeMap<PeerName, usize>>>);

/// One of a peer's places, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    peer: PeerName,
}

impl Places {
    /// A place for `peer`, if it holds fewer than `count_max`.
    pub(super) fn take(&self, peer: &PeerName, count_max: usize) -> Option<Place> {
        let mut held = self.lock();
        let count = held.get(peer).copied().unwrap_or_default();
        if count >= count_max {
            return None;
        }
        held.insert(peer.clone(), count + 1);
        Some(Place { places: self.clone(), peer: peer.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerName, usize>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        match held.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.peer)),
        }
    }
}
