//! [`Table`]: who belongs to the set, and what each owner has closed, finished and lost. Each owner keeps one, durably.
//!
//! A row is written by its own owner alone, and every number in it only rises. So two tables merge by taking the greater of
//! every number, whatever was missed, doubled or came out of order, and an owner that meets a greater number of its own in
//! a peer's table knows that it was restored from a backup.
//!
//! Easy to get wrong: a `done` counts only under the members and the row versions that it was made under. An owner that
//! lost a span since may have got it back from somebody who had not seen what this session brought.

use std::collections::BTreeMap;

use crate::types::NodeId;

/// How a node stands in the set. The order is that of a life: what was expelled never comes back under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Standing {
    /// A member that does not hold everything yet: it serves no reads.
    Joining = 1,
    /// A member that holds everything below its horizon.
    Owner = 2,
    /// No member any more; no session is held with it.
    Expelled = 3,
}

/// A complete session as one of its sides counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Done {
    /// Both sides had closed this before anything was compared, in clock units.
    pub(crate) through: u64,
    /// Version of the members then.
    pub(crate) members: u64,
    /// Row version of the side that counts it.
    pub(crate) own_row: u64,
    /// Row version of the other side.
    pub(crate) peer_row: u64,
}

/// What one owner says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Row {
    /// How often a span of it has become unknown.
    pub(crate) version: u64,
    /// How often it was opened for writing.
    pub(crate) opens: u64,
    /// The newest version of the members that it knows durably.
    pub(crate) members: u64,
    /// It refuses what clients write with this stamp (clock units) or a lower one.
    pub(crate) closed: u64,
    /// The horizon that it uses, in clock units.
    pub(crate) horizon: u64,
    /// Its last complete session with each other node.
    pub(crate) done: BTreeMap<NodeId, Done>,
}

/// Members and rows, as one owner knows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Table {
    pub(super) members: BTreeMap<NodeId, Standing>,
    pub(super) rows: BTreeMap<NodeId, Row>,
}

impl Table {
    /// The table of a set of one.
    #[cfg(test)]
    pub(crate) fn of_one(node: NodeId) -> Table {
        let mut table = Table::default();
        table.found(node);
        table.acknowledge(node);
        table
    }

    /// Whether nobody has founded the set yet: then nothing is ever closed, proven or purged.
    pub(crate) fn is_unfounded(&self) -> bool {
        self.members.is_empty()
    }

    /// Makes `node` the first owner, unless the set has been founded.
    pub(crate) fn found(&mut self, node: NodeId) {
        if self.is_unfounded() {
            self.members.insert(node, Standing::Owner);
        }
    }

    /// Version of the members: it rises with every node that comes in or goes, and two tables of one version that met
    /// have the same members. (A joiner that has become an owner changes nothing for whom it concerns.)
    pub(crate) fn version(&self) -> u64 {
        let weight = |standing: &Standing| 1 + u64::from(*standing == Standing::Expelled);
        self.members.values().map(weight).sum()
    }

    /// How `node` stands; `None` for a stranger.
    pub(crate) fn standing(&self, node: NodeId) -> Option<Standing> {
        self.members.get(&node).copied()
    }

