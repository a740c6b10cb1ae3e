//! Sessions as the horizon sees them: what two stores settle before they compare anything, and what is noted when they are done.
//!
//! Easy to get wrong: a peer's table is its word, so whether this store was restored from a backup is looked at before anything
//! of it is taken in; and a session that was overtaken by a horizon that rose meanwhile proves nothing, for the two sides compared
//! at different cuts.

use crate::error::{Error, Result};
use crate::horizon::{Done, Standing, Table, rule};
use crate::types::{NodeId, RangeSum};

use super::Store;
use super::keyspace::replicated;

/// What two stores have settled.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    /// Both compare what ends after this, in clock units.
    pub(crate) cut: u64,
    /// What the session proves for this store once it is complete, if anything.
    pub(crate) proves: Option<Done>,
    /// This store's table now.
    pub(crate) table: Table,
}

impl Store {
    /// Meets `peer`, which uses the horizon `peer_horizon` and has the table `theirs`; `None` if it has the same as this store.
    /// Closes, if `closes`, what the peer has closed. A `peer` that has not said who it is yet is not judged. The horizon rises to
    /// what both tables prove, unless this store has told its root already: with a table of the checksum `as_of`.
    ///
    /// What a complete session proves is what both have closed before their roots were read. So the peer's row is what the peer
    /// itself says, not what third ones say of it since; and where this store has told its root and its table has changed
    /// since, nothing is proven.
    ///
    /// # Errors
    /// `NoSession` if the two must have none; `Poisoned`, `Io`.
    pub(crate) fn meet(
        &self,
        peer: Option<NodeId>,
        peer_horizon: u64,
        theirs: Option<&Table>,
        closes: bool,
        as_of: u64,
    ) -> Result<Met> {
        let (own, node) = {
            let state = self.identity();
            (state.table, state.node)
        };
        let theirs = theirs.unwrap_or(&own);
        if self.options.read_only || own.is_unfounded() && theirs.is_unfounded() {
            let cut = rule::cut(self.horizon(), peer_horizon);
            return Ok(Met { cut, proves: None, table: own });
        }
        let merged = self.check_table(node, &own, theirs, peer)?;
        self.change_table(|table, _| table.merge(theirs))?;
        let Some(peer) = peer else {
            self.raise_horizon()?;
            return Ok(Met { cut: 0, proves: None, table: self.table() });
        };
        let standing = own.standing(node).max(theirs.standing(node));
        let closed = theirs.row(peer).closed;
        if closes && standing == Some(Standing::Owner) && closed >> 16 <= self.now_ms() {
            self.close_through(closed)?;
        }
        if closes {
            self.raise_horizon()?;
        }
        let table = self.table();
        let is_joining = [node, peer].iter().any(|&node| table.standing(node) == Some(Standing::Joining));
        if is_joining && !table.is_known_to_all() {
            return Err(Error::NoSession { node, peer, why: "an owner does not know the joining one yet" });
        }
        let cut = rule::cut(self.horizon(), peer_horizon);
        let cut = if is_joining { cut.max(table.announced()) } else { cut };
        let began = if closes { &table } else { &merged };
        let proves = (own.checksum() == as_of).then(|| began.begin(node, peer, theirs));
        Ok(Met { cut, proves, table })
    }

    /// Refuses sessions that must not be; a store that learns here that it belongs to the set no more notes that durably. Returns
    /// both tables in one.
    fn check_table(&self, node: NodeId, own: &Table, theirs: &Table, peer: Option<NodeId>) -> Result<Table> {
        let refuse = |why| Err(Error::NoSession { node, peer: peer.unwrap_or_default(), why });
        // From then on clients hear so as well.
        let leave = |why| self.change_table(|table, node| table.expel(node)).and_then(|()| refuse(why));
        if own.is_restored(node, theirs) {
            return leave("this store has forgotten what it has said: it was restored from a backup");
        }
        let is_one_set = match (own.is_unfounded(), theirs.is_unfounded()) {
            (true, _) => theirs.is_member(node),
            // Once it says who it is, it is judged.
            (false, true) => peer.is_none_or(|peer| own.is_member(peer)),
            (false, false) => own.standings().any(|(node, _)| theirs.standing(node).is_some()),
        };
        if !is_one_set {
            return refuse("they are strangers; admit the one to the set of the other");
        }
        let merged = own.merged_with(theirs);
        if merged.standing(node) == Some(Standing::Expelled) {
            return leave("this node was expelled");
        }
        if peer.is_some_and(|peer| !merged.is_member(peer)) {
            return refuse("the peer is no member of the set");
        }
        if own.is_unfounded() && !self.is_blank()? {
            return refuse("a joining store has to be empty");
        }
        Ok(merged)
    }

    /// Whether the store has never held an entry that counts.
    fn is_blank(&self) -> Result<bool> {
        Ok(self.horizon() == 0 && self.fingerprint(&replicated())? == RangeSum::ZERO)
    }

    /// Notes that the session with `peer` at `cut` is complete, durably. A joining store is an owner from here on.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(crate) fn complete(&self, peer: NodeId, cut: u64, proves: Done) -> Result<()> {
        self.persist()?;
        let mut manifest = self.structure.lock();
        let state = manifest.state();
        if state.horizon > cut || !state.table.is_member(peer) || !state.table.is_member(state.node) {
            return Ok(());
        }
        let is_joining = state.table.standing(state.node) == Some(Standing::Joining);
        let is_proof = !is_joining || state.table.standing(peer) == Some(Standing::Owner);
        if is_joining && is_proof {
            self.use_horizon(&mut manifest, cut, |table, node| {
                table.joined(node);
                table.complete(node, peer, proves);
            })?;
            return Ok(());
        }
        drop(manifest);
        match is_proof {
            true => self.change_table(|table, node| table.complete(node, peer, proves)),
            false => Ok(()),
        }
    }
}
