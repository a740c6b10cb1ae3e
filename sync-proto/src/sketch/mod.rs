//! Sketches of sets: a few cells from which the difference of two sets can be read, whatever the sets' size.
//!
//! The rateless invertible Bloom lookup table of Yang, Gilad and Alizadeh, "Practical Rateless Set Reconciliation"
//! (SIGCOMM 2024), over short salted fingerprints of entries. One side sends the cells of its set, the other takes its
//! own cells off them and peels what is left. About 1.4 to 1.7 cells for each element of the difference are enough, and
//! any number of cells is a sketch, so that the sender chooses by how much it expects to differ.
//!
//! Pure; used by the session's `scan`.
//!
//! Easy to get wrong: what a sketch yields is a guess. Fingerprints collide, checks are short, and a peer may send any
//! bytes; the caller closes every range by full-width arithmetic and looks closer where that fails.

mod cells;
mod estimate;
mod mapping;
mod peel;

pub(crate) use cells::{COUNTED, Cell, Sketch, cells_len};
pub(crate) use estimate::{cells_for, estimate, more_than};
pub(crate) use peel::Difference;

#[cfg(test)]
mod tests;
