//! The key space of a pair of replicas in cells, for pictures. Where the local one has how many entries is known from the Merkle index where that is cut
//! finely enough, and is counted where it is not, as in what was not flushed yet.

use sync_proto::{Cut, Difference, KeyRange, Piece, ReadLimit, Replica, ReplicaError};

use crate::error::{Error, Result};
use crate::picture::{Cells, Weight};

/// More pieces than cells, so that cells cut between pieces come out about even.
const PIECES_PER_CELL: u32 = 8;

/// No limit: the answer stays in this process.
const ALL: ReadLimit = ReadLimit { count: u32::MAX, bytes: u32::MAX };

/// The key space of `replica` and a peer of it in at most `count` cells, and in each what differs. `lacked` is what a key is
/// that only the peer has: the cells count those too.
///
/// # Errors
/// `Peer` if the replica cannot say what it has.
pub(crate) fn cells(
    replica: &dyn Replica,
    count: u32,
    differing: &[(Difference, Vec<u8>)],
    lacked: Difference,
) -> Result<Cells> {
    let mut weights = weigh(replica, count).map_err(|error| Error::Peer {
        peer: "the store here".to_owned(),
        what: format!("{error}. Run `syncline verify` on it"),
    })?;
    let theirs = differing.iter().filter(|(difference, _)| *difference == lacked);
    weights.extend(theirs.map(|(_, key)| Weight { key: key.clone(), entries: 1 }));
    Ok(Cells::new(count as usize, weights, differing))
}

/// The entries, tombstones included, in pieces of which some make one of `cells` cells.
fn weigh(replica: &dyn Replica, cells: u32) -> Result<Vec<Weight>, ReplicaError> {
    let info = replica.info(None)?;
    let pieces = cells.saturating_mul(PIECES_PER_CELL);
    let piece_len = (info.root.count() / u64::from(pieces.max(1))).max(1);
    let mut weights = Vec::new();
    let mut rest = info.replicated;
    loop {
        let children = replica.children(&rest, Cut::Pieces(pieces), ALL)?;
        let starts = children.pieces.iter().skip(1).map(|piece| Some(piece.start.clone()));
        let ends: Vec<_> = starts.chain([rest.end.clone()]).collect();
        let mut whole: Vec<(Piece, Option<Vec<u8>>)> = children.pieces.into_iter().zip(ends).collect();
        let next = if children.more { whole.pop() } else { None };
        for (piece, end) in whole {
            let parts = piece.sum.count() / piece_len;
            if parts < 4 {
                weights.push(weight(piece));
            } else {
                let range = KeyRange { start: piece.start, end };
                let parts = u32::try_from(parts).unwrap_or(u32::MAX);
                weights.extend(replica.split(&range, parts)?.into_iter().map(weight));
            }
        }
        match next {
            // A piece that is the whole rest would come again for ever.
            Some((piece, _)) if piece.start > rest.start => rest.start = piece.start,
            Some((piece, _)) => {
                weights.push(weight(piece));
                break;
            }
            None => break,
        }
    }
    Ok(weights)
}

fn weight(piece: Piece) -> Weight {
    Weight { entries: piece.sum.count(), key: piece.start }
}
