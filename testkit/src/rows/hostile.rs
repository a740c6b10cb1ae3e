//! F19 and F21: peers that say anything, and peers that lie consistently.

use std::time::Duration;

use sync_proto::driver::{Pump, Step};
use sync_proto::{Head, Heads, Input, Options, RangeSum, Replica, Session};
use syncline::replica::DbReplica;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::lengths::in_little_space;
use crate::fuzz;
use crate::layer::{ReplicaHook, Through};
use crate::life::DIR;
use crate::random::Random;
use crate::run::Run;

/// Address space of a process that hears hostile messages, in KiB: the program, two small stores, and the 8 MiB that a session
/// may hold for each of them.
const SPACE_KIB: u64 = 64 << 10;

/// Inputs that such a process hears, and how many there are in all for each of them.
const LIMITED: u64 = 200;
const LIMITED_EVERY: u64 = 500;

/// F19: frames of any content and honest ones with changes, checksums made right. Sessions say how much memory they hold, and some
/// inputs are heard by a process that has not much more.
pub fn malformed_messages(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        if let Some(child) = run.child.clone().filter(|_| seed.is_multiple_of(LIMITED_EVERY)) {
            run.at = format!("{LIMITED} inputs in a child with {SPACE_KIB} KiB");
            in_little_space(&child, SPACE_KIB, &format!("messages {seed}"))?;
            run.runs += LIMITED;
            run.reach("inputs in little space", true);
        }
        let wrong = hostile(seed, &mut run.at);
        run.runs += 1;
        run.reach("frames of any content", wrong == Wrong::Frames);
        run.reach("honest frames with changes", wrong == Wrong::Changes);
        run.reach("honest frames with huge numbers", wrong == Wrong::Claims);
        Ok(())
    });
    let each = ["frames of any content", "honest frames with changes", "honest frames with huge numbers"];
    run.must_reach(600, &each);
    if run.child.is_some() {
        run.must_reach(600, &["inputs in little space"]);
    }
}

/// The child of F19: hears the inputs of some seeds. That it lives is all that is asked.
pub fn child(seed: u64) {
    let mut at = String::new();
    for seed in seed..seed + LIMITED {
        hostile(seed, &mut at);
    }
}

/// What a peer does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Frames,
    Changes,
    Claims,
}

/// Runs a fuzz target with an input that is made from nothing, so that a seed is all that it takes to see it again.
fn hostile(seed: u64, at: &mut String) -> Wrong {
    let mut random = Random::new(seed);
    let wrong = *random.pick(&[Wrong::Frames, Wrong::Changes, Wrong::Claims]);
    let target = if wrong == Wrong::Frames { "frame" } else { "session" };
    *at = format!("fuzz target {target}, {wrong:?}");
    let seeds: Vec<Vec<u8>> = (0..4).map(|_| (0..40).map(|_| random.next() as u8).collect()).collect();
    match wrong {
        Wrong::Claims => fuzz::run(target, &claim(&mut random)),
        _ => fuzz::run(target, &fuzz::mutate(&seeds, &mut random)),
    }
    wrong
}

/// An input of target `session` that puts the varint of a huge number into an honest frame: where a length or count was, it is one.
fn claim(random: &mut Random) -> Vec<u8> {
    let claims: [&[u8]; 3] =
        [&[0xff, 0xff, 0xff, 0x0f], &[0x80, 0x80, 0x80, 0x80, 0x08], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]];
    let (frame, [low, high]) = (random.below(6) as u8, (random.below(400) as u16).to_le_bytes());
    // Each byte is put before the one that was put there last.
    random.pick(&claims).iter().rev().flat_map(|byte| [INSERT | frame, low, high, *byte]).collect()
}

/// What target `session` takes for an insertion.
const INSERT: u8 = 12 << 4;

/// Frames after which a session with a liar has gone on for too long: both stores are small.
const FRAMES_MAX: u64 = 20_000;

