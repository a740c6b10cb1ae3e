//! negentropy without a frame limit, its fastest way.
//!
//! An id is key and stamp, 16 bytes each, and all items have one timestamp, so that the crate orders them by key: with the
//! write times as timestamps it would find recent writes side by side, and all else scattered. Its storage takes no changes,
//! so building it is part of every session; what a session reads is the ids under the fingerprints that it computes.

use std::cell::Cell;
use std::collections::HashSet;

use negentropy::{Bound, Error, Id, Item, Negentropy, NegentropyStorageBase, NegentropyStorageVector};

use super::Peer;
use super::case::{Case, Common};
use super::cpu::Cpu;
use super::row::Cost;
use crate::Result;
use crate::data::Key;

/// See the module.
#[derive(Debug)]
pub struct NegentropyPeer;

impl Peer for NegentropyPeer {
    fn repair(&self, common: &Common, case: &Case) -> Result<Cost> {
        let left_ids: Vec<Id> = common.keys.iter().map(|key| id(key, 0)).collect();
        let right_ids: Vec<Id> = case.right(common).iter().map(|(key, version)| id(key, *version)).collect();
        let (mut left_cpu, mut right_cpu) = (Cpu::default(), Cpu::default());
        let left_storage = left_cpu.time(|| Counted::new(&left_ids))?;
        let right_storage = right_cpu.time(|| Counted::new(&right_ids))?;
        let mut left = Negentropy::borrowed(&left_storage, 0)?;
        let mut right = Negentropy::borrowed(&right_storage, 0)?;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut message = left_cpu.time(|| left.initiate())?;
        let mut cost = Cost::default();
        loop {
            let answer = right_cpu.time(|| right.reconcile(&message))?;
            cost.legs += 2;
            cost.metadata_bytes += (message.len() + answer.len()) as u64;
            match left_cpu.time(|| left.reconcile_with_ids(&answer, &mut have, &mut need))? {
                Some(next) => message = next,
                None => break,
            }
        }
        check(case, &have, &need)?;
        if !need.is_empty() {
            // The ids that are asked for, and the values in their order.
            cost.legs += 2;
            cost.metadata_bytes += (need.len() * negentropy::ID_SIZE) as u64;
            cost.value_bytes = need.len() as u64 * common.data.value_len() as u64;
        }
        cost.cpu_ms_left = left_cpu.ms();
        cost.cpu_ms_right = right_cpu.ms();
        cost.entries_read = left_storage.visited.get() + right_storage.visited.get();
        Ok(cost)
    }
}

/// Checks that the ids found are exactly those that differ. The old ids of stale keys are found too, and known by their keys to
/// be old.
fn check(case: &Case, have: &[Id], need: &[Id]) -> Result<()> {
    let old: HashSet<Id> = case.stale.iter().map(|key| id(key, 0)).collect();
    let new: HashSet<Id> = case.differing().map(|key| id(&key, 1)).collect();
    let is = |found: &[Id], right: &HashSet<Id>| {
        found.len() == right.len() && found.iter().all(|id| right.contains(id))
    };
    if is(have, &old) && is(need, &new) { Ok(()) } else { Err("negentropy found other differences".into()) }
}

fn id(key: &Key, version: u64) -> Id {
    let mut bytes = [0; negentropy::ID_SIZE];
    bytes[..key.len()].copy_from_slice(key);
    bytes[negentropy::ID_SIZE - 8..].copy_from_slice(&version.to_be_bytes());
    Id::from_byte_array(bytes)
}

/// The crate's storage, and how many items were visited in it.
struct Counted {
    storage: NegentropyStorageVector,
    visited: Cell<u64>,
}

impl Counted {
    fn new(ids: &[Id]) -> Result<Counted> {
        let mut storage = NegentropyStorageVector::with_capacity(ids.len());
        for id in ids {
            storage.insert(0, *id)?;
        }
        storage.seal()?;
        Ok(Counted { storage, visited: Cell::new(ids.len() as u64) })
    }
}

impl NegentropyStorageBase for Counted {
    fn size(&self) -> std::result::Result<usize, Error> {
        self.storage.size()
    }

    fn get_item(&self, index: usize) -> std::result::Result<Option<Item>, Error> {
        self.storage.get_item(index)
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(Item, usize) -> std::result::Result<bool, Error>,
    ) -> std::result::Result<(), Error> {
        self.visited.set(self.visited.get() + (end - begin) as u64);
        self.storage.iterate(begin, end, visit)
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &Bound) -> usize {
        self.storage.find_lower_bound(first, last, value)
    }
}
