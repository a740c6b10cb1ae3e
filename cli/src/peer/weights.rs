//! The key space of a pair of replicas in cells, for pictures. How many entries the local one has where is known from the
//! Merkle index where that is cut finely enough, and is counted where it is not.

use sync_proto::{
    Cut, Difference, KeyRange, Piece, RangeSum, ReadLimit, Replica, ReplicaError, ReplicaReader,
};
use syncline::Db;
use syncline::replica::DbReplica;

use super::session::parts;
use crate::args::Part;
use crate::error::{Error, Result};
use crate::picture::{Cells, Weight};

/// More pieces than cells, so that cells cut between pieces come out about even.
const PIECES_PER_CELL: u32 = 8;

/// No limit: the answer stays in this process.
const ALL: ReadLimit = ReadLimit { count: u32::MAX, bytes: u32::MAX };

/// The key space of `local` and a peer of it, or the part of it that is named, in at most `count` cells, and in each what
/// differs. `lacked` is what a key is that only the peer has: the cells count those too.
///
/// # Errors
/// `Usage` if a keyspace is not there; `Peer` if the store cannot say what it has.
pub(crate) fn cells(
    local: &Db,
    part: &Part,
    count: u32,
    differing: &[(Difference, Vec<u8>)],
    lacked: Difference,
) -> Result<Cells> {
    let mut weights = weigh(&DbReplica::new(local), parts(local, part)?, count).map_err(|error| {
        let (peer, what) = (local.dir().display().to_string(), error.to_string());
        Error::Peer { peer, what, next: "Run `syncline doctor` on it" }
    })?;
    let theirs = differing.iter().filter(|(difference, _)| *difference == lacked);
    weights.extend(theirs.map(|(_, key)| Weight { key: key.clone(), entries: 1 }));
    Ok(Cells::new(count as usize, weights, differing))
}

/// The entries of these parts, or of all, tombstones included, in pieces of which some make one of `cells` cells.
fn weigh(
    replica: &dyn Replica,
    parts: Vec<Option<KeyRange>>,
    cells: u32,
) -> Result<Vec<Weight>, ReplicaError> {
    let replicated = replica.info(None)?.replicated;
    let reader = replica.pin(0)?;
    let ranges = parts.into_iter().map(|part| part.unwrap_or_else(|| replicated.clone()));
    let counted =
        ranges.map(|range| Ok((reader.sums(&range, &[])?.first().map_or(0, RangeSum::count), range)));
    let counted = counted.collect::<Result<Vec<_>, ReplicaError>>()?;
    let total = counted.iter().map(|(count, _)| count).sum::<u64>();
    let piece_len = (total / u64::from(cells.saturating_mul(PIECES_PER_CELL).max(1))).max(1);
    let mut weights = Vec::new();
    for (count, range) in counted {
        weigh_range(&*reader, range, count, piece_len, &mut weights)?;
    }
    Ok(weights)
}

/// Weighs the pieces of a range of `count` entries, each of about `piece_len`.
fn weigh_range(
    reader: &dyn ReplicaReader,
    range: KeyRange,
    count: u64,
    piece_len: u64,
    weights: &mut Vec<Weight>,
) -> Result<(), ReplicaError> {
    let pieces = u32::try_from(count / piece_len).unwrap_or(u32::MAX).max(1);
    let children = reader.children(&range, Cut::Pieces(pieces), ALL)?.pieces;
    let ends = children.iter().skip(1).map(|piece| Some(piece.start.clone()));
    let ends: Vec<_> = ends.chain([range.end]).collect();
    for (piece, end) in children.into_iter().zip(ends) {
        let parts = piece.sum.count() / piece_len;
        if parts < 4 {
            weights.push(weight(piece));
        } else {
            // Not cut by fences, so by counting: what was not flushed yet, and the rest beyond the limit.
            let parts = u32::try_from(parts).unwrap_or(u32::MAX);
            let pieces = reader.split(&KeyRange { start: piece.start, end }, parts)?;
            weights.extend(pieces.into_iter().map(weight));
        }
    }
    Ok(())
}

fn weight(piece: Piece) -> Weight {
    Weight { entries: piece.sum.count(), key: piece.start }
}
