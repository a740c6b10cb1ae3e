//! F9 to F11: operation `n` fails, for every `n`: with an error, with an fsync that has cleaned its pages, on a full disk.
//!
//! Easy to get wrong: a failing operation must be *told*, so besides looking at what is left the row demands that nothing was
//! acknowledged after it.

use std::io::ErrorKind;

use syncline::vfs::{Fault, FaultTarget, MemoryVfs, ReadMode};
use syncline::{Db, Durability, Error};

use crate::history::History;
use crate::life::{DIR, Life, Plan, Promise, abandon};
use crate::random::Random;
use crate::run::Run;
use crate::stop::Stop;
use crate::world::World;

/// How an operation fails.
#[derive(Debug, Clone, Copy)]
struct How {
    target: FaultTarget,
    kind: ErrorKind,
    /// Whether everything after it fails as well.
    stays: bool,
    /// Whether only the fsyncs among the operations are of interest.
    fsyncs: bool,
}

const ERROR: How = How { target: FaultTarget::Changes, kind: ErrorKind::Other, stays: false, fsyncs: false };
const READ_ERROR: How = How { target: FaultTarget::Reads, ..ERROR };
const FSYNC: How = How { fsyncs: true, ..ERROR };
const FULL: How = How { kind: ErrorKind::StorageFull, stays: true, ..ERROR };
const SHORT: How = How { kind: ErrorKind::WriteZero, ..ERROR };

/// F9: any operation fails once with an error: writes (half done), fsyncs, renames, removals, reads.
pub fn with_an_error(run: &mut Run<'_>) {
    run.each_seed(|run, seed| every_operation(run, seed, &[ERROR, READ_ERROR]));
    run.must_reach(300, &["a poisoned store", "an opening that failed", "a read that failed"]);
}

/// F10: any fsync fails and cleans its pages, so that the next one would succeed and the bytes never come; stopped with and
/// without a power cut.
pub fn an_fsync_that_cleaned_its_pages(run: &mut Run<'_>) {
    run.each_seed(|run, seed| every_operation(run, seed, &[FSYNC]));
    run.must_reach(300, &["a power cut after a failure", "a poisoned store"]);
}

/// F11: the disk is full from some operation on, or a write comes back short; then there is space again.
pub fn a_full_disk(run: &mut Run<'_>) {
    run.each_seed(|run, seed| every_operation(run, seed, &[FULL, SHORT]));
    run.must_reach(300, &["a poisoned store", "reads beside a full disk", "a short write"]);
}

