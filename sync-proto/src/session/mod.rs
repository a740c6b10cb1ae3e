//! [`Session`]: one repair with one peer, as a machine without I/O. Frames, answers and time go in; frames, questions
//! and the outcome come out.
//!
//! ```text
//!   initiator: Opening --hello--> Listening <---------------+
//!   responder: Listening ------+                            | the flight is sent whole
//!                              v last frame of a flight     |
//!                           Talking(Heal > Reopen > PutAside > Entries > Closing)
//!                              |
//!                              +--> Ended: both said "done", or anything went wrong
//! ```
//!
//! The sides take turns. While a side listens it answers item by item into its outbox; when the peer's flight has ended
//! it sends that, then entries, and says "done" when nothing of its own is outstanding.
//!
//! - `io`: what goes in and out. `machine`: state, and the loop that moves it on.
//! - `hello`: opening; who may send what. `horizon`: who belongs to the set, and what a session proves.
//! - `narrow`: a range becomes those of its pieces that differ, by a sketch or a list of them, which `survey` makes and
//!   compares; `pair` compares lists, `marks` are what is remembered of pieces, `guess` tells how many entries that makes.
//! - `walk`: pieces of ranges one by one, where most of them differ; `align` compares them, purely. `aside`: what does not
//!   fit a flight.
//! - `scan`: entries by a sketch of them, and `list`: by a list; `leaf` settles them, purely.
//! - `healing`: what a side has lost comes back before anything is compared.
//! - `send`, `receive`: entries; `weigh`: what a dry run makes of them. `finish`: the end of a flight, and of the session.
//! - `table`, `backlog`, `outbox`, `keys`, `parts`, `seen`: what is held meanwhile. `report`: what is told.
//!
//! Easy to get wrong: at most one request to the replica is open at a time, and the next frame is handed in only when
//! [`Session::poll_output`] has nothing more to say. Both keep memory and order simple.

mod align;
mod aside;
mod backlog;
mod finish;
mod guess;
mod healing;
mod hello;
mod horizon;
mod io;
mod keys;
mod leaf;
mod list;
mod machine;
mod marks;
mod narrow;
mod outbox;
mod pair;
mod parts;
mod receive;
mod report;
mod scan;
mod seen;
mod send;
mod survey;
mod table;
mod walk;
mod weigh;

pub use io::{Answer, Input, Output};
pub use machine::Session;
pub use report::{Difference, End, Outcome, Progress, Reason, Reasons, Report};

#[cfg(test)]
mod tests;
