//! Sides that have lost spans of keys, or values: a session brings back what the other side has of them, that and nothing else,
//! and is never taken for a comparison.

mod common;

use common::rng::{Rng, diverged};
use common::{Cable, Model, entry};
use sync_proto::driver::run_pair;
use sync_proto::{
    AbortReason, Applied, End, Entry, KeyRange, Lost, Mode, Options, Origin, Outcome, Reason, Replica,
    ReplicaError, ReplicaInfo, ReplicaReader, ValueWriter,
};

fn repair(left: &Model, right: &Model, options: Options) -> (Outcome, Outcome) {
    run_pair(left, right, options, &mut |_| ())
}

fn has(outcome: &Outcome, reason: Reason) -> bool {
    matches!(outcome.end, End::Partial(reasons) if reasons.contains(reason))
}

/// A span between two keys that are held, or from one on.
fn any_span(rng: &mut Rng, model: &Model) -> Option<KeyRange> {
    let contents = model.contents();
    let keys: Vec<_> = contents.keys().filter(|key| common::replicated().contains(key)).collect();
    let from = rng.below(keys.len().max(1) as u64) as usize;
    let to = from + 1 + rng.below(20) as usize;
    let start = keys.get(from)?.to_vec();
    Some(KeyRange { start, end: keys.get(to).map(|key| key.to_vec()) })
}

/// Makes a few spans of `model` unknown. What is left in them must not come to light.
fn damage(rng: &mut Rng, model: &Model) {
    for _ in 0..1 + rng.below(3) {
        let Some(span) = any_span(rng, model) else { return };
        let (lost, _) = model.losses();
        if lost.spans.iter().all(|other| other.intersection(&span).is_empty()) {
            let keeps = rng.below(3);
            model.lose(span, |entry| entry.stamp.hlc % 3 < keeps);
        }
    }
}

/// Tells which keys are unknown to a model.
fn unknown(model: &Model) -> impl Fn(&[u8]) -> bool {
    let spans = model.losses().0.spans;
    move |key| spans.iter().any(|span| span.contains(key))
}

/// The entries of `peer` that can bring back what `model` has lost.
fn healing_entries(model: &Model, peer: &Model) -> u64 {
    let (is_unknown, is_unknown_there) = (unknown(model), unknown(peer));
    peer.contents().keys().filter(|key| is_unknown(key) && !is_unknown_there(key)).count() as u64
}

#[test]
fn what_one_side_lost_comes_back_from_the_other_and_nothing_else_moves() {
    let (mut healed, mut both) = (0, 0);
    for seed in 0..300 {
        let rng = &mut Rng(seed);
        let (left, right) = diverged(seed);
        let chosen = [&left, &right].into_iter().zip([[true, false, true], [false, true, true]]);
        for (model, _) in chosen.filter(|(_, is_damaged)| is_damaged[seed as usize % 3]) {
            damage(rng, model);
        }
        let before = [left.fork(), right.fork()];
        let expected = [healing_entries(&left, &right), healing_entries(&right, &left)];
        let is_damaged = before.iter().any(|model| !model.losses().0.spans.is_empty());
        let (on_left, on_right) = repair(&left, &right, Options::new(seed));
        if !is_damaged {
            continue;
        }
        both += u64::from(before.iter().all(|model| !model.losses().0.spans.is_empty()));
        for (model, was, peer, expected) in
            [(&left, &before[0], &right, expected[0]), (&right, &before[1], &left, expected[1])]
        {
            assert_eq!(model.losses().1, expected, "seed {seed}: exactly the entries of the spans");
            let (was_unknown, is_unknown, is_unknown_there) = (unknown(was), unknown(model), unknown(peer));
            let contents = model.contents();
            for (key, held) in was.contents() {
                let is_same = contents.get(&key) == Some(&held);
                assert!(is_same || was_unknown(&key), "seed {seed}: another key changed");
            }
            for key in peer.contents().keys() {
                assert!(!is_unknown(key) || is_unknown_there(key), "seed {seed}: it could be healed");
            }
        }
        let is_left = [&left, &right].iter().any(|model| !model.losses().0.spans.is_empty());
        for outcome in [&on_left, &on_right] {
            assert_eq!(has(outcome, Reason::Unknown), is_left, "seed {seed}: {:?}", outcome.end);
            assert_eq!(has(outcome, Reason::Healed), !is_left, "seed {seed}: {:?}", outcome.end);
            assert_eq!(outcome.report.entries_healed, expected[0] + expected[1], "seed {seed}");
        }
        assert!([&left, &right].iter().all(|model| model.is_durable()), "seed {seed}");
        if !is_left {
            healed += 1;
            assert_eq!(repair(&left, &right, Options::new(seed)).0.end, End::Complete, "seed {seed}");
            assert_eq!(left.root(), right.root(), "seed {seed}");
        }
    }
    assert!(healed > 150 && both > 50, "{healed} {both}");
}