/// Lives the same life again and again, each time with the next operation failing, until none is left to fail. It fails in each
/// of the ways in turn, so that a short run has seen all of them.
fn every_operation(run: &mut Run<'_>, seed: u64, ways: &[How]) -> Result<(), String> {
    let mut ways = ways.to_vec();
    for after in 0.. {
        for how in std::mem::take(&mut ways) {
            if fail(run, seed, how, after)? {
                ways.push(how);
            }
            if !run.goes_on() {
                return Ok(());
            }
        }
        if ways.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Lives the life of `seed` with operation `after` failing. False if it has no such operation.
fn fail(run: &mut Run<'_>, seed: u64, how: How, after: u64) -> Result<bool, String> {
    let (history, random) = (History::new(seed), Random::new(seed));
    let mut plan = Plan { closes: false, compacts: true, ..Plan::any(&mut random.clone(), 60) };
    if how.target == FaultTarget::Reads {
        plan.read_mode = ReadMode::Plain;
    }
    let world = run.world(seed);
    let made = plan.builder(&world).create().map_err(|error| format!("no store: {error}"))?;
    abandon(&world, made);
    let world = world.with(world.vfs.kill());
    let How { target, kind, stays, fsyncs } = how;
    world.vfs.inject(Fault { target, after, kind, stays });
    run.at = format!("operation {after} of {target:?} fails: {kind:?}, and all after it: {stays}");
    let floor = Promise { is_made: true, ..Promise::default() };
    let mut life = Life::new(floor, 0);
    let outcome = life.run(&world, &history, &plan, &mut random.clone());
    if outcome.is_ok() && world.vfs.operations(target) <= after {
        life.stop(&world);
        return Ok(false);
    }
    if fsyncs && matches!(&outcome, Err(Error::Io { op, .. }) if *op != "fsync") {
        life.stop(&world);
        return Ok(true);
    }
    run.runs += 1;
    let is_told = outcome.is_err();
    match outcome {
        // A temporary file that may be there or not is removed, whatever comes of it: nothing else may go unsaid.
        Ok(()) => {}
        Err(Error::Io { .. } | Error::Poisoned { .. }) => {}
        Err(error) => return Err(format!("the error is not typed: {error}")),
    }
    look_at(run, &world, &history, life, how, is_told, &plan, &mut random.clone())?;
    Ok(true)
}

/// Looks at what a life left in which an operation failed: the store that is still open, and what reopens. If the failure
/// was not told, all that can be asked is that nothing depended on it.
#[allow(clippy::too_many_arguments)]
fn look_at(
    run: &mut Run<'_>,
    world: &World,
    history: &History,
    mut life: Life,
    how: How,
    is_told: bool,
    plan: &Plan,
    random: &mut Random,
) -> Result<(), String> {
    let (mut promise, tried) = (life.promise(), life.tried);
    run.reach("an opening that failed", life.db.is_none());
    run.reach("a failure that nobody was told of", !is_told);
    run.reach("a read that failed", is_told && how.target == FaultTarget::Reads);
    run.reach("a short write", is_told && how.kind == ErrorKind::WriteZero);
    if let Some(db) = life.db.take() {
        if how.target == FaultTarget::Changes && is_told {
            refuses(&db, history, tried)?;
            // Where everything had been durable before, there is nothing to refuse; then it must hold.
            if db.persist(Durability::Sync).is_ok() {
                promise.durable = promise.returned;
            }
            run.reach("a poisoned store", true);
            run.reach("reads beside a full disk", how.stays);
        }
        abandon(world, db);
    }
    let mut stops = vec![Stop::Kill, Stop::Kept, Stop::Dropped];
    stops.extend([Stop::Mixed; 3]);
    for stop in stops {
        let left = stop.apply(&world.vfs, random);
        run.reach("a power cut after a failure", stop != Stop::Kill);
        reopens(&world.with(left), history, stop, stop.least(promise), tried, plan, random)
            .map_err(|what| format!("{stop}: {what}"))?;
    }
    Ok(())
}

/// A store of which an operation failed takes nothing more, and shows what is durable.
fn refuses(db: &Db, history: &History, tried: u64) -> Result<(), String> {
    for durability in [Durability::Sync, Durability::Buffered] {
        if history.commit(db, tried + 1, durability).is_ok() {
            return Err(format!("commit {} was acknowledged after a failure", tried + 1));
        }
    }
    if db.root().is_ok() {
        return Err("a fingerprint was given that may include what is lost".to_owned());
    }
    History::last(db).map(|_| ()).map_err(|error| format!("reads do not go on: {error}"))
}

/// The store opens, has what it promised, and still has it after another power cut: the opening made it durable again.
fn reopens(
    world: &World,
    history: &History,
    stop: Stop,
    least: u64,
    most: u64,
    plan: &Plan,
    random: &mut Random,
) -> Result<(), String> {
    let open =
        |world: &World| plan.builder(world).open().map_err(|error| format!("{DIR} does not open: {error}"));
    let db = open(world)?;
    let found = history.check(&db, most)?;
    if found < least {
        return Err(format!("commit {least} was acknowledged, and {found} is the last one there"));
    }
    if stop == Stop::Kill {
        let cut: MemoryVfs = Stop::Mixed.apply(&world.vfs, random);
        let cut = world.with(cut);
        let again = open(&cut)?;
        let last = history.check(&again, most)?;
        if last != found {
            return Err(format!("{found} commits were there, and {last} after a power cut"));
        }
        abandon(&cut, again);
    }
    let next = history.commit(&db, found + 1, Durability::Sync);
    next.map_err(|error| format!("a reopened store takes no write: {error}"))?;
    abandon(world, db);
    Ok(())
}
