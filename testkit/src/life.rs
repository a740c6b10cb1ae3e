//! [`Life`]: one life of a store, from its opening to its stop, and what it promised on the way.
//!
//! Used by the explorer, which stops it at every step, and by the rows in which an operation fails.
//!
//! Easy to get wrong: a promise holds from the moment at which a call *returned*, so it bears the number of recorded steps
//! of then; and what an opening found is durable from its return on, whatever it was before.

use syncline::vfs::{Fault, FaultTarget, ReadMode};
use syncline::{Builder, Db, Durability, Error};

use crate::history::History;
use crate::random::Random;
use crate::world::World;

/// The folder of every store here.
pub const DIR: &str = "/db";

/// What a caller had been told by some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// Recorded steps by then.
    pub step: usize,
    /// Whether a store is there at all.
    pub is_made: bool,
    /// The last commit that returned: it survives a kill.
    pub returned: u64,
    /// The last commit that is durable: it survives a power cut.
    pub durable: u64,
}

/// What happens in a life.
#[derive(Debug, Clone)]
pub struct Plan {
    /// See [`Builder::memtable_bytes`]. Small ones flush often, large ones let the staging ring overflow.
    pub memtable_bytes: usize,
    /// See [`Builder::read_mode`]. Only a plain read can fail.
    pub read_mode: ReadMode,
    /// How many commits it makes at most.
    pub commits: u64,
    /// How many of a hundred commits are [`Durability::Sync`].
    pub sync_percent: u64,
    /// How often, of a hundred times, background work is done after a commit.
    pub step_percent: u64,
    /// Whether it ends with a merge of everything.
    pub compacts: bool,
    /// Whether the store is closed at the end, or just stops.
    pub closes: bool,
}

impl Plan {
    /// Any plan of at most `commits` commits.
    pub fn any(random: &mut Random, commits: u64) -> Plan {
        Plan {
            memtable_bytes: *random.pick(&[2 << 10, 4 << 10, 6 << 10, 100 << 10]),
            read_mode: *random.pick(&[ReadMode::Mapped, ReadMode::Plain]),
            commits: 1 + random.below(commits),
            sync_percent: *random.pick(&[2, 15, 50]),
            step_percent: *random.pick(&[5, 30, 80]),
            compacts: random.chance(30),
            closes: random.chance(50),
        }
    }

    /// How the store is opened.
    pub fn builder(&self, world: &World) -> Builder {
        world.builder(DIR).memtable_bytes(self.memtable_bytes).read_mode(self.read_mode)
    }
}

/// A life, while it lasts or when it is over.
#[derive(Debug)]
pub struct Life {
    /// The last commit that was tried.
    pub tried: u64,
    /// What was promised, in order. The first holds from the beginning.
    pub promises: Vec<Promise>,
    /// What was open when it ended; dropped by the owner, for closing is work, too.
    pub db: Option<Db>,
}

impl Life {
    /// A life that has not begun, of which `floor` was promised before. `most` is the last commit that was ever tried.
    pub fn new(floor: Promise, most: u64) -> Life {
        Life { tried: most, promises: vec![Promise { step: 0, ..floor }], db: None }
    }

    /// What was promised last.
    pub fn promise(&self) -> Promise {
        self.promises.last().copied().unwrap_or_default()
    }

    /// What had been promised when `step` copies had been recorded.
    pub fn promise_at(&self, step: usize) -> Promise {
        self.promises.iter().rev().find(|promise| promise.step <= step).copied().unwrap_or_default()
    }

    fn promise_now(&mut self, world: &World, returned: u64, durable: u64) {
        self.promises.push(Promise { step: world.vfs.step_count(), is_made: true, returned, durable });
    }

    /// Opens or creates the store and lives `plan`.
    ///
    /// # Errors
    /// The first error of any call, after which nothing more was tried.
    pub fn run(
        &mut self,
        world: &World,
        history: &History,
        plan: &Plan,
        random: &mut Random,
    ) -> Result<(), Error> {
        let db = plan.builder(world).open_or_create()?;
        let db = self.db.insert(db).clone();
        let mut last = History::last(&db).unwrap_or_default();
        // Commits that were lost are made again under their numbers.
        self.promise_now(world, last, last);
        let mut durable = last;
        for _ in 0..plan.commits {
            last += 1;
            self.tried = self.tried.max(last);
            let is_durable = random.chance(plan.sync_percent);
            let durability = if is_durable { Durability::Sync } else { Durability::Buffered };
            history.commit(&db, last, durability)?;
            if is_durable {
                durable = last;
            }
            self.promise_now(world, last, durable);
            while random.chance(plan.step_percent) && db.step()? {}
        }
        if plan.compacts {
            db.compact(|_| true)?;
            self.promise_now(world, last, last);
        }
        if plan.closes {
            drop(db);
            self.db.take().map_or(Ok(()), Db::close)?;
            self.promise_now(world, last, last);
        }
        Ok(())
    }

    /// Ends the life without a word: nothing more reaches the medium.
    pub fn stop(mut self, world: &World) {
        if let Some(db) = self.db.take() {
            abandon(world, db);
        }
    }
}

/// Drops a handle so that closing it writes nothing.
pub fn abandon(world: &World, db: Db) {
    let kind = std::io::ErrorKind::Other;
    world.vfs.inject(Fault { target: FaultTarget::Changes, after: 0, kind, stays: true });
    drop(db);
}
