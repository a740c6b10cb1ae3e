//! What a store gives to a peer that has lost it, and how it gets back what it has lost itself.
//!
//! Easy to get wrong: what damage takes is the store's own affair, so the suite believes what is told to be lost, and looks
//! whether that is all. A store that cannot lose anything gives to others all the same.

use super::expected::{Expected, Held};
use super::random::Random;
use super::reads::check_root;
use super::rule::{Checked, Rule, answer, short};
use super::sessions::{Side, check_session};
use super::subject::Subject;
use super::suite::model_beside;
use super::writes::{ORIGIN, Trial};
use crate::driver::run_pair;
use crate::healing::{Healing, Lost};
use crate::options::Options;
use crate::replica::ReadLimit;
use crate::session::{End, Reason};
use crate::types::{Entry, KeyRange, Kind};

/// A store loses some of what it holds, takes in more meanwhile, and is healed by the model.
pub(super) fn loses<S: Subject>(mut trial: Trial<S>, random: &mut Random) -> Checked {
    trial.apply((0..random.below(60)).map(|_| random.entry()).collect())?;
    check_given(&trial, &trial.expected, 0, random)?;
    let range = random.range(&trial.expected, &trial.info.replicated);
    let mut trial = trial.lose(&range)?;
    check_lost(&trial)?;
    check_given(&trial, &trial.expected, 0, random)?;

    let model = model_beside(&trial);
    for Held { entry, .. } in trial.expected.iter() {
        let _ = model.merge(entry.clone());
    }
    for _ in 0..random.below(20) {
        let _ = model.merge(random.entry());
    }
    if random.one_in(4) {
        let _ = model.merge(Entry { kind: Kind::Put, value: random.bytes(600_000), ..random.entry() });
    }
    for _ in 0..random.below(10) {
        let entry = random.entry();
        let _ = answer("apply", trial.replica().apply(vec![entry.clone()], ORIGIN))?;
        let hash = (trial.hasher)(&entry);
        trial.expected.merge(Held { entry, hash });
    }
    let held = model.held();
    let model = Side { replica: &model, expected: &held };
    if held.len() > 0 {
        // Whoever holds nothing has nothing to say about what was there.
        check_healed(&mut trial, &model, random)?;
    }
    let subject = Side { replica: trial.replica(), expected: &trial.expected };
    let (left, right) = if random.one_in(2) { (subject, model) } else { (model, subject) };
    trial.expected = check_session(left, right, random)?;
    trial.check_users_reads()?;
    trial.check_reads(random)
}

/// Has `model`, which holds all that the store has lost, bring that back.
fn check_healed<S: Subject>(trial: &mut Trial<S>, model: &Side, random: &mut Random) -> Checked {
    let Lost { spans, values } = answer("lost", trial.replica().lost())?;
    if spans.is_empty() && values.is_empty() {
        return Ok(());
    }
    let (left, right) = match random.one_in(2) {
        true => (trial.replica(), model.replica),
        false => (model.replica, trial.replica()),
    };
    let outcomes = run_pair(left, right, Options::new(random.next()), &mut |_| ());
    // While keys are unknown nothing is compared, so nothing else moves.
    let heals = !spans.is_empty();
    for end in [outcomes.0.end, outcomes.1.end] {
        let is_right = match &end {
            End::Partial(reasons) => heals && reasons.iter().eq([Reason::Healed]),
            end => !heals && *end == End::Complete,
        };
        Rule::Healed.holds(is_right, || format!("the session that heals ends with {end:?}"))?;
    }
    let was_lost = |key: &Vec<u8>| values.contains(key) || spans.iter().any(|span| span.contains(key));
    for held in model.expected.iter().filter(|held| !heals || was_lost(&held.entry.key)) {
        trial.expected.merge(held.clone());
    }
    Rule::Healed.same("what is lost", &answer("lost", trial.replica().lost())?, &Lost::default())?;
    check_root(trial.replica(), &trial.expected).map_err(|broken| Rule::Healed.broken(broken.detail))
}

