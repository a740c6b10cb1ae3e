//! What has to be true once everything has calmed down.

use super::{Entries, Entry, Image, Key, Replica, Weakened, World};
use crate::horizon::rule;

impl World {
    pub(super) fn meet_all(&mut self) {
        for a in 0..self.replicas.len() {
            for b in 0..self.replicas.len() {
                self.meet(a, b);
            }
        }
    }

    /// Lets everything calm down, twice: as it is, once no stamp is ahead of the clock any more, and after a horizon has risen
    /// above all that happened. Then says what is wrong, if anything is.
    pub(in crate::horizon::tests) fn calm_down(&mut self) -> Result<(), String> {
        self.sessions.clear();
        let heads = self.replicas.iter().flat_map(|replica| replica.live.heads().into_values());
        self.wall = heads.map(Entry::hlc).fold(self.wall, u64::max);
        for round in 0..2 {
            (0..self.replicas.len()).for_each(|replica| self.sync(replica));
            (0..3).for_each(|_| self.meet_all());
            self.check().map_err(|wrong| format!("{wrong} (round {round}): {self:?}"))?;
            self.wall += 4;
            let wall = self.wall;
            (0..self.replicas.len()).for_each(|replica| self.close(replica, wall));
            (0..2).for_each(|_| self.meet_all());
            for replica in 0..self.replicas.len() {
                self.raise(replica);
                // One side purges and the others do not, until the end.
                if replica == 0 || round > 0 {
                    self.purge_all(replica);
                }
            }
            self.check().map_err(|wrong| format!("{wrong} (risen, round {round}): {self:?}"))?;
        }
        Ok(())
    }

    pub(super) fn purge_all(&mut self, replica: usize) {
        let keys: Vec<Key> = self.live(replica).versions.keys().copied().collect();
        for key in keys {
            self.compact(replica, key);
            self.purge(replica, key);
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let is_in = |replica: &&Replica| replica.live.is_owner() && !self.is_expelled(replica.live.node);
        let owners: Vec<&Image> = self.replicas.iter().filter(is_in).map(|replica| &replica.live).collect();
        let visible = |image: &Image| -> Entries {
            let is_shown = |key: &Key, head: &Entry| head.is_shown(self.wall) && !image.unknown.contains(key);
            image.heads().into_iter().filter(|(key, head)| is_shown(key, head)).collect()
        };
        for (at, own) in owners.iter().enumerate() {
            if !own.unknown.is_empty() && owners.len() > 1 {
                return Err(format!("{:?} has not healed", own.node));
            }
            for (&key, &truth) in &self.truth {
                let found = visible(own).get(&key).copied();
                if !truth.is_shown(self.wall) && found.is_some_and(|found| found < truth) {
                    return Err(format!("key {key} came back at {:?}", own.node));
                }
                if truth.is_shown(self.wall)
                    && !own.unknown.contains(&key)
                    && own.head(key).is_none_or(|found| found < truth)
                {
                    return Err(format!("key {key} is lost at {:?}", own.node));
                }
            }
            for peer in &owners[at + 1..] {
                let cut = match self.weakened {
                    Weakened::LowerCut => own.horizon().min(peer.horizon()),
                    _ => rule::cut(own.horizon(), peer.horizon()),
                };
                let digest = |image: &Image| -> Entries {
                    image.heads().into_iter().filter(|(_, head)| rule::counts(head.end(), cut)).collect()
                };
                if digest(own) != digest(peer) || visible(own) != visible(peer) {
                    return Err(format!("{:?} and {:?} stay different", own.node, peer.node));
                }
            }
        }
        Ok(())
    }
}
