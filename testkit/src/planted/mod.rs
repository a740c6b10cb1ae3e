//! Planted bugs: tests of the tests. Each is a store, or a replica, that does one thing wrong which a real one has done; an
//! ordinary row of the fault table must notice within a bounded number of states.
//!
//! They stand between a store and its medium, or between a session and its store, so that the engine knows nothing of them.
//!
//! Easy to get wrong: a bug that cannot matter is not caught, and says nothing about the rows. Each says what it would lose.

mod files;
mod manifest;
mod replicas;

use crate::layer::ReplicaLayer;
use crate::rows;
use crate::run::Run;
use crate::world::Layer;

/// Something done wrong on purpose.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub bug: Bug,
    /// The rows that must notice, each by itself.
    pub rows: &'static [&'static str],
    /// After at most so many states.
    pub states_max: u64,
}

/// Where a bug stands.
#[derive(Debug, Clone, Copy)]
pub enum Bug {
    /// Between a store and its files.
    Files(Layer),
    /// Between a session and its store. Only some rows have sessions.
    Sessions(ReplicaLayer),
    /// In what stores draw their ids from, by seed, and between sessions and their stores, which would find out.
    Ids(fn(u64) -> u64, ReplicaLayer),
}

/// What became of a planted bug.
#[derive(Debug, Clone)]
pub struct Caught {
    /// The row that looked for it.
    pub row: &'static str,
    /// After so many states.
    pub states: u64,
    /// What it was noticed by; nothing if it was not.
    pub by: Option<String>,
}

/// All planted bugs.
pub fn all() -> impl Iterator<Item = &'static Planted> {
    files::PLANTED.iter().chain(manifest::PLANTED).chain(replicas::PLANTED)
}

impl Planted {
    /// Looks for it with each of its rows.
    pub fn look(&self) -> Vec<Caught> {
        self.rows.iter().map(|row| self.look_with(row)).collect()
    }

    fn look_with(&self, name: &str) -> Caught {
        let Some(row) = rows::find(name) else {
            return Caught { row: "none", states: 0, by: None };
        };
        let states_max = self.states_max;
        let goes_on = |states| states < states_max;
        let run = Run::new(row.name, &goes_on).for_a_bug();
        let mut run = match self.bug {
            Bug::Files(layer) => run.with_layer(layer),
            Bug::Sessions(layer) => run.with_sessions(layer),
            Bug::Ids(seeds, layer) => run.with_seeds(seeds).with_sessions(layer),
        };
        (row.run)(&mut run);
        let by = run.failures.first().map(|failure| failure.what.clone());
        Caught { row: row.name, states: run.runs, by }
    }
}
