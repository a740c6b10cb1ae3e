//! [`Explorer`]: stops a life before every operation, in every way in which a machine stops, and looks at what is left.
//!
//! The medium is copied before every change and in the middle of every write. Of each copy the explorer makes what a killed
//! process leaves and what power cuts leave, opens that, compares it with the history, works on, and lets some of the
//! copies live another life, which is stopped at every step of its opening and its work in the same way.
//!
//! Easy to get wrong: what the next life may lose follows from the stop, not from the life: after a kill it is what was not
//! durable, after a power cut nothing of what is there then, for there is nothing left to lose.

use std::path::Path;

use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Durability, Error};

use crate::history::History;
use crate::life::{DIR, Life, Plan, Promise, abandon};
use crate::random::Random;
use crate::run::Run;
use crate::stop::Stop;
use crate::world::World;

/// One seed's lives.
pub struct Explorer<'r, 'a> {
    run: &'r mut Run<'a>,
    world: World,
    history: History,
    random: Random,
    /// Of so many states, one lives another life, by depth.
    odds: &'static [u64],
}

impl<'r, 'a> Explorer<'r, 'a> {
    /// Explores the lives of `seed`; of one state in `odds[depth]` another life begins.
    pub fn new(run: &'r mut Run<'a>, seed: u64, odds: &'static [u64]) -> Explorer<'r, 'a> {
        let (world, history) = (run.world(seed), History::new(seed));
        Explorer { run, world, history, random: Random::new(seed), odds }
    }

    /// Explores a life of at most `commits` commits that begins in an empty folder.
    ///
    /// # Errors
    /// A sentence that says what is wrong; the run says where.
    pub fn from_nothing(&mut self, commits: u64) -> Result<(), String> {
        let vfs = self.world.vfs.clone();
        self.live(vfs, Promise::default(), 0, commits, 0)
    }

    /// Lets lives of at most `commits` commits pass unseen, one stop after the other, and explores the one after them.
    ///
    /// # Errors
    /// As [`Explorer::from_nothing`].
    pub fn after_lives(&mut self, lives: u64, commits: u64) -> Result<(), String> {
        let mut world = self.world.clone();
        let (mut floor, mut tried) = (Promise::default(), 0);
        for life in 0..lives {
            self.run.at = format!("life {life}, unseen");
            let plan = Plan::any(&mut self.random, commits);
            let mut life = Life::new(floor, tried);
            let lived = life.run(&world, &self.history, &plan, &mut self.random);
            lived.map_err(|error| format!("an operation failed by itself: {error}"))?;
            let stop = *self.random.pick(&Stop::ALL);
            let left = world.with(stop.apply(&world.vfs, &mut self.random));
            (floor, tried) = (after(stop, life.promise(), stop.least(life.promise())), life.tried);
            life.stop(&world);
            world = left;
        }
        self.live(world.vfs, floor, tried, commits / 3, 1)
    }

    /// Lives a life on `vfs` and stops it at every step.
    fn live(
        &mut self,
        vfs: MemoryVfs,
        floor: Promise,
        tried: u64,
        commits: u64,
        depth: usize,
    ) -> Result<(), String> {
        let world = self.world.with(vfs);
        let plan = Plan::any(&mut self.random, commits);
        world.vfs.record_steps();
        let mut life = Life::new(floor, tried);
        self.run.at = format!("life {depth}, {plan:?}");
        let lived = life.run(&world, &self.history, &plan, &mut self.random);
        lived.map_err(|error| format!("an operation failed by itself: {error}"))?;
        let steps = world.vfs.take_steps();
        let opened = life.promises.get(1).map_or(0, |promise| promise.step);
        for (step, state) in steps.iter().enumerate() {
            for (cut, stop) in Stop::ALL.into_iter().enumerate() {
                let promise = life.promise_at(step);
                self.run.at = format!("life {depth}, step {step} of {}, cut {cut}: {stop}", steps.len());
                let left = stop.apply(state, &mut self.random);
                let least = stop.least(promise);
                let found = self.check(&left, least, life.tried, promise.is_made, &plan)?;
                self.run.reach("a stop while opening", step < opened && promise.is_made);
                let odds = self.odds.get(depth).copied().unwrap_or(u64::MAX);
                if self.random.below(odds) == 0 {
                    self.run.reach("another life", true);
                    let floor = after(stop, promise, found);
                    self.live(left, floor, life.tried, commits / 3, depth + 1)?;
                }
            }
            if !self.run.goes_on() {
                break;
            }
        }
        life.stop(&world);
        Ok(())
    }

    /// Opens what a stop left, checks it, and works on. Returns the last commit that is there.
    fn check(
        &mut self,
        left: &MemoryVfs,
        least: u64,
        most: u64,
        is_made: bool,
        plan: &Plan,
    ) -> Result<u64, String> {
        self.run.runs += 1;
        let world = self.world.with(left.kill());
        let db = match plan.builder(&world).open() {
            Ok(db) => db,
            Err(Error::NotFound { .. }) if !is_made => {
                let made = plan.builder(&world).create();
                made.map_err(|error| format!("a creation that was cut off cannot be repeated: {error}"))?
            }
            Err(error) => return Err(format!("the store does not open: {error}")),
        };
        let found = self.history.check(&db, most)?;
        if found < least {
            return Err(format!("commit {least} was acknowledged, and {found} is the last one there"));
        }
        let report = db.recovery();
        if report.merkle_rebuilt {
            return Err("the Merkle index was rebuilt".to_owned());
        }
        self.run.reach("a torn tail", report.torn_bytes > 0);
        self.run.reach("a torn manifest", report.torn_manifest_bytes > 0);
        self.run.reach("commits out of the ring", report.ring_commits > 0);
        let names = left.list(Path::new(DIR)).unwrap_or_default();
        self.run.reach("values moved by a merge", names.iter().any(|name| name.ends_with(".values")));
        self.run.reach("replay over runs", report.replayed_commits > 0 && report.flushed.0 > 0);
        if self.random.chance(10) {
            let next = self.history.commit(&db, found + 1, Durability::Sync);
            next.map_err(|error| format!("a recovered store takes no write: {error}"))?;
            let cut = world.with(Stop::Mixed.apply(&world.vfs, &mut self.random));
            let again = plan.builder(&cut).open();
            let again = again.map_err(|error| format!("the store does not open again: {error}"))?;
            let last = self.history.check(&again, found + 1)?;
            if last != found + 1 {
                return Err(format!("a recovered store acknowledged commit {}, then lost it", found + 1));
            }
            abandon(&cut, again);
        }
        abandon(&world, db);
        Ok(found)
    }
}

/// What the next life may count on after `stop`, when `found` is the last commit that is there.
fn after(stop: Stop, promise: Promise, found: u64) -> Promise {
    match stop {
        Stop::Kill => Promise { step: 0, ..promise },
        _ => Promise { step: 0, is_made: promise.is_made, returned: found, durable: found },
    }
}
