//! Every fuzz target on its corpus, and on what the seeded mutator makes of it.
//!
//! An input that `cargo fuzz` found goes into `corpus/TARGET/`, and from then on is a test.
#![allow(clippy::disallowed_methods, reason = "the corpus is a folder of files")]

use std::path::Path;

use testkit::Random;
use testkit::fuzz::{TARGETS, Target, mutate};

/// Inputs that the mutator makes of each target's corpus.
const MUTATIONS: u64 = 300;

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.sort_unstable();
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for (index, input) in corpus.iter().enumerate() {
        println!("{name}: input {index} of the corpus");
        (target.body)(input);
    }
    for seed in testkit::seeds(MUTATIONS) {
        println!("{name}: SYNCLINE_SEED={seed}");
        let input = Shown(mutate(&corpus, &mut Random::new(seed)));
        (target.body)(&input.0);
    }
}

/// An input that is shown if it fails, to become a file of the corpus.
struct Shown(Vec<u8>);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{:02x?}", self.0);
        }
    }
}

#[test]
fn recovery_of_tampered_files_neither_panics_nor_invents() {
    check("recover");
    check("recover_crc_fixup");
    check("recover_mutate");
}

#[test]
fn runs_and_manifests_are_checked_beyond_their_checksums() {
    check("run_file");
    check("manifest");
}

#[test]
fn operations_agree_with_a_map_and_survive_stops() {
    check("ops");
    check("ops_crash");
}

#[test]
fn whatever_a_peer_sends_the_session_ends_and_the_store_is_whole() {
    check("frame");
    check("session");
}

#[test]
fn two_peers_become_equal_in_one_session() {
    check("two_peers");
}

#[test]
fn all_targets_are_run_here() {
    assert_eq!(TARGETS.len(), 10, "a new target needs a test above, and a file in `fuzz/fuzz_targets`");
}
