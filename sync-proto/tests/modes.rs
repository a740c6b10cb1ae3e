//! What a session is asked for, and what it may not do: directions, dry runs, filters, read-only sides, refusals.

mod common;

use common::rng::diverged;
use common::{Model, Truth, entry};
use sync_proto::driver::run_pair;
use sync_proto::{
    AbortReason, Difference, End, Entry, KeyRange, Kind, Limits, Mode, Options, Outcome, PeerReason,
    Progress, Reason, Reasons, Versions,
};

fn repair(left: &Model, right: &Model, options: Options) -> (Outcome, Outcome) {
    run_pair(left, right, options, &mut |_| ())
}

fn reasons(outcome: &Outcome) -> Reasons {
    match outcome.end {
        End::Partial(reasons) => reasons,
        ref end => panic!("{end:?} is not partial"),
    }
}

#[test]
fn pull_then_push_move_one_way_each_and_are_never_complete() {
    for seed in 0..150 {
        let (left, right) = diverged(seed);
        let before = right.contents();
        let (pulled, answered) = repair(&left, &right, Options { mode: Mode::Pull, ..Options::new(seed) });
        for outcome in [&pulled, &answered] {
            assert!(reasons(outcome).iter().eq([Reason::Mode]), "seed {seed}");
        }
        assert_eq!(pulled.report.entries_sent, 0, "seed {seed}");
        assert!(right.contents() == before, "seed {seed}: a pull wrote to the other side");
        let left_over = Truth::of(&left, &right);
        assert_eq!(left_over.only_right + left_over.newer_right, 0, "seed {seed}");

        let before = left.contents();
        let (pushed, _) = repair(&left, &right, Options { mode: Mode::Push, ..Options::new(seed) });
        assert!(reasons(&pushed).contains(Reason::Mode), "seed {seed}");
        assert_eq!(pushed.report.entries_received, 0, "seed {seed}");
        assert!(left.contents() == before, "seed {seed}: a push wrote to its own side");
        // Where both have the same clock only the winner was to travel; the next full session sees to the rest.
        if left_over.ties == 0 {
            assert_eq!(left.root(), right.root(), "seed {seed}");
        }
        assert_eq!(repair(&left, &right, Options::new(seed)).0.end, End::Complete, "seed {seed}");
    }
}

#[test]
fn a_dry_run_moves_nothing_and_says_what_would() {
    for seed in 0..200 {
        let (left, right) = diverged(seed);
        let truth = Truth::of(&left, &right);
        let before = (left.contents(), right.contents());
        let options = Options { mode: Mode::DryRun, names_max: 1_000_000, ..Options::new(seed) };
        let (outcome, answered) = repair(&left, &right, options);
        assert!((left.contents(), right.contents()) == before, "seed {seed}");
        for report in [&outcome.report, &answered.report] {
            assert_eq!((report.only_left, report.only_right), (truth.only_left, truth.only_right));
            let newer = truth.newer_left + truth.newer_right + truth.ties;
            assert_eq!(report.newer_left + report.newer_right, newer, "seed {seed}");
            assert!(report.newer_left >= truth.newer_left && report.newer_right >= truth.newer_right);
            assert_eq!((report.entries_sent, report.entries_received), (0, 0));
        }
        assert!(reasons(&outcome).contains(Reason::DryRun));
        for (difference, key) in &outcome.report.names {
            let (mine, theirs) = (before.0.get(key), before.1.get(key));
            let truly = match difference {
                Difference::OnlyLeft => mine.is_some() && theirs.is_none(),
                Difference::OnlyRight => mine.is_none() && theirs.is_some(),
                Difference::NewerLeft | Difference::NewerRight => mine.is_some() && mine != theirs,
            };
            assert!(truly, "seed {seed}: {difference:?} {key:?}");
        }
    }
}

