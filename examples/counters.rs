//! A counter and a set that lose nothing when replicas merge, although of two versions of one key the newer wins.
//!
//! The trick is to let no two replicas write one key. A counter is one key for each node, and its value the sum of them; an
//! element of a set is one key for each time that it was added, and removing it deletes those that are known, so that
//! whoever adds it at the same time elsewhere wins. Run it with `cargo run --release --example counters`.
//!
//! Easy to get wrong: a node's id is that of one live folder. A copy of a store takes another id at its first opening, so it
//! never counts under the id of the original.

use std::collections::BTreeSet;

use sync_proto::driver::run_pair;
use sync_proto::{End, Options};
use syncline::clock::{Entropy, SystemEntropy};
use syncline::replica::DbReplica;
use syncline::{Db, Keyspace, Result};

/// Numbers that any replica may add to.
struct Counters(Keyspace);

impl Counters {
    /// Adds `by`, which may be negative.
    fn add(&self, name: &str, by: i64) -> Result<()> {
        let own = [name.as_bytes(), &[0], &self.0.db().node_id().0.to_be_bytes()].concat();
        self.0
            .fetch_update(own, |old| Some(number(old.unwrap_or_default()).wrapping_add(by).to_be_bytes()))?;
        Ok(())
    }

    fn value(&self, name: &str) -> Result<i64> {
        let mut sum = 0i64;
        for node in self.0.prefix_iter([name.as_bytes(), &[0]].concat()) {
            sum = sum.wrapping_add(number(&node?.value));
        }
        Ok(sum)
    }
}

fn number(bytes: &[u8]) -> i64 {
    bytes.try_into().map_or(0, i64::from_be_bytes)
}

/// A set of words in which adding beats removing.
struct Words(Keyspace);

impl Words {
    fn add(&self, word: &str) -> Result<()> {
        self.0.put([word.as_bytes(), &[0], &draw().to_be_bytes()].concat(), "")
    }

    fn remove(&self, word: &str) -> Result<()> {
        self.0.delete_prefix([word.as_bytes(), &[0]].concat())?;
        Ok(())
    }

    fn all(&self) -> Result<BTreeSet<String>> {
        let word = |key: Vec<u8>| key.split(|byte| *byte == 0).next().map(<[u8]>::to_vec).unwrap_or_default();
        self.0.iter().keys().map(|key| Ok(String::from_utf8_lossy(&word(key?)).into_owned())).collect()
    }
}

/// A fresh number that nobody else draws.
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
    let left = Db::builder(dir.path().join("left")).create()?;
    let right = Db::builder(dir.path().join("right")).create_replica(&left.replica_set())?;
    let of = |db: &Db| -> Result<(Counters, Words)> {
        Ok((Counters(db.keyspace("counters")?), Words(db.keyspace("words")?)))
    };
    let ((left_counters, left_words), (right_counters, right_words)) = (of(&left)?, of(&right)?);

    left_words.add("plum")?;
    left_words.add("pear")?;
    repair(&left, &right);

    // Apart from each other, both count, one side removes what the other one adds again.
    for _ in 0..100 {
        left_counters.add("visits", 1)?;
        right_counters.add("visits", 2)?;
    }
    right_counters.add("visits", -50)?;
    left_words.remove("plum")?;
    left_words.remove("pear")?;
    right_words.add("plum")?;
    right_words.add("rye")?;
    repair(&left, &right);

    println!("visits: {}, words: {:?}", left_counters.value("visits")?, left_words.all()?);
    for (counters, words) in [(left_counters, left_words), (right_counters, right_words)] {
        assert_eq!(counters.value("visits")?, 250);
        assert_eq!(words.all()?, BTreeSet::from(["plum".to_owned(), "rye".to_owned()]));
    }
    assert_eq!(left.root()?, right.root()?);
    Ok(())
}