#[test]
fn a_session_cut_while_it_heals_is_never_complete_and_the_next_one_goes_on() {
    for seed in 0..8 {
        let rng = &mut Rng(seed);
        let (left, right) = diverged(seed);
        // Of one size, so that a span takes several parts.
        for n in 0..600u16 {
            let entry = entry([&[1, 7][..], &n.to_be_bytes()].concat(), 500, 1, vec![7; 2000]);
            [&left, &right].iter().for_each(|model| model.put(entry.clone()));
        }
        damage(rng, &left);
        let span = KeyRange { start: vec![1, 7], end: Some(vec![1, 8]) };
        if left.losses().0.spans.iter().all(|other| other.intersection(&span).is_empty()) {
            left.lose(span, |_| false);
        }
        for cut_at in 0.. {
            let (left, right) = (left.fork(), right.fork());
            let mut cable = Cable::new(Options::new(seed), Options::new(!seed));
            let mut frames = 0;
            while !cable.step(&left, &right, |_| {
                frames += 1;
                frames <= cut_at
            }) {
                assert!(cable.memory_len() < sync_proto::limits::MEMORY_MAX);
            }
            let (on_left, on_right) = cable.outcomes();
            for outcome in [&on_left, &on_right] {
                match outcome.end {
                    End::Aborted(AbortReason::Closed) => assert!(frames > cut_at, "seed {seed}, {cut_at}"),
                    _ => assert!(has(outcome, Reason::Healed), "seed {seed}, {cut_at}: {:?}", outcome.end),
                }
            }
            let healed = left.losses().1;
            if frames <= cut_at {
                break;
            }
            let left_over = healing_entries(&left, &right);
            let _ = repair(&left, &right, Options::new(1));
            assert_eq!(left.losses().1 - healed, left_over, "seed {seed}, cut at {cut_at}");
            assert_eq!(repair(&left, &right, Options::new(2)).0.end, End::Complete, "seed {seed}, {cut_at}");
            assert_eq!(left.root(), right.root(), "seed {seed}, cut at {cut_at}");
        }
    }
}

#[test]
fn only_a_side_that_may_take_is_healed() {
    let span = || KeyRange { start: vec![1], end: None };
    for (mode, heals_left, heals_right) in
        [(Mode::Pull, true, false), (Mode::Push, false, true), (Mode::DryRun, false, false)]
    {
        for read_only in [false, true] {
            let (mut left, right) = (Model::new(1), Model::new(2));
            for n in 0..50u8 {
                left.put(entry([1, n], 10, 1, "v"));
                right.put(entry([2, n], 10, 1, "v"));
            }
            left.config.read_only = read_only;
            // Each lacks what the other has, so each can heal the other's half.
            left.lose(KeyRange { start: vec![2], end: None }, |_| false);
            right.lose(KeyRange { end: Some(vec![2]), ..span() }, |_| false);
            let (on_left, on_right) = repair(&left, &right, Options { mode, ..Options::new(1) });
            let came = (left.losses().1, right.losses().1);
            // A read-only side takes nothing, and is not believed: it may be a view of the past.
            let (heals_left, heals_right) = (heals_left && !read_only, heals_right && !read_only);
            assert_eq!(came, (50 * u64::from(heals_left), 50 * u64::from(heals_right)), "{mode:?}");
            for outcome in [&on_left, &on_right] {
                assert!(has(outcome, Reason::Unknown) && !has(outcome, Reason::Healed), "{:?}", outcome.end);
                let reason = if mode == Mode::DryRun { Reason::DryRun } else { Reason::Mode };
                assert!(has(outcome, reason), "{:?}", outcome.end);
            }
        }
    }
}

