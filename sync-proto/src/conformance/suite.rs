//! Runs the suite, seed by seed.
//!
//! Easy to get wrong: one seed is one small story. What it does follows from the seed alone, so that a failure comes again.

use std::ops::Range;

use super::expected::{Expected, Held};
use super::healing::{check_given, loses};
use super::model::Model;
use super::random::{EPOCH, Random};
use super::reads::{Reads, check_root};
use super::rule::{Broken, Checked, Failure, Rule, answer};
use super::sessions::{Side, check_session};
use super::subject::Subject;
use super::writes::Trial;
use crate::replica::{Origin, ReplicaInfo};
use crate::types::{Entry, Kind, Stamp};

/// 60 days on the hybrid clock, and in milliseconds.
const LATER: u64 = LATER_MS << 16;
const LATER_MS: u64 = 60 * 24 * 3600 * 1000;
/// Of the model, on the hybrid clock: beyond every store's wall clock.
const MODEL_LATEST: u64 = u64::MAX >> 2;
/// A node id that no store is likely to have drawn.
const MODEL_NODE: u64 = 0x6d6f_6465_6c00_0001;

/// Checks the stores that `create` makes, once for each seed, and stops at the first rule that is broken.
///
/// `create` makes an empty store of one and the same replica set each time; its argument tells apart those that are there
/// at the same time. A few hundred seeds reach everything; a store in memory takes about a millisecond for one.
///
/// # Errors
/// The rule that is broken, and by which seed.
pub fn check<S: Subject>(seeds: Range<u64>, mut create: impl FnMut(u64) -> S) -> Result<(), Failure> {
    for seed in seeds {
        check_seed(seed, &mut create).map_err(|Broken { rule, detail }| Failure { rule, seed, detail })?;
    }
    Ok(())
}

fn check_seed<S: Subject>(seed: u64, create: &mut impl FnMut(u64) -> S) -> Checked {
    let subject = create(1);
    let random = &mut Random::new(seed, subject.key_start());
    let mut trial = Trial::new(subject)?;
    match seed % 7 {
        0 => alone(trial, random),
        1 => at_cut(trial, random),
        2 => in_another_order(trial, Trial::new(create(2))?, random),
        3 => two_stores(trial, Trial::new(create(2))?, random),
        4 => {
            fill(&mut trial, random)?;
            loses(trial, random)
        }
        parity => {
            fill(&mut trial, random)?;
            with_model(trial, parity == 5, random)
        }
    }
}

/// Changes of all kinds, and a look at everything in between.
fn fill<S: Subject>(trial: &mut Trial<S>, random: &mut Random) -> Checked {
    let changes = random.below(10) * random.key_count().min(40) / 20;
    for _ in 0..changes {
        trial.change(random)?;
        if random.one_in(4) {
            trial.check_reads(random)?;
        }
    }
    trial.check_reads(random)?;
    trial.check_users_reads()
}

/// One store by itself, reopened now and then.
fn alone<S: Subject>(mut trial: Trial<S>, random: &mut Random) -> Checked {
    hashes_jointly(&trial, random)?;
    meets_anybody(&trial)?;
    for _ in 0..3 {
        fill(&mut trial, random)?;
        trial.overtake(random)?;
        pinned(&mut trial, random)?;
        trial = trial.reopen()?;
        trial.check_reads(random)?;
    }
    Ok(())
}

/// A reader between whose pinning and reading there are changes.
fn pinned<S: Subject>(trial: &mut Trial<S>, random: &mut Random) -> Checked {
    let (reader, before) = (trial.reader()?, trial.expected.clone());
    for _ in 0..random.below(20) {
        trial.change(random)?;
    }
    let range = random.range(&trial.expected, &trial.info.replicated);
    let fresh = trial.reader()?;
    Reads { reader: &*fresh, expected: &trial.expected, range: range.clone() }.check(random)?;
    let reads = |expected| Reads { reader: &*reader, expected, range: range.clone() };
    let as_of = |broken: Broken| Rule::Pin.broken(broken.detail);
    reads(&before).check_compared(random).map_err(as_of)?;
    reads(&trial.expected).check_sent(random).map_err(as_of)
}

/// Every field counts, and two entries cannot swap a field unseen.
fn hashes_jointly<S>(trial: &Trial<S>, random: &mut Random) -> Checked {
    let hash = |entry: &Entry| (trial.hasher)(entry);
    let entry = Entry { value: vec![1], meta: vec![2], kind: Kind::Put, ..random.entry() };
    let Stamp { hlc, node } = entry.stamp;
    let others = [
        Entry { stamp: Stamp { hlc: hlc + 1, node }, ..entry.clone() },
        Entry { stamp: Stamp { hlc, node: node + 1 }, ..entry.clone() },
        Entry { kind: Kind::Tombstone, value: Vec::new(), ..entry.clone() },
        Entry { expires_at: entry.expires_at + 1, ..entry.clone() },
        Entry { meta: vec![3], ..entry.clone() },
        Entry { value: vec![2], ..entry.clone() },
        Entry { meta: entry.value.clone(), value: entry.meta.clone(), ..entry.clone() },
    ];
    let elsewhere = Entry { key: [&entry.key[..], &[0]].concat(), ..entry.clone() };
    Rule::EntryHash
        .holds(hash(&entry) != hash(&elsewhere), || format!("the key of {entry:?} does not count"))?;
    for other in &others {
        Rule::EntryHash
            .holds(hash(&entry) != hash(other), || format!("{entry:?} and {other:?} have one hash"))?;
        // The two versions on two keys, and the other way round.
        let elsewhere = |entry: &Entry| Entry { key: [&entry.key[..], &[1]].concat(), ..entry.clone() };
        let sum = |one: &Entry, two: &Entry| hash(one).wrapping_add(hash(&elsewhere(two)));
        Rule::EntryHash.holds(sum(&entry, other) != sum(other, &entry), || {
            format!("{entry:?} and {other:?} can swap their versions unseen")
        })?;
    }
    Ok(())
}

