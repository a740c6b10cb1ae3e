//! [`Moment`]: a store as of one moment, as sessions compare it.
//!
//! Easy to get wrong: bounds come from a peer and are any keys; and what is told need not be durable yet.

use std::cell::Cell;

use sync_proto::{Children, Cut, Heads, KeyRange, Piece, RangeSum, ReadLimit};

use super::convert::{to_head, to_range, to_sum};
use crate::db::Db;
use crate::error::Result;
use crate::store::MerklePoint;
use crate::types;

/// What a store held at one moment, and what that adds up to.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    db: Db,
    point: MerklePoint,
}

impl Moment {
    /// The present one, without what ends at or before the higher of `cut` (in clock units) and the horizon.
    pub(super) fn now(db: &Db, cut: u64) -> Result<Moment> {
        let store = db.store();
        let point = store.merkle_point_at(cut)?.alone(&store.measure.hasher);
        Ok(Moment { db: db.clone(), point })
    }

    pub(super) fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children> {
        let range = to_range(range);
        let (asked, pieces) = match cut {
            Cut::Level(level) => (Some(level), 0),
            Cut::Pieces(pieces) => (None, u64::from(pieces)),
        };
        let measure = &self.db.store().measure;
        // One more than may be told, to know whether there are more.
        let (level, mut fences) = self.point.fences(&range, asked, pieces, limit.count as usize, measure);
        let bytes = Cell::new(0u64);
        let fits = |fence: &Vec<u8>| {
            bytes.set(bytes.get() + fence.len() as u64);
            bytes.get() <= u64::from(limit.bytes)
        };
        let count = fences
            .iter()
            .take(limit.count.saturating_sub(1) as usize)
            .take_while(|fence| fits(fence))
            .count();
        let more = fences.len() > count;
        fences.truncate(count);
        let pieces = self.pieces(&range, &fences)?;
        Ok(Children { level, pieces, more })
    }

    /// The pieces of `range` between these bounds, which rise strictly inside it.
    fn pieces(&self, range: &types::KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<Piece>> {
        let starts: Vec<Vec<u8>> =
            std::iter::once(range.start.clone()).chain(bounds.iter().cloned()).collect();
        let ends = bounds.iter().cloned().map(Some).chain([range.end.clone()]);
        let pieces = starts.into_iter().zip(ends).map(|(start, end)| {
            let range = types::KeyRange { start, end };
            let sum = self.point.known_sum(&range, &self.db.store().measure)?;
            Ok(Piece { start: range.start, sum: to_sum(sum) })
        });
        pieces.collect()
    }

    pub(super) fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>> {
        Ok(self.pieces(&to_range(range), bounds)?.into_iter().map(|piece| piece.sum).collect())
    }

    pub(super) fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>> {
        let range = to_range(range);
        let MerklePoint { view, seqno, ended, .. } = &self.point;
        let measure = &self.db.store().measure;
        let counted = view.walk(&range, *seqno).try_fold(0u64, |count, found| found.map(|_| count + 1))?;
        let per_piece = counted.div_ceil(u64::from(pieces.max(1))).max(1);
        let mut split = vec![Piece { start: range.start.clone(), sum: RangeSum::ZERO }];
        for (index, found) in (0u64..).zip(view.walk(&range, *seqno)) {
            let (key, head) = found?;
            if index > 0 && index.is_multiple_of(per_piece) {
                split.push(Piece { start: key.clone(), sum: RangeSum::ZERO });
            }
            let entry = measure.entry(&key, measure.hasher.key(&key), &head).after(*ended);
            if let Some(piece) = split.last_mut() {
                piece.sum += to_sum(entry.sum);
            }
        }
        Ok(split)
    }

    pub(super) fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads> {
        let MerklePoint { view, seqno, ended, .. } = &self.point;
        let measure = &self.db.store().measure;
        let mut answer = Heads { heads: Vec::new(), next: None };
        let mut bytes = 0;
        for found in view.walk(&to_range(range), *seqno) {
            let (key, head) = found?;
            if measure.has_ended(&head, *ended) {
                continue;
            }
            bytes += (key.len() + head.meta.len()) as u64;
            let is_full = answer.heads.len() >= limit.count as usize || bytes > u64::from(limit.bytes);
            if is_full && !answer.heads.is_empty() {
                answer.next = Some(key);
                break;
            }
            let hash = measure.hasher.head(measure.hasher.key(&key), &head);
            answer.heads.push(to_head(key, &head, hash));
        }
        Ok(answer)
    }
}
