//! Sessions of the model: they begin with the tables, read each side at a moment of its own, and count for both sides or for
//! one. Entries are compared one by one here; that sums find the same differences is tested elsewhere.

use std::collections::BTreeSet;

use super::{Entries, Entry, Key, Kind, Session, Weakened, World};
use crate::horizon::{Standing, rule};

impl World {
    pub(super) fn cut(&self, initiator: usize, responder: usize) -> u64 {
        let (a, b) = (self.live(initiator), self.live(responder));
        match self.weakened {
            Weakened::LowerCut => a.horizon().min(b.horizon()),
            _ if !a.is_owner() || !b.is_owner() => a.table.announced().max(b.table.announced()),
            _ => rule::cut(a.horizon(), b.horizon()),
        }
    }

    pub(super) fn begin(&mut self, initiator: usize, responder: usize) {
        let is_of = |session: &Session| {
            let ends = [session.initiator, session.responder];
            ends.contains(&initiator) && ends.contains(&responder)
        };
        if initiator == responder || self.sessions.iter().any(is_of) {
            return;
        }
        let table = |replica: usize| self.live(replica).table.clone();
        let tables = (table(initiator), table(responder));
        let nodes = (self.live(initiator).node, self.live(responder).node);
        for (restored, table, peer) in [(initiator, &tables.1, responder), (responder, &tables.0, initiator)]
        {
            if self.is_restored(restored, table) {
                let old = self.live(restored).node;
                if self.live(peer).is_owner() && !self.is_restored(peer, &self.live(restored).table) {
                    self.expel(peer, restored);
                    // It may have been expelled before.
                    debug_assert!(self.is_expelled(old) || self.is_expelled(self.live(peer).node));
                    self.rejoin(peer, restored);
                }
                return;
            }
        }
        let mut table = tables.0.clone();
        table.merge(&tables.1);
        if !table.is_member(nodes.0) || !table.is_member(nodes.1) {
            // The one that is out hears so, the other keeps its distance.
            for (replica, node, tells) in [(initiator, nodes.0, &tables.1), (responder, nodes.1, &tables.0)] {
                if tells.standing(node) == Some(Standing::Expelled) {
                    self.merge(replica, tells);
                }
            }
            return;
        }
        self.merge(initiator, &tables.1);
        self.merge(responder, &tables.0);
        let standing = |replica: usize| self.live(replica).is_owner();
        let is_joining = standing(initiator) != standing(responder);
        if !standing(initiator) && !standing(responder)
            || is_joining && !self.live(initiator).table.is_known_to_all()
        {
            return;
        }
        let closed = self.live(initiator).table.row(nodes.0).closed;
        self.close(responder, closed);
        let table = self.live(responder).table.clone();
        self.merge(initiator, &table);
        let mut proves = [table.begin(nodes.0, nodes.1, &table), table.begin(nodes.1, nodes.0, &table)];
        for done in &mut proves {
            match self.weakened {
                Weakened::ProvesWithoutClosing => done.through = self.wall,
                Weakened::ProvesByEitherClose => {
                    done.through = table.row(nodes.0).closed.max(table.row(nodes.1).closed);
                }
                _ => {}
            }
        }
        let (cut, listed) = (self.cut(initiator, responder), self.live(responder).heads());
        self.sessions.push(Session { initiator, responder, cut, proves, listed, is_complete: None });
    }

    /// Begins unfinished work anew where a side has raised its horizon. Whether that was so.
    pub(super) fn restart(&mut self, session: usize) -> bool {
        let Session { initiator, responder, cut, .. } = self.sessions[session];
        let now = self.cut(initiator, responder);
        let is_behind = now > cut;
        if is_behind {
            let listed = self.live(responder).heads();
            let session = &mut self.sessions[session];
            (session.cut, session.listed, session.is_complete) = (now, listed, None);
        }
        is_behind
    }

    pub(super) fn exchange(&mut self, session: usize) {
        if session >= self.sessions.len() || self.sessions[session].is_complete.is_some() {
            return;
        }
        self.restart(session);
        let Session { initiator, responder, cut, ref listed, .. } = self.sessions[session];
        let (ours, theirs) = (self.live(initiator).heads(), listed.clone());
        let to_initiator = self.replace_or_apply(initiator, responder, &theirs, cut);
        let to_responder = self.replace_or_apply(responder, initiator, &ours, cut);
        self.sessions[session].is_complete = Some(to_initiator && to_responder);
    }