/// What is told to be lost makes sense, and all else is there.
fn check_lost<S: Subject>(trial: &Trial<S>) -> Checked {
    let Lost { spans, values } = answer("lost", trial.replica().lost())?;
    let are_apart = spans.is_sorted_by(|a, b| a.end.as_ref().is_some_and(|end| *end <= b.start))
        && !spans.iter().any(KeyRange::is_empty);
    Rule::Lost.holds(are_apart, || format!("spans {}", short(&spans)))?;
    let are_held =
        values.is_sorted_by(|a, b| a < b) && values.iter().all(|key| trial.expected.get(key).is_some());
    Rule::Lost.holds(are_held, || format!("values of {}", short(&values)))?;
    let info = answer("info", trial.replica().info(None))?;
    Rule::Lost.same("whether keys are unknown", &info.has_unknown, &!spans.is_empty())?;
    let known = trial.expected.without(&spans);
    Rule::Lost.same_sum("the root of what is known", &info.root, &known.sum(&info.replicated))
}

/// Asks for all of a range, as a peer that has lost it does. `expected` is what is held at `cut`.
pub(super) fn check_given<S: Subject>(
    trial: &Trial<S>,
    expected: &Expected,
    cut: u64,
    random: &mut Random,
) -> Checked {
    let Lost { spans, values } = answer("lost", trial.replica().lost())?;
    let known = expected.without(&spans);
    let limit = ReadLimit { count: random.one_of([1, 3, 100]), bytes: random.one_of([1, 200, 1 << 20]) };
    let mut rest = random.range(expected, &trial.info.replicated);
    while !rest.is_empty() {
        let cut = answer("info", trial.replica().info(None))?.horizon.max(cut);
        let part = answer("healing", trial.replica().healing(&rest, cut, limit))?;
        let end = part.as_ref().map_or_else(|| rest.end.clone(), |part| Some(part.range.start.clone()));
        let skipped = KeyRange { start: rest.start.clone(), end };
        let left_out = known.within(&skipped).find(|held| !values.contains(&held.entry.key));
        Rule::Healing.holds(left_out.is_none(), || format!("{} is skipped", short(&left_out)))?;
        let Some(part) = part else { break };
        let Healing { range, cut: part_cut, .. } = &part;
        Rule::Healing.holds(rest.covers(range) && !range.is_empty(), || {
            format!("of {} comes {}", short(&rest), short(range))
        })?;
        Rule::Healing.holds(*part_cut >= cut, || format!("the cut {part_cut} lies below {cut}"))?;
        let is_known = spans.iter().all(|span| span.intersection(range).is_empty());
        Rule::Healing.holds(is_known, || format!("{} is not all known", short(range)))?;
        check_part(&part, &known, limit)?;
        let Some(start) = part.range.end else { break };
        rest.start = start;
    }
    Ok(())
}

/// Whether a part that heals tells of all that it should.
fn check_part(part: &Healing, known: &Expected, limit: ReadLimit) -> Checked {
    let mut entries: Vec<Entry> = known.within(&part.range).map(|held| held.entry.clone()).collect();
    if let (Some(len), [entry]) = (part.value_len, &mut entries[..]) {
        Rule::Healing.same("the length of the value", &len, &(entry.value.len() as u64))?;
        let of_key = KeyRange { start: entry.key.clone(), end: Some([&entry.key[..], &[0]].concat()) };
        Rule::Healing.same("the range of a long value", &part.range, &of_key)?;
        entry.value.clear();
    }
    Rule::Healing.same("what heals", &part.entries, &entries)?;
    let len: usize =
        part.entries.iter().map(|entry| entry.key.len() + entry.meta.len() + entry.value.len()).sum();
    let fits = entries.len() <= 1 || (entries.len() <= limit.count as usize && len <= limit.bytes as usize);
    Rule::Limits.holds(fits, || format!("{} entries, {len} bytes heal at {limit:?}", entries.len()))
}
