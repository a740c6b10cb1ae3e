//! The horizon of a store: what it has closed, what it knows of the others, and what leaves its sums.
//!
//! The table lives in the manifest, whose edits are durable when they return; so does the horizon. Sums are changed under the
//! commit lock, right after the edit.
//!
//! Easy to get wrong: everything that the store holds is durable before the edit that says `closed`, `done` or a higher horizon,
//! and whoever closes keeps out whatever took its stamp earlier and is not in yet (an ingest, entries that are being merged).

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::horizon::rule::Source;
use crate::horizon::{Standing, Table};
use crate::manifest::{Change, Manifest, State};
use crate::types::NodeId;

use super::Store;

/// Why clients of a store in this state are not answered: its standing in the set; 0 if they are.
pub(super) fn silence(state: &State) -> u8 {
    match state.table.standing(state.node) {
        Some(standing @ (Standing::Joining | Standing::Expelled)) => standing as u8,
        Some(Standing::Owner) | None => 0,
    }
}

impl Store {
    /// The horizon, in clock units.
    pub(crate) fn horizon(&self) -> u64 {
        self.writer.lock().front.horizon
    }

    /// What entries that come by a session with `peer` are to this store.
    ///
    /// # Errors
    /// `NoSession` if it has heard since the session began that one of them was expelled.
    pub(crate) fn session_source(&self, peer: NodeId) -> Result<Source> {
        let manifest = self.structure.lock();
        let state = manifest.state();
        let standing = |node| state.table.standing(node);
        if [peer, state.node].iter().any(|&node| standing(node) == Some(Standing::Expelled)) {
            return Err(Error::NoSession { node: state.node, peer, why: "one of them was expelled" });
        }
        Ok(Source::Session {
            in_good_standing: standing(peer) == Some(Standing::Owner),
            wanted: standing(state.node) == Some(Standing::Joining),
        })
    }

    /// Whether what `peer` holds of a span at `cut` (clock units) can take the place of what is left of it here: it belongs to
    /// those that hold everything, and the cut is no later than any owner's horizon can be, as far as this store's own
    /// sessions tell, and no earlier than what it has dropped.
    ///
    /// # Errors
    /// As [`Store::session_source`].
    pub(crate) fn may_heal(&self, peer: NodeId, cut: u64) -> Result<bool> {
        let source = self.session_source(peer)?;
        let State { table, node, horizon, .. } = self.identity();
        let announced = match table.standing(node) {
            Some(Standing::Joining) => table.announced(),
            _ => 0,
        };
        let is_vouched = matches!(source, Source::Session { in_good_standing: true, .. });
        let is_promised = (horizon..=horizon.max(table.horizon_max(node)).max(announced)).contains(&cut);
        Ok((is_vouched || table.is_unfounded()) && is_promised)
    }

    /// What the store knows of itself and the others.
    pub(crate) fn table(&self) -> Table {
        self.structure.lock().state().table.clone()
    }

    /// Promises, durably, to take nothing from outside that is stamped `through` (clock units, rounded down to the end of an
    /// epoch) or lower. Waits for an ingest under way. Returns what is closed now.
    ///
    /// # Errors
    /// `InvalidArgument` if `through` lies above the wall clock; `Poisoned`, `Io`.
    pub(crate) fn close_through(&self, through: u64) -> Result<u64> {
        let is_ahead = through >> 16 > self.now_ms();
        let through = self.measure.epoch_end(through);
        if is_ahead {
            return Err(Error::invalid("a store closes nothing that lies above its clock"));
        }
        let applying = self.applying.write();
        let closed = {
            let mut writer = self.writer.lock();
            self.poison.check()?;
            let front = &mut writer.front;
            front.clock.observe(through);
            front.closed = front.closed.max(through);
            front.closed
        };
        drop(applying);
        self.persist()?;
        self.change_table(|table, node| {
            table.found(node);
            table.close(node, closed);
        })?;
        Ok(closed)
    }

    /// Makes `node` a joining member of the set; it becomes an owner by its first complete session.
    ///
    /// # Errors
    /// `InvalidArgument` if it was expelled; `Poisoned`, `Io`.
    pub(crate) fn admit(&self, node: NodeId) -> Result<()> {
        if self.table().standing(node) == Some(Standing::Expelled) {
            return Err(Error::invalid(format!("node {node} was expelled; it comes back under a new id")));
        }
        self.change_table(|table, own| {
            table.found(own);
            table.admit(node);
        })
    }

