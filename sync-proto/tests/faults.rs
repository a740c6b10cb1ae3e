//! Sessions that are cut, replicas that fail or are written to meanwhile: nothing is claimed that is not so, nothing is
//! lost, and the next session finishes the work.

mod common;

use common::rng::{Rng, diverged};
use common::{Cable, Model, Truth, entry};
use sync_proto::driver::run_pair;
use sync_proto::{AbortReason, End, Options, Outcome};

fn repair(left: &Model, right: &Model, nonce: u64) -> (Outcome, Outcome) {
    run_pair(left, right, Options::new(nonce), &mut |_| ())
}

/// Whether everything that `past` held is held or covered by `model` now.
fn covers(model: &Model, past: &Model) -> bool {
    let now = model.contents();
    past.contents().into_iter().filter(|(key, _)| common::replicated().contains(key)).all(|(key, held)| {
        now.get(&key).is_some_and(|other| other.hash == held.hash || other.entry.stamp >= held.entry.stamp)
    })
}

#[test]
fn a_session_cut_at_any_frame_is_never_complete_and_the_next_one_sends_only_what_is_left() {
    for seed in 0..40 {
        let (left, right) = diverged(seed);
        let truth = Truth::of(&left, &right);
        for cut_at in 0.. {
            let (left, right) = (left.fork(), right.fork());
            let before = (left.fork(), right.fork());
            let mut cable = Cable::new(Options::new(seed), Options::new(!seed));
            let mut frames = 0;
            while !cable.step(&left, &right, |_| {
                frames += 1;
                frames <= cut_at
            }) {}
            let uncut = frames <= cut_at;
            let (on_left, on_right) = cable.outcomes();
            for outcome in [&on_left, &on_right] {
                match outcome.end {
                    End::Complete => {
                        // Whoever says so is right, whatever the other side got to know.
                        assert!(
                            covers(&left, &before.1) && covers(&right, &before.0),
                            "seed {seed}, {cut_at}"
                        );
                        assert!(left.is_durable() && right.is_durable(), "seed {seed}, {cut_at}");
                    }
                    End::Aborted(AbortReason::Closed) => assert!(!uncut, "seed {seed}, {cut_at}"),
                    ref end => panic!("seed {seed}, cut at {cut_at}: {end:?}"),
                }
            }
            if uncut {
                break;
            }
            assert!(
                [&on_left, &on_right].iter().any(|outcome| outcome.end != End::Complete),
                "seed {seed}, {cut_at}: the last frame did not arrive"
            );
            let taken = on_left.report.entries_received + on_right.report.entries_received;
            let (on_left, on_right) = repair(&left, &right, 1);
            assert_eq!(on_left.end, End::Complete, "seed {seed}, cut at {cut_at}");
            assert_eq!(left.root(), right.root(), "seed {seed}, cut at {cut_at}");
            let sent = on_left.report.entries_sent + on_right.report.entries_sent;
            assert!(
                // Who has taken in only one version of a tie may have to hear both once more.
                taken + sent <= truth.entries_to_send() + truth.ties,
                "seed {seed}, cut at {cut_at}: {taken} of {truth:?} were taken in, and {sent} sent again"
            );
        }
    }
}

#[test]
fn a_replica_that_fails_at_any_call_ends_the_session_typed_on_both_sides() {
    for seed in 0..10 {
        let (left, right) = diverged(seed);
        for fails_at in 1.. {
            let (mut left, mut right) = (left.fork(), right.fork());
            let failing = if seed % 2 == 0 { &mut left } else { &mut right };
            failing.config.fails_at = fails_at;
            let (on_left, on_right) = repair(&left, &right, seed);
            if [&on_left, &on_right].iter().all(|outcome| outcome.end == End::Complete) {
                break;
            }
            let (failed, other) = if seed % 2 == 0 { (on_left, on_right) } else { (on_right, on_left) };
            assert!(matches!(failed.end, End::Aborted(AbortReason::Replica(_))), "seed {seed}, {fails_at}");
            // The first call comes before the initiator has said anything.
            assert!(
                matches!(other.end, End::Aborted(AbortReason::Peer(_))),
                "seed {seed}, {fails_at}: {:?}",
                other.end
            );
            assert_eq!(repair(&left, &right, 1).0.end, End::Complete, "seed {seed}, {fails_at}");
            assert_eq!(left.root(), right.root(), "seed {seed}, {fails_at}");
        }
    }
}

#[test]
fn writes_during_a_session_neither_break_nor_prolong_it() {
    for seed in 0..60 {
        let rng = &mut Rng(seed);
        let (left, right) = diverged(seed);
        let past = (left.fork(), right.fork());
        let mut cable = Cable::new(Options::new(seed), Options::new(!seed));
        let mut writes = 0;
        let mut frames = 0;
        while !cable.step(&left, &right, |_| {
            frames += 1;
            // Overwrites of what is there, new keys next to it, deletions: on either side, after every frame.
            for model in [&left, &right] {
                let contents = model.contents();
                let mut keys = contents.keys().filter(|key| common::replicated().contains(key));
                let index = rng.below(contents.len() as u64 + 1) as usize;
                let Some(key) = keys.nth(index) else { continue };
                let mut key = key.clone();
                if rng.one_in(3) {
                    key.push(rng.next() as u8);
                }
                writes += 1;
                model.put(entry(key, 10_000 + writes, model.config.node, "written meanwhile"));
            }
            true
        }) {}
        let (on_left, on_right) = cable.outcomes();
        assert_eq!((on_left.end, on_right.end), (End::Complete, End::Complete), "seed {seed}");
        assert!(covers(&left, &past.1) && covers(&right, &past.0), "seed {seed}");
        assert!(frames < 10_000, "seed {seed}: {frames} frames");
        assert_eq!(repair(&left, &right, seed).0.end, End::Complete, "seed {seed}");
        assert_eq!(left.root(), right.root(), "seed {seed}");
    }
}

