//! Random numbers from a seed (SplitMix64), and random pairs of replicas that differ in every way.

use std::collections::BTreeSet;

use sync_proto::{Entry, Kind, Stamp};

use super::{Model, entry};

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Two replicas with a common past and different presents, by the seed alone.
pub fn diverged(seed: u64) -> (Model, Model) {
    let rng = &mut Rng(seed);
    let (left, right) = (Model::new(1), Model::new(2));
    let size = [0, 1, 5, 60, 300, 2000][rng.below(6) as usize];
    let keys = keys(rng, size);
    let rate = [1, 2, 10, 100, 100_000][rng.below(5) as usize];
    let ties = rng.one_in(4);
    let large = rng.one_in(12);
    let mut run = None;
    for (index, key) in keys.into_iter().enumerate() {
        let base = random_entry(rng, key, large);
        left.put(base.clone());
        right.put(base.clone());
        // Differences come alone, or in runs of one kind.
        let kind = match run {
            Some((kind, until)) if index < until => kind,
            _ if rng.one_in(rate) => {
                let kind = rng.below(6);
                run = rng.one_in(4).then(|| (kind, index + rng.below(200) as usize));
                kind
            }
            _ => continue,
        };
        diverge(rng, kind, ties, base, [&left, &right]);
    }
    match rng.below(12) {
        0 => left.contents().keys().for_each(|key| left.remove(key)),
        1 => right.contents().keys().for_each(|key| right.remove(key)),
        2 => {
            // Disjoint: each side keeps every other key.
            for (index, key) in left.contents().keys().enumerate() {
                if index % 2 == 0 { left.remove(key) } else { right.remove(key) }
            }
        }
        _ => {}
    }
    for model in [&left, &right] {
        model.put(entry([super::LOCAL, model.config.node as u8], 1, model.config.node, "local"));
    }
    (left, right)
}

fn keys(rng: &mut Rng, size: usize) -> BTreeSet<Vec<u8>> {
    let shape = rng.below(5);
    (0..size)
        .map(|n| {
            let mut key = vec![1 + rng.below(2) as u8];
            key.extend(match shape {
                0 => rng.bytes(16),
                1 => (n as u64).to_be_bytes().to_vec(),
                2 => format!("user/{:05}", rng.below(100_000)).into_bytes(),
                3 if rng.one_in(20) => [vec![b'x'; rng.below(60_000) as usize], rng.bytes(4)].concat(),
                3 => {
                    let len = rng.below(40) as usize;
                    rng.bytes(len)
                }
                _ => vec![0; rng.below(3000) as usize],
            });
            key
        })
        .collect()
}

fn random_entry(rng: &mut Rng, key: Vec<u8>, large: bool) -> Entry {
    let tombstone = rng.one_in(8);
    let value_len = match rng.below(50) {
        0 if large => 200_000 + rng.below(900_000),
        1 => 0,
        n => n,
    };
    let meta_len = if rng.one_in(10) { rng.below(40) as usize } else { 0 };
    Entry {
        key,
        stamp: Stamp { hlc: 1000 + rng.below(1000), node: 1 + rng.below(3) },
        kind: if tombstone { Kind::Tombstone } else { Kind::Put },
        expires_at: if rng.one_in(10) { 1 + rng.below(1 << 40) } else { 0 },
        meta: rng.bytes(meta_len),
        value: if tombstone { Vec::new() } else { rng.bytes(value_len as usize) },
    }
}

fn diverge(rng: &mut Rng, kind: u64, ties: bool, base: Entry, sides: [&Model; 2]) {
    let side = sides[rng.below(2) as usize];
    let mut newer = random_entry(rng, base.key.clone(), false);
    newer.stamp.hlc = base.stamp.hlc + 1 + rng.below(5);
    match kind {
        0 | 1 => sides[kind as usize].remove(&base.key),
        2 | 3 => sides[kind as usize - 2].put(newer),
        4 if ties => {
            // The same clock on two nodes, and now and then the same stamp for two entries.
            newer.stamp = base.stamp;
            newer.stamp.node += rng.below(2);
            newer.value.extend_from_slice(b"tie");
            newer.kind = Kind::Put;
            side.put(newer);
        }
        _ => {
            let newest = Entry { stamp: Stamp { hlc: newer.stamp.hlc + 10, node: 3 }, ..newer.clone() };
            sides[0].put(newer);
            sides[1].put(newest);
        }
    }
}