fn meets_anybody<S: Subject>(trial: &Trial<S>) -> Checked {
    let table = answer("table", trial.replica().table())?;
    let is_told = !table.is_empty() || trial.info.members_checksum == 0;
    Rule::Table.holds(is_told, || {
        format!("the checksum of {} bytes is {}", table.len(), trial.info.members_checksum)
    })?;
    if trial.info.members_checksum == 0 {
        let peer = Origin { node: MODEL_NODE, horizon: 0 };
        let met = trial.replica().meet(peer, None, false, 0);
        met.map_err(|error| Rule::Table.broken(format!("a meeting fails: {error}")))?;
    }
    Ok(())
}

/// Answers at a cut, with what ended long before it and what ends long after it.
fn at_cut<S: Subject>(mut trial: Trial<S>, random: &mut Random) -> Checked {
    for _ in 0..random.below(60) {
        let mut entry = random.entry();
        entry.stamp.hlc += random.one_of([0, LATER]);
        if entry.kind == Kind::Put {
            entry.expires_at = random.one_of([0, (EPOCH >> 16) + 1, (EPOCH >> 16) + LATER_MS]);
        }
        trial.apply(vec![entry])?;
    }
    trial.check_reads(random)?;
    let cut = EPOCH + LATER / 2;
    let info = answer("info", trial.replica().info(Some(cut)))?;
    // A store without a horizon has no cut.
    let expected = match info.root.is_same_set(&answer("info", trial.replica().info(None))?.root) {
        true => trial.expected.clone(),
        false => trial.expected.at_cut(cut),
    };
    Rule::Cut.same_sum("the root", &info.root, &expected.sum(&info.replicated))?;
    let reader = answer("pin", trial.replica().pin(cut))?;
    let range = random.range(&expected, &info.replicated);
    let seen = Reads { reader: &*reader, expected: &expected, range }.check(random);
    seen.map_err(|broken| Rule::Cut.broken(broken.detail))?;
    check_given(&trial, &expected, cut, random)?;
    trial.check_root()
}

/// What one store took in, another one takes in in another order, some of it twice.
fn in_another_order<S: Subject>(mut trial: Trial<S>, mut other: Trial<S>, random: &mut Random) -> Checked {
    is_of_one_set(&trial.info, &other.info)?;
    let mut entries: Vec<Entry> = (0..random.below(200)).map(|_| random.entry()).collect();
    trial.apply(entries.clone())?;
    let again = entries.len() / 3;
    entries.extend_from_within(..again);
    random.shuffle(&mut entries);
    for part in entries.chunks(1 + random.below(20) as usize) {
        other.apply(part.to_vec())?;
    }
    for trial in [&trial, &other] {
        trial.check_root().map_err(|broken| Rule::Merge.broken(broken.detail))?;
        trial.check_reads(random)?;
        trial.check_users_reads()?;
    }
    Ok(())
}

fn is_of_one_set(info: &ReplicaInfo, other: &ReplicaInfo) -> Checked {
    let is_one_set = (info.set_id, info.hash_check) == (other.set_id, other.hash_check);
    Rule::Identity.holds(is_one_set && info.node != other.node, || format!("{info:?} and {other:?}"))
}

/// A common past, different presents, a session.
fn two_stores<S: Subject>(mut left: Trial<S>, mut right: Trial<S>, random: &mut Random) -> Checked {
    let past: Vec<Entry> = (0..random.below(200)).map(|_| random.entry()).collect();
    for trial in [&mut left, &mut right] {
        trial.apply(past.clone())?;
        if random.one_in(3) {
            fill(trial, random)?;
        }
    }
    for trial in [&mut left, &mut right] {
        for _ in 0..random.below(6) {
            trial.change(random)?;
        }
    }
    let sides = [&left, &right].map(|trial| Side { replica: trial.replica(), expected: &trial.expected });
    let [on_left, on_right] = sides;
    let merged = check_session(on_left, on_right, random)?;
    for mut trial in [left, right] {
        trial.expected = merged.clone();
        trial.check_users_reads()?;
        trial.check_reads(random)?;
        if random.one_in(2) {
            trial.reopen()?;
        }
    }
    Ok(())
}

/// An empty model of the same set as the store.
pub(super) fn model_beside<S>(trial: &Trial<S>) -> Model {
    let info = ReplicaInfo { node: MODEL_NODE, opens: 1, read_only: false, ..trial.info.clone() };
    Model::new(info, trial.hasher.clone(), MODEL_LATEST)
}

/// A session with the model, of which the store is the initiator or the responder.
fn with_model<S: Subject>(mut trial: Trial<S>, initiates: bool, random: &mut Random) -> Checked {
    let model = model_beside(&trial);
    for Held { entry, .. } in trial.expected.iter() {
        if !random.one_in(10) {
            let _ = model.merge(entry.clone());
        }
    }
    for _ in 0..random.below(40) {
        let _ = model.merge(random.entry());
    }
    if random.one_in(8) {
        let long = Entry { kind: Kind::Put, value: random.bytes(600_000), ..random.entry() };
        let _ = model.merge(long);
    }
    let held: Expected = model.held();
    let subject = Side { replica: trial.replica(), expected: &trial.expected };
    let model = Side { replica: &model, expected: &held };
    let (left, right) = if initiates { (subject, model) } else { (model, subject) };
    let merged = check_session(left, right, random)?;
    trial.expected = merged;
    check_root(trial.replica(), &trial.expected)?;
    trial.check_users_reads()?;
    trial.check_reads(random)
}