/// F21: sums that change with every question, lists of what is not there, entries that are promised and never sent.
pub fn a_lying_peer(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        run.runs += 1;
        let mut random = Random::new(seed);
        let worlds = [run.world(2 * seed), run.world(2 * seed + 1)];
        let honest = worlds[0].builder(DIR).create().map_err(|error| error.to_string())?;
        let liar = worlds[1].builder(DIR).create_replica(&honest.replica_set());
        let liar = liar.map_err(|error| error.to_string())?;
        for number in 0..random.below(600) {
            let (key, value) = (random.key(800), random.value());
            let both = random.chance(80);
            for db in [&honest, &liar].into_iter().take(if both { 2 } else { 1 + (number % 2) as usize }) {
                db.put(&key, &value).map_err(|error| error.to_string())?;
            }
        }
        honest.flush().and_then(|()| liar.flush()).map_err(|error| error.to_string())?;
        let lies = Lies { seed, sums: random.chance(70), heads: random.chance(70) };
        run.at = format!("{lies:?}");
        let initiates = random.chance(50);
        let liar = Through::new(&liar, lies);
        let frames = meet(&DbReplica::new(&honest), &liar, initiates)?;
        run.reach("sessions beyond the hello", frames > 2);
        let report = honest.verify(&mut |_| true).map_err(|error| error.to_string())?;
        match report.problems.first() {
            Some(problem) => Err(format!("the honest store, verify: {problem}")),
            None => Ok(()),
        }
    });
    run.must_reach(200, &["sessions beyond the hello"]);
}

/// Lets an honest replica and a liar meet; how many frames that took.
fn meet(honest: &dyn Replica, liar: &dyn Replica, initiates: bool) -> Result<u64, String> {
    let session = |initiates, nonce| {
        let mut options = Options::new(nonce);
        // So that small stores have walks with many levels.
        (options.limits.list_count, options.limits.fan_out) = (2, 2);
        match initiates {
            true => Session::initiator(options, Duration::ZERO),
            false => Session::responder(options, Duration::ZERO),
        }
    };
    let mut pumps = [Pump::new(session(initiates, 1)), Pump::new(session(!initiates, 2))];
    let replicas = [honest, liar];
    let mut is_over = [false; 2];
    let mut wires = [Vec::new(), Vec::new()];
    let mut frames = 0;
    while !is_over[0] {
        for side in 0..2 {
            while !is_over[side] {
                let memory = pumps[0].memory_len();
                if memory > sync_proto::limits::MEMORY_MAX || frames > FRAMES_MAX {
                    return Err(format!("{frames} frames and {memory} bytes of memory"));
                }
                match pumps[side].step(replicas[side], Duration::ZERO) {
                    Step::Send(frame) => {
                        frames += 1;
                        wires[1 - side].push(frame);
                    }
                    Step::Tell(_) => {}
                    Step::Ended(_) => is_over[side] = true,
                    Step::Receive if !wires[side].is_empty() => {
                        let frame = wires[side].remove(0);
                        pumps[side].handle(Input::Frame(frame), Duration::ZERO);
                    }
                    Step::Receive if is_over[1 - side] => pumps[side].handle(Input::Closed, Duration::ZERO),
                    Step::Receive => break,
                }
            }
        }
    }
    Ok(frames)
}

/// What a liar lies about. Lies follow from what is asked, so that they are the same when it is asked again.
#[derive(Debug)]
struct Lies {
    seed: u64,
    sums: bool,
    heads: bool,
}

impl ReplicaHook for Lies {
    fn sum(&self, start: &[u8], sum: RangeSum) -> RangeSum {
        let mut lie = sum;
        if self.sums {
            lie.fingerprint.0 = xxh3_128_with_seed(start, self.seed);
            lie.live = 1 + lie.fingerprint.0 as u64 % 5_000;
        }
        lie
    }

    fn heads(&self, mut heads: Heads) -> Heads {
        if self.heads {
            let invented = |head: &Head| {
                let mut other = head.clone();
                other.key.push(0);
                other.stamp.hlc += 1;
                other.hash ^= 1;
                other
            };
            heads.heads = heads.heads.iter().flat_map(|head| [head.clone(), invented(head)]).collect();
        }
        heads
    }
}