    /// Brings what `sender` listed into `receiver`. Whether nothing stands in the way of a complete session.
    pub(super) fn replace_or_apply(
        &mut self,
        receiver: usize,
        sender: usize,
        listed: &Entries,
        cut: u64,
    ) -> bool {
        let sender_image = self.live(sender).clone();
        let receiver_image = self.live(receiver).clone();
        let is_joining = !receiver_image.is_owner();
        let keys: BTreeSet<Key> = listed.keys().chain(receiver_image.versions.keys()).copied().collect();
        let keys: BTreeSet<Key> = keys.union(&receiver_image.unknown).copied().collect();
        let mut is_complete = true;
        for key in keys {
            let is_unknown_there = sender_image.unknown.contains(&key);
            let offered = listed.get(&key).copied().filter(|entry| {
                rule::counts(entry.end(), cut) && (!is_unknown_there || rule::survives(entry.hlc(), cut))
            });
            // A joiner offers nothing that its owners may have dropped.
            let offered = offered.filter(|entry| sender_image.is_owner() || rule::survives(entry.hlc(), cut));
            let wanted = is_joining || receiver_image.unknown.contains(&key);
            let in_good_standing = sender_image.is_owner() && !is_unknown_there;
            is_complete &= !is_unknown_there;
            if receiver_image.unknown.contains(&key) {
                // One that healed something is not complete, the next one can be.
                is_complete = false;
            }
            // Too far ahead of the clock is any stamp here.
            let is_news =
                |entry: &Entry| receiver_image.head(key).is_none_or(|head| head.stamp < entry.stamp);
            if offered.as_ref().filter(|entry| is_news(entry)).is_some_and(|entry| entry.hlc() > self.wall) {
                let is_among_owners = !is_joining && sender_image.is_owner();
                is_complete &= is_among_owners && self.is_weakened(Weakened::DeferredProves);
                continue;
            }
            let can_replace = wanted && in_good_standing;
            if can_replace {
                let survivor = |entry: &Entry| rule::survives(entry.hlc(), cut) || Some(*entry) == offered;
                let versions = self.replicas[receiver].live.versions.entry(key).or_default();
                versions.truncate(1);
                versions.retain(survivor);
                self.replicas[receiver].live.versions.retain(|_, versions| !versions.is_empty());
            }
            if let Some(entry) = offered {
                is_complete &= self.apply(receiver, key, entry, in_good_standing, wanted);
            }
            if can_replace && !is_joining {
                self.replicas[receiver].live.unknown.remove(&key);
                self.sync(receiver);
                self.note(receiver, |table, node| table.announce(node, cut));
            }
        }
        is_complete
    }

    /// Merges one entry from a session; whether it was taken, covered, or a tombstone.
    pub(super) fn apply(
        &mut self,
        receiver: usize,
        key: Key,
        entry: Entry,
        in_good_standing: bool,
        wanted: bool,
    ) -> bool {
        let horizon = self.live(receiver).horizon();
        let wanted = wanted && !self.is_weakened(Weakened::NoExemption);
        let source = rule::Source::Session { in_good_standing, wanted };
        let image = &mut self.replicas[receiver].live;
        if image.head(key).is_some_and(|head| head.stamp >= entry.stamp) {
            return true;
        }
        if rule::refuses(entry.hlc(), horizon, 0, source) && self.weakened != Weakened::NoRefusal {
            return entry.kind == Kind::Tombstone;
        }
        image.take(key, entry);
        true
    }

    pub(super) fn finish(&mut self, session: usize, both: bool) {
        if session >= self.sessions.len()
            || self.sessions[session].is_complete.is_none()
            || self.restart(session)
        {
            return;
        }
        let Session { initiator, responder, cut, proves, is_complete, .. } = self.sessions.remove(session);
        if !self.is_weakened(Weakened::DoneWithoutSync) {
            self.sync(initiator);
            self.sync(responder);
        }
        if is_complete != Some(true) {
            return;
        }
        for joiner in [initiator, responder] {
            if !self.live(joiner).is_owner() {
                self.sync(joiner);
                self.note(joiner, |table, node| {
                    table.joined(node);
                    table.announce(node, cut);
                });
                self.learn_truth(joiner);
            }
        }
        let nodes = [self.live(initiator).node, self.live(responder).node];
        self.note(initiator, |table, own| table.complete(own, nodes[1], proves[0]));
        if both {
            self.note(responder, |table, own| table.complete(own, nodes[0], proves[1]));
            self.gossip(initiator, responder);
            self.gossip(responder, initiator);
        }
    }

    pub(super) fn meet(&mut self, initiator: usize, responder: usize) {
        self.begin(initiator, responder);
        let is_of = |session: &Session| session.initiator == initiator && session.responder == responder;
        if let Some(session) = self.sessions.iter().position(is_of) {
            self.exchange(session);
            self.finish(session, true);
        }
    }
}
