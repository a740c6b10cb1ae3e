//! What the engine's tests share: a seeded generator and stores in memory whose time and randomness are seeded too. They are the
//! test kit's.

pub(crate) use testkit::{Random, World, seeds};
