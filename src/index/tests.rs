//! What the index promises, checked against ordered maps with seeded random entries. Every failure names its seed.
//!
//! `world` builds stores of memtables and runs beside a model of them; the other modules each hold one kind of test.

mod damage;
mod layout;
mod model;
mod parts;
mod world;

pub(super) use world::Random;
