//! What a repair reads and says follows from what differs, and hardly from how much there is.

mod common;

use common::rng::Rng;
use common::{Model, entry};
use sync_proto::driver::run_pair;
use sync_proto::{End, Options, Report};

/// Pieces of 64 entries on the average, as a store has them, or about so.
const BUCKET_BITS: u32 = 6;
/// A key that differs lies in a piece of twice the average, and what was found there is read a second time in part.
const READ_PER_DIFFERENCE: u64 = 2 * (1 << BUCKET_BITS) + 64;

fn key(index: u64) -> Vec<u8> {
    [&[1][..], &Rng(index).next().to_be_bytes(), &Rng(!index).next().to_be_bytes()].concat()
}

/// Repairs two replicas of `n` keys of which `d` scattered ones are missing or stale on the right; both sides' reports.
fn repair(n: u64, d: u64) -> [Report; 2] {
    let mut left = Model::new(1);
    left.config.bucket_bits = BUCKET_BITS;
    (0..n).for_each(|index| left.put(entry(key(index), 100 + index, 1, "value")));
    let right = left.copy(2);
    for count in 0..d {
        let key = key(count * (n / d));
        if count % 2 == 0 {
            right.remove(&key)
        } else {
            left.put(entry(key, n + count + 200, 1, "newer"))
        };
    }
    let (on_left, on_right) = run_pair(&left, &right, Options::new(n), &mut |_| ());
    assert_eq!(on_left.end, End::Complete);
    assert_eq!((on_left.report.entries_differing, on_left.report.is_equal()), (d, true));
    [on_left.report, on_right.report]
}

#[test]
fn a_scattered_difference_has_its_piece_read_and_little_else_at_any_size() {
    for d in [1, 20, 100] {
        let mut bytes = Vec::new();
        for n in [10_000, 40_000, 160_000] {
            let reports = repair(n, d);
            for report in &reports {
                let read = report.entries_read.saturating_sub(report.entries_sent);
                assert!(read <= (READ_PER_DIFFERENCE * d).max(400), "{d} of {n}: {read}");
                assert!(report.legs <= 9, "{d} of {n}: {} legs", report.legs);
            }
            bytes.push(reports[0].metadata_bytes);
        }
        println!("{d}: {bytes:?} bytes");
        assert!(bytes.iter().all(|&bytes| bytes <= 800 + 110 * d), "{d}: {bytes:?}");
    }
}

#[test]
fn coarse_pieces_that_differ_are_cut_into_finer_ones_before_they_are_read() {
    let (mut left, n) = (Model::new(1), 40_000);
    // About 2,000 entries in a piece, as in a store so large that nobody sketches all of its buckets.
    left.config.level_min = 8;
    (0..n).for_each(|index| left.put(entry(key(index), 100, 1, "value")));
    let right = left.copy(2);
    [5, 9000, 31_000].into_iter().for_each(|index| left.put(entry(key(index), 200, 1, "newer")));
    right.remove(&key(20_000));
    let (outcome, on_right) = run_pair(&left, &right, Options::new(1), &mut |_| ());
    assert_eq!((outcome.end, left.root()), (End::Complete, right.root()));
    assert_eq!(outcome.report.entries_differing, 4);
    for report in [outcome.report, on_right.report] {
        assert!(report.entries_read < 300, "{}", report.entries_read);
        assert!(report.legs <= 9, "{}", report.legs);
    }
}

#[test]
fn the_newest_entries_cost_a_few_bytes_each() {
    let (mut left, n, d) = (Model::new(1), 40_000u64, 2000);
    left.config.bucket_bits = BUCKET_BITS;
    let key = |index: u64| [&[1][..], &index.to_be_bytes()].concat();
    (0..n).for_each(|index| left.put(entry(key(index), 100 + index, 1, "value")));
    let right = left.copy(2);
    (n - d..n).for_each(|index| right.remove(&key(index)));
    let (outcome, on_right) = run_pair(&left, &right, Options::new(1), &mut |_| ());
    assert_eq!((outcome.end, left.root()), (End::Complete, right.root()));
    let told = outcome.report.metadata_bytes - outcome.report.entry_bytes;
    assert!(told < 8 * d, "{told} bytes");
    assert!(outcome.report.entries_read + on_right.report.entries_read < 4 * d, "{:?}", outcome.report);
}
