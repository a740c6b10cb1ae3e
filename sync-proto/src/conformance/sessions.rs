//! Whole sessions between two stores that differ in every way, or between one and the model.
//!
//! Easy to get wrong: limits are chosen so that small stores meet what only large ones would at the default: walks of
//! many levels, splits, lists and continuations.

use super::expected::Expected;
use super::random::Random;
use super::reads::check_root;
use super::rule::{Checked, Rule, short};
use crate::driver::run_pair;
use crate::limits::Limits;
use crate::options::{Mode, Options};
use crate::replica::Replica;
use crate::session::{End, Outcome};

/// One end of a session.
pub(super) struct Side<'a> {
    pub(super) replica: &'a dyn Replica,
    pub(super) expected: &'a Expected,
}

/// Looks first, then repairs, then finds that both are equal. Returns what both hold now.
pub(super) fn check_session(left: Side, right: Side, random: &mut Random) -> Checked<Expected> {
    let run = |mode, random: &mut Random| {
        let options = Options { mode, limits: limits(random), ..Options::new(random.next()) };
        run_pair(left.replica, right.replica, options, &mut |_| ())
    };
    let differing = left.expected.entries_to_send(right.expected);

    let (dry, _) = run(Mode::DryRun, random);
    let is_over = matches!(dry.end, End::Partial(_)) || (differing == 0 && dry.end == End::Complete);
    Rule::SessionEnds.holds(is_over, || format!("a dry run ends with {:?}", dry.end))?;
    let unchanged =
        check_root(left.replica, left.expected).and_then(|()| check_root(right.replica, right.expected));
    unchanged.map_err(|broken| Rule::DryRun.broken(broken.detail))?;

    let outcomes = run(Mode::Both, random);
    completes(&outcomes)?;
    let merged = left.expected.merged_with(right.expected);
    for replica in [left.replica, right.replica] {
        check_root(replica, &merged).map_err(|broken| Rule::SessionConverges.broken(broken.detail))?;
    }
    let sent = outcomes.0.report.entries_sent + outcomes.1.report.entries_sent;
    Rule::SessionIsFrugal.same("the number of entries sent", &sent, &differing)?;

    let outcomes = run(Mode::Both, random);
    completes(&outcomes)?;
    Rule::SessionConverges.same("the flights of a session between equals", &outcomes.0.report.legs, &2)?;
    Ok(merged)
}

fn completes((left, right): &(Outcome, Outcome)) -> Checked {
    Rule::SessionEnds.holds([&left.end, &right.end] == [&End::Complete; 2], || {
        format!("it ends with {} and {}", short(&left.end), short(&right.end))
    })
}

fn limits(random: &mut Random) -> Limits {
    let limits = Limits::default();
    if random.one_in(3) {
        return limits;
    }
    Limits {
        fan_out: random.one_of([2, 5, 24, 200]),
        list_count: random.one_of([1, 8, 64]),
        sketch_count: random.one_of([0, 0, 20, limits.sketch_count]),
        ..limits
    }
}
