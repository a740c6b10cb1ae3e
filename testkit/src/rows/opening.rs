//! F13 and F15: a store that is open elsewhere, and one of another format version. Both are refused, and nothing is touched.
//!
//! Easy to get wrong: golden files are never made anew for a version that was released; a changed format has a new number
//! and a folder of its own under `golden/`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use syncline::vfs::{DiskVfs, MemoryVfs, Vfs};
use syncline::{Db, Durability, Error};

use crate::history::History;
use crate::life::DIR;
use crate::run::Run;
use crate::world::World;

/// F13: a second opening for writing, from this process and from another one, is `Locked`, and no file changes.
pub fn twice(run: &mut Run<'_>) {
    let child = run.child.clone();
    run.each_seed(|run, seed| {
        let dir = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
        let disk: Arc<dyn Vfs> = Arc::new(DiskVfs);
        let world = run.world(seed);
        for (vfs, dir) in [(disk, dir.path()), (Arc::new(world.vfs.clone()), Path::new(DIR))] {
            run.at = format!("a second opening of {}", dir.display());
            run.runs += 1;
            let mut environment = world.environment();
            environment.vfs = vfs.clone();
            let builder = Db::builder(dir).environment(environment).background(false);
            let db = builder.clone().create().map_err(|error| error.to_string())?;
            let history = History::new(seed);
            for number in 1..20 {
                history.commit(&db, number, Durability::Buffered).map_err(|error| error.to_string())?;
            }
            let before = contents(&*vfs, dir)?;
            let second = builder.clone().open();
            if !matches!(second, Err(Error::Locked { .. })) {
                return Err(format!("a second opening gave {second:?}"));
            }
            if let Some(child) = child.as_deref().filter(|_| dir != Path::new(DIR)) {
                let outcome = std::process::Command::new(child).args(["child", "open"]).arg(dir).output();
                let said = outcome.map_err(|error| error.to_string())?.stdout;
                if said != b"locked\n" {
                    return Err(format!("another process was told {:?}", String::from_utf8_lossy(&said)));
                }
                run.reach("another process", true);
            }
            if contents(&*vfs, dir)? != before {
                return Err("an opening that was refused changed files".to_owned());
            }
            drop(db);
            let again = builder.open().map_err(|error| format!("not free after closing: {error}"))?;
            history.check(&again, 19)?;
        }
        Ok(())
    });
    if run.child.is_some() {
        run.must_reach(2, &["another process"]);
    }
}

/// The child of F13: opens the store and says how that went.
pub fn child(dir: &Path) -> &'static str {
    match Db::builder(dir).background(false).open() {
        Err(Error::Locked { .. }) => "locked",
        Err(_) => "failed",
        Ok(_) => "opened",
    }
}

fn contents(vfs: &dyn Vfs, dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let read = |name: String| {
        let file = vfs.open(&dir.join(&name), syncline::vfs::ReadMode::Plain)?;
        let bytes = file.read(0, file.len() as usize)?.to_vec();
        Ok((name, bytes))
    };
    let names = vfs.list(dir).map_err(|error| error.to_string())?;
    names.into_iter().map(read).collect::<std::io::Result<_>>().map_err(|error| error.to_string())
}

/// The files of the store under `golden/v1`, made by `testkit golden`, and how many commits of history 15 they hold.
const GOLDEN: &[(&str, &[u8])] = &[
    ("000000000001.log", include_bytes!("../../golden/v1/000000000001.log")),
    ("000000000002.log", include_bytes!("../../golden/v1/000000000002.log")),
    ("000000000001.run", include_bytes!("../../golden/v1/000000000001.run")),
    ("000000000002.merkle", include_bytes!("../../golden/v1/000000000002.merkle")),
    ("000000000002.manifest", include_bytes!("../../golden/v1/000000000002.manifest")),
];
const GOLDEN_COMMITS: u64 = 30;
const GOLDEN_SEED: u64 = 15;

fn golden_world() -> World {
    let world = World::new(GOLDEN_SEED);
    for (name, bytes) in GOLDEN {
        world.vfs.put(&Path::new(DIR).join(name), bytes);
    }
    world
}

/// F15: files of this format version open and hold what they held; of any file with a later version's number the opening says so
/// and writes nothing.
pub fn of_another_version(run: &mut Run<'_>) {
    run.guard(0, |run| {
        run.at = "the golden files".to_owned();
        run.runs += 1;
        let world = golden_world();
        let opened =
            world.builder(DIR).open().map_err(|error| format!("golden files do not open: {error}"))?;
        let found = History::new(GOLDEN_SEED).with_values(300).check(&opened, GOLDEN_COMMITS)?;
        if found != GOLDEN_COMMITS || opened.recovery().merkle_rebuilt {
            return Err(format!("{found} commits are there: {:?}", opened.recovery()));
        }
        for (name, bytes) in GOLDEN {
            run.at = format!("{name} with version 2");
            run.runs += 1;
            let world = golden_world();
            let mut newer = bytes.to_vec();
            newer[8..12].copy_from_slice(&2u32.to_le_bytes());
            let checksum = crc32fast::hash(&newer[..12]);
            newer[12..16].copy_from_slice(&checksum.to_le_bytes());
            world.vfs.put(&Path::new(DIR).join(name), &newer);
            let before = contents(&world.vfs, Path::new(DIR))?;
            let is_old_log = *name == "000000000001.log";
            match world.builder(DIR).open() {
                Err(Error::UnsupportedVersion { found: 2, .. }) => run.reach("a later version refused", true),
                // What a flush has taken over is looked at where a value in it is wanted.
                Ok(_) if is_old_log => continue,
                other => return Err(format!("a file of version 2 gave {other:?}")),
            }
            let mut after = contents(&world.vfs, Path::new(DIR))?;
            after.retain(|name, _| name != "LOCK" && name != "RING");
            if after != before {
                return Err("an opening that was refused wrote something".to_owned());
            }
        }
        Ok(())
    });
    run.must_reach(6, &["a later version refused"]);
}

/// Makes the files of the golden set in `dir`.
///
/// # Errors
/// What the store or the folder failed with.
pub fn make_golden(dir: &Path) -> Result<(), Error> {
    let world = World::new(GOLDEN_SEED);
    let history = History::new(GOLDEN_SEED).with_values(300);
    let db = world.builder(DIR).memtable_bytes(16 << 10).create()?;
    for number in 1..=GOLDEN_COMMITS {
        history.commit(&db, number, Durability::Sync)?;
        if number == GOLDEN_COMMITS - 10 {
            db.flush()?;
        }
    }
    let left = world.vfs.kill();
    crate::life::abandon(&world, db);
    save(&left, dir).map_err(|error| Error::Io { op: "write", path: dir.to_owned(), source: error.into() })
}

fn save(vfs: &MemoryVfs, dir: &Path) -> std::io::Result<()> {
    for name in vfs.list(Path::new(DIR))?.iter().filter(|name| name.contains('.')) {
        let mut bytes = vfs.bytes(&Path::new(DIR).join(name))?;
        // Space that is reserved and empty is not worth keeping.
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if name.ends_with(".log") {
            bytes.truncate(written);
        }
        let file = DiskVfs.create(&dir.join(name), 0)?;
        file.write_all_at(0, &bytes)?;
    }
    Ok(())
}
