//! F17: deletes against repair. Replicas of a set, each with a clock of its own, that write, delete for good, lose connections,
//! are killed, close epochs, raise their horizons, and purge alone. In every other set members are damaged, too, and heal by
//! its sessions.
//!
//! In the end no deleted key has returned, nothing is lost, and all roots are equal whatever was purged where.
//!
//! Easy to get wrong: what counts is the newest write of each key, so clocks never stand still between two writes, and no two
//! of them agree on a stamp.

mod damage;

use std::collections::BTreeMap;

use sync_proto::{End, Outcome};
use syncline::{Db, Stamp};

use crate::layer::ReplicaLayer;
use crate::life::{DIR, abandon};
use crate::network::session;
use crate::random::Random;
use crate::run::Run;
use crate::world::World;
use damage::Harm;

const HOUR_MS: u64 = 3_600_000;
const BEGIN_MS: u64 = 1_700_000_000_000;

/// F17.
pub fn against_repair(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        run.runs += 1;
        let mut set = Set::new(run, seed)?;
        set.live(run)?;
        run.reach("five replicas", set.members.len() == 5);
        run.reach("entries purged while others held them", set.purged > 0);
        run.reach("a session lost among horizons that rose", set.lost > 0);
        run.reach("a member killed", set.killed > 0);
        set.harm.reach(run);
        Ok(())
    });
    let rare = ["entries purged while others held them", "a session lost among horizons that rose"];
    run.must_reach(100, &rare);
    run.must_reach(100, &["five replicas", "a member killed", "a member healed by a session"]);
    run.must_reach(200, &["healed in a set whose horizon rose meanwhile"]);
}

/// What the newest write of a key says: its stamp, and its value and when that expires, unless it is a tombstone.
#[derive(Debug, Clone)]
struct Newest {
    stamp: Stamp,
    value: Option<(Vec<u8>, u64)>,
}

/// A replica.
struct Member {
    world: World,
    db: Db,
    /// Whether bits of it have flipped, met by anybody or not, and it has not been mended since.
    is_damaged: bool,
    /// The highest horizon of the set when it was damaged last.
    harmed_at: u64,
}

impl Member {
    fn new(world: World, db: Db) -> Member {
        Member { world, db, is_damaged: false, harmed_at: 0 }
    }
}

/// A set of replicas that an owner at a time was admitted to.
struct Set {
    members: Vec<Member>,
    random: Random,
    newest: BTreeMap<Vec<u8>, Newest>,
    now_ms: u64,
    nonce: u64,
    layer: ReplicaLayer,
    purged: u64,
    lost: u64,
    killed: u64,
    harm: Harm,
}

fn failed(error: syncline::Error) -> String {
    format!("a store failed: {error}")
}

impl Set {
    fn new(run: &mut Run<'_>, seed: u64) -> Result<Set, String> {
        let mut random = Random::new(seed);
        let count = 2 + random.below(4);
        let world = run.world(8 * seed);
        let db = world.builder(DIR).create().map_err(failed)?;
        let replica_set = db.replica_set();
        let mut members = vec![Member::new(world, db)];
        for number in 1..count {
            let world = run.world(8 * seed + number);
            world.clock.advance(number * 7);
            let db = world.builder(DIR).create_replica(&replica_set).map_err(failed)?;
            members.push(Member::new(world, db));
        }
        let mut set = Set {
            members,
            random,
            newest: BTreeMap::new(),
            now_ms: BEGIN_MS,
            nonce: seed << 20,
            layer: run.sessions,
            purged: 0,
            lost: 0,
            killed: 0,
            harm: Harm::default(),
        };
        for _ in 0..set.random.below(40) {
            set.write(0)?;
        }
        for joiner in 1..set.members.len() {
            run.at = format!("member {joiner} joins");
            set.join(joiner)?;
        }
        Ok(set)
    }