#[test]
fn a_long_value_that_changes_on_its_way_arrives_as_it_is_in_the_end() {
    for overwrites in 0..4u64 {
        let (left, right) = (Model::new(1), Model::new(2));
        left.put(entry([1, 1], 10, 1, vec![1; 1_500_000]));
        left.put(entry([1, 2], 10, 1, "short"));
        let mut cable = Cable::new(Options::new(1), Options::new(2));
        let mut frames = 0;
        while !cable.step(&left, &right, |_| {
            frames += 1;
            if frames > 4 && frames <= 4 + overwrites {
                left.put(entry([1, 1], 10 + frames, 1, vec![frames as u8; 1_400_000]));
            }
            true
        }) {}
        assert_eq!(cable.outcomes().0.end, End::Complete, "{overwrites}");
        assert_eq!(left.root(), right.root(), "{overwrites}");
    }
}

#[test]
fn streams_and_walks_of_any_size_stay_within_the_memory_of_a_session() {
    let (left, right) = (Model::new(1), Model::new(2));
    for n in 0..30_000u64 {
        let key = [&[1][..], &Rng(n).next().to_be_bytes(), &[b'k'; 40]].concat();
        let side = if n % 2 == 0 { &left } else { &right };
        side.put(entry(key, 10, 1, vec![7; 300]));
    }
    let mut cable = Cable::new(Options::new(1), Options::new(2));
    let mut peak = 0;
    loop {
        let over = cable.step(&left, &right, |frame| {
            assert!(frame.len() <= sync_proto::limits::FRAME_LEN_MAX + sync_proto::FRAME_HEADER_LEN);
            true
        });
        peak = peak.max(cable.memory_len());
        if over {
            break;
        }
    }
    assert!(peak < sync_proto::limits::MEMORY_MAX, "{peak} bytes");
    let (outcome, _) = cable.outcomes();
    assert_eq!(outcome.end, End::Complete);
    assert_eq!(left.root(), right.root());
    assert_eq!(outcome.report.entries_sent + outcome.report.entries_received, 30_000);
}

#[test]
fn a_silent_peer_is_left_after_the_deadline_and_not_before() {
    use std::time::Duration;
    use sync_proto::driver::{Pump, Step};
    use sync_proto::{Input, Session};

    let model = Model::new(1);
    let start = Duration::from_secs(1000);
    for (session, sends) in [
        (Session::initiator(Options::new(1), start), true),
        (Session::responder(Options::new(1), start), false),
    ] {
        let mut pump = Pump::new(session);
        assert_eq!(matches!(pump.step(&model, start), Step::Send(_)), sends);
        while !matches!(pump.step(&model, start), Step::Receive) {}
        let deadline = pump.deadline().expect("it waits for the peer");
        assert_eq!(deadline, start + Duration::from_secs(5));
        pump.handle(Input::Tick, deadline - Duration::from_millis(1));
        assert!(matches!(pump.step(&model, deadline), Step::Receive));
        pump.handle(Input::Tick, deadline);
        assert!(matches!(pump.step(&model, deadline), Step::Send(_)), "the peer is told");
        let Step::Ended(outcome) = pump.step(&model, deadline) else { panic!("it goes on") };
        assert_eq!(outcome.end, End::Aborted(AbortReason::Timeout));
    }
}

#[test]
fn a_peer_that_always_says_something_in_time_does_not_hold_a_session_for_good() {
    use std::time::Duration;
    use sync_proto::driver::{Pump, Step};
    use sync_proto::{Input, PeerReason, Session};

    // How both sides of a session end each of whose frames takes 40 seconds, and when.
    let run = |session_timeout| {
        let (left, right) = (Model::new(1), Model::new(2));
        for n in 0..30 {
            left.put(entry([1, n], 10, 1, vec![n; 1 << 20]));
        }
        let mut options = Options::new(1);
        options.limits.session_timeout = session_timeout;
        let mut now = Duration::from_secs(1000);
        let mut pumps = [
            Pump::new(Session::initiator(options.clone(), now)),
            Pump::new(Session::responder(options, now)),
        ];
        let mut ends = [None, None];
        while let Some(index) = (0..2).find(|&side| ends[side].is_none()) {
            for side in [index, 1 - index] {
                while ends[side].is_none() {
                    match pumps[side].step([&left, &right][side], now) {
                        Step::Send(frame) => {
                            now += Duration::from_secs(40);
                            pumps[1 - side].handle(Input::Frame(frame), now);
                            break;
                        }
                        Step::Receive if ends[1 - side].is_some() => pumps[side].handle(Input::Closed, now),
                        Step::Receive => break,
                        Step::Tell(_) => {}
                        Step::Ended(outcome) => ends[side] = Some(outcome.end),
                    }
                }
            }
        }
        (ends.map(|end| end.expect("over")), now - Duration::from_secs(1000))
    };
    let (ends, took) = run(Duration::from_secs(24 * 60 * 60));
    assert!(ends == [End::Complete, End::Complete] && took > Duration::from_secs(1200), "{ends:?}, {took:?}");
    let (ends, took) = run(Duration::from_secs(600));
    let limit = End::Aborted(AbortReason::Limit("time"));
    let told = End::Aborted(AbortReason::Peer(PeerReason::Limit));
    assert!(ends.contains(&limit) && ends.iter().all(|end| [&limit, &told].contains(&end)), "{ends:?}");
    assert!(took <= Duration::from_secs(700), "{took:?}");
}
