//! What the engine's tests share: a seeded generator and stores in memory whose time and randomness are seeded too. They are the
//! test kit's. And a resolver.

use std::collections::BTreeSet;

use syncline::Resolver;
pub(crate) use testkit::{Random, World, seeds};

/// A set of bytes, each once and in order.
#[derive(Debug)]
pub(crate) struct Union;

impl Resolver for Union {
    fn name(&self) -> &str {
        "union"
    }

    fn merge(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        older.iter().chain(newer).copied().collect::<BTreeSet<u8>>().into_iter().collect()
    }
}
