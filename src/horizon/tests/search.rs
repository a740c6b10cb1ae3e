//! The searches: all short histories of a small world, and many long random ones.

use std::collections::BTreeSet;

use super::world::{Kind, Step, Weakened, World};

/// What a history may consist of.
fn steps(replicas: usize, keys: u8) -> Vec<Step> {
    let mut steps = vec![Step::Tick];
    for replica in 0..replicas {
        for key in 0..keys {
            for kind in [Kind::Put, Kind::Tombstone] {
                steps.push(Step::Write { replica, key, kind, lag: 0 });
            }
            steps.push(Step::Write { replica, key, kind: Kind::Expiring(1), lag: 1 });
            steps.push(Step::WriteAhead { replica, key, kind: Kind::Put, ahead: 2 });
            steps.push(Step::Compact { replica, key });
            steps.push(Step::Purge { replica, key });
            steps.push(Step::Lose { replica, key });
        }
        let below = 0;
        steps.extend([Step::Sync(replica), Step::Crash(replica), Step::Close { replica, below }]);
        steps.extend([Step::Raise(replica), Step::Backup(replica), Step::Restore(replica)]);
        for other in (0..replicas).filter(|&other| other != replica) {
            steps.push(Step::Begin { initiator: replica, responder: other });
            steps.push(Step::Meet { initiator: replica, responder: other });
            steps.push(Step::Gossip { from: replica, to: other });
            steps.push(Step::Expel { by: replica, replica: other });
            steps.push(Step::Rejoin { by: replica, replica: other });
        }
    }
    for session in 0..2 {
        let ends = [Step::Exchange, Step::Finish, Step::FinishOneSide, Step::Drop];
        steps.extend(ends.map(|end| end(session)));
    }
    steps
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

/// One random history: mostly writes, sessions and purges, now and then a horizon that rises nearly everywhere, and seldom a
/// misfortune.
fn history(seed: u64) -> (usize, Vec<Step>) {
    let mut random = Random(seed);
    let replicas = [2, 2, 3, 3, 5][random.below(5) as usize];
    let keys = 1 + random.below(5) / 4;
    let misfortunes = random.below(4);
    let mut taken = Vec::new();
    let len = 20 + random.below(50) as usize;
    while taken.len() < len {
        let replica = random.below(replicas as u64) as usize;
        let other = (replica + 1 + random.below(replicas as u64 - 1) as usize) % replicas;
        let key = random.below(keys) as u8;
        let session = random.below(2) as usize;
        let step = match random.below(37 + 3 * misfortunes) {
            0..2 => Step::Tick,
            2..9 => {
                let kind = match random.below(5) {
                    0 | 1 => Kind::Put,
                    2 => Kind::Expiring(random.below(4)),
                    _ => Kind::Tombstone,
                };
                Step::Write { replica, key, kind, lag: random.below(6) }
            }
            9..11 => Step::Sync(replica),
            11 => Step::Close { replica, below: random.below(3) },
            12..15 => Step::Begin { initiator: replica, responder: other },
            15..18 => Step::Exchange(session),
            18..21 => Step::Finish(session),
            21 => Step::FinishOneSide(session),
            22 => Step::Drop(session),
            23..26 => Step::Meet { initiator: replica, responder: other },
            26..28 => Step::Raise(replica),
            28 => Step::Gossip { from: replica, to: other },
            29 => Step::Compact { replica, key },
            30..33 => Step::Purge { replica, key },
            33 => Step::Crash(replica),
            34..36 => {
                rise(&mut random, replicas, &mut taken);
                Step::Raise(replica)
            }
            36 => {
                let kind = if random.below(2) == 0 { Kind::Put } else { Kind::Tombstone };
                Step::WriteAhead { replica, key, kind, ahead: 1 + random.below(9) }
            }
            _ => match random.below(7) {
                0 | 1 => Step::Lose { replica, key },
                2 => Step::Backup(replica),
                3 => Step::Restore(replica),
                4 => Step::Expel { by: other, replica },
                5 => Step::Rejoin { by: other, replica },
                _ => Step::Crash(replica),
            },
        };
        taken.push(step);
    }
    (replicas, taken)
}

/// Nearly all that it takes for a horizon to rise.
fn rise(random: &mut Random, replicas: usize, taken: &mut Vec<Step>) {
    taken.push(Step::Tick);
    let order = random.below(replicas as u64) as usize;
    let nodes: Vec<usize> = (0..replicas).map(|node| (node + order) % replicas).collect();
    for &replica in &nodes {
        taken.push(Step::Close { replica, below: random.below(2) });
    }
    for (at, &responder) in nodes.iter().enumerate() {
        for &initiator in &nodes[..at] {
            if random.below(8) > 0 {
                taken.push(Step::Meet { initiator, responder });
            }
        }
    }
    taken.push(Step::Gossip { from: nodes[replicas - 1], to: nodes[0] });
}

/// What is wrong after a history, if anything is.
pub(super) fn outcome(replicas: usize, weakened: Weakened, taken: &[Step]) -> Result<(), String> {
    let mut world = World::new(replicas, weakened);
    taken.iter().for_each(|&step| world.step(step));
    world.calm_down()
}

/// The steps of a bad history that it takes.
fn shrink(replicas: usize, weakened: Weakened, mut taken: Vec<Step>) -> Vec<Step> {
    let mut at = 0;
    while at < taken.len() {
        let mut without = taken.clone();
        without.remove(at);
        match outcome(replicas, weakened, &without) {
            Err(_) => (taken, at) = (without, 0),
            Ok(()) => at += 1,
        }
    }
    taken
}

/// How many seeds to try: more of them by `SYNCLINE_HORIZON_SEEDS`.
fn seeds_from_environment(default: u64) -> u64 {
    std::env::var("SYNCLINE_HORIZON_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(default)
}

#[test]
fn no_deleted_key_returns_and_all_agree_in_random_histories() {
    for seed in 0..seeds_from_environment(500) {
        let (replicas, taken) = history(seed);
        if outcome(replicas, Weakened::Nothing, &taken).is_err() {
            let taken = shrink(replicas, Weakened::Nothing, taken);
            let wrong = outcome(replicas, Weakened::Nothing, &taken);
            panic!("seed {seed}, {replicas} replicas: {wrong:?} after {taken:?}");
        }
    }
}

/// All histories of up to `depth` steps, each state looked at once. The number of states, or what is wrong.
fn search(start: World, steps: &[Step], depth: usize) -> Result<usize, String> {
    let mut seen = BTreeSet::from([start.clone()]);
    let mut edge = vec![start];
    for _ in 0..depth {
        let mut next = Vec::new();
        for world in &edge {
            for &step in steps {
                let mut world = world.clone();
                world.step(step);
                if seen.insert(world.clone()) {
                    world.clone().calm_down().map_err(|wrong| format!("{wrong} after {step:?}"))?;
                    next.push(world);
                }
            }
        }
        edge = next;
    }
    Ok(seen.len())
}

#[test]
fn no_deleted_key_returns_in_any_short_history_of_two_replicas() {
    let states =
        search(World::new(2, Weakened::Nothing), &steps(2, 1), 4).unwrap_or_else(|wrong| panic!("{wrong}"));
    eprintln!("{states} states");
}
