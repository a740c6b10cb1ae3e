//! [`Specimen`]: a small store at rest with one of everything in it, for the rows that damage every byte of it.
//!
//! Easy to get wrong: damage is tried on a copy, and what is judged is what a user would see. A store that does not open and
//! says why is fine; one that opens must show the history, or say of what it cannot show that it is damaged.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use syncline::vfs::{MemoryVfs, Vfs};
use syncline::{Builder, Durability, Error};

use crate::history::{History, Problem};
use crate::life::{DIR, abandon};
use crate::random::Random;
use crate::world::World;

/// A small store, as a killed process left it.
#[derive(Debug)]
pub struct Specimen {
    world: World,
    history: History,
    /// The last commit.
    pub last: u64,
}

/// What a damaged specimen turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It does not open, and says what is damaged.
    Refused,
    /// It opens, and says of some of its entries that they are damaged.
    Told,
    /// It opens without its last commits, and says so, or has lost no more than the staging ring.
    Cut {
        /// The last commit that is there.
        last: u64,
        /// Bytes that the recovery says it cut off.
        torn_bytes: u64,
    },
    /// Nothing is missing.
    Whole {
        /// Whether it says that something had to be made anew.
        rebuilt: bool,
    },
}

impl Specimen {
    /// A store of `seed`: runs and Merkle files, large values in and out of segments, a sealed and an active segment, records
    /// in the staging ring.
    pub fn new(world: World, seed: u64) -> Result<Specimen, String> {
        let history = History::new(seed).with_values(300);
        let mut random = Random::new(seed);
        let mut make = || -> Result<u64, Error> {
            let db = builder(&world).create()?;
            let mut last = 0;
            let (flushed, synced, staged) = (25 + random.below(20), 6, 1 + random.below(4));
            for _ in 0..flushed {
                last += 1;
                history.commit(&db, last, Durability::Buffered)?;
            }
            db.flush()?;
            for number in 0..synced + staged {
                last += 1;
                let durability = if number < synced { Durability::Sync } else { Durability::Buffered };
                history.commit(&db, last, durability)?;
            }
            let left = world.vfs.kill();
            abandon(&world, db);
            // Everything is on the medium: damage is another thing than a power cut.
            for name in left.list(Path::new(DIR)).unwrap_or_default() {
                let path = Path::new(DIR).join(name);
                left.put(&path, &left.bytes(&path).unwrap_or_default());
                world.vfs.put(&path, &left.bytes(&path).unwrap_or_default());
            }
            Ok(last)
        };
        let last = make().map_err(|error| format!("the specimen cannot be made: {error}"))?;
        let world = world.with(world.vfs.kill());
        Ok(Specimen { world, history, last })
    }

    /// A copy to be damaged.
    pub fn copy(&self) -> MemoryVfs {
        self.world.vfs.kill()
    }

    /// The same without its staging ring, as after a power cut that everything else survived.
    pub fn without_ring(self) -> Specimen {
        self.world.vfs.put(&Path::new(DIR).join("RING"), &[]);
        self
    }

    /// Its files that have any of these extensions, in order.
    pub fn files(&self, extensions: &[&str]) -> Vec<PathBuf> {
        let names = self.world.vfs.list(Path::new(DIR)).unwrap_or_default();
        let is_wanted = |name: &String| extensions.iter().any(|extension| name.ends_with(extension));
        names.into_iter().filter(is_wanted).map(|name| Path::new(DIR).join(name)).collect()
    }

    /// The bytes of one of its files.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        self.world.vfs.bytes(path).unwrap_or_default()
    }

    /// Opens a damaged copy and looks at all of it.
    ///
    /// # Errors
    /// A sentence, if the store shows anything that was never there, or keeps silent about what is missing.
    pub fn judge(&self, damaged: MemoryVfs) -> Result<Outcome, String> {
        let world = self.world.with(damaged);
        let db = match builder(&world).open() {
            Ok(db) => db,
            Err(Error::Corruption { .. } | Error::UnsupportedVersion { .. }) => return Ok(Outcome::Refused),
            // Without a manifest of that name it is no store, and that is said.
            Err(Error::NotFound { .. }) => return Ok(Outcome::Refused),
            // Nor is one of whose files one is missing.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(Outcome::Refused);
            }
            Err(error) => return Err(format!("the error is not one of damage: {error}")),
        };
        let report = db.recovery().clone();
        let checked = self.history.check(&db, self.last);
        abandon(&world, db);
        match checked {
            Ok(last) if last == self.last => Ok(Outcome::Whole { rebuilt: report.merkle_rebuilt }),
            Ok(last) => Ok(Outcome::Cut { last, torn_bytes: report.torn_bytes }),
            Err(Problem::Read(
                Error::Corruption { .. } | Error::Unknown { .. } | Error::ValueLost { .. },
            )) => Ok(Outcome::Told),
            Err(Problem::Verify(_)) => Ok(Outcome::Told),
            Err(problem) => Err(problem.to_string()),
        }
    }
}

fn builder(world: &World) -> Builder {
    world.builder(DIR).memtable_bytes(16 << 10).inline_value_max(100)
}
