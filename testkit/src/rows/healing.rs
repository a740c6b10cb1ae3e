//! F8: damaged blocks and large values, with a replica at hand.
//!
//! A store and its twin hold the same; bits of the store's runs and large values flip. Whatever it then says must be right or
//! said to be unknown, and with what the twin has of exactly what is lost it is the twin's equal, wherever healing was
//! stopped in between.
//!
//! Easy to get wrong: damage that makes an opening fail (of a run's index, say) is another row's.

use std::collections::BTreeMap;
use std::path::Path;

use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Db, Error, ScrubOptions, ScrubStep};

use crate::life::DIR;
use crate::random::Random;
use crate::run::Run;
use crate::world::World;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// F8.
pub fn from_a_replica(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        run.runs += 1;
        let mut random = Random::new(seed);
        let world = run.world(seed);
        let (db, model) = fill(&world, &mut random).map_err(text)?;
        let twin = twin_of(&db, seed).map_err(text)?;
        db.close().map_err(text)?;
        let Some((path, at, vfs)) = damage(&world, &mut random) else { return Ok(()) };
        run.at = format!("byte {at} of {path}");
        let world = world.with(vfs);
        let db = world.builder(DIR).open().map_err(text)?;
        judge(&db, &model)?;
        let mut scrub = db.scrub(ScrubOptions::default().bytes_per_second(0));
        while scrub.step() != ScrubStep::Done {}
        judge(&db, &model)?;
        run.reach("an unknown span", !db.unknown_spans().is_empty());
        run.reach("a lost value", !db.lost_values().is_empty());
        world.vfs.record_steps();
        let _ = db.heal_from(&twin).map_err(text)?;
        equal(&db, &twin, &model)?;
        let steps = world.vfs.take_steps();
        for _ in 0..if steps.is_empty() { 0 } else { 4 } {
            let step = random.below(steps.len() as u64) as usize;
            run.at = format!("byte {at} of {path}, healing stopped at step {step} of {}", steps.len());
            let left = steps[step].power_cut(|bound| random.below(bound));
            let db = world.with(left).builder(DIR).open().map_err(text)?;
            judge(&db, &model)?;
            run.reach("a stop while healing", db.root().is_err());
            let _ = db.heal_from(&twin).map_err(text)?;
            equal(&db, &twin, &model)?;
        }
        Ok(())
    });
    run.must_reach(100, &["an unknown span", "a lost value", "a stop while healing"]);
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

fn twin_of(db: &Db, seed: u64) -> Result<Db, Error> {
    let twin = World::new(seed ^ 1).builder("/twin").create_replica(&db.replica_set())?;
    let mut stream = Vec::new();
    db.export(&mut stream, |_| true)?;
    let _ = twin.import(&stream[..], |_| true)?;
    Ok(twin)
}

/// The medium with a bit flipped that no opening stumbles over.
fn damage(world: &World, random: &mut Random) -> Option<(String, usize, MemoryVfs)> {
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
