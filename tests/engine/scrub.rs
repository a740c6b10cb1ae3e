//! Scrubbing: it finds damage that reads would not see, keeps to its rate, and goes on where it stopped.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "one test damages files behind the store's back"
)]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use syncline::{Db, Error, Scrub, ScrubOptions, ScrubReport, ScrubStep};

use crate::common::{Random, World, seeds};

fn fill(db: &Db, count: u64, random: &mut Random) {
    for _ in 0..count {
        db.put(random.key(5_000), random.value()).expect("put");
    }
}

/// Runs a scrub to its end; whatever time it asks for is given to it.
fn run(mut scrub: Scrub, mut pass: impl FnMut(Duration)) -> ScrubReport {
    loop {
        match scrub.step() {
            ScrubStep::Wait(time) => pass(time),
            ScrubStep::Done => return scrub.report().clone(),
            _ => {}
        }
    }
}

fn fast() -> ScrubOptions {
    ScrubOptions::default().bytes_per_second(0)
}

#[test]
fn every_damaged_byte_of_runs_and_values_is_found() {
    let mut random = Random::new(1);
    let world = World::new(1);
    let db = world.builder("/db").create().expect("a new store");
    fill(&db, 1_000, &mut random);
    db.compact(|_| true).expect("compact");
    let whole = run(db.scrub(fast()), |_| panic!("no rate, no waiting"));
    assert_eq!(whole.damage_count, 0, "{:?}", whole.damage);
    assert!(whole.blocks > 3 && whole.values > 5, "{whole:?}");
    drop(db);

    let names = world.vfs.kill();
    for name in syncline::vfs::Vfs::list(&names, Path::new("/db")).expect("list") {
        let path = Path::new("/db").join(&name);
        let len = names.bytes(&path).expect("bytes").len();
        for _ in 0..if name.ends_with(".run") { 150 } else { 0 } {
            let at = random.below(len as u64) as usize;
            let world = World { vfs: names.kill(), ..world.clone() };
            world.vfs.flip(&path, at, 1 << random.below(8)).expect("flipped");
            // What an opening finds it refuses; the rest is the scrub's.
            let Ok(db) = world.builder("/db").open() else { continue };
            let report = run(db.scrub(fast()), |_| {});
            assert_eq!(report.damage_count, 1, "byte {at} of {name}");
            let Error::Corruption { file, .. } = &report.damage[0] else { panic!("{report:?}") };
            assert_eq!(*file, path);
        }
    }
}

#[test]
fn damage_behind_blocks_and_values_that_were_read_before_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let builder = Db::builder(dir.path()).inline_value_max(100);
    let db = builder.create().expect("a new store");
    for number in 0..500u64 {
        db.put(number.to_be_bytes(), vec![7; if number.is_multiple_of(100) { 5_000 } else { 20 }])
            .expect("put");
    }
    db.flush().expect("flush");
    assert_eq!(db.iter().filter(Result::is_ok).count(), 500);
    for (extension, offset) in [("log", 3_000), ("run", 9_000)] {
        let files = std::fs::read_dir(dir.path()).expect("list").map(|file| file.expect("a file").path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        files.sort();
        let before = run(db.scrub(fast()), |_| {}).damage_count;
        let file = std::fs::OpenOptions::new().write(true).open(&files[0]).expect("open");
        file.write_all_at(&[0x55], offset).expect("damage");
        assert_eq!(run(db.scrub(fast()), |_| {}).damage_count, before + 1, "{extension}");
    }
}

#[test]
fn a_scrub_keeps_to_its_rate_whatever_the_clock_does() {
    let world = World::new(2);
    let db = world.builder("/db").create().expect("a new store");
    let mut random = Random::new(2);
    fill(&db, 3_000, &mut random);
    db.flush().expect("flush");
    let rate = 100_000;
    let mut passed = Duration::ZERO;
    let report = run(db.scrub(ScrubOptions::default().bytes_per_second(rate)), |time| {
        passed += time;
        world.clock.advance(time.as_millis() as u64);
        if random.chance(20) {
            let now = syncline::clock::WallClock::now_ms(&*world.clock);
            world.clock.set(now - 5_000);
        }
    });
    // A second's worth at the beginning, and one step that nobody waits for at the end.
    let least = (report.bytes - rate).saturating_sub(300 << 10) * 1000 / rate;
    assert!(report.bytes > 4 * rate, "only {} bytes", report.bytes);
    assert!(
        (least..=report.bytes * 1000 / rate + 1000).contains(&(passed.as_millis() as u64)),
        "{passed:?} for {report:?}"
    );
}

#[test]
fn a_scrub_goes_on_where_it_stopped_through_restarts_and_compactions() {
    for seed in seeds(20) {
        let mut random = Random::new(seed);
        let world = World::new(seed);
        let mut db = world.builder("/db").create().expect("a new store");
        fill(&db, 3_000, &mut random);
        db.flush().expect("flush");
        let whole = run(db.scrub(fast()), |_| {});
        let (mut position, mut bytes, mut blocks, mut stops) = (Default::default(), 0, 0, 0);
        let is_compacted = random.chance(50);
        loop {
            let mut scrub = db.scrub(fast().begin_at(position));
            let step = scrub.step();
            position = scrub.position();
            assert_eq!(scrub.report().damage_count, 0, "seed {seed}: {:?}", scrub.report().damage);
            bytes += scrub.report().bytes;
            blocks += scrub.report().blocks;
            if step == ScrubStep::Done {
                break;
            }
            stops += 1;
            drop(scrub);
            if is_compacted && stops == 1 {
                db.compact(|_| true).expect("compact");
            }
            drop(db);
            db = world.builder("/db").open().expect("reopen");
        }
        assert!(stops > 1, "seed {seed}: done at once");
        if is_compacted {
            assert!(blocks > 0 && bytes > 0);
        } else {
            assert_eq!((bytes, blocks), (whole.bytes, whole.blocks), "seed {seed}");
        }
    }
}

#[test]
fn a_verification_tells_how_far_it_is_and_stops_wherever_it_is_told_to() {
    let world = World::new(3);
    let db = world.builder("/db").create().expect("a new store");
    fill(&db, 3_000, &mut Random::new(3));
    db.flush().expect("flush");
    fill(&db, 3_000, &mut Random::new(4));
    let mut told = Vec::new();
    let report = db.verify(|so_far| {
        told.push(so_far);
        true
    });
    assert_eq!(report.expect("verify").problems, Vec::<String>::new());
    assert!(told.len() > 20 && told.is_sorted_by_key(|so_far| so_far.entries), "{told:?}");
    assert!(told.iter().all(|so_far| so_far.entries <= so_far.entries_total));
    assert!(told.iter().all(|so_far| so_far.entries_total == told[0].entries_total));
    for stop in [0, 1, told.len() / 2, told.len() - 1] {
        let mut calls = 0;
        let stopped = db.verify(|_| {
            calls += 1;
            calls <= stop
        });
        assert!(matches!(stopped, Err(syncline::Error::Aborted)), "after {stop} calls: {stopped:?}");
        assert_eq!(calls, stop + 1);
    }
}
