//! Values that replicas merge by a rule of one's own, instead of keeping the newer of two: sets of words that grow, and
//! counters that any replica may add to.
//!
//! A resolver joins two states of a key. Replicas meet in any order and again and again, so what it comes to may depend on
//! neither. Run it with `cargo run --release --example resolver`; `counters.rs` does it without resolvers, by keys.
//!
//! Easy to get wrong: what a replica does has to be in the state. "Add 3" is no state; "node 7 has added 10 so far" is one,
//! and of two of those the greater is the later.

use std::collections::{BTreeMap, BTreeSet};

use sync_proto::driver::run_pair;
use sync_proto::{End, Options};
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use syncline::{Builder, Db, Keyspace, Resolver, Result};

/// A set of words, one a line and in order, so that equal sets are equal bytes.
#[derive(Debug)]
struct Union;

impl Resolver for Union {
    fn name(&self) -> &str {
        "union of lines"
    }

    fn merge(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        let lines = |state: &[u8]| lines(state).map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
        let union: Vec<Vec<u8>> = lines(older).union(&lines(newer)).cloned().collect();
        union.join(&b'\n')
    }
}

fn lines(state: &[u8]) -> impl Iterator<Item = &[u8]> {
    state.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// What each node has added and taken away so far: `node 8 | added 8 | taken 8`, by node.
#[derive(Debug)]
struct Counter;

type Parts = BTreeMap<[u8; 8], [u64; 2]>;

impl Resolver for Counter {
    fn name(&self) -> &str {
        "counter of nodes"
    }

    fn merge(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        let mut merged = parts(older);
        for (node, [added, taken]) in parts(newer) {
            let part = merged.entry(node).or_default();
            *part = [part[0].max(added), part[1].max(taken)];
        }
        state(&merged)
    }
}

/// Bytes that are no state come to no parts: a resolver never fails.
fn parts(state: &[u8]) -> Parts {
    let (words, _) = state.as_chunks::<8>();
    let (records, _) = words.as_chunks::<3>();
    let part =
        |[node, added, taken]: &[[u8; 8]; 3]| (*node, [added, taken].map(|word| u64::from_be_bytes(*word)));
    records.iter().map(part).collect()
}

fn state(parts: &Parts) -> Vec<u8> {
    let record =
        |(node, [added, taken]): (&[u8; 8], &[u64; 2])| [*node, added.to_be_bytes(), taken.to_be_bytes()];
    parts.iter().flat_map(record).flatten().collect()
}

/// Adds to a counter under this node's own name.
fn add(counters: &Keyspace, key: &str, by: i64) -> Result<()> {
    let node = counters.db().node_id().0.to_be_bytes();
    counters.fetch_update(key, |old| {
        let mut parts = parts(old.unwrap_or_default());
        let [added, taken] = parts.entry(node).or_default();
        let so_far = if by < 0 { taken } else { added };
        *so_far = so_far.saturating_add(by.unsigned_abs());
        Some(state(&parts))
    })?;
    Ok(())
}

fn value(counters: &Keyspace, key: &str) -> Result<i128> {
    let parts = parts(&counters.get(key)?.map_or_else(Vec::new, |state| state.to_vec()));
    Ok(parts.values().map(|[added, taken]| i128::from(*added) - i128::from(*taken)).sum())
}

/// Resolvers are brought at every opening; what they merge is written by their names.
fn resolvers(builder: Builder) -> Builder {
    builder.resolver(Union).resolver(Counter)
}

fn keyspaces(db: &Db) -> Result<(Keyspace, Keyspace)> {
    Ok((db.keyspace_with("tags", "union of lines")?, db.keyspace_with("visits", "counter of nodes")?))
}

fn draw() -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes).expect("the operating system has randomness");
    u64::from_ne_bytes(bytes)
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let left = resolvers(Db::builder(dir.path().join("left"))).create()?;
    let right = resolvers(Db::builder(dir.path().join("right"))).create_replica(&left.replica_set())?;
    let (left_tags, left_visits) = keyspaces(&left)?;
    let (right_tags, right_visits) = keyspaces(&right)?;

    // Both write the same keys, apart from each other. A put merges as well.
    left_tags.put("note 1", "garden")?;
    left_tags.put("note 1", "autumn")?;
    right_tags.put("note 1", "plums")?;
    for _ in 0..100 {
        add(&left_visits, "page", 1)?;
        add(&right_visits, "page", 2)?;
    }
    add(&right_visits, "page", -50)?;
    for _ in 0..2 {
        let (outcome, _) =
            run_pair(&DbReplica::new(&left), &DbReplica::new(&right), Options::new(draw()), &mut |_| ());
        assert_eq!(outcome.end, End::Complete);
        println!("repaired: {} entries differed", outcome.report.entries_differing);
    }

    for (tags, visits) in [(left_tags, left_visits), (right_tags, right_visits)] {
        let found = tags.get("note 1")?.expect("both wrote it");
        println!(
            "note 1 is about {:?}, page has {} visits",
            String::from_utf8_lossy(&found),
            value(&visits, "page")?
        );
        assert_eq!(&found[..], b"autumn\ngarden\nplums");
        assert_eq!(value(&visits, "page")?, 250);
    }
    assert_eq!(left.root()?, right.root()?);
    Ok(())
}