    /// Whether `node` is a member, joining or not.
    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.standing(node).is_some_and(|standing| standing != Standing::Expelled)
    }

    /// The members, joining ones included, in order.
    pub(crate) fn members(&self) -> impl Iterator<Item = NodeId> {
        self.members.keys().copied().filter(|&node| self.is_member(node))
    }

    /// Everybody who is or was a member, in order.
    pub(crate) fn standings(&self) -> impl Iterator<Item = (NodeId, Standing)> {
        self.members.iter().map(|(&node, &standing)| (node, standing))
    }

    /// What `node` says of itself, as far as is known.
    pub(crate) fn row(&self, node: NodeId) -> Row {
        self.rows.get(&node).cloned().unwrap_or_default()
    }

    fn row_mut(&mut self, node: NodeId) -> &mut Row {
        self.rows.entry(node).or_default()
    }

    /// Makes a stranger a joining member. Nothing happens to who was one already, or was expelled.
    pub(crate) fn admit(&mut self, node: NodeId) {
        self.members.entry(node).or_insert(Standing::Joining);
    }

    /// Makes a joining member an owner.
    pub(crate) fn joined(&mut self, node: NodeId) {
        self.raise_standing(node, Standing::Owner);
    }

    /// Takes a node out for good.
    pub(crate) fn expel(&mut self, node: NodeId) {
        self.raise_standing(node, Standing::Expelled);
    }

    fn raise_standing(&mut self, node: NodeId, standing: Standing) {
        let known = self.members.entry(node).or_insert(standing);
        *known = standing.max(*known);
    }

    /// Notes that `node` was opened for writing for the `opens`-th time.
    pub(crate) fn opened(&mut self, node: NodeId, opens: u64) {
        let row = self.row_mut(node);
        row.opens = row.opens.max(opens);
    }

    /// Notes that `node` refuses from now on what is stamped `through` or lower.
    pub(crate) fn close(&mut self, node: NodeId, through: u64) {
        let row = self.row_mut(node);
        row.closed = row.closed.max(through);
    }

    /// Notes that `node` uses the horizon `horizon`.
    pub(crate) fn announce(&mut self, node: NodeId, horizon: u64) {
        let row = self.row_mut(node);
        row.horizon = row.horizon.max(horizon);
    }

    /// Notes that a span of `node` has become unknown: what it finished before proves nothing any more.
    pub(crate) fn lost(&mut self, node: NodeId) {
        self.row_mut(node).version += 1;
    }

    /// Notes that `node` knows the members as they are here.
    pub(crate) fn acknowledge(&mut self, node: NodeId) {
        let version = self.version();
        let row = self.row_mut(node);
        row.members = row.members.max(version);
    }

    /// Whether every member is known to know the members as they are here. Before that no joiner has a session, for an owner
    /// that does not know of it may raise its horizon without it; and who is joining here may be an owner by now.
    pub(crate) fn is_known_to_all(&self) -> bool {
        self.members().all(|node| self.row(node).members == self.version())
    }

    /// What a session between `own` and `peer` that begins now will have proven for `own` once it is complete. Both
    /// tables were merged, and both sides have closed durably and read nothing yet; the peer's row is that of its own table, `theirs`,
    /// for what third ones say of it may be of a later moment.
    pub(crate) fn begin(&self, own: NodeId, peer: NodeId, theirs: &Table) -> Done {
        let (own, peer) = (self.row(own), theirs.row(peer));
        Done {
            through: own.closed.min(peer.closed),
            members: self.version(),
            own_row: own.version,
            peer_row: peer.version,
        }
    }

    /// Notes that the session of `own` with `peer` which [`Table::begin`] was asked about is complete.
    pub(crate) fn complete(&mut self, own: NodeId, peer: NodeId, session: Done) {
        self.row_mut(own).done.entry(peer).or_default().raise(session);
    }

    /// Takes in what `other` knows more.
    pub(crate) fn merge(&mut self, other: &Table) {
        for (&node, &standing) in &other.members {
            self.raise_standing(node, standing);
        }
        for (&node, row) in &other.rows {
            self.row_mut(node).raise(row);
        }
    }

    /// Both tables in one.
    pub(crate) fn merged_with(&self, other: &Table) -> Table {
        let mut merged = self.clone();
        merged.merge(other);
        merged
    }

    /// What it knows more than `before`, which it came from: merged into that, it makes the same table.
    pub(crate) fn since(&self, before: &Table) -> Table {
        let mut more = self.clone();
        more.members.retain(|node, standing| before.members.get(node) != Some(standing));
        more.rows.retain(|node, row| before.rows.get(node) != Some(row));
        more
    }

    /// Whether `other` knows something of `node`, whose table this is, that it does not know itself: it has forgotten what
    /// it said, so its store was restored from a backup. To be asked before merging.
    pub(crate) fn is_restored(&self, node: NodeId, other: &Table) -> bool {
        let own = self.row(node);
        let mut merged = own.clone();
        merged.raise(&other.row(node));
        merged != own
    }

    /// What the complete sessions of `own` with `peer` prove: everything that both held when it began and that is stamped
    /// so or lower, both hold or cover.
    pub(crate) fn proven(&self, own: NodeId, peer: NodeId) -> u64 {
        let row = |node| self.rows.get(&node);
        let proven = || {
            let done = row(own)?.done.get(&peer)?;
            let is_current = done.members == self.version()
                && done.own_row == row(own)?.version
                && done.peer_row == row(peer)?.version;
            is_current.then_some(done.through)
        };
        proven().unwrap_or(0)
    }

    /// What is proven of every pair of members: O(members²). A set of one has proven what it has closed.
    pub(crate) fn horizon(&self) -> u64 {
        let alone = |node| self.row(node).closed;
        let least = self.pairs().map(|(own, peer)| self.proven(own, peer)).min();
        least.unwrap_or_else(|| self.members().map(alone).min().unwrap_or(0))
    }

    /// The highest horizon that an owner can use and `own` can vouch for by its own row, whatever has become unknown since: with each
    /// owner of today, `own` had finished a session through it then, or that one joined later and took it. A horizon was proven while
    /// `own` was a member, so there was one of the former kind, or `own` uses it already.
    pub(crate) fn horizon_max(&self, own: NodeId) -> u64 {
        let row = self.row(own);
        let finished = |peer| row.done.get(&peer).map_or(0, |done| done.through);
        let owners =
            self.members().filter(|&peer| peer != own && self.standing(peer) == Some(Standing::Owner));
        let by_each = owners.map(|peer| finished(peer).max(self.row(peer).horizon)).min().unwrap_or(0);
        let by_any = row.done.values().map(|done| done.through).max().unwrap_or(0);
        row.horizon.max(by_each.min(by_any))
    }

    /// The pairs that have proven no more than the horizon, which hold it back. None in a set of one.
    pub(crate) fn hindrances(&self) -> Vec<(NodeId, NodeId)> {
        let horizon = self.horizon();
        self.pairs().filter(|&(own, peer)| self.proven(own, peer) == horizon).collect()
    }

    /// The highest horizon that a member is known to use.
    pub(crate) fn announced(&self) -> u64 {
        self.members().map(|node| self.row(node).horizon).max().unwrap_or(0)
    }

    fn pairs(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        self.members()
            .flat_map(|own| self.members().map(move |peer| (own, peer)))
            .filter(|(own, peer)| own != peer)
    }
}

impl Row {
    fn raise(&mut self, other: &Row) {
        let Row { version, opens, members, closed, horizon, done } = other;
        self.version = self.version.max(*version);
        self.opens = self.opens.max(*opens);
        self.members = self.members.max(*members);
        self.closed = self.closed.max(*closed);
        self.horizon = self.horizon.max(*horizon);
        for (&peer, &other) in done {
            self.done.entry(peer).or_default().raise(other);
        }
    }
}

impl Done {
    /// Of two sessions of a pair everything was greater or equal in the one that began later, so each number by itself may
    /// be raised.
    fn raise(&mut self, other: Done) {
        let Done { through, members, own_row, peer_row } = other;
        self.through = self.through.max(through);
        self.members = self.members.max(members);
        self.own_row = self.own_row.max(own_row);
        self.peer_row = self.peer_row.max(peer_row);
    }
}
