//! Two replicas that differ in every way are equal after one session, each entry that differs travels once, and the
//! report says what happened. Seeded; a failure prints its seed.

mod common;

use common::rng::{Rng, diverged};
use common::{Model, entry, entry_hash};
use sync_proto::driver::run_pair;
use sync_proto::{
    AbortReason, End, KeyRange, Kind, Limits, Mode, Options, Outcome, PeerReason, Reason, Replica, Versions,
};

fn repair(left: &Model, right: &Model, options: Options) -> (Outcome, Outcome) {
    run_pair(left, right, options, &mut |_| ())
}

/// What differs between two models, counted from their contents.
#[derive(Debug, Default, PartialEq, Eq)]
struct Truth {
    only_left: u64,
    only_right: u64,
    newer_left: u64,
    newer_right: u64,
    ties: u64,
}

fn truth(left: &Model, right: &Model) -> Truth {
    let replicated = common::replicated();
    let (left, right) = (left.contents(), right.contents());
    let mut truth = Truth::default();
    for (key, held) in left.iter().filter(|(key, _)| replicated.contains(key)) {
        match right.get(key) {
            None => truth.only_left += 1,
            Some(other) if other.hash == held.hash => {}
            Some(other) if other.entry.stamp.hlc == held.entry.stamp.hlc => truth.ties += 1,
            Some(other) if other.entry.stamp < held.entry.stamp => truth.newer_left += 1,
            Some(_) => truth.newer_right += 1,
        }
    }
    let only_right = right.keys().filter(|key| replicated.contains(key) && !left.contains_key(*key));
    truth.only_right = only_right.count() as u64;
    truth
}

#[test]
fn every_divergence_converges_and_each_differing_entry_travels_once() {
    for seed in 0..1200 {
        let (left, right) = diverged(seed);
        let truth = truth(&left, &right);
        let (on_left, on_right) = repair(&left, &right, Options::new(seed ^ 0x5eed));
        assert_eq!(on_left.end, End::Complete, "seed {seed}");
        assert_eq!(on_right.end, End::Complete, "seed {seed}");
        assert_eq!(left.root(), right.root(), "seed {seed}");
        assert!(left.is_durable() && right.is_durable(), "seed {seed}");
        for (report, model) in [(&on_left.report, &left), (&on_right.report, &right)] {
            assert!(report.is_equal(), "seed {seed}");
            assert_eq!(report.root_left, model.root(), "seed {seed}");
            assert_eq!(report.only_left, truth.only_left, "seed {seed}");
            assert_eq!(report.only_right, truth.only_right, "seed {seed}");
            let newer = truth.newer_left + truth.newer_right + truth.ties;
            assert_eq!(report.newer_left + report.newer_right, newer, "seed {seed}");
        }
        let sent = on_left.report.entries_sent + on_right.report.entries_sent;
        let differing = on_left.report.entries_differing;
        assert_eq!(sent, differing + truth.ties, "seed {seed}: over-transfer");
        assert_eq!(on_left.report.entries_sent, on_right.report.entries_received, "seed {seed}");
        assert_eq!(on_right.report.entries_sent, on_left.report.entries_received, "seed {seed}");
        assert_eq!(on_left.report.metadata_bytes, on_right.report.metadata_bytes, "seed {seed}");
        let (again, _) = repair(&left, &right, Options::new(seed));
        assert_eq!((again.end, again.report.legs), (End::Complete, 2), "seed {seed}");
        assert!(again.report.metadata_bytes <= 200, "seed {seed}: {}", again.report.metadata_bytes);
    }
}