    /// Takes a member out of the set for good: it holds the horizon no more, and no session is held with it.
    ///
    /// # Errors
    /// `InvalidArgument` if it is no other member; `Poisoned`, `Io`.
    pub(crate) fn expel(&self, node: NodeId) -> Result<()> {
        let is_self = self.identity().node == node;
        if is_self || !self.table().is_member(node) {
            return Err(Error::invalid(format!("node {node} is no other member of the set")));
        }
        self.change_table(|table, _| table.expel(node))
    }

    /// Changes the table by `change`, which is told this store's node id; durable when it returns.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(crate) fn change_table(&self, change: impl FnOnce(&mut Table, NodeId)) -> Result<()> {
        let mut manifest = self.structure.lock();
        self.poison.check()?;
        let state = manifest.state();
        let mut table = state.table.clone();
        change(&mut table, state.node);
        table.acknowledge(state.node);
        let more = table.since(&state.table);
        match more == Table::default() {
            true => Ok(()),
            false => {
                self.poison.note(manifest.commit(&[Change::Table(more)]))?;
                self.silence.store(silence(manifest.state()), Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Refuses to answer clients where the store may lack what its set holds, or hold what that has deleted: while it is joining,
    /// and when it was expelled or restored from a backup. Sessions, exports and verifications go on.
    ///
    /// # Errors
    /// `NotServing`.
    #[inline]
    pub(crate) fn check_serves(&self) -> Result<()> {
        match self.silence.load(Ordering::Relaxed) {
            0 => Ok(()),
            standing => Err(self.not_serving(standing)),
        }
    }

    #[cold]
    fn not_serving(&self, standing: u8) -> Error {
        let why = match standing == Standing::Joining as u8 {
            true => "it is joining its replica set; it answers after its first complete session",
            false => {
                "it was expelled, or restored from a backup; copy what you need by an export, and join with a new store"
            }
        };
        Error::NotServing { node: self.identity().node, why }
    }

    /// Uses the horizon that the table proves, if it is higher than the present one: what ended by then leaves all sums, and
    /// merges drop it. Returns the present one.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(crate) fn raise_horizon(&self) -> Result<u64> {
        // What the proof rests on must not be lost by a power cut while the horizon stays.
        self.persist()?;
        let mut manifest = self.structure.lock();
        self.poison.check()?;
        let state = manifest.state();
        let is_owner = state.table.standing(state.node) == Some(Standing::Owner);
        let horizon = self.measure.epoch_end(state.table.horizon());
        if !is_owner || horizon <= state.horizon {
            return Ok(state.horizon);
        }
        self.use_horizon(&mut manifest, horizon, |_, _| ())
    }

    /// Uses the horizon `cut` of a replica whose entries are taken for complete at it, if it is higher than the present one.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(crate) fn take_horizon(&self, cut: u64) -> Result<()> {
        self.persist()?;
        let mut manifest = self.structure.lock();
        self.poison.check()?;
        match cut > manifest.state().horizon {
            true => self.use_horizon(&mut manifest, cut, |_, _| ()).map(drop),
            false => Ok(()),
        }
    }

    /// Uses `horizon`, and changes the table by `change` in the same edit. Everything that the store holds is durable.
    pub(super) fn use_horizon(
        &self,
        manifest: &mut Manifest,
        horizon: u64,
        change: impl FnOnce(&mut Table, NodeId),
    ) -> Result<u64> {
        let state = manifest.state();
        let horizon = horizon.max(state.horizon);
        let mut announced = state.table.clone();
        change(&mut announced, state.node);
        announced.announce(state.node, horizon);
        let more = announced.since(&state.table);
        self.poison.note(manifest.commit(&[Change::Horizon(horizon), Change::Table(more)]))?;
        self.silence.store(silence(manifest.state()), Ordering::Relaxed);
        let mut writer = self.writer.lock();
        let front = &mut writer.front;
        front.horizon = horizon;
        front.clock.observe(horizon);
        front.merkle.expire(self.measure.ended(horizon));
        Ok(horizon)
    }
}
