//! The world of the model: replicas with a live and a durable image, sessions that take several steps, and what has to be
//! true once everything has calmed down.
//!
//! Easy to get wrong: the world must not be kinder than the real one. Entries and table become durable independently of each
//! other, a crash may come between any two steps, and clocks of clients lag.

mod calm;
mod session;

use std::collections::{BTreeMap, BTreeSet};

use crate::horizon::{Done, Standing, Table, rule};
use crate::types::NodeId;

/// The rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Weakened {
    Nothing,
    /// A session proves what the wall clock says, whatever was closed.
    ProvesWithoutClosing,
    /// A session proves what either side had closed.
    ProvesByEitherClose,
    /// Healing and joining may not bring in what is stamped below the horizon.
    NoExemption,
    /// Tombstones go when they are old.
    PurgeByTime,
    /// Tombstones go although an older version lies below them.
    PurgeOverOlder,
    /// A `done` counts whatever its side has lost since.
    NoRowVersions,
    /// A `done` counts whoever was a member then.
    NoMemberVersions,
    /// Sessions compare at the lower horizon.
    LowerCut,
    /// A side says `done` before it has fsynced what it took.
    DoneWithoutSync,
    /// A joiner keeps what it has.
    JoinsAsOwner,
    /// Nobody looks whether a store was restored.
    KeepsIdWhenRestored,
    /// A session goes on although a side has heard that the other one was expelled.
    FinishesWithExpelled,
    /// Entries below the horizon come in.
    NoRefusal,
    /// A session proves something although an entry was deferred, for that is stamped above all that is closed.
    DeferredProves,
}

impl Weakened {
    pub(super) const ALL: [Weakened; 14] = [
        Weakened::ProvesWithoutClosing,
        Weakened::ProvesByEitherClose,
        Weakened::NoExemption,
        Weakened::PurgeByTime,
        Weakened::PurgeOverOlder,
        Weakened::NoRowVersions,
        Weakened::NoMemberVersions,
        Weakened::LowerCut,
        Weakened::DoneWithoutSync,
        Weakened::JoinsAsOwner,
        Weakened::KeepsIdWhenRestored,
        Weakened::FinishesWithExpelled,
        Weakened::NoRefusal,
        Weakened::DeferredProves,
    ];
}

/// A version of a key. Stamps are never used twice here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    stamp: (u64, u64),
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Put,
    /// Expires so long after its stamp.
    Expiring(u64),
    Tombstone,
}

impl Entry {
    fn hlc(self) -> u64 {
        self.stamp.0
    }

    fn end(self) -> Option<u64> {
        match self.kind {
            Kind::Put => None,
            Kind::Expiring(after) => Some(self.hlc() + after),
            Kind::Tombstone => Some(self.hlc()),
        }
    }

    fn is_shown(self, wall: u64) -> bool {
        rule::counts(self.end(), wall)
    }
}

type Key = u8;
type Entries = BTreeMap<Key, Entry>;

/// What a store holds, in memory or on its medium.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Image {
    node: NodeId,
    table: Table,
    /// Versions of each key, newest first.
    versions: BTreeMap<Key, Vec<Entry>>,
    unknown: BTreeSet<Key>,
}

impl Image {
    fn head(&self, key: Key) -> Option<Entry> {
        self.versions.get(&key)?.first().copied()
    }

    fn heads(&self) -> Entries {
        self.versions.keys().filter_map(|&key| Some((key, self.head(key)?))).collect()
    }

    fn horizon(&self) -> u64 {
        self.table.row(self.node).horizon
    }

    fn is_owner(&self) -> bool {
        self.table.standing(self.node) == Some(Standing::Owner)
    }

