//! F8: damaged blocks and large values, with a replica at hand.
//!
//! A store and its twin hold the same; bits of the store's runs and large values flip. Whatever it then says must be right or
//! said to be unknown. With what the twin has of exactly what is lost it is the twin's equal, wherever healing was
//! stopped in between, whether it takes that from the twin itself or by sessions, which lose connections.
//!
//! Easy to get wrong: damage that makes an opening fail (of a run's index, say) is another row's. And what is written after
//! the damage must be in the model when it is durable, or a stop takes it back.

use std::collections::BTreeMap;
use std::path::Path;

use sync_proto::{AbortReason, End, Reason};
use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Db, Durability, Error, ScrubOptions, ScrubStep};

use crate::life::DIR;
use crate::network::session;
use crate::random::Random;
use crate::run::Run;
use crate::stop::Stop;
use crate::world::World;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// F8.
pub fn from_a_replica(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        run.runs += 1;
        let mut random = Random::new(seed);
        let world = run.world(seed);
        let (db, mut model) = fill(&world, &mut random).map_err(text)?;
        let twin = twin_of(&db, seed).map_err(text)?;
        db.close().map_err(text)?;
        let Some((path, at, vfs)) = damage(&world, &mut random) else { return Ok(()) };
        let damaged = format!("byte {at} of {path}");
        run.at.clone_from(&damaged);
        let world = world.with(vfs);
        let db = world.builder(DIR).open().map_err(text)?;
        judge(&db, &model)?;
        let mut scrub = db.scrub(ScrubOptions::default().bytes_per_second(0));
        while scrub.step() != ScrubStep::Done {}
        judge(&db, &model)?;
        run.reach("an unknown span", !db.unknown_spans().is_empty());
        run.reach("a lost value", !db.lost_values().is_empty());
        let mut way = Way { by_sessions: random.chance(50), nonce: seed << 20, random };
        if way.by_sessions {
            // What the twin lacks goes to it when the store is whole again.
            write(&db, &mut way.random, &mut model).map_err(text)?;
        }
        world.vfs.record_steps();
        way.heal(run, &db, &twin, &model)?;
        let steps = world.vfs.take_steps();
        for _ in 0..if steps.is_empty() { 0 } else { 4 } {
            let step = way.random.below(steps.len() as u64) as usize;
            let stop = *way.random.pick(&Stop::ALL);
            run.at = format!("{damaged}, healing stopped at step {step} of {}, {stop}", steps.len());
            let world = world.with(stop.apply(&steps[step], &mut way.random));
            let db = world.builder(DIR).open().map_err(text)?;
            judge(&db, &model)?;
            run.reach("a stop while healing", db.root().is_err());
            way.heal(run, &db, &twin, &model)?;
        }
        Ok(())
    });
    run.must_reach(100, &["an unknown span", "a lost value", "a stop while healing"]);
    run.must_reach(100, &["a span healed by a session", "a value healed by a session"]);
    run.must_reach(100, &["a connection lost while healing"]);
}

/// How a store takes back what it has lost.
struct Way {
    by_sessions: bool,
    nonce: u64,
    random: Random,
}

impl Way {
    /// Heals all that `db` knows to have lost; then it and its twin hold `model`.
    fn heal(&mut self, run: &mut Run<'_>, db: &Db, twin: &Db, model: &Model) -> Result<(), String> {
        if !self.by_sessions {
            let _ = db.heal_from(twin).map_err(text)?;
            return equal(db, twin, model);
        }
        while self.random.chance(50) {
            let frames = self.random.below(8);
            let (was_whole, what) = (db.root().is_ok(), format!("{}, {frames} frames", run.at));
            self.meet(run, db, twin, frames).map_err(|problem| format!("{problem} ({what})"))?;
            judge(db, model).map_err(|problem| format!("{problem} ({what})"))?;
            run.reach("a connection lost while healing", !was_whole);
        }
        let (spans, values) = (db.unknown_spans().len(), db.lost_values().len());
        let ends = self.meet(run, db, twin, u64::MAX)?;
        for end in &ends {
            let is_right = match end {
                End::Partial(reasons) => spans > 0 && reasons.iter().eq([Reason::Healed]),
                end => spans == 0 && *end == End::Complete,
            };
            if !is_right {
                return Err(format!("{spans} spans were unknown, and a session ended {end:?}"));
            }
        }
        judge(db, model)?;
        run.reach("a span healed by a session", spans > 0);
        run.reach("a value healed by a session", values > 0);
        let ends = self.meet(run, db, twin, u64::MAX)?;
        match ends == [End::Complete, End::Complete] {
            true => equal(db, twin, model),
            false => Err(format!("all is known, and a session ended {ends:?}")),
        }
    }

