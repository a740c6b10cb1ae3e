//! What repairs cost at a million keys: bytes of frames less values, and legs, for scattered (U) and newest-of-all (T)
//! differences, half of them missing on one side and half stale. Prints the table of `docs/protocol.md`.
//!
//! `cargo run --release -p sync-proto --no-default-features --example costs [n [fan_out [list_count]]]`

#[path = "../tests/common/mod.rs"]
mod common;

use common::rng::Rng;
use common::{Model, entry};
use sync_proto::driver::run_pair;
use sync_proto::{Limits, Options};

/// Buckets of about 64 keys, as a store of this size would have.
const STORE_BUCKET_BITS: u32 = 6;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let n: u64 = arguments.next().unwrap_or(1_000_000);
    let fan_out = arguments.next().map_or(Limits::default().fan_out, |n| n as u32);
    let list_count = arguments.next().map_or(Limits::default().list_count, |n| n as u32);
    let limits = Limits { fan_out, list_count, ..Limits::default() };
    println!("n {n}, fan-out {fan_out}, lists up to {list_count}");
    println!("{:>8} {:>12} {:>6} {:>9} {:>9} {:>8}", "d", "metadata", "legs", "per entry", "sent", "peak");
    let cases =
        [(0, 'U'), (1, 'U'), (10, 'U'), (100, 'U'), (1000, 'U'), (10_000, 'U'), (1000, 'T'), (10_000, 'T')];
    for (d, shape) in cases {
        let (mut bytes, mut legs, mut sent) = (0, 0, 0);
        // A single scattered key costs a little more or less by where it lies.
        let rounds = if d == 1 { 20 } else { 1 };
        let (left, right) = replicas(n, shape);
        for round in 0..rounds {
            diverge(&left, &right, n, d, shape, round);
            let options = Options { limits: limits.clone(), ..Options::new(77 + round) };
            let (outcome, _) = run_pair(&left, &right, options, &mut |_| ());
            assert!(outcome.report.is_equal() && outcome.report.entries_differing == d);
            bytes += outcome.report.metadata_bytes;
            legs += u64::from(outcome.report.legs);
            sent += outcome.report.entries_sent + outcome.report.entries_received;
        }
        println!(
            "{:>8} {:>12} {:>6.1} {:>9.1} {:>9} ",
            format!("{d} {shape}"),
            bytes / rounds,
            legs as f64 / rounds as f64,
            bytes as f64 / (rounds * d.max(1)) as f64,
            sent / rounds,
        );
    }
}

fn key(shape: char, index: u64) -> Vec<u8> {
    let body = match shape {
        'T' => index.to_be_bytes(),
        _ => Rng(index).next().to_be_bytes(),
    };
    [&[1u8][..], &[0; 8], &body].concat()
}

fn replicas(n: u64, shape: char) -> (Model, Model) {
    let mut left = Model::new(1);
    left.config.bucket_bits = STORE_BUCKET_BITS;
    for index in 0..n {
        left.put(entry(key(shape, index), (1 << 40) + index, 1, [7; 8]));
    }
    let right = left.copy(2);
    (left, right)
}

/// Makes `d` keys differ: every other one is missing on the right, the others are stale there.
fn diverge(left: &Model, right: &Model, n: u64, d: u64, shape: char, round: u64) {
    let mut rng = Rng(1000 + round);
    let mut changed = std::collections::BTreeSet::new();
    while (changed.len() as u64) < d {
        changed.insert(match shape {
            'T' => n - 1 - changed.len() as u64,
            _ => rng.below(n),
        });
    }
    for (count, index) in changed.into_iter().enumerate() {
        if count as u64 % 2 == round % 2 {
            right.remove(&key(shape, index));
        } else {
            left.put(entry(key(shape, index), (1 << 41) + (round << 20) + index, 1, [8; 8]));
        }
    }
}
