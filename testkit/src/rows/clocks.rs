//! F16: wall clocks that jump, and a peer whose clock is far ahead.
//!
//! Easy to get wrong: a stamp of a local write must rise above every stamp that the store ever gave out or took, also over a
//! reopening with a clock that has gone back.

use std::time::Duration;

use sync_proto::Options;
use sync_proto::driver::run_pair;
use syncline::replica::DbReplica;
use syncline::{Durability, Stamp};

use crate::life::DIR;
use crate::random::Random;
use crate::run::Run;

/// A day in milliseconds: much more than the drift that is allowed.
const DAY_MS: u64 = 86_400_000;

/// F16.
pub fn that_jump(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        run.runs += 1;
        stamps_rise(run, seed)?;
        far_ahead(run, seed)
    });
    run.must_reach(100, &["a clock that went back", "an entry put off"]);
}

/// Local stamps rise through jumps, kills and reopenings.
fn stamps_rise(run: &mut Run<'_>, seed: u64) -> Result<(), String> {
    let failed = |error: syncline::Error| error.to_string();
    let mut random = Random::new(seed);
    let mut world = run.world(seed);
    let mut db = world.builder(DIR).create().map_err(failed)?;
    let (mut last, mut now) = (Stamp::default(), 1_700_000_000_000u64);
    for number in 0..60 {
        run.at = format!("write {number}, last stamp {last:?}, clock at {now}");
        if random.chance(30) {
            let jump = [1, 1_000, DAY_MS, 400 * DAY_MS][random.below(4) as usize];
            let back = random.chance(50);
            now = if back { now.saturating_sub(jump) } else { now + jump };
            world.clock.set(now);
            run.reach("a clock that went back", back);
        }
        db.put(b"key", number.to_string()).map_err(failed)?;
        let digest = db.digest(b"key").map_err(failed)?.ok_or("a write is not there")?;
        if digest.stamp <= last {
            return Err(format!("stamp {:?} after {last:?}", digest.stamp));
        }
        last = digest.stamp;
        if random.chance(20) {
            if random.chance(50) {
                db.flush().map_err(failed)?;
            }
            db.persist(Durability::Sync).map_err(failed)?;
            let left =
                if random.chance(50) { world.vfs.kill() } else { world.vfs.power_cut(|n| random.below(n)) };
            world = world.with(left);
            db = world.builder(DIR).open().map_err(failed)?;
        }
    }
    Ok(())
}

/// A peer far ahead: its entries wait, this store's clock stays, nothing of its own is lost, and once its clock has come as far
/// they come.
fn far_ahead(run: &mut Run<'_>, seed: u64) -> Result<(), String> {
    let failed = |error: syncline::Error| error.to_string();
    let (here, there) = (run.world(2 * seed), run.world(2 * seed + 1));
    let left = here.builder(DIR).create().map_err(failed)?;
    let right = there.builder(DIR).create_replica(&left.replica_set()).map_err(failed)?;
    there.clock.advance(DAY_MS);
    run.at = "a peer that is a day ahead".to_owned();
    left.put(b"mine", b"here").map_err(failed)?;
    left.put(b"both", b"here").map_err(failed)?;
    right.put(b"theirs", b"there").map_err(failed)?;
    right.put(b"both", b"there").map_err(failed)?;
    let session =
        || run_pair(&DbReplica::new(&left), &DbReplica::new(&right), Options::new(seed), &mut |_| ());
    let (outcome, _) = session();
    run.reach("an entry put off", outcome.report.deferred > 0);
    if outcome.report.deferred != 2 {
        return Err(format!("two entries of the future, and {outcome:?}"));
    }
    let value = |key: &[u8]| left.get(key).map_err(failed).map(|value| value.map(|value| value.to_vec()));
    if value(b"both")?.as_deref() != Some(b"here") || value(b"theirs")?.is_some() {
        return Err("an entry of the future was taken".to_owned());
    }
    left.put(b"mine", b"again").map_err(failed)?;
    let ours = left.digest(b"mine").map_err(failed)?.ok_or("a local write is lost")?;
    let ahead = ours.stamp.unix_ms().saturating_sub(1_700_000_000_000);
    if Duration::from_millis(ahead) > Duration::from_secs(60) {
        return Err(format!("the peer drew this store's clock {ahead} ms ahead"));
    }
    here.clock.advance(DAY_MS);
    let _ = session();
    if left.root().map_err(failed)? != right.root().map_err(failed)? {
        return Err("the clocks agree, and the replicas do not".to_owned());
    }
    Ok(())
}