#[test]
fn a_filter_heals_its_range_alone_and_compares_what_is_known() {
    let whole = Model::new(2);
    (0..100u8).for_each(|n| whole.put(entry([1 + n % 2, n], 10, 1, "v")));
    let damaged = whole.copy(1);
    damaged.lose(KeyRange { start: vec![1, 10], end: Some(vec![1, 20]) }, |_| false);
    damaged.lose(KeyRange { start: vec![2, 10], end: Some(vec![2, 20]) }, |_| false);
    damaged.put(entry([2, 99, 1], 20, 1, "new"));
    let within = |first: u8| KeyRange { start: vec![first], end: Some(vec![first + 1]) };
    let filtered = |filter| Options { filter: Some(filter), ..Options::new(1) };
    let (outcome, _) = repair(&damaged, &whole, filtered(KeyRange { start: vec![2, 20], end: None }));
    assert!(has(&outcome, Reason::Filter) && !has(&outcome, Reason::Unknown), "{:?}", outcome.end);
    assert!(whole.contents().contains_key(&[2, 99, 1][..]), "no unknown key lies there");
    let (outcome, _) = repair(&damaged, &whole, filtered(within(1)));
    assert!(has(&outcome, Reason::Healed), "of the filtered range: {:?}", outcome.end);
    assert_eq!(damaged.losses().0.spans, [KeyRange { start: vec![2, 10], end: Some(vec![2, 20]) }]);
    let (outcome, _) = repair(&whole, &damaged, Options::new(1));
    assert!(has(&outcome, Reason::Healed));
    assert_eq!(repair(&whole, &damaged, Options::new(1)).0.end, End::Complete);
}

#[test]
fn lost_values_come_back_beside_all_else() {
    for seed in 0..120 {
        let rng = &mut Rng(seed);
        let (left, mut right) = diverged(seed);
        let large = |n: u8| entry([1, 200, n], 5000, 9, vec![n; 1 + rng_len(seed, n)]);
        (0..6).for_each(|n| [&left, &right].iter().for_each(|model| model.put(large(n))));
        if seed % 2 == 0 {
            // Equal, but for what is lost.
            right = left.copy(right.config.node);
        }
        let damaged = if rng.one_in(2) { &left } else { &right };
        (0..1 + rng.below(6) as u8).for_each(|n| damaged.lose_value(&[1, 200, n]));
        let (on_left, on_right) = repair(&left, &right, Options::new(seed));
        assert_eq!((on_left.end, on_right.end), (End::Complete, End::Complete), "seed {seed}");
        assert!(damaged.losses().0.is_empty(), "seed {seed}");
        assert_eq!(left.root(), right.root(), "seed {seed}");
        let values =
            |model: &Model| (0..6).map(|n| model.contents()[&[1, 200, n][..]].clone()).collect::<Vec<_>>();
        assert!(values(&left) == values(&right), "seed {seed}: a value is not what it was");
    }
}

/// Some values are longer than what travels with its entry.
fn rng_len(seed: u64, n: u8) -> usize {
    Rng(seed * 7 + u64::from(n)).below(400_000) as usize
}

#[test]
fn a_value_that_both_have_lost_stays_so_and_hinders_nothing() {
    let (left, right) = (Model::new(1), Model::new(2));
    for model in [&left, &right] {
        model.put(entry([1, 1], 10, 1, "value"));
        model.lose_value(&[1, 1]);
    }
    left.put(entry([1, 2], 20, 1, "new"));
    assert_eq!(repair(&left, &right, Options::new(1)).0.end, End::Complete);
    assert!(right.contents().contains_key(&[1, 2][..]) && !right.losses().0.is_empty());
}

#[test]
fn an_entry_whose_value_is_lost_is_left_out_and_all_else_moves() {
    let (left, right) = (Model::new(1), Model::new(2));
    for n in 0..40u8 {
        left.put(entry([1, n], 10, 1, vec![n; 1 + 400_000 * usize::from(n == 7)]));
    }
    [3, 7].iter().for_each(|n| left.lose_value(&[1, *n]));
    for present in [false, true] {
        if present {
            // Now the range is not streamed whole, but told by key.
            right.put(entry([1, 40], 10, 1, "v"));
            left.put(entry([1, 41], 10, 1, "v"));
        }
        let (on_left, on_right) = repair(&left, &right, Options::new(1));
        assert!(has(&on_left, Reason::Unsent) && has(&on_right, Reason::Unsent), "{:?}", on_left.end);
        let lacks = |key: &Vec<u8>| !right.contents().contains_key(key);
        let lacking: Vec<_> = left.contents().into_keys().filter(lacks).collect();
        assert_eq!(lacking, [vec![1, 3], vec![1, 7]]);
    }
    let third = Model::new(3);
    [3, 7].iter().for_each(|n| third.put(left.contents()[&[1, *n][..]].entry.clone()));
    let _ = repair(&left, &third, Options::new(2));
    assert_eq!(repair(&left, &right, Options::new(3)).0.end, End::Complete);
}

