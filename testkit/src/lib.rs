//! The test kit of Syncline, unpublished: what shows that a store loses nothing, whatever happens to it.
//!
//! The command `testkit faults` runs the rows of the fault table in `SECURITY.md`, each for as long as it is told;
//! `cargo test` runs them for a moment; `testkit planted` shows that they would notice. The engine's own tests take their
//! worlds and histories from here.

pub mod checksums;
pub mod explorer;
pub mod fuzz;
pub mod history;
pub mod hook;
pub mod layer;
pub mod life;
pub mod network;
pub mod planted;
pub mod random;
pub mod rows;
pub mod run;
pub mod specimen;
pub mod stop;
pub mod world;

pub use history::History;
pub use random::{Random, seeds};
pub use run::{Failure, Run};
pub use world::{Layer, World};
