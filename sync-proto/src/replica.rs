//! What a store must offer to take part in a repair: the trait [`Replica`], and the same questions and answers as plain
//! data, so that the session can ask without ever calling.
//!
//! Implemented by stores, called by drivers only. All calls block; a driver runs them where blocking is allowed.
//!
//! Easy to get wrong:
//! - What is told to the peer is durable. An answer may show what is not durable yet: [`Replica::persist`] is called before a
//!   frame that tells of it is sent.
//! - All that one answer tells is of one moment; the session adds heads up and closes ranges by arithmetic.
//! - Bounds given by a peer are arbitrary keys. Any bound is legal, a missing fence costs reads and not truth.

pub use crate::answers::{
    Applied, Children, Cut, Entries, Fetched, Heads, Meeting, Origin, Piece, RangeEntries, ReadLimit,
};
use crate::error::{ReplicaError, ReplicaErrorKind};
use crate::healing::{Healing, Lost};
use crate::types::{Entry, Head, KeyRange, Kind, RangeSum, Stamp};

/// What a replica says of itself. Everything in it is durable before it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// Id of the replica set. Replicas of different sets never meet.
    pub set_id: [u8; 16],
    /// Proves the same hash key and the same parameters of the set (fence rule, epochs) without showing the key.
    pub hash_check: [u8; 8],
    /// Id of this node. Belongs to one live store only.
    pub node: u64,
    /// How often the store was opened, this time included.
    pub opens: u64,
    /// Highest durable sequence number.
    pub durable_seqno: u64,
    /// The horizon, in clock units: what ended at or before it counts in no sum. 0 where nothing was ever purged.
    pub horizon: u64,
    /// Sum of everything in `replicated`, at the higher of `horizon` and the horizon that was asked for. If `has_unknown`, of
    /// what is known.
    pub root: RangeSum,
    /// The keys that take part in sessions. Keys outside it are never asked for, sent or accepted.
    pub replicated: KeyRange,
    /// Checksum of the table of members.
    pub members_checksum: u64,
    /// Checksum of the catalogue of keyspaces.
    pub keyspaces_checksum: u64,
    /// Whether the store cannot take entries.
    pub read_only: bool,
    /// Whether keys are unknown for damage ([`Lost::spans`]), so that nothing can be compared before they are healed.
    pub has_unknown: bool,
}

/// What a session reads of a replica's entries. [`Replica::pin`] gives one.
///
/// Ranges given to these calls lie within [`ReplicaInfo::replicated`], but their bounds are otherwise arbitrary.
pub trait ReplicaReader: Send + Sync {
    /// Cuts `range` at the store's own fences. At most `limit.count` pieces, and no more than `limit.bytes` of their
    /// starts; a range without inner fences is one piece.
    fn children(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Result<Children, ReplicaError>;

    /// The sums between explicit bounds, which rise strictly within `range`: one more sum than bounds.
    fn sums(&self, range: &KeyRange, bounds: &[Vec<u8>]) -> Result<Vec<RangeSum>, ReplicaError>;

    /// Cuts `range` into at most `pieces` pieces with about equally many entries each, by counting entries and without
    /// regard to fences: at least two pieces if it holds at least two entries. The pieces cover the range whole.
    ///
    /// For the rare range that is too large to list and has no fence; it may read the heads of the whole range.
    fn split(&self, range: &KeyRange, pieces: u32) -> Result<Vec<Piece>, ReplicaError>;

    /// Heads of `range` from its start, all as of one moment.
    fn heads(&self, range: &KeyRange, limit: ReadLimit) -> Result<Heads, ReplicaError>;

    /// The current versions of `keys`, which rise strictly.
    fn entries(&self, keys: &[Vec<u8>], limit: ReadLimit) -> Result<Entries, ReplicaError>;

    /// The current versions of all keys of `range` from its start.
    fn entries_in(&self, range: &KeyRange, limit: ReadLimit) -> Result<RangeEntries, ReplicaError>;

    /// At most `len` bytes of the value of `key` from `offset` on, or `None` if the current version of the key is not
    /// the one stamped `stamp` any more.
    fn value(&self, key: &[u8], stamp: Stamp, offset: u64, len: u32)
    -> Result<Option<Vec<u8>>, ReplicaError>;
}

/// A store that can be repaired against another one.
pub trait Replica: Send + Sync {
    /// What the replica is and holds, all of it durable. `horizon` is the peer's, if it is known: the root is taken at
    /// the higher of that and the store's own.
    ///
    /// Cost: no entry is read.
    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError>;