/// A store that tells of lost values and leaves all else to the trait.
struct Plain(Model);

impl Replica for Plain {
    fn info(&self, horizon: Option<u64>) -> Result<ReplicaInfo, ReplicaError> {
        self.0.info(horizon)
    }

    fn apply(&self, entries: Vec<Entry>, origin: Origin) -> Result<Applied, ReplicaError> {
        self.0.apply(entries, origin)
    }

    fn begin_value(
        &self,
        entry: Entry,
        len: u64,
        origin: Origin,
    ) -> Result<Box<dyn ValueWriter>, ReplicaError> {
        self.0.begin_value(entry, len, origin)
    }

    fn pin(&self, cut: u64) -> Result<Box<dyn ReplicaReader>, ReplicaError> {
        self.0.pin(cut)
    }

    fn lost(&self) -> Result<Lost, ReplicaError> {
        self.0.lost()
    }

    fn persist(&self) -> Result<(), ReplicaError> {
        self.0.persist()
    }
}

#[test]
fn by_the_traits_defaults_keys_whose_values_are_lost_stay_unknown_and_the_others_heal() {
    for lost in [&[0u8][..], &[0, 1, 2, 9], &[19], &[5, 7]] {
        let (left, right) = (Model::new(1), Model::new(2));
        (0..20).for_each(|n| right.put(entry([1, n], 10, 1, vec![n; 5 + 400_000 * usize::from(n == 2)])));
        lost.iter().for_each(|n| right.lose_value(&[1, *n]));
        // From the first key on, and from nowhere near one.
        for start in [vec![1, 0], vec![1]] {
            let left = left.fork();
            left.lose(KeyRange { start, end: None }, |_| false);
            let (outcome, _) = run_pair(&left, &Plain(right.clone()), Options::new(1), &mut |_| ());
            assert!(has(&outcome, Reason::Unknown), "{lost:?}: {:?}", outcome.end);
            assert_eq!(left.losses().1, 20 - lost.len() as u64, "{lost:?}");
            let is_unknown = unknown(&left);
            assert!((0..20).all(|n| is_unknown(&[1, n]) == lost.contains(&n)), "{lost:?}");
        }
    }
}

#[test]
fn a_peer_that_holds_nothing_heals_nothing() {
    let (left, right) = (Model::new(1), Model::new(2));
    (0..9u8).for_each(|n| left.put(entry([1, n], 10, 1, "v")));
    left.lose(KeyRange { start: vec![1, 3], end: Some(vec![1, 5]) }, |_| true);
    let (outcome, _) = repair(&left, &right, Options::new(1));
    assert!(has(&outcome, Reason::Unknown) && left.losses().0.spans.len() == 1, "{:?}", outcome.end);
}

#[test]
fn a_long_value_in_a_span_that_changes_on_its_way_stays_unknown_until_the_next_session() {
    for overwritten in [false, true] {
        let (left, right) = (Model::new(1), Model::new(2));
        for n in 0..20u8 {
            let len = if n == 7 { 1_500_000 } else { 10 };
            right.put(entry([1, n], 10, 1, vec![n; len]));
        }
        left.lose(KeyRange { start: vec![1], end: None }, |_| false);
        let mut cable = Cable::new(Options::new(1), Options::new(2));
        let mut frames = 0;
        while !cable.step(&left, &right, |_| {
            frames += 1;
            if overwritten && frames == 5 {
                right.put(entry([1, 7], 20, 1, vec![8; 1_400_000]));
            }
            true
        }) {}
        let (outcome, _) = cable.outcomes();
        let left_over: &[KeyRange] = &[KeyRange { start: vec![1, 7], end: Some(vec![1, 7, 0]) }];
        assert_eq!(has(&outcome, Reason::Unknown), overwritten, "{:?}", outcome.end);
        assert_eq!(left.losses().0.spans, left_over[..usize::from(overwritten)]);
        let (outcome, _) = repair(&left, &right, Options::new(1));
        assert_eq!(outcome.end == End::Complete, !overwritten, "{:?}", outcome.end);
        assert!(left.contents() == right.contents());
    }
}
