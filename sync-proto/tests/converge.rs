//! Two replicas that differ in every way are equal after one session, each entry that differs travels once, and the
//! report says what happened. Seeded; a failure prints its seed.

mod common;

use common::rng::diverged;
use common::{Model, Truth};
use sync_proto::driver::run_pair;
use sync_proto::{End, Options, Outcome};

fn repair(left: &Model, right: &Model, options: Options) -> (Outcome, Outcome) {
    run_pair(left, right, options, &mut |_| ())
}

#[test]
fn every_divergence_converges_and_each_differing_entry_travels_once() {
    for seed in 0..1200 {
        let (left, right) = diverged(seed);
        let truth = Truth::of(&left, &right);
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
        assert_eq!(sent, truth.entries_to_send(), "seed {seed}: over-transfer");
        assert_eq!(on_left.report.entries_sent, on_right.report.entries_received, "seed {seed}");
        assert_eq!(on_right.report.entries_sent, on_left.report.entries_received, "seed {seed}");
        assert_eq!(on_left.report.metadata_bytes, on_right.report.metadata_bytes, "seed {seed}");
        let (again, _) = repair(&left, &right, Options::new(seed));
        assert_eq!((again.end, again.report.legs), (End::Complete, 2), "seed {seed}");
        assert!(again.report.metadata_bytes <= 200, "seed {seed}: {}", again.report.metadata_bytes);
    }
}
