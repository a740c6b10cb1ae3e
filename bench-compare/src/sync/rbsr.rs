//! rbsr over the trees of rsos, at its default policy: the engine of the crate reconcile.
//!
//! The trees are kept up to date by every write and stand ready when a session begins, as Syncline's index does. The crates
//! name no encoding for messages, so they are counted in postcard's, a compact one. A range that is to be enumerated is sent
//! whole with the next message, values included, by one side and then by the other, as the crate's documentation says.
//! An equal peer does not answer at all.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rbsr::{EnumerationRange, RangeAggregate, initial_ranges, protocol_round};
use rsos::FingerprintTreeMap;

use super::Peer;
use super::case::{Case, Common};
use super::cpu::Cpu;
use super::row::Cost;
use crate::Result;
use crate::data::{KEY_LEN, Key};

/// Bytes of a stamp on the wire, as in Syncline's entries and negentropy's ids.
const STAMP_LEN: u64 = 16;

type Tree = FingerprintTreeMap<Key, u64>;

/// See the module.
pub struct RbsrPeer {
    left: Tree,
}

impl RbsrPeer {
    /// Loads what the left side holds.
    pub fn new(common: &Common) -> RbsrPeer {
        RbsrPeer { left: Tree::from_sorted_iter(common.keys.iter().map(|key| (*key, 0))) }
    }
}

impl Peer for RbsrPeer {
    fn repair(&self, common: &Common, case: &Case) -> Result<Cost> {
        let mut sides = [Side::new(self.left.clone()), Side::new(self.left.clone())];
        for key in case.differing() {
            sides[1].tree.insert(key, 1);
        }
        let ranges = sides[0].initiate();
        let mut message = Message { ranges, ..Message::default() };
        let mut cost = Cost::default();
        while !message.is_empty() {
            let side = &mut sides[(cost.legs as usize + 1) % 2];
            cost.legs += 1;
            cost.metadata_bytes += message.framing_len()? + message.entry_bytes();
            cost.entry_bytes += message.entry_bytes();
            cost.value_bytes += (message.entries.len() * common.data.value_len()) as u64;
            cost.entries_read += message.entries.len() as u64;
            message = side.answer(message);
        }
        check(case, &sides)?;
        cost.cpu_ms_left = sides[0].cpu.ms();
        cost.cpu_ms_right = sides[1].cpu.ms();
        Ok(cost)
    }
}

/// Checks that the left side learned exactly what differs, and the right side nothing.
fn check(case: &Case, [left, right]: &[Side; 2]) -> Result<()> {
    let is_right = left.learned.len() as u64 == case.differing_count()
        && case.differing().all(|key| left.learned.get(&key) == Some(&1))
        && right.learned.is_empty();
    if is_right { Ok(()) } else { Err("rbsr found other differences".into()) }
}

/// What one side sends at once: ranges to compare and the entries of ranges that are settled.
#[derive(Debug, Default)]
struct Message {
    ranges: Vec<RangeAggregate<Key>>,
    entries: Vec<(Key, u64)>,
}

impl Message {
    fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.entries.is_empty()
    }

    /// Bytes of the ranges, and of the number of entries.
    fn framing_len(&self) -> Result<u64> {
        Ok(postcard::to_stdvec(&(&self.ranges, self.entries.len()))?.len() as u64)
    }

    fn entry_bytes(&self) -> u64 {
        self.entries.len() as u64 * (KEY_LEN as u64 + STAMP_LEN)
    }
}

struct Side {
    tree: Tree,
    cpu: Cpu,
    random: StdRng,
    /// Received entries that are newer than what the tree holds, with their versions.
    learned: BTreeMap<Key, u64>,
}

impl Side {
    fn new(tree: Tree) -> Side {
        Side { tree, cpu: Cpu::default(), random: StdRng::seed_from_u64(1), learned: BTreeMap::new() }
    }

    fn initiate(&mut self) -> Vec<RangeAggregate<Key>> {
        self.cpu.time(|| initial_ranges(&self.tree))
    }

    /// Takes what is newer and answers the ranges. Entries enter the tree at the end of the session only, or ranges that the
    /// peer settled a moment ago would differ again.
    fn answer(&mut self, message: Message) -> Message {
        let Side { tree, cpu, random, learned } = self;
        cpu.time(|| {
            let is_newer = |(key, version): &(Key, u64)| tree.get(key).is_none_or(|own: &u64| own < version);
            learned.extend(message.entries.into_iter().filter(is_newer));
            let mut ranges = Vec::new();
            let mut settled: Vec<EnumerationRange<Key>> = Vec::new();
            protocol_round(tree, message.ranges, &mut ranges, &mut settled, random);
            let entries = settled.into_iter().flat_map(|range| tree.range(range));
            Message { ranges, entries: entries.map(|(key, version)| (*key, *version)).collect() }
        })
    }
}
