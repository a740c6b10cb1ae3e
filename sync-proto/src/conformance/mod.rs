//! A suite that tells whether a store answers as [`Replica`](crate::Replica) asks, for whoever teaches another database the
//! protocol: each request against a model, then whole sessions against a second store and against the model.
//!
//! A store needs a [`Subject`]: a replica to ask, and a few lines that write and read it in its users' way. One test runs it
//! all; a [`Failure`] names the [`Rule`] that was broken and the seed that breaks it again.
//!
//! ```
//! use sync_proto::conformance::{self, Failure, Subject};
//!
//! fn my_store_conforms<S: Subject>(create: impl FnMut(u64) -> S) -> Result<(), Failure> {
//!     conformance::check(0..1_000, create)
//! }
//! ```
//!
//! Not used by sessions, and nothing here is random: everything follows from the seeds.
//!
//! Easy to get wrong: the suite sees what a store says, not what it has done. Whether an answered
//! [`persist`](crate::Replica::persist) survives a power cut is for the store's own tests.

mod expected;
mod healing;
mod model;
mod modelled;
mod random;
mod reads;
mod rule;
mod sessions;
mod subject;
mod suite;
mod writes;

pub use modelled::Modelled;
pub use rule::{Failure, Rule};
pub use subject::{EntryHasher, Subject};
pub use suite::check;
