//! Comparing a peer's pieces of a range with this side's own: where both cut, what is equal, what differs.
//!
//! Pure; used by the walk. The peer names its bounds by short ids of its fences, or by full keys. A bound that this side
//! cannot find, or finds twice, is left out, and the peer's pieces on both sides of it are taken together.
//!
//! Easy to get wrong: finding the *wrong* fence for an id (ids are 4 bytes) must not lose an entry. It does not: whatever
//! the bounds, the groups cover this side's range without gap or overlap, and so do the peer's. Two groups with the same
//! wire hash hold the same entries wherever their bounds lie, and any other group is looked at further.

use std::collections::BTreeMap;

use crate::hash::Salt;
use crate::limits::{ELEMENT_OVERHEAD_LEN, FOUND_LEN_MAX};
use crate::replica::Piece;
use crate::types::{KeyRange, RangeSum};

/// One of the peer's bounds, found here.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// The peer's piece that starts at the bound; not 0.
    pub(crate) position: usize,
    /// The bound.
    pub(crate) key: Vec<u8>,
    /// This side's sum from the start of the range up to the bound.
    pub(crate) below: RangeSum,
}

/// Neighbouring pieces of the peer that have to be looked at further, and what this side holds there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The peer's pieces, from `lo` to before `hi`.
    pub(crate) lo: usize,
    pub(crate) hi: usize,
    /// The same range in this side's keys.
    pub(crate) range: KeyRange,
    /// What this side holds there.
    pub(crate) sum: RangeSum,
    /// Whether the peer is known to hold nothing there.
    pub(crate) peer_empty: bool,
    /// About how many entries differ there, those of either side counted; 0 if nothing is known of it.
    pub(crate) differing: u64,
}

/// Finds the peer's bounds among this side's fences, which come in batches.
#[derive(Debug)]
pub(crate) struct Align {
    /// Position of the piece that starts at each id; ids that the peer used twice are left out.
    positions: BTreeMap<u32, usize>,
    /// Ids met so far, and ids met twice.
    found: BTreeMap<usize, Option<Bound>>,
    found_len: usize,
    /// Sum from the start of the range to the start of the last piece.
    below: RangeSum,
    /// The last piece, whose sum counts only when nothing follows it.
    last: Option<Piece>,
}

impl Align {
    /// For a peer whose inner bounds have these ids.
    pub(crate) fn new(ids: &[u32]) -> Align {
        let mut positions = BTreeMap::new();
        let mut twice = Vec::new();
        for (before, &id) in ids.iter().enumerate() {
            if positions.insert(id, before + 1).is_some() {
                twice.push(id);
            }
        }
        for id in twice {
            positions.remove(&id);
        }
        Align { positions, found: BTreeMap::new(), found_len: 0, below: RangeSum::ZERO, last: None }
    }

    /// Bytes held.
    pub(crate) fn memory_len(&self) -> usize {
        let bound_len = size_of::<(usize, Option<Bound>)>() + ELEMENT_OVERHEAD_LEN;
        let ids_len = self.positions.len() * size_of::<(u32, usize)>();
        self.found_len + self.found.len() * bound_len + ids_len
    }

    /// Takes this side's next pieces. The first piece ever is that at the start of the range; later batches begin with
    /// the last piece of the batch before, cut further.
    pub(crate) fn feed(&mut self, pieces: Vec<Piece>, salt: &Salt) {
        let mut pieces = pieces.into_iter();
        let Some(first) = pieces.next() else { return };
        self.last = Some(first);
        for piece in pieces {
            if let Some(last) = self.last.take() {
                self.below += last.sum;
            }
            self.look_up(&piece, salt);
            self.last = Some(piece);
        }
    }

    fn look_up(&mut self, piece: &Piece, salt: &Salt) {
        let Some(&position) = self.positions.get(&salt.key(&piece.start)) else { return };
        if let Some(found) = self.found.get_mut(&position) {
            *found = None;
            return;
        }
        if self.found_len + piece.start.len() > FOUND_LEN_MAX {
            return;
        }
        self.found_len += piece.start.len();
        let bound = Bound { position, key: piece.start.clone(), below: self.below };
        self.found.insert(position, Some(bound));
    }

    /// Start of the last piece: where to go on if there is more.
    pub(crate) fn last_start(&self) -> Option<&[u8]> {
        self.last.as_ref().map(|piece| piece.start.as_slice())
    }

    /// The bounds found, in order of both sides, and the sum of the whole range.
    pub(crate) fn finish(self) -> (Vec<Bound>, RangeSum) {
        let total = self.below + self.last.map(|piece| piece.sum).unwrap_or_default();
        let mut bounds: Vec<Bound> = Vec::new();
        for bound in self.found.into_values().flatten() {
            if bounds.last().is_none_or(|previous| previous.key < bound.key) {
                bounds.push(bound);
            }
        }
        (bounds, total)
    }
}

/// Compares the peer's pieces, known by their `hashes`, with this side's `range` of sum `total`, given the inner bounds
/// that both know. Returns what differs, and the number of this side's entries in what is equal.
///
/// `differing` is about how many entries differ in the whole range, or 0.
pub(crate) fn compare(
    range: &KeyRange,
    total: RangeSum,
    bounds: Vec<Bound>,
    hashes: &[u64],
    differing: u64,
    salt: &Salt,
) -> (Vec<Group>, u64) {
    let empty = salt.empty_range();
    let end = Bound { position: hashes.len(), key: Vec::new(), below: total };
    let bound_count = bounds.len();
    let mut groups: Vec<Group> = Vec::new();
    let mut settled = 0u64;
    let (mut lo, mut start, mut below) = (0, range.start.clone(), RangeSum::ZERO);
    for (index, bound) in bounds.into_iter().chain([end]).enumerate() {
        let hi = bound.position;
        let sum = bound.below - below;
        let theirs = hashes.get(lo..hi).unwrap_or_default();
        let group_end = if index == bound_count { range.end.clone() } else { Some(bound.key.clone()) };
        let peer_empty = theirs.iter().all(|&hash| hash == empty);
        let equal = match theirs {
            [hash] => *hash == salt.range(&sum),
            _ => peer_empty && sum.is_same_set(&RangeSum::ZERO),
        };
        if equal {
            settled = settled.saturating_add(sum.count());
        } else {
            let range = KeyRange { start, end: group_end };
            groups.push(Group { lo, hi, range, sum, peer_empty, differing: 0 });
        }
        (lo, start, below) = (hi, bound.key, bound.below);
    }
    let left: u64 = groups.iter().map(|group| group.sum.count()).fold(0, u64::saturating_add);
    for group in &mut groups {
        let share = group.sum.count() as f64 / left.max(1) as f64;
        group.differing = (differing as f64 * share).ceil() as u64;
    }
    (groups, settled)
}

/// Takes neighbouring groups together where one answer serves both: where this side or the peer holds nothing.
pub(crate) fn join(groups: Vec<Group>) -> Vec<Group> {
    let mut joined: Vec<Group> = Vec::new();
    for group in groups {
        match joined.last_mut() {
            Some(last) if last.hi == group.lo && serves_both(last, &group) => {
                last.hi = group.hi;
                last.range.end = group.range.end;
                last.sum += group.sum;
                last.differing = last.differing.saturating_add(group.differing);
            }
            _ => joined.push(group),
        }
    }
    joined
}

fn serves_both(a: &Group, b: &Group) -> bool {
    let holds_nothing = |group: &Group| group.sum.count() == 0;
    a.peer_empty == b.peer_empty && (a.peer_empty || (holds_nothing(a) && holds_nothing(b)))
}