    /// Lets the set live, then calm down; it must agree then, and again after everything that can go has gone.
    fn live(&mut self, run: &mut Run<'_>) -> Result<(), String> {
        let is_damaged = self.random.chance(50);
        for number in 0..40 + self.random.below(80) {
            let replica = self.any();
            let other = (replica + 1 + self.random.below(self.members.len() as u64 - 1) as usize)
                % self.members.len();
            run.at = format!("event {number} at replica {replica}, other {other}");
            match self.random.below(100) {
                0..=4 if is_damaged => self.damage(replica, other)?,
                5..=6 if is_damaged => self.mend(replica)?,
                0..=49 => self.write(replica)?,
                50..=54 => self.advance(),
                55..=64 => drop(self.meet(replica, other)?),
                65..=69 => {
                    let frames = self.random.below(8);
                    self.meet_for(replica, other, frames)?;
                }
                70..=75 => self.close(replica)?,
                76..=79 => self.rise()?,
                80..=85 => drop(self.db(replica).raise_horizon().map_err(failed)?),
                86..=91 => self.purge(replica)?,
                92..=94 => self.db(replica).flush().map_err(failed)?,
                95..=97 => self.restart(replica)?,
                _ => self.verify(replica)?,
            }
        }
        for replica in 0..self.members.len() {
            run.at = format!("{replica} is mended");
            self.mend(replica)?;
        }
        for round in 0..2 {
            run.at = format!("round {round} after everything");
            for left in 0..self.members.len() {
                for right in 0..self.members.len() {
                    if left != right {
                        self.meet(left, right)?;
                    }
                }
            }
            self.check()?;
            self.rise()?;
            self.purge(0)?;
            self.check_meeting(1, 0)?;
        }
        Ok(())
    }

    fn any(&mut self) -> usize {
        self.random.below(self.members.len() as u64) as usize
    }

    fn db(&self, replica: usize) -> &Db {
        &self.members[replica].db
    }

    /// A whole session, which has to be complete unless both are damaged. Whether it was.
    fn meet(&mut self, left: usize, right: usize) -> Result<bool, String> {
        match self.members[left].is_damaged || self.members[right].is_damaged {
            true => self.meet_damaged(left, right),
            false => self.meet_for(left, right, u64::MAX),
        }
    }

    /// A session whose connection is lost after `frames` frames: whether it was complete on both sides.
    fn meet_for(&mut self, left: usize, right: usize, frames: u64) -> Result<bool, String> {
        let ends = self.session(left, right, frames);
        let is_complete = ends.iter().all(|outcome| matches!(outcome.end, End::Complete));
        if !is_complete && frames == u64::MAX {
            return Err(format!("{left} and {right}: {:?}, {:?}", ends[0].end, ends[1].end));
        }
        self.lost += u64::from(!is_complete && self.db(left).horizon_status().horizon > 0);
        Ok(is_complete)
    }

    fn session(&mut self, left: usize, right: usize, frames: u64) -> [Outcome; 2] {
        self.nonce += 1;
        let were_unknown = [left, right].map(|replica| self.is_unknown(replica));
        let replicas = [left, right].map(|replica| (self.layer)(self.db(replica)));
        let outcomes = session([&*replicas[0], &*replicas[1]], self.nonce, frames);
        self.note_healed(were_unknown, [left, right]);
        outcomes
    }

    fn join(&mut self, joiner: usize) -> Result<(), String> {
        let node = self.db(joiner).node_id();
        self.db(0).admit(node).map_err(failed)?;
        if joiner > 1 {
            let early = self.session(joiner, 0, u64::MAX);
            if !matches!(early[0].end, End::Aborted(_)) {
                return Err(format!("a joiner that not all know of met: {:?}", early[0].end));
            }
        }
        for owner in 1..joiner {
            self.meet(0, owner)?;
        }
        if self.random.chance(30) {
            let frames = self.random.below(6);
            self.meet_for(joiner, 0, frames)?;
        }
        self.meet(joiner, 0)?;
        let members = self.db(joiner).horizon_status().members;
        match members.iter().any(|member| member.node == node && !member.is_joining) {
            true => Ok(()),
            false => Err(format!("{joiner} met an owner and is none: {members:?}")),
        }
    }

    fn advance(&mut self) {
        let ms = HOUR_MS / 2 * self.random.below(4);
        self.tick(ms);
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        self.members.iter().for_each(|member| member.world.clock.advance(ms));
    }

    fn write(&mut self, replica: usize) -> Result<(), String> {
        self.tick(100);
        let (key, value) = (self.random.key(25), self.random.value());
        let keyspace = self.db(replica).default_keyspace();
        let expires_at = match self.random.below(4) {
            0 => self.now_ms + 1 + self.random.below(3 * HOUR_MS),
            _ => 0,
        };
        let value = match self.random.below(3) {
            0 => keyspace.delete(&key).map(|()| None),
            _ if expires_at > 0 => {
                keyspace.put_expiring(&key, &value, expires_at).map(|()| Some((value, expires_at)))
            }
            _ => keyspace.put(&key, &value).map(|()| Some((value, 0))),
        };
        let value = value.map_err(failed)?;
        let digest = keyspace.digest(&key).map_err(failed)?;
        let stamp = digest.ok_or("what was just written is not there")?.stamp;
        let newest = self.newest.entry(key).or_insert_with(|| Newest { stamp, value: value.clone() });
        if newest.stamp < stamp {
            *newest = Newest { stamp, value };
        }
        Ok(())
    }

