//! Values that replicas merge by a rule of one's own, instead of keeping the newer of two: sets of words that come and go,
//! and counters that any replica may add to.
//!
//! A resolver joins two states of a key. Replicas meet in any order and again and again, so what it comes to may depend on
//! neither. Run it with `cargo run --release --example resolver`; `counters.rs` does it without resolvers, by keys.
//!
//! Easy to get wrong: what a replica does has to be in the state. "Add 3" is no state; "node 7 has added 10 so far" is one,
//! and of two of those the greater is the later.

use std::collections::BTreeMap;

use sync_proto::driver::run_pair;
use sync_proto::{End, Options};
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use syncline::{Builder, Db, Keyspace, Resolver, Result};

/// A set of words that come and go. Each word has a *causal length*, which is odd while it is there: adding it and removing
/// it make it longer by one, and of two lengths the greater one is the later (Yu and Rostad, "A low-cost set CRDT based on
/// causal lengths", 2020). The state is a line for each word (which has no line break in it), in order, so that equal sets are
/// equal bytes.
#[derive(Debug)]
struct Words;

type Lengths = BTreeMap<String, u64>;

impl Resolver for Words {
    fn name(&self) -> &str {
        "words by causal length"
    }

    fn merge(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        let mut merged = lengths(older);
        for (word, length) in lengths(newer) {
            let held = merged.entry(word).or_default();
            *held = length.max(*held);
        }
        lines(&merged)
    }
}

/// Lines that are none come to nothing: a resolver never fails.
fn lengths(state: &[u8]) -> Lengths {
    let state = String::from_utf8_lossy(state);
    let line = |line: &str| {
        line.split_once(' ').and_then(|(length, word)| Some((word.to_owned(), length.parse().ok()?)))
    };
    state.lines().filter_map(line).collect()
}

fn lines(lengths: &Lengths) -> Vec<u8> {
    lengths.iter().map(|(word, length)| format!("{length} {word}\n")).collect::<String>().into_bytes()
}

/// Has a word be there, or not.
fn set(tags: &Keyspace, key: &str, word: &str, is_there: bool) -> Result<()> {
    tags.fetch_update(key, |old| {
        let mut lengths = lengths(old.unwrap_or_default());
        let length = lengths.entry(word.to_owned()).or_default();
        if (*length % 2 == 1) != is_there {
            *length += 1;
        }
        Some(lines(&lengths))
    })?;
    Ok(())
}

fn words(tags: &Keyspace, key: &str) -> Result<Vec<String>> {
    let lengths = lengths(&tags.get(key)?.map_or_else(Vec::new, |state| state.to_vec()));
    Ok(lengths.into_iter().filter(|(_, length)| length % 2 == 1).map(|(word, _)| word).collect())
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
    builder.resolver(Words).resolver(Counter)
}

fn keyspaces(db: &Db) -> Result<(Keyspace, Keyspace)> {
    Ok((db.keyspace_with("tags", "words by causal length")?, db.keyspace_with("visits", "counter of nodes")?))
}

fn draw() -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes).expect("the operating system has randomness");
    u64::from_ne_bytes(bytes)
}

fn repair(left: &Db, right: &Db) {
    let (outcome, _) =
        run_pair(&DbReplica::new(left), &DbReplica::new(right), Options::new(draw()), &mut |_| ());
    assert_eq!(outcome.end, End::Complete);
    println!("repaired: {} entries differed", outcome.report.entries_differing);
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let left = resolvers(Db::builder(dir.path().join("left"))).create()?;
    let right = resolvers(Db::builder(dir.path().join("right"))).create_replica(&left.replica_set())?;
    let (left_tags, left_visits) = keyspaces(&left)?;
    let (right_tags, right_visits) = keyspaces(&right)?;

    set(&left_tags, "note 1", "garden", true)?;
    set(&left_tags, "note 1", "draft", true)?;
    repair(&left, &right);

    // Both write the same keys, apart from each other.
    set(&left_tags, "note 1", "autumn", true)?;
    set(&left_tags, "note 1", "draft", false)?;
    set(&right_tags, "note 1", "plums", true)?;
    for _ in 0..100 {
        add(&left_visits, "page", 1)?;
        add(&right_visits, "page", 2)?;
    }
    add(&right_visits, "page", -50)?;
    repair(&left, &right);

    for (tags, visits) in [(left_tags, left_visits), (right_tags, right_visits)] {
        println!(
            "note 1 is about {:?}, page has {} visits",
            words(&tags, "note 1")?,
            value(&visits, "page")?
        );
        assert_eq!(words(&tags, "note 1")?, ["autumn", "garden", "plums"]);
        assert_eq!(value(&visits, "page")?, 250);
    }
    assert_eq!(left.root()?, right.root()?);
    Ok(())
}
