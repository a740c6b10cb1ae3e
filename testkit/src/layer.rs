//! [`Through`]: a replica with somebody between it and its session, who may change what is asked and answered. Planted bugs of
//! replicas are each a few lines of [`ReplicaHook`].

use std::sync::Arc;

use sync_proto::{
    Applied, Children, Cut, Entries, Entry, Heads, Healing, KeyRange, Lost, Meeting, Origin, Piece,
    RangeEntries, RangeSum, ReadLimit, Replica, ReplicaError, ReplicaInfo, ReplicaReader, Stamp, ValueWriter,
};
use syncline::Db;
use syncline::replica::DbReplica;

/// Makes the replica that a session meets out of a store.
pub type ReplicaLayer = fn(&Db) -> Box<dyn Replica>;

/// The store itself.
pub fn plain(db: &Db) -> Box<dyn Replica> {
    Box::new(DbReplica::new(db))
}

/// What may be changed on the way.
pub trait ReplicaHook: Send + Sync {
    /// What the store says of itself.
    fn info(&self, info: ReplicaInfo) -> ReplicaInfo {
        info
    }

    /// The sum of a part of a range that begins at `start`.
    fn sum(&self, start: &[u8], sum: RangeSum) -> RangeSum {
        let _ = start;
        sum
    }

    /// A listed range.
    fn heads(&self, heads: Heads) -> Heads {
        heads
    }

    /// What heals a part of a peer's span.
    fn healing(&self, healing: Healing) -> Healing {
        healing
    }

    /// Told what a meeting came to, before anything is compared; what it returns is what the session hears.
    fn met(&self, replica: &dyn Replica, peer: Origin, meeting: Meeting) -> Result<Meeting, ReplicaError> {
        let _ = (replica, peer);
        Ok(meeting)
    }

    /// Entries that came; those that are returned are merged into the store.
    fn apply(&self, entries: Vec<Entry>) -> Vec<Entry> {
        entries
    }
}

/// A replica behind a hook.
pub struct Through<H> {
    replica: Box<dyn Replica>,
    hook: Arc<H>,
}

/// What a session reads of it.
struct ReaderThrough<H> {
    reader: Box<dyn ReplicaReader>,
    hook: Arc<H>,
}

impl<H> Through<H> {
    /// Puts `hook` before the store.
    pub fn new(db: &Db, hook: H) -> Through<H> {
        Through { replica: plain(db), hook: Arc::new(hook) }
    }
}

impl<H: ReplicaHook> ReplicaReader for ReaderThrough<H> {
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError> {
        let mut children = self.reader.children(range, cut, limit)?;
        for Piece { start, sum } in &mut children.pieces {
            *sum = self.hook.sum(start, *sum);
        }
        Ok(children)
    }

    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError> {
        let starts = std::iter::once(&range.start).chain(bounds);
        let sums = self.reader.sums(range, bounds)?;
        Ok(starts.zip(sums).map(|(start, sum)| self.hook.sum(start, sum)).collect())
    }

    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError> {
        self.reader.split(range, pieces)
    }

    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads, ReplicaError> {
        self.reader.heads(range, limit).map(|heads| self.hook.heads(heads))
    }

    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError> {
        self.reader.entries(keys, limit)
    }

    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError> {
        self.reader.entries_in(range, limit)
    }

    fn value(
        &self,
        key: &[u8],
        stamp: Stamp,
        offset: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        self.reader.value(key, stamp, offset, len)
    }
}

impl<H: ReplicaHook + 'static> Replica for Through<H> {
    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        self.replica.info(horizon).map(|info| self.hook.info(info))
    }

    fn apply(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError> {
        self.replica.apply(self.hook.apply(entries), origin)
    }

    fn begin_value(
        &self,
        entry: Entry,
        value_len: u64,
        origin: Origin,
    ) -> Result<Box<dyn ValueWriter>, ReplicaError> {
        self.replica.begin_value(entry, value_len, origin)
    }

    fn lost(&self) -> Result<Lost, ReplicaError> {
        self.replica.lost()
    }

    fn healing(&self, range: &KeyRange, cut: u64, limit: ReadLimit) -> Result<Option<Healing>, ReplicaError> {
        Ok(self.replica.healing(range, cut, limit)?.map(|healing| self.hook.healing(healing)))
    }

    fn heal(&self, healing: Healing, origin: Origin) -> Result<Applied, ReplicaError> {
        self.replica.heal(healing, origin)
    }

    fn table(&self) -> Result<Vec<u8>, ReplicaError> {
        self.replica.table()
    }

    fn meet(
        &self,
        peer: Origin,
        table: Option<&[u8]>,
        closes: bool,
        as_of: u64,
    ) -> Result<Meeting, ReplicaError> {
        let meeting = self.replica.meet(peer, table, closes, as_of)?;
        self.hook.met(&*self.replica, peer, meeting)
    }

    fn pin(&self, cut: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError> {
        Ok(Box::new(ReaderThrough { reader: self.replica.pin(cut)?, hook: self.hook.clone() }))
    }

    fn complete(&self, node: u64, proof: &[u8]) -> Result<(), ReplicaError> {
        self.replica.complete(node, proof)
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        self.replica.persist()
    }
}