    /// A session that either side begins, whose connection is lost after `frames` frames.
    fn meet(&mut self, run: &Run<'_>, db: &Db, twin: &Db, frames: u64) -> Result<[End; 2], String> {
        self.nonce += 1;
        let dbs = if self.random.chance(50) { [db, twin] } else { [twin, db] };
        let replicas = dbs.map(run.sessions);
        let ends = session([&*replicas[0], &*replicas[1]], self.nonce, frames).map(|outcome| outcome.end);
        match ends.iter().find(|end| matches!(end, End::Aborted(AbortReason::Replica(_)))) {
            Some(end) => Err(format!("a session ended by its store: {end:?}")),
            None => Ok(ends),
        }
    }
}

fn text(error: Error) -> String {
    error.to_string()
}

/// A store of several runs, some of which hide what others have.
fn fill(world: &World, random: &mut Random) -> Result<(Db, Model), Error> {
    let db = world.builder(DIR).create()?;
    let mut model = Model::new();
    for _ in 0..100 + random.below(400) {
        let (key, value) = (random.key(300), random.value());
        if random.chance(20) {
            db.delete(&key)?;
            model.remove(&key);
        } else {
            db.put(&key, &value)?;
            model.insert(key, value);
        }
        if random.chance(3) {
            db.flush()?;
        }
        db.step()?;
    }
    db.flush()?;
    Ok((db, model))
}

/// Some writes and deletions, durable.
fn write(db: &Db, random: &mut Random, model: &mut Model) -> Result<(), Error> {
    for _ in 0..random.below(20) {
        let (key, value) = (random.key(300), random.value());
        if random.chance(30) {
            db.delete(&key)?;
            model.remove(&key);
        } else {
            db.put(&key, &value)?;
            model.insert(key, value);
        }
    }
    db.persist(Durability::Sync)
}

fn twin_of(db: &Db, seed: u64) -> Result<Db, Error> {
    let twin = World::new(seed ^ 1).builder("/twin").create_replica(&db.replica_set())?;
    let mut stream = Vec::new();
    db.export(&mut stream, |_| true)?;
    let _ = twin.import(&stream[..], |_| true)?;
    Ok(twin)
}

/// The medium with a bit flipped that no opening stumbles over.
pub(super) fn damage(world: &World, random: &mut Random) -> Option<(String, usize, MemoryVfs)> {
    let names = world.vfs.list(Path::new(DIR)).ok()?;
    let is_data = |name: &String| [".run", ".log", ".values"].iter().any(|kind| name.ends_with(kind));
    let names: Vec<String> = names.into_iter().filter(is_data).collect();
    for _ in 0..10 {
        let name = random.pick(&names).clone();
        let path = Path::new(DIR).join(&name);
        let vfs = world.vfs.kill();
        let at = random.below(vfs.bytes(&path).ok()?.len() as u64) as usize;
        vfs.flip(&path, at, 1 << random.below(8)).ok()?;
        if world.with(vfs.clone()).builder(DIR).open_read_only().is_ok() {
            return Some((name, at, vfs.kill()));
        }
    }
    None
}

/// Every answer is right or says that it is not known.
fn judge(db: &Db, model: &Model) -> Result<(), String> {
    for (key, value) in model {
        match db.get(key) {
            Ok(found) if found.as_deref() == Some(value) => {}
            Err(Error::Unknown { .. } | Error::ValueLost { .. }) => {}
            other => return Err(format!("key {} reads as {other:?}", key.escape_ascii())),
        }
    }
    let mut expected = model.iter();
    for entry in db.default_keyspace().iter() {
        match entry {
            Ok(entry) if expected.next() == Some((&entry.key, &entry.value.to_vec())) => {}
            Err(Error::Unknown { .. } | Error::ValueLost { .. }) => return Ok(()),
            other => return Err(format!("a scan shows {other:?}")),
        }
    }
    if expected.next().is_some() { Err("a scan ends too early".to_owned()) } else { Ok(()) }
}

/// The store holds what the twin holds, and nothing is wrong with it but for filters, which cost time alone.
fn equal(db: &Db, twin: &Db, model: &Model) -> Result<(), String> {
    if db.root().map_err(text)? != twin.root().map_err(text)? {
        return Err("healed, and not equal to the twin".to_owned());
    }
    let mut report = db.verify(|_| true).map_err(text)?;
    report.problems.retain(|problem| !problem.ends_with("the run's filter is damaged"));
    match report.problems.first() {
        Some(problem) => Err(format!("healed, and {problem}")),
        None => model.iter().try_for_each(|(key, value)| match db.get(key) {
            Ok(found) if found.as_deref() == Some(value) => Ok(()),
            other => Err(format!("healed, and key {} reads as {other:?}", key.escape_ascii())),
        }),
    }
}
