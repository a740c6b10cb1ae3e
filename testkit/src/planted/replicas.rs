//! Bugs between a session and its store: sums that are not brought up to date, lists that leave something out, entries that are
//! merged wrongly, durability that is claimed.

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
        name: "the root is not brought up to date by writes",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, StaleRoot))),
        rows: &["F18"],
        states_max: 50_000,
    },
    Planted {
        name: "sums of ranges are lost",
        bug: Bug::Sessions(|db| Box::new(Through::new(db, LostSums))),
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
];

/// Tells the root of an empty store until something is applied.
struct StaleRoot;

impl ReplicaHook for StaleRoot {
    fn info(&self, info: ReplicaInfo) -> ReplicaInfo {
        ReplicaInfo { root: RangeSum::ZERO, ..info }
    }
}

/// Has lost the sums of every second part of a range, wherever it begins.
struct LostSums;

impl ReplicaHook for LostSums {
    fn sum(&self, start: &[u8], sum: RangeSum) -> RangeSum {
        if xxh3_64(start).is_multiple_of(2) { RangeSum::ZERO } else { sum }
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
    fn met(&self, replica: &dyn Replica, peer: Origin, meeting: &Meeting) -> Result<(), ReplicaError> {
        match meeting.proof.is_empty() {
            true => Ok(()),
            false => replica.complete(peer.node, &meeting.proof),
        }
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