#[test]
fn a_dry_run_that_weighs_tells_exactly_what_a_session_then_moves() {
    for seed in 0..200 {
        let (left, right) = diverged(seed);
        // Of two versions with one clock either may travel, or both.
        if Truth::of(&left, &right).ties > 0 {
            continue;
        }
        let asking = Options { mode: Mode::DryRun, weighs: true, ..Options::new(seed) };
        let (dry, _) = repair(&left, &right, asking);
        let (wet, answered) = repair(&left, &right, Options::new(seed));
        let (to_right, to_left) = (dry.report.to_right, dry.report.to_left);
        assert_eq!(to_right.entries, wet.report.entries_sent, "seed {seed}");
        assert_eq!(to_left.entries, wet.report.entries_received, "seed {seed}");
        assert_eq!(to_right.value_bytes + to_left.value_bytes, wet.report.value_bytes, "seed {seed}");
        assert_eq!(to_left.entries, answered.report.entries_sent, "seed {seed}");
        assert_eq!(to_right.unnamed + to_left.unnamed, dry.report.entries_differing, "seed {seed}");
    }
    let (left, mut right) = (Model::new(1), Model::new(2));
    right.config.read_only = true;
    for n in 0..10 {
        left.put(entry([1, n, 0], 10, 1, "short"));
        left.put(entry([1, n, 1], 10, 1, vec![1; 100]));
        left.put(Entry { kind: Kind::Tombstone, ..entry([1, n, 2], 10, 1, "") });
    }
    let mut options = Options { mode: Mode::DryRun, weighs: true, deletes_max: 3, ..Options::new(1) };
    options.limits.value_len_max = 99;
    let to_right = repair(&left, &right, options).0.report.to_right;
    assert_eq!((to_right.entries, to_right.value_bytes), (13, 50), "without what would be left out");
}

#[test]
fn a_dry_run_names_all_that_differs_however_much_that_is_or_says_how_many_it_left_out() {
    const COUNT: u64 = 3000;
    let (left, right) = (Model::new(1), Model::new(2));
    let key = |class: u8, n: u64, len: usize| [&[class][..], &n.to_be_bytes(), &vec![7; len]].concat();
    for n in 0..COUNT {
        left.put(entry(key(1, n, 0), 10, 1, "v"));
        right.put(entry(key(2, n, 1000), 10, 2, "value"));
    }
    let dry = |weighs, names_max| {
        let options = Options { mode: Mode::DryRun, weighs, names_max, ..Options::new(1) };
        repair(&left, &right, options).0.report
    };
    for weighs in [false, true] {
        let report = dry(weighs, 10_000);
        let mut names: Vec<_> = report.names.iter().map(|(_, key)| key.clone()).collect();
        names.sort();
        assert!(names.iter().eq(left.contents().keys().chain(right.contents().keys())), "{}", names.len());
        assert_eq!((report.to_right.unnamed, report.to_left.unnamed), (0, 0));
        assert_eq!((report.to_right.entries, report.to_left.entries), (COUNT, COUNT));
        let value_bytes = if weighs { (COUNT, 5 * COUNT) } else { (0, 0) };
        assert_eq!((report.to_right.value_bytes, report.to_left.value_bytes), value_bytes);

        let report = dry(weighs, 2000);
        assert_eq!(report.names.len(), 4000, "of each side");
        assert_eq!((report.to_right.unnamed, report.to_left.unnamed), (1000, 1000));
        assert_eq!((report.to_right.entries, report.to_left.entries), (COUNT, COUNT));
    }
}

#[test]
fn a_dry_run_names_at_most_as_many_keys_as_were_asked_for() {
    let (left, right) = (Model::new(1), Model::new(2));
    for n in 0..400u16 {
        let side = if n % 2 == 0 { &left } else { &right };
        side.put(entry([&[1][..], &n.to_be_bytes()].concat(), 10, 1, "v"));
    }
    let options = Options { mode: Mode::DryRun, names_max: 30, ..Options::new(1) };
    let (outcome, _) = repair(&left, &right, options);
    let count = |which| outcome.report.names.iter().filter(|(name, _)| *name == which).count();
    assert_eq!((count(Difference::OnlyLeft), count(Difference::OnlyRight)), (30, 30), "of each side");
    assert_eq!((outcome.report.only_left, outcome.report.only_right), (200, 200));
}

