//! Deleting for good: who belongs to the replica set, what is closed, and how far the horizon has risen.
//!
//! Easy to get wrong: nothing here goes by age. Who never calls any of this keeps every tombstone; who does names *all*
//! replicas of the set by [`Db::admit`] first, for the horizon rises by what the members have proven, and by nobody else.

use super::Db;
use crate::error::Result;
use crate::horizon::Standing;
use crate::types::NodeId;

/// How far deleting for good has come, and who holds it back. Points in time are clock values, as in
/// [`Stamp::hlc`](crate::Stamp::hlc): units of 2^-16 ms since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HorizonStatus {
    /// What ended at or before this is gone or may go; 0 if nothing is.
    pub horizon: u64,
    /// What the members have proven by now, as far as this store knows: [`Db::raise_horizon`] raises to it.
    pub proven: u64,
    /// Version of the members; it rises when one comes or goes.
    pub member_version: u64,
    /// The members, this store included, and those that were expelled. Empty before the first [`Db::admit`] or
    /// [`Db::close_through`].
    pub members: Vec<MemberStatus>,
    /// Pairs of members that have proven no more than `proven`: sessions between them would raise it, once both have closed
    /// more.
    pub held_by: Vec<(NodeId, NodeId)>,
}

/// A member as this store knows it. Clock values are as in [`HorizonStatus`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// The node.
    pub node: NodeId,
    /// Whether it has yet to receive all that the others hold.
    pub is_joining: bool,
    /// Whether it was expelled.
    pub is_expelled: bool,
    /// It takes nothing from outside that is stamped so or lower.
    pub closed: u64,
    /// The horizon that it uses.
    pub horizon: u64,
    /// How often it was opened for writing.
    pub opens: u64,
}

impl Db {
    /// Who belongs to the set and what is known of them. Costs the square of the members.
    pub fn horizon_status(&self) -> HorizonStatus {
        let state = self.store().identity();
        let table = &state.table;
        let member = |(node, standing)| {
            let row = table.row(node);
            MemberStatus {
                node,
                is_joining: standing == Standing::Joining,
                is_expelled: standing == Standing::Expelled,
                closed: row.closed,
                horizon: row.horizon,
                opens: row.opens,
            }
        };
        HorizonStatus {
            horizon: state.horizon,
            proven: table.horizon(),
            member_version: table.version(),
            members: table.standings().map(member).collect(),
            held_by: table.hindrances(),
        }
    }

    /// Promises to take nothing any more that clients, imports or hints bring with a stamp of `through` (a clock value: units of
    /// 2^-16 ms since the Unix epoch, rounded down to the end of an epoch) or lower; own writes are stamped above it. The first step of deleting for good: once all
    /// members have closed it and all pairs have had a complete session since, the horizon can rise to it. Durable when it
    /// returns; waits for an ingest under way. Returns what is closed now.
    ///
    /// [Admit](Db::admit) *all* replicas of the set before. Who is no member is not waited for and has no session any more; it
    /// can only join anew, empty, and what it alone held is lost.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let db = syncline::Db::builder(dir.path()).open_or_create()?;
    /// let now = std::time::UNIX_EPOCH.elapsed()?;
    /// let two_hours_ago = (now.as_millis() as u64 - 7_200_000) << 16;
    /// let closed = db.close_through(two_hours_ago)?;
    /// assert_eq!(db.raise_horizon()?, closed, "a set of one needs nobody else");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` if it lies above the wall clock; `ReadOnly`, `Poisoned`, `Io`.
    pub fn close_through(&self, through: u64) -> Result<u64> {
        self.check_writable()?;
        self.store().close_through(through)
    }

    /// Raises the horizon to what the members have proven: what ended by then counts in no sum any more, and merges of runs
    /// drop it. Returns the horizon, a clock value. Nobody is waited for but [members](Db::admit).
    ///
    /// # Errors
    /// `ReadOnly`, `Poisoned`, `Io`.
    pub fn raise_horizon(&self) -> Result<u64> {
        self.check_writable()?;
        self.store().raise_horizon()
    }

    /// Makes `node` a member of the set, durably. It has to be an empty store; it becomes an owner by its first complete
    /// session, and until all owners have heard of it, it has none.
    ///
    /// Name all replicas of the set, on any member, before anything is [closed](Db::close_through): the horizon rises by what
    /// members prove, and nobody holds sessions with a replica that was left out.
    ///
    /// # Errors
    /// `InvalidArgument` if it was expelled; `ReadOnly`, `Poisoned`, `Io`.
    pub fn admit(&self, node: NodeId) -> Result<()> {
        self.check_writable()?;
        self.store().admit(node)
    }

    /// Takes `node` out of the set for good, durably: it holds the horizon no more, and nobody holds sessions with it.
    ///
    /// # Errors
    /// `InvalidArgument` if it is no other member; `ReadOnly`, `Poisoned`, `Io`.
    pub fn expel(&self, node: NodeId) -> Result<()> {
        self.check_writable()?;
        self.store().expel(node)
    }
}
