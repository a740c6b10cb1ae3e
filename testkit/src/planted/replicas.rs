//! Bugs between a session and its store: sums that are not brought up to date, lists that leave something out, entries that are
//! merged wrongly, durability that is claimed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_proto::{
    Entry, Heads, Healing, Kind, Meeting, Origin, RangeSum, Replica, ReplicaError, ReplicaInfo,
};
use syncline::Db;
use xxhash_rust::xxh3::xxh3_64;

use super::{Bug, Planted};
use crate::layer::{ReplicaHook, Through};

/// States are events of the simulated network, and for F8 and F17 seeds.
pub(super) const PLANTED: &[Planted] = &[
    Planted {
        name: "the root is that of the session before",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, StaleRoot))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "a list goes on one key too late",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Skips))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "one node id is used twice",
        bug: Bug::Ids(|seed| seed / 8 * 8, |db| Box::new(Through::new(db, Disguised))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "sums miss what replaces an entry",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Counts))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "a range is taken for equal without being compared",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Uncompared))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "tombstones are dropped while others hold the entry",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, NoTombstones))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "an applied entry moves a key backwards",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Backwards(db.clone())))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "an entry that came is not applied",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Forgetful))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "a session proves what both hold before it is over",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Hasty))),
        rows: &["F17"],
        states_max: 2_000,
    },
    Planted {
        name: "what heals a span is not all of it",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Sparse))),
        rows: &["F8"],
        states_max: 1_000,
    },
    Planted {
        name: "a horizon rises over what was not closed",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, Unclosed))),
        rows: &["F17"],
        states_max: 2_000,
    },
];

/// Tells the root that it told in the session before.
struct StaleRoot;

thread_local! {
    /// By node. Ids are made from seeds, so nobody finds another one's.
    static ROOTS: RefCell<BTreeMap<u64, RangeSum>> = const { RefCell::new(BTreeMap::new()) };
}

impl ReplicaHook for StaleRoot {
    fn info(&self, info: ReplicaInfo) -> ReplicaInfo {
        let before = ROOTS.with_borrow_mut(|roots| roots.insert(info.node, info.root));
        ReplicaInfo { root: before.unwrap_or(info.root), ..info }
    }
}

/// Lists half of what is asked for, and goes on one key too late.
struct Skips;

impl ReplicaHook for Skips {
    fn heads(&self, mut heads: Heads) -> Heads {
        let half = heads.heads.len() / 2;
        if half > 0
            && let Some(next) = heads.heads.get(half + 1)
        {
            heads.next = Some(next.key.clone());
            heads.heads.truncate(half);
        }
        heads
    }
}

/// Makes sums of how many entries there are, so that one that replaces another changes nothing.
struct Counts;

impl ReplicaHook for Counts {
    fn info(&self, info: ReplicaInfo) -> ReplicaInfo {
        ReplicaInfo { root: self.sum(&[], info.root), ..info }
    }

    fn sum(&self, _: &[u8], mut sum: RangeSum) -> RangeSum {
        let entries = u128::from(sum.live) + u128::from(sum.tombstones);
        sum.fingerprint.0 = entries.wrapping_mul(u128::from(xxh3_64(b"entry")));
        sum
    }
}

/// Shows ranges as the peer's would look if nothing were there: nothing to compare, nothing to send.
struct Uncompared;

impl ReplicaHook for Uncompared {
    fn heads(&self, heads: Heads) -> Heads {
        match heads.next {
            None => Heads { heads: Vec::new(), next: None },
            Some(_) => heads,
        }
    }
}

/// Lists no tombstones.
struct NoTombstones;

impl ReplicaHook for NoTombstones {
    fn heads(&self, mut heads: Heads) -> Heads {
        heads.heads.retain(|head| head.kind != Kind::Tombstone);
        heads
    }
}

/// Writes what came over what is there, as if it were its own.
struct Backwards(Db);

impl ReplicaHook for Backwards {
    fn apply(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let keyspace = self.0.default_keyspace();
        let (plain, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.kind == Kind::Put && entry.key.len() > 9);
        for entry in plain {
            let _ = keyspace.put(entry.key.get(9..).unwrap_or_default(), &entry.value);
        }
        others
    }
}

/// Leaves out the last entry of each batch.
struct Forgetful;

impl ReplicaHook for Forgetful {
    fn apply(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.pop();
        entries
    }
}

/// Notes a session as complete when it begins.
struct Hasty;

impl ReplicaHook for Hasty {
    fn met(&self, replica: &dyn Replica, peer: Origin, meeting: Meeting) -> Result<Meeting, ReplicaError> {
        if !meeting.proof.is_empty() {
            replica.complete(peer.node, &meeting.proof)?;
        }
        Ok(meeting)
    }
}

/// Notes sessions as if both sides had closed an hour more than they have, so that horizons rise over what still comes in.
struct Unclosed;

impl ReplicaHook for Unclosed {
    fn met(&self, _: &dyn Replica, _: Origin, mut meeting: Meeting) -> Result<Meeting, ReplicaError> {
        // The proof is five varints: the cut, what was closed, and three versions.
        let mut numbers = varints(&meeting.proof);
        if let Some(through) = numbers.get_mut(1) {
            *through += 3_600_000 << 16;
        }
        meeting.proof = numbers.into_iter().flat_map(varint).collect();
        Ok(meeting)
    }
}

fn varints(bytes: &[u8]) -> Vec<u64> {
    let bits = |part: &[u8]| part.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f));
    bytes.split_inclusive(|byte| byte & 0x80 == 0).map(bits).collect()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Says another node id in every session, so that two stores of one id do not find out.
struct Disguised;

/// Ids that were said. Nothing depends on which, so long as no two are equal.
static DISGUISES: AtomicU64 = AtomicU64::new(1);

impl ReplicaHook for Disguised {
    fn info(&self, info: ReplicaInfo) -> ReplicaInfo {
        ReplicaInfo { node: DISGUISES.fetch_add(1, Ordering::Relaxed), ..info }
    }
}

/// Leaves out the first entry of what heals a span.
struct Sparse;

impl ReplicaHook for Sparse {
    fn healing(&self, mut healing: Healing) -> Healing {
        if healing.value_len.is_none() && !healing.entries.is_empty() {
            healing.entries.remove(0);
        }
        healing
    }
}