#[test]
fn a_filter_mends_its_range_and_nothing_else() {
    for seed in 0..100 {
        let (left, right) = diverged(seed);
        let (left_before, right_before) = (left.contents(), right.contents());
        // Keys begin with 1 or 2; local ones, which the filter names too, with 0.
        let filter = KeyRange { start: Vec::new(), end: Some(vec![2]) };
        let options = Options { filter: Some(filter.clone()), ..Options::new(seed) };
        let within =
            left_before.keys().filter(|key| filter.contains(key) && common::replicated().contains(key));
        let within = within.count() as u64;
        let mut progress = None;
        let observer = &mut |told: Progress| progress = progress.or(Some(told.total));
        let (outcome, _) = run_pair(&left, &right, options.clone(), observer);
        assert!(reasons(&outcome).iter().eq([Reason::Filter]), "seed {seed}");
        assert_eq!(progress, Some(within), "seed {seed}");
        let (left, right) = (left.contents(), right.contents());
        for key in left.keys().chain(right.keys()) {
            if filter.contains(key) && common::replicated().contains(key) {
                assert!(left.get(key) == right.get(key), "seed {seed}");
            } else {
                assert!(left.get(key) == left_before.get(key), "seed {seed}");
                assert!(right.get(key) == right_before.get(key), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_read_only_side_gives_and_the_session_is_partial_only_if_it_lacked_something() {
    let (left, mut right) = (Model::new(1), Model::new(2));
    right.config.read_only = true;
    for n in 0..500u16 {
        let key = [&[1][..], &n.to_be_bytes()].concat();
        right.put(entry(key.clone(), 10, 2, "v"));
        if n % 5 != 0 {
            left.put(entry(key, 10, 2, "v"));
        }
    }
    let (outcome, answered) = repair(&left, &right, Options::new(1));
    assert_eq!(
        (outcome.end, answered.end),
        (End::Complete, End::Complete),
        "nothing was to be written there"
    );
    assert_eq!(left.root(), right.root());
    left.put(entry([1, 9, 9], 20, 1, "new"));
    let (outcome, answered) = repair(&left, &right, Options::new(1));
    assert!(reasons(&outcome).iter().eq([Reason::ReadOnly]));
    assert!(reasons(&answered).iter().eq([Reason::ReadOnly]));
    assert_ne!(left.root(), right.root());
}

#[test]
fn a_side_that_may_not_take_ends_well_where_its_differing_pieces_hold_nothing() {
    // The keys that only the right side holds lie behind all others. Where the first of them is a fence, no piece of the
    // left side differs.
    for n in 0..40u8 {
        for mode in [Mode::Push, Mode::Both] {
            let (mut left, right) = (Model::new(1), Model::new(2));
            left.config.read_only = mode == Mode::Both;
            for n in 0..1500u16 {
                let e = entry([&[1][..], &n.to_be_bytes()].concat(), 10, 2, "v");
                left.put(e.clone());
                right.put(e);
            }
            right.put(entry([1, 255, n], 10, 2, "appended"));
            let (outcome, answered) = repair(&left, &right, Options { mode, ..Options::new(1) });
            let reason = if mode == Mode::Push { Reason::Mode } else { Reason::ReadOnly };
            assert!(reasons(&outcome).iter().eq([reason]), "{n} {mode:?}");
            assert!(reasons(&answered).iter().eq([reason]), "{n} {mode:?}");
        }
    }
}

#[test]
fn what_a_side_refuses_or_defers_makes_the_session_partial_on_both() {
    for (refused, deferred) in [(1, 0), (0, 1), (2, 3)] {
        let (left, mut right) = (Model::new(1), Model::new(2));
        right.config.horizon = 100;
        right.config.latest = 1000;
        for n in 0..300u16 {
            let e = entry([&[1][..], &n.to_be_bytes()].concat(), 500, 1, "v");
            left.put(e.clone());
            right.put(e);
        }
        (0..refused).for_each(|n| left.put(entry([1, 200, n], 50, 1, "too old")));
        (0..deferred).for_each(|n| left.put(entry([1, 201, n], 5000, 1, "from the future")));
        left.put(entry([1, 202], 600, 1, "fine"));
        let (on_left, on_right) = repair(&left, &right, Options::new(1));
        for outcome in [on_left, on_right] {
            let reasons = reasons(&outcome);
            assert_eq!(reasons.contains(Reason::Refused), refused > 0);
            assert_eq!(reasons.contains(Reason::Deferred), deferred > 0);
            let counts = (outcome.report.refused, outcome.report.deferred);
            assert_eq!(counts, (u64::from(refused), u64::from(deferred)));
        }
        assert!(right.contents().contains_key(&[1, 202][..]));
    }
}

#[test]
fn a_value_that_the_peer_does_not_take_is_not_sent_and_the_session_is_partial() {
    let (left, right) = (Model::new(1), Model::new(2));
    left.put(entry([1, 1], 10, 1, vec![1; 2000]));
    left.put(entry([1, 2], 10, 1, vec![2; 900_000]));
    left.put(entry([1, 3], 10, 1, vec![3; 999]));
    let mut options = Options::new(1);
    options.limits = Limits { value_len_max: 1000, ..Limits::default() };
    let (on_left, on_right) = repair(&left, &right, options);
    for outcome in [on_left, on_right] {
        assert!(reasons(&outcome).iter().eq([Reason::Unsent]));
    }
    assert!(right.contents().into_keys().eq([vec![1, 3]]));
    let (outcome, _) = repair(&left, &right, Options::new(1));
    assert_eq!((outcome.end, left.root()), (End::Complete, right.root()));
}

#[test]
fn an_emptied_replica_erases_no_more_than_it_may() {
    for (deletes_max, at_sender) in [0, 10, 60, 61].into_iter().flat_map(|max| [(max, false), (max, true)]) {
        let (emptied, good) = (Model::new(1), Model::new(2));
        for n in 0..300u16 {
            let key = [&[1][..], &n.to_be_bytes()].concat();
            good.put(entry(key.clone(), 10, 2, "v"));
            if n % 5 == 0 {
                emptied.put(Entry { kind: Kind::Tombstone, ..entry(key, 20, 1, []) });
            } else {
                emptied.put(entry(key, 10, 2, "v"));
            }
        }
        emptied.put(entry([1, 255, 255], 20, 1, "new"));
        let options = Options { deletes_max, ..Options::new(2) };
        let (left, right) = match at_sender {
            true => (options, Options::new(1)),
            false => (Options::new(1), options),
        };
        let (on_left, on_right) = common::run_sessions(&emptied, left, &good, right);
        let taken = deletes_max.min(60);
        let tombstones = good.contents().values().filter(|held| held.entry.kind == Kind::Tombstone).count();
        assert_eq!(tombstones as u64, taken, "{deletes_max}");
        assert!(
            good.contents().contains_key(&[1, 255, 255][..]),
            "{deletes_max}: what is no deletion comes in"
        );
        let limited = if at_sender { &on_left } else { &on_right };
        assert_eq!(limited.report.deletes_left_out, 60 - taken, "{deletes_max}");
        assert_eq!(on_right.report.entries_sent, 0, "{deletes_max}: what was deleted there is old");
        if taken == 60 {
            assert_eq!((on_left.end, on_right.end), (End::Complete, End::Complete), "{deletes_max}");
        } else {
            assert!(reasons(&on_left).iter().eq([Reason::Deletes]), "{deletes_max}");
            assert!(reasons(&on_right).iter().eq([Reason::Deletes]), "{deletes_max}");
        }
    }
}

#[test]
fn no_older_version_answers_one_that_is_too_long_to_be_sent() {
    for initiates in [false, true] {
        let (holder, other) = (Model::new(1), Model::new(2));
        for n in 0..200u8 {
            other.put(entry([1, n], 10, 2, "v"));
            let is_newer = n % 20 == 0;
            holder.put(if is_newer { entry([1, n], 20, 1, [7; 1000]) } else { entry([1, n], 10, 2, "v") });
        }
        let mut options = Options::new(1);
        options.limits.value_len_max = 999;
        let (on_holder, on_other) = match initiates {
            true => common::run_sessions(&holder, Options::new(2), &other, options),
            false => {
                let (left, right) = common::run_sessions(&other, options, &holder, Options::new(2));
                (right, left)
            }
        };
        assert!(reasons(&on_holder).iter().eq([Reason::Unsent]), "{initiates}");
        assert!(reasons(&on_other).iter().eq([Reason::Unsent]), "{initiates}");
        assert_eq!((on_holder.report.entries_sent, on_other.report.entries_sent), (0, 0), "{initiates}");
    }
}

#[test]
fn strangers_are_told_apart_before_anything_is_compared() {
    let left = Model::new(1);
    left.put(entry([1, 1], 10, 1, "secret"));
    let mut other_set = left.copy(2);
    other_set.config.set_id = [8; 16];
    let mut other_key = left.copy(2);
    other_key.config.hash_check = [8; 8];
    let same_node = left.copy(1);
    for (right, here, there) in [
        (other_set, AbortReason::OtherSet, PeerReason::OtherSet),
        (other_key, AbortReason::OtherHashKey, PeerReason::OtherHashKey),
        (same_node, AbortReason::SameNode, PeerReason::SameNode),
    ] {
        let (on_left, on_right) = repair(&left, &right, Options::new(1));
        assert_eq!(on_left.end, End::Aborted(AbortReason::Peer(there)));
        assert_eq!(on_right.end, End::Aborted(here));
    }
}

#[test]
fn every_pair_of_version_windows_agrees_or_says_so_on_both_sides() {
    let windows = || (1..=4u8).flat_map(|min| (min..=4).map(move |max| Versions { min, max }));
    let (left, right) = (Model::new(1), Model::new(2));
    left.put(entry([1, 1], 10, 1, "v"));
    for ours in windows() {
        for theirs in windows() {
            let session = |versions| Options { versions, ..Options::new(1) };
            let (on_left, on_right) = common::run_sessions(&left, session(ours), &right, session(theirs));
            if ours.common(theirs).is_some() {
                assert_eq!((on_left.end, on_right.end), (End::Complete, End::Complete));
                continue;
            }
            let mismatch = |ours: Versions, theirs: Versions| {
                End::Aborted(AbortReason::Version {
                    ours_min: ours.min,
                    ours_max: ours.max,
                    theirs_min: theirs.min,
                    theirs_max: theirs.max,
                })
            };
            assert_eq!(on_left.end, mismatch(ours, theirs));
            assert_eq!(on_right.end, mismatch(theirs, ours));
        }
    }
}

#[test]
fn a_higher_horizon_at_the_responder_is_compared_by_the_initiator() {
    let (left, mut right) = (Model::new(1), Model::new(2));
    right.config.horizon = 5;
    let same = entry([1, 1], 10, 1, "v");
    left.put(same.clone());
    right.put(same);
    let (on_left, on_right) = repair(&left, &right, Options::new(1));
    assert_eq!((on_left.end, on_right.end), (End::Complete, End::Complete));
    assert_eq!(on_left.report.legs, 4, "hello, reply with the root, done, done");
    assert_eq!(on_left.report.entries_differing, 0);
}
