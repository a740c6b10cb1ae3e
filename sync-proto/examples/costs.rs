//! What repairs cost at a million keys, for scattered (U) and newest-of-all (T) differences, half of them missing on one
//! side and half stale there. Prints the table of `docs/protocol.md`.
//!
//! Bytes are those of all frames in both directions less the values; "to find" is without the entries' own keys and
//! stamps as well. `>` says that the initiator has what the other side lacks, `<` that the responder has. Entries read
//! are the heads and entries that both sides read, some of them more than once.
//!
//! `cargo run --release -p sync-proto --no-default-features --example costs [n [fan_out [sketch_count]]]`

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;

use common::rng::Rng;
use common::{Cable, Model, entry};
use sync_proto::{End, Limits, Options};

/// Buckets of about 128 keys, as a store of this size would have.
const STORE_BUCKET_BITS: u32 = 7;
/// A moment of 2023, and a year, on the hybrid clock.
const START: u64 = 1_700_000_000_000 << 16;
const YEAR: u64 = (365 * 24 * 3600 * 1000) << 16;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let defaults = Limits::default();
    let n: u64 = arguments.next().unwrap_or(1_000_000);
    let fan_out = arguments.next().map_or(defaults.fan_out, |n| n as u32);
    let sketch_count = arguments.next().map_or(defaults.sketch_count, |n| n as u32);
    let limits = Limits { fan_out, sketch_count, ..defaults };
    println!("n {n}, fan-out {fan_out}, sketches up to {sketch_count} entries");
    println!(
        "{:>9} {:>10} {:>10} {:>5} {:>9} {:>13} {:>9}",
        "d", "all bytes", "to find", "legs", "sent/d", "read (per d)", "peak"
    );
    let mut round = 0;
    for (shape, ds) in [('U', &[0, 1, 10, 100, 1000, 10_000][..]), ('T', &[1000, 10_000])] {
        let (newer, older) = replicas(n, shape);
        for (&d, forth) in ds.iter().flat_map(|d| [(d, true), (d, false)]) {
            // A few keys cost a little more or less by where they lie.
            let rounds = if d == 1 { 8 } else { 1 };
            let (mut bytes, mut entry_bytes, mut legs, mut sent, mut read, mut peak) = (0, 0, 0, 0, 0, 0);
            for _ in 0..rounds {
                round += 1;
                diverge(&newer, &older, n, d, shape, round);
                let (left, right) = if forth { (&newer, &older) } else { (&older, &newer) };
                let options = |nonce| Options { limits: limits.clone(), ..Options::new(nonce) };
                let mut cable = Cable::new(options(77 + round), options(1 << 40));
                while !cable.step(left, right, |_| true) {
                    peak = peak.max(cable.memory_len());
                }
                let (on_left, on_right) = cable.outcomes();
                assert_eq!(on_left.end, End::Complete);
                assert!(on_left.report.is_equal() && on_left.report.entries_differing == d);
                bytes += on_left.report.metadata_bytes;
                entry_bytes += on_left.report.entry_bytes;
                legs += on_left.report.legs;
                sent += on_left.report.entries_sent + on_left.report.entries_received;
                read += on_left.report.entries_read + on_right.report.entries_read;
            }
            println!(
                "{:>9} {:>10} {:>10} {:>5.1} {:>9.2} {:>13} {:>9}",
                format!("{d} {shape} {}", if forth { '>' } else { '<' }),
                bytes / rounds,
                (bytes - entry_bytes) / rounds,
                f64::from(legs) / rounds as f64,
                sent as f64 / (rounds * d.max(1)) as f64,
                format!("{}k ({})", read / rounds / 1000, read / (rounds * d.max(1))),
                peak,
            );
        }
    }
}

/// 9 bytes that say the keyspace, and a key of 16 bytes.
fn key(shape: char, index: u64) -> Vec<u8> {
    let start = if shape == 'T' { index } else { Rng(index).next() };
    [&[1u8][..], &[0; 8], &start.to_be_bytes(), &Rng(!index).next().to_be_bytes()].concat()
}

/// Written in the course of a year: keys of shape T in their order, the others in any.
fn clock(n: u64, index: u64) -> u64 {
    START + YEAR / n * index
}

fn replicas(n: u64, shape: char) -> (Model, Model) {
    let mut left = Model::new(1);
    left.config.bucket_bits = STORE_BUCKET_BITS;
    for index in 0..n {
        left.put(entry(key(shape, index), clock(n, index), 1, [7; 8]));
    }
    let right = left.copy(2);
    (left, right)
}

/// Makes `d` keys differ: every other one is missing on the older side, the others are stale there.
fn diverge(newer: &Model, older: &Model, n: u64, d: u64, shape: char, round: u64) {
    let mut rng = Rng(1000 + round);
    let mut changed = BTreeSet::new();
    while (changed.len() as u64) < d {
        changed.insert(match shape {
            'T' => n - 1 - changed.len() as u64,
            _ => rng.below(n),
        });
    }
    for (count, index) in changed.into_iter().enumerate() {
        if count as u64 % 2 == round / 2 % 2 {
            older.remove(&key(shape, index));
        } else {
            newer.put(entry(
                key(shape, index),
                clock(n, n + round * n / 1000 + rng.below(n / 1000)),
                1,
                [8; 8],
            ));
        }
    }
}