    fn take(&mut self, key: Key, entry: Entry) {
        self.versions.entry(key).or_default().insert(0, entry);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Replica {
    live: Image,
    durable: Image,
    backup: Option<Box<Image>>,
    /// It went back to its backup and has not met anybody who noticed.
    is_doubtful: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Session {
    initiator: usize,
    responder: usize,
    cut: u64,
    proves: [Done; 2],
    /// What the responder held when it was asked.
    listed: Entries,
    /// What the rules say of the outcome, once entries were exchanged.
    is_complete: Option<bool>,
}

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Tick,
    /// A client writes with a clock that lags so much.
    Write {
        replica: usize,
        key: Key,
        kind: Kind,
        lag: u64,
    },
    /// A client writes at a store whose clock is so much ahead.
    WriteAhead {
        replica: usize,
        key: Key,
        kind: Kind,
        ahead: u64,
    },
    Sync(usize),
    Crash(usize),
    /// Closes everything up to so much below the wall clock.
    Close {
        replica: usize,
        below: u64,
    },
    Begin {
        initiator: usize,
        responder: usize,
    },
    Exchange(usize),
    Finish(usize),
    /// A side counts the session, and the other one never hears of it.
    FinishOneSide(usize),
    Drop(usize),
    /// A whole session at once.
    Meet {
        initiator: usize,
        responder: usize,
    },
    Raise(usize),
    Gossip {
        from: usize,
        to: usize,
    },
    /// Drops covered versions.
    Compact {
        replica: usize,
        key: Key,
    },
    /// Drops the newest version where the rules allow it.
    Purge {
        replica: usize,
        key: Key,
    },
    Lose {
        replica: usize,
        key: Key,
    },
    Backup(usize),
    Restore(usize),
    Expel {
        by: usize,
        replica: usize,
    },
    /// Comes back with all that it had, under a new id.
    Rejoin {
        by: usize,
        replica: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct World {
    weakened: Weakened,
    wall: u64,
    next: u64,
    replicas: Vec<Replica>,
    sessions: Vec<Session>,
    /// The greatest version of each key that an owner had durably and that cannot have got lost.
    truth: Entries,
}

impl World {
    pub(super) fn new(replicas: usize, weakened: Weakened) -> World {
        let nodes: Vec<NodeId> = (1..=replicas as u64).map(NodeId).collect();
        let mut table = Table::of_one(nodes[0]);
        for &node in &nodes {
            table.admit(node);
            table.joined(node);
        }
        nodes.iter().for_each(|&node| table.acknowledge(node));
        let replica = |&node: &NodeId| {
            let image =
                Image { node, table: table.clone(), versions: BTreeMap::new(), unknown: BTreeSet::new() };
            Replica { live: image.clone(), durable: image, backup: None, is_doubtful: false }
        };
        World {
            weakened,
            wall: 1,
            next: replicas as u64 + 1,
            replicas: nodes.iter().map(replica).collect(),
            sessions: Vec::new(),
            truth: Entries::new(),
        }
    }

    fn is_weakened(&self, rule: Weakened) -> bool {
        self.weakened == rule
    }

    fn live(&self, replica: usize) -> &Image {
        &self.replicas[replica].live
    }

    /// Changes the table of `replica`, durably.
    fn note(&mut self, replica: usize, change: impl FnOnce(&mut Table, NodeId)) {
        let Replica { live, durable, .. } = &mut self.replicas[replica];
        change(&mut live.table, live.node);
        durable.table = live.table.clone();
        if self.is_weakened(Weakened::FinishesWithExpelled) {
            return;
        }
        let is_fenced = |own: usize, peer: usize| !self.live(own).table.is_member(self.live(peer).node);
        let fenced: Vec<bool> = self
            .sessions
            .iter()
            .map(|session| {
                let Session { initiator, responder, .. } = *session;
                is_fenced(initiator, responder) || is_fenced(responder, initiator)
            })
            .collect();
        let mut fenced = fenced.into_iter();
        self.sessions.retain(|_| fenced.next() == Some(false));
    }

    fn sync(&mut self, replica: usize) {
        let Replica { live, durable, .. } = &mut self.replicas[replica];
        *durable = live.clone();
        self.learn_truth(replica);
    }

    fn learn_truth(&mut self, replica: usize) {
        let Replica { durable, is_doubtful, .. } = &self.replicas[replica];
        if *is_doubtful || !durable.is_owner() || self.is_expelled(durable.node) {
            return;
        }
        for (key, head) in durable.heads() {
            let known = self.truth.entry(key).or_insert(head);
            *known = head.max(*known);
        }
    }

    /// After something got lost: what nobody else holds is not owed to anybody, but for tombstones that were purged.
    fn forget_truth(&mut self) {
        // What only those that are out have heard of, the owners need not keep to.
        let is_in = |replica: &&Replica| !self.is_expelled(replica.durable.node);
        let tables = self.replicas.iter().filter(is_in).map(|replica| &replica.durable.table);
        let horizon = tables.map(Table::announced).max().unwrap_or(0);
        self.truth.retain(|_, entry| !rule::counts(entry.end(), horizon));
        (0..self.replicas.len()).for_each(|replica| self.learn_truth(replica));
    }

    fn is_expelled(&self, node: NodeId) -> bool {
        let standing = |replica: &Replica| replica.durable.table.standing(node);
        self.replicas.iter().any(|replica| standing(replica) == Some(Standing::Expelled))
    }

    fn end_sessions_of(&mut self, replica: usize) {
        self.sessions.retain(|session| session.initiator != replica && session.responder != replica);
    }

    /// Takes one step; what makes no sense at the moment does nothing.
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Tick => self.wall += 1,
            Step::Write { replica, key, kind, lag } => {
                self.write(replica, key, kind, self.wall.saturating_sub(lag));
            }
            Step::WriteAhead { replica, key, kind, ahead } => {
                self.write(replica, key, kind, self.wall + ahead);
            }
            Step::Sync(replica) => self.sync(replica),
            Step::Crash(replica) => {
                let replica_state = &mut self.replicas[replica];
                replica_state.live = replica_state.durable.clone();
                self.end_sessions_of(replica);
            }
            Step::Close { replica, below } => self.close(replica, self.wall.saturating_sub(below)),
            Step::Begin { initiator, responder } => self.begin(initiator, responder),
            Step::Exchange(session) => self.exchange(session),
            Step::Finish(session) => self.finish(session, true),
            Step::FinishOneSide(session) => self.finish(session, false),
            Step::Drop(session) => {
                if session < self.sessions.len() {
                    self.sessions.remove(session);
                }
            }
            Step::Meet { initiator, responder } => self.meet(initiator, responder),
            Step::Raise(replica) => self.raise(replica),
            Step::Gossip { from, to } => self.gossip(from, to),
            Step::Compact { replica, key } => self.compact(replica, key),
            Step::Purge { replica, key } => self.purge(replica, key),
            Step::Lose { replica, key } => self.lose(replica, key),
            Step::Backup(replica) => {
                let replica = &mut self.replicas[replica];
                replica.backup = Some(Box::new(replica.durable.clone()));
            }
            Step::Restore(replica) => self.restore(replica),
            Step::Expel { by, replica } => self.expel(by, replica),
            Step::Rejoin { by, replica } => self.rejoin(by, replica),
        }
    }

    fn write(&mut self, replica: usize, key: Key, kind: Kind, hlc: u64) {
        let image = self.live(replica);
        let row = image.table.row(image.node);
        let horizon = if self.is_weakened(Weakened::NoRefusal) { 0 } else { image.horizon() };
        let closed = if self.is_weakened(Weakened::ProvesWithoutClosing) { 0 } else { row.closed };
        let is_refused = rule::refuses(hlc, horizon, closed, rule::Source::Outside);
        let stamp = (hlc, self.next);
        // A local write always wins in its store, for it is stamped above what it replaces.
        let is_older = image.head(key).is_some_and(|head| head.stamp > stamp);
        if hlc == 0 || is_refused || is_older || !image.is_owner() {
            return;
        }
        self.next += 1;
        self.replicas[replica].live.take(key, Entry { stamp, kind });
    }

    fn close(&mut self, replica: usize, through: u64) {
        if through <= self.wall && self.live(replica).is_owner() {
            self.sync(replica);
            self.note(replica, |table, node| table.close(node, through));
        }
    }

    fn gossip(&mut self, from: usize, to: usize) {
        let table = self.replicas[from].durable.table.clone();
        if !self.is_restored(to, &table) {
            self.merge(to, &table);
        }
    }

    fn is_restored(&self, replica: usize, table: &Table) -> bool {
        let image = self.live(replica);
        !self.is_weakened(Weakened::KeepsIdWhenRestored) && image.table.is_restored(image.node, table)
    }

    fn merge(&mut self, replica: usize, table: &Table) {
        self.note(replica, |own, node| {
            own.merge(table);
            own.acknowledge(node);
        });
    }

    /// Gives `replica` a new id and makes it a joiner, with `by` as its sponsor.
    fn rejoin(&mut self, by: usize, replica: usize) {
        let (old, node) = (self.live(replica).node, NodeId(self.next));
        let is_out = self.live(by).table.standing(old) == Some(Standing::Expelled);
        if by == replica || !is_out || !self.live(by).is_owner() || self.is_expelled(self.live(by).node) {
            return;
        }
        self.next += 1;
        self.end_sessions_of(replica);
        let is_owner = self.is_weakened(Weakened::JoinsAsOwner);
        self.note(by, |table, own| {
            table.admit(node);
            if is_owner {
                table.joined(node);
            }
            table.acknowledge(own);
        });
        let mut table = self.live(by).table.clone();
        table.acknowledge(node);
        let joiner = &mut self.replicas[replica];
        joiner.live.node = node;
        joiner.live.table = table;
        joiner.live.unknown.clear();
        joiner.durable = joiner.live.clone();
        joiner.is_doubtful = false;
    }

    fn expel(&mut self, by: usize, replica: usize) {
        let (own, other) = (self.live(by).node, self.live(replica).node);
        if by == replica || !self.live(by).is_owner() || self.is_expelled(own) || self.is_expelled(other) {
            return;
        }
        self.note(by, |table, own| {
            table.expel(other);
            table.acknowledge(own);
        });
        self.forget_truth();
    }

    fn lose(&mut self, replica: usize, key: Key) {
        // What everybody has lost nobody can heal, and an operator has to say what is true.
        if self.replicas.iter().any(|replica| replica.live.unknown.contains(&key)) {
            return;
        }
        // The newest version goes with its block, and what lay below it in another run comes to light.
        let durable = &mut self.replicas[replica].durable;
        if !durable.is_owner() || !durable.versions.contains_key(&key) {
            return;
        }
        let versions = durable.versions.entry(key).or_default();
        versions.remove(0);
        if versions.is_empty() {
            durable.versions.remove(&key);
        }
        durable.unknown.insert(key);
        let node = durable.node;
        durable.table.lost(node);
        self.replicas[replica].live = self.replicas[replica].durable.clone();
        self.end_sessions_of(replica);
        self.forget_truth();
    }

    fn restore(&mut self, replica: usize) {
        let Some(backup) = self.replicas[replica].backup.clone() else { return };
        let state = &mut self.replicas[replica];
        if backup.node != state.live.node || !backup.unknown.is_empty() {
            return;
        }
        (state.live, state.durable) = ((*backup).clone(), *backup);
        state.is_doubtful = true;
        self.end_sessions_of(replica);
        self.forget_truth();
    }

    fn compact(&mut self, replica: usize, key: Key) {
        let Replica { live, durable, .. } = &mut self.replicas[replica];
        for image in [live, durable] {
            if let Some(versions) = image.versions.get_mut(&key) {
                versions.truncate(1);
            }
        }
    }

    fn purge(&mut self, replica: usize, key: Key) {
        let wall = self.wall;
        let weakened = self.weakened;
        let Replica { live, durable, .. } = &mut self.replicas[replica];
        let (Some(head), true) = (live.head(key), live.versions.get(&key) == durable.versions.get(&key))
        else {
            return;
        };
        let horizon = match weakened {
            Weakened::PurgeByTime => wall.saturating_sub(2),
            _ => live.horizon(),
        };
        let hides_older = live.versions.get(&key).is_some_and(|versions| versions.len() > 1)
            && weakened != Weakened::PurgeOverOlder;
        if rule::may_drop(head.end(), horizon, hides_older, live.unknown.contains(&key)) {
            for image in [live, durable] {
                image.versions.entry(key).or_default().remove(0);
                image.versions.retain(|_, versions| !versions.is_empty());
            }
        }
    }

    fn raise(&mut self, replica: usize) {
        let image = self.live(replica);
        let horizon = match self.weakened {
            Weakened::NoRowVersions | Weakened::NoMemberVersions => weak_horizon(&image.table, self.weakened),
            _ => image.table.horizon(),
        };
        if image.is_owner() && horizon > image.horizon() {
            self.sync(replica);
            self.note(replica, |table, node| table.announce(node, horizon));
        }
    }
}

/// What the horizon would be without the rule.
fn weak_horizon(table: &Table, weakened: Weakened) -> u64 {
    let members: Vec<NodeId> = table.members().collect();
    let through = |own: NodeId, peer: NodeId| {
        let done = table.row(own).done.get(&peer).copied()?;
        let is_of_rows = done.own_row == table.row(own).version && done.peer_row == table.row(peer).version;
        let is_of_members = done.members == table.version();
        let counts = match weakened {
            Weakened::NoRowVersions => is_of_members,
            _ => is_of_rows,
        };
        counts.then_some(done.through)
    };
    let pairs = members.iter().flat_map(|own| members.iter().map(move |peer| (*own, *peer)));
    let least =
        pairs.filter(|(own, peer)| own != peer).map(|(own, peer)| through(own, peer).unwrap_or(0)).min();
    least.unwrap_or_else(|| table.horizon())
}