    fn close(&mut self, replica: usize) -> Result<(), String> {
        let through = (self.now_ms - self.random.below(2 * HOUR_MS)) << 16;
        self.db(replica).close_through(through).map(drop).map_err(failed)
    }

    /// Nearly all that it takes for the horizon to rise.
    fn rise(&mut self) -> Result<(), String> {
        for replica in 0..self.members.len() {
            self.close(replica)?;
        }
        for left in 0..self.members.len() {
            for right in 0..left {
                if !self.random.chance(5) {
                    self.meet(left, right)?;
                }
            }
        }
        Ok(())
    }

    /// Lets one replica alone drop what may go.
    fn purge(&mut self, replica: usize) -> Result<(), String> {
        let entries = |db: &Db| db.stats().map(|stats| stats.run_entries).map_err(failed);
        let db = self.db(replica);
        db.flush().map_err(failed)?;
        let before = entries(db)?;
        db.compact(|_| true).map_err(failed)?;
        self.purged += before.saturating_sub(entries(db)?);
        Ok(())
    }

    /// Kills a replica, or closes it, and opens it again.
    fn restart(&mut self, replica: usize) -> Result<(), String> {
        let is_killed = self.random.chance(50);
        let Member { world, db, is_damaged, harmed_at } = self.members.swap_remove(replica);
        let world = match is_killed {
            true => {
                let left = world.with(world.vfs.kill());
                abandon(&world, db);
                left
            }
            false => {
                drop(db);
                world
            }
        };
        self.killed += u64::from(is_killed);
        let db = world.builder(DIR).open().map_err(failed)?;
        self.put_back(replica, Member { world, db, is_damaged, harmed_at });
        Ok(())
    }

    /// Undoes a `swap_remove`.
    fn put_back(&mut self, replica: usize, member: Member) {
        self.members.push(member);
        let last = self.members.len() - 1;
        self.members.swap(replica, last);
    }

    fn verify(&self, replica: usize) -> Result<(), String> {
        let mut report = self.db(replica).verify(&mut |_| true).map_err(failed)?;
        // A filter that is damaged costs time alone, until its run is merged.
        report.problems.retain(|problem| !problem.ends_with("the run's filter is damaged"));
        if self.members[replica].is_damaged {
            return Ok(());
        }
        report.problems.first().map_or(Ok(()), |problem| Err(format!("verify: {problem}")))
    }

    /// Checks that all hold the newest writes, and nothing else, and agree on it.
    fn check(&self) -> Result<(), String> {
        // No member's clock is so far ahead.
        let latest_ms = self.now_ms + 100;
        let cut = self.members.iter().map(|member| member.db.horizon_status().horizon).max();
        let mut roots = Vec::new();
        for (replica, Member { db, .. }) in self.members.iter().enumerate() {
            self.verify(replica)?;
            let mut held = BTreeMap::new();
            for entry in db.default_keyspace().iter() {
                let entry = entry.map_err(failed)?;
                held.insert(entry.key.to_vec(), entry.value.to_vec());
            }
            for (key, Newest { value, .. }) in &self.newest {
                let wanted = value.as_ref().filter(|(_, at)| *at == 0 || *at > latest_ms);
                match (held.remove(key), wanted) {
                    // By the clocks of some of them it has expired, by those of others not yet.
                    (Some(held), None)
                        if value.as_ref().is_some_and(|(value, at)| held == *value && *at > self.now_ms) => {}
                    (Some(_), None) => return Err(format!("{key:?} has returned to replica {replica}")),
                    (None, Some(_)) => return Err(format!("{key:?} is gone from replica {replica}")),
                    (Some(value), Some((newest, _))) if value != *newest => {
                        return Err(format!("{key:?} is an older one on replica {replica}"));
                    }
                    _ => {}
                }
            }
            if let Some(key) = held.keys().next() {
                return Err(format!("{key:?} was written by nobody, and is on replica {replica}"));
            }
            roots.push((self.layer)(db).info(cut).map_err(|error| format!("no root: {error:?}"))?.root);
        }
        match roots.iter().all(|root| *root == roots[0]) {
            true => Ok(()),
            false => Err("all have met, and roots differ".to_owned()),
        }
    }

    /// Checks that replicas of which one has purged find out that they are equal without looking for what is gone.
    fn check_meeting(&mut self, left: usize, right: usize) -> Result<(), String> {
        let [outcome, _] = self.session(left, right, u64::MAX);
        match (outcome.end, outcome.report) {
            (End::Complete, report) if report.entries_differing == 0 && report.entries_read == 0 => Ok(()),
            (end, report) => Err(format!("equal replicas met: {end:?}, {report:?}")),
        }
    }
}