    /// Merges `entries` into the store. Need not be durable before [`Replica::persist`]. An entry that is held and has lost its
    /// value ([`Lost::values`]) gets it back.
    fn apply(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError>;

    /// Begins to take in what one session brings, for a store that takes many entries in key order more cheaply together than
    /// batch by batch. `None`, as by default, if [`Replica::apply`] is all there is.
    fn begin_entries(&self) -> Option<Box<dyn EntryWriter>> {
        None
    }

    /// Begins to take an entry whose value comes in parts. `entry.value` is empty.
    fn begin_value(
        &self,
        entry: Entry,
        value_len: u64,
        origin: Origin,
    ) -> Result<Box<dyn ValueWriter>, ReplicaError>;

    /// The table of members and of what is proven of them, as bytes that only replicas read; its checksum is
    /// [`ReplicaInfo::members_checksum`], which is 0 where there are no members, whatever the bytes.
    fn table(&self) -> Result<Vec<u8>, ReplicaError> {
        Ok(Vec::new())
    }

    /// Meets `peer`, whose table is `table`; `None` if it has the same, or is not to be believed. Durably takes in what the peer
    /// knows more, and, if `closes`, closes what the peer has closed. If so, this side's root is read after it; if not, it was
    /// read before, with a table of the checksum `as_of`. Where the table has changed since, what was closed meanwhile is not in
    /// that root, and the session proves nothing.
    ///
    /// Fails if the two have no session to hold: strangers, an expelled node, one that was restored from a backup.
    fn meet(
        &self,
        peer: Origin,
        table: Option<&[u8]>,
        closes: bool,
        as_of: u64,
    ) -> Result<Meeting, ReplicaError> {
        let _ = (peer, table, closes, as_of);
        Ok(Meeting::default())
    }

    /// What one session reads of the entries, with all answers at the higher of `cut` (in clock units) and the replica's own
    /// horizon. What it compares ([`children`](ReplicaReader::children), [`sums`](ReplicaReader::sums),
    /// [`split`](ReplicaReader::split), [`heads`](ReplicaReader::heads)) is as of one moment, no earlier than the call,
    /// whatever is written or applied later. What it sends ([`entries`](ReplicaReader::entries),
    /// [`entries_in`](ReplicaReader::entries_in), [`value`](ReplicaReader::value)) is as of when it is asked for.
    fn pin(&self, cut: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError>;

    /// What of the store is lost. Nothing, in a store that does not go on after damage.
    fn lost(&self) -> Result<Lost, ReplicaError> {
        Ok(Lost::default())
    }

    /// All that the store holds of a part of `range`, for a peer that has lost it: the first part that it knows wholly itself,
    /// as far as the limit goes, which is that of [`ReplicaReader::entries_in`]. Without what ended at or before the higher of `cut`
    /// (in clock units) and the horizon. `None` if there is no such part. Nothing of it need be durable before
    /// [`Replica::persist`].
    ///
    /// The entries are of one moment, and the horizon is read *after* that: what it has passed may have been dropped before, and
    /// must not be taken for what was never there.
    ///
    /// This one is for a store that knows all of its keys: what answers as [`Fetched::Lost`] is in no part.
    fn healing(&self, range: &KeyRange, cut: u64, limit: ReadLimit) -> Result<Option<Healing>, ReplicaError> {
        let (reader, mut rest) = (self.pin(cut)?, range.clone());
        loop {
            let answer = reader.entries_in(&rest, limit)?;
            let cut = cut.max(self.info(Some(cut))?.horizon);
            let next = answer.next.clone();
            if let Some(healing) = Healing::of(rest.clone(), cut, answer) {
                return Ok(Some(healing));
            }
            // All that it told is lost here too.
            match next.filter(|next| *next > rest.start) {
                Some(start) => rest.start = start,
                None => return Ok(None),
            }
        }
    }

    /// Takes what a peer holds of a range in the place of whatever is left of it here, and makes the range known: durably,
    /// when it returns. All of it was told by [`Replica::lost`], but somebody else may have healed it since. What is left here and
    /// stamped above the cut may be news to the peer, and stays; the cut is the store's own horizon from then on. What cannot be
    /// taken keeps its key unknown, and counts as refused or deferred.
    fn heal(&self, healing: Healing, origin: Origin) -> Result<Applied, ReplicaError> {
        let _ = (healing, origin);
        Err(ReplicaError::new(ReplicaErrorKind::Storage, "nothing is lost here"))
    }

    /// Notes durably that the session with `node` that [`Replica::meet`] gave `proof` for is complete.
    fn complete(&self, node: u64, proof: &[u8]) -> Result<(), ReplicaError> {
        let _ = (node, proof);
        Ok(())
    }

    /// Returns when everything that the store held or applied before the call is durable. On a read-only store it
    /// does nothing.
    fn persist(&self) -> Result<(), ReplicaError>;
}

/// Takes in the entries of one session. May gather them: nobody need see them before [`EntryWriter::settle`], and then they
/// need not be durable before [`Replica::persist`]. The session settles before it asks for anything that these entries could
/// change, and before it says that they are durable. Dropped unsettled, it takes in what it can.
pub trait EntryWriter: Send {
    /// Merges `entries`, as [`Replica::apply`] would, at the latest when they are settled; tells at once what becomes of them.
    fn apply(&mut self, entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError>;

    /// Takes in what is gathered.
    ///
    /// # Errors
    /// The store's; and if an entry that was told to be applied has to be refused after all.
    fn settle(&mut self) -> Result<(), ReplicaError>;
}

/// Takes a long value part by part, beside the store and not in memory. Dropped uncommitted, it leaves nothing behind.
pub trait ValueWriter: Send {
    /// Adds the next bytes of the value.
    fn append(&mut self, bytes: &[u8]) -> Result<(), ReplicaError>;

    /// Merges the entry, now whole, as [`Replica::apply`] would.
    fn commit(self: Box<Self>) -> Result<Applied, ReplicaError>;

    /// Heals `range`, which is that of the key alone, by the entry, now whole, as [`Replica::heal`] would.
    fn heal(self: Box<Self>, range: KeyRange, cut: u64) -> Result<Applied, ReplicaError> {
        let _ = (range, cut);
        Err(ReplicaError::new(ReplicaErrorKind::Storage, "nothing is lost here"))
    }
}

/// A question to the replica. Each is the call of the same name, and is answered by [`serve_read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadRequest {
    /// [`Replica::info`].
    Info {
        /// The peer's horizon, if it is known.
        horizon: Option<u64>,
    },
    /// [`ReplicaReader::children`].
    Children {
        /// What to cut.
        range: KeyRange,
        /// How finely.
        cut: Cut,
        /// Limits of the answer.
        limit: ReadLimit,
    },
    /// [`ReplicaReader::sums`].
    Sums {
        /// What to sum.
        range: KeyRange,
        /// Where to cut it.
        bounds: Vec<Vec<u8>>,
    },
    /// [`ReplicaReader::split`].
    Split {
        /// What to cut.
        range: KeyRange,
        /// Into how many pieces.
        pieces: u32,
    },
    /// [`ReplicaReader::heads`].
    Heads {
        /// What to list.
        range: KeyRange,
        /// Limits of the answer.
        limit: ReadLimit,
    },
    /// [`ReplicaReader::entries`].
    Entries {
        /// The keys, rising strictly.
        keys: Vec<Vec<u8>>,
        /// Limits of the answer.
        limit: ReadLimit,
    },
    /// [`ReplicaReader::entries_in`].
    EntriesIn {
        /// What to read.
        range: KeyRange,
        /// Limits of the answer.
        limit: ReadLimit,
    },
    /// [`Replica::lost`].
    Lost {
        /// Where.
        range: KeyRange,
        /// Limits of the answer.
        limit: ReadLimit,
    },
    /// [`Replica::healing`].
    Healing {
        /// What the peer has lost.
        range: KeyRange,
        /// What is left out, in clock units.
        cut: u64,
        /// Limits of the answer.
        limit: ReadLimit,
    },
    /// [`Replica::table`].
    Table,
    /// [`Replica::meet`].
    Meet {
        /// The peer.
        peer: Origin,
        /// The peer's table, unless it is the same.
        table: Option<Vec<u8>>,
        /// Whether to close what the peer has closed.
        closes: bool,
        /// [`ReplicaInfo::members_checksum`] when it was last asked for.
        as_of: u64,
    },
    /// [`Replica::complete`].
    Complete {
        /// The peer's node.
        node: u64,
        /// What is proven.
        proof: Vec<u8>,
    },
    /// [`ReplicaReader::value`].
    Value {
        /// Whose value.
        key: Vec<u8>,
        /// Which version.
        stamp: Stamp,
        /// First byte wanted.
        offset: u64,
        /// Greatest number of bytes.
        len: u32,
    },
}

/// The answer to the [`ReadRequest`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadAnswer {
    /// To [`ReadRequest::Info`].
    Info(Box<ReplicaInfo>),
    /// To [`ReadRequest::Children`].
    Children(Children),
    /// To [`ReadRequest::Sums`].
    Sums(Vec<RangeSum>),
    /// To [`ReadRequest::Split`].
    Split(Vec<Piece>),
    /// To [`ReadRequest::Heads`].
    Heads(Heads),
    /// To [`ReadRequest::Entries`].
    Entries(Entries),
    /// To [`ReadRequest::EntriesIn`].
    EntriesIn(RangeEntries),
    /// To [`ReadRequest::Lost`].
    Lost {
        /// As far as the limit went.
        lost: Lost,
        /// The first key that it left out, if any.
        next: Option<Vec<u8>>,
    },
    /// To [`ReadRequest::Healing`].
    Healing(Option<Healing>),
    /// To [`ReadRequest::Table`].
    Table(Vec<u8>),
    /// To [`ReadRequest::Meet`].
    Met(Meeting),
    /// To [`ReadRequest::Complete`].
    Completed,
    /// To [`ReadRequest::Value`].
    Value(Option<Vec<u8>>),
}

/// A change to the replica that the session asks for. At most one value is staged at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyRequest {
    /// [`Replica::apply`].
    Entries {
        /// The entries.
        entries: Vec<Entry>,
        /// Where they come from.
        origin: Origin,
    },
    /// [`Replica::heal`].
    Heal {
        /// What came.
        healing: Healing,
        /// Where it comes from.
        origin: Origin,
    },
    /// [`Replica::begin_value`].
    BeginValue {
        /// Everything but the value.
        entry: Entry,
        /// Length of the value in bytes.
        value_len: u64,
        /// Where it comes from.
        origin: Origin,
    },
    /// [`ValueWriter::append`] of the value begun last.
    AppendValue(Vec<u8>),
    /// [`ValueWriter::commit`] of the value begun last.
    CommitValue,
    /// [`ValueWriter::heal`] of the value begun last.
    HealValue {
        /// The range of the one key.
        range: KeyRange,
        /// The cut, in clock units.
        cut: u64,
    },
    /// Drops the value begun last.
    AbandonValue,
}

/// Asks `replica` what `request` says, or, if [`ReadRequest::reads_entries`], what it has `pinned` to be read.
pub fn serve_read<'a>(
    replica: &dyn Replica,
    pinned: impl FnOnce() -> Result<&'a dyn ReplicaReader, ReplicaError>,
    request: ReadRequest,
) -> Result<ReadAnswer, ReplicaError> {
    Ok(match request {
        ReadRequest::Info { horizon } => ReadAnswer::Info(Box::new(replica.info(horizon)?)),
        ReadRequest::Children { range, cut, limit } => {
            ReadAnswer::Children(pinned()?.children(&range, cut, limit)?)
        }
        ReadRequest::Sums { range, bounds } => ReadAnswer::Sums(pinned()?.sums(&range, &bounds)?),
        ReadRequest::Split { range, pieces } => ReadAnswer::Split(pinned()?.split(&range, pieces)?),
        ReadRequest::Heads { range, limit } => ReadAnswer::Heads(pinned()?.heads(&range, limit)?),
        ReadRequest::Entries { keys, limit } => ReadAnswer::Entries(pinned()?.entries(&keys, limit)?),
        ReadRequest::EntriesIn { range, limit } => {
            ReadAnswer::EntriesIn(pinned()?.entries_in(&range, limit)?)
        }
        ReadRequest::Value { key, stamp, offset, len } => {
            ReadAnswer::Value(pinned()?.value(&key, stamp, offset, len)?)
        }
        ReadRequest::Lost { range, limit } => {
            let (lost, next) = replica.lost()?.within(&range, limit);
            ReadAnswer::Lost { lost, next }
        }
        ReadRequest::Healing { range, cut, limit } => {
            ReadAnswer::Healing(replica.healing(&range, cut, limit)?)
        }
        ReadRequest::Table => ReadAnswer::Table(replica.table()?),
        ReadRequest::Meet { peer, table, closes, as_of } => {
            ReadAnswer::Met(replica.meet(peer, table.as_deref(), closes, as_of)?)
        }
        ReadRequest::Complete { node, proof } => {
            replica.complete(node, &proof)?;
            ReadAnswer::Completed
        }
    })
}

impl ReadRequest {
    /// Whether a [`ReplicaReader`] answers it.
    pub fn reads_entries(&self) -> bool {
        use ReadRequest as R;
        let is_of_replica = matches!(
            self,
            R::Info { .. }
                | R::Lost { .. }
                | R::Healing { .. }
                | R::Table
                | R::Meet { .. }
                | R::Complete { .. }
        );
        !is_of_replica
    }
}

impl Head {
    /// The sum of this one entry.
    pub fn sum(&self) -> RangeSum {
        RangeSum {
            fingerprint: crate::types::Fingerprint(self.hash),
            live: u64::from(self.kind == Kind::Put),
            tombstones: u64::from(self.kind == Kind::Tombstone),
            bytes: (self.key.len() as u64).saturating_add(self.value_len),
        }
    }
}
