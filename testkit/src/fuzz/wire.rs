//! Inputs as what a peer sends: a typed end, never a panic, memory within the session's limit, and a store that still
//! verifies.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use sync_proto::driver::{Pump, Step};
use sync_proto::limits::{FRAME_LEN_MAX, MEMORY_MAX};
use sync_proto::{End, FRAME_HEADER_LEN, Input, Options, Outcome, Session};
use syncline::replica::DbReplica;
use syncline::vfs::MemoryVfs;
use syncline::{Builder, Db};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::life::{DIR, abandon};
use crate::world::World;

fn builder(world: &World) -> Builder {
    // Small, for the space that a memtable may need is reserved in memory here.
    world.builder(DIR).memtable_bytes(64 << 10)
}

/// Two stores of one set that share most of their few hundred entries, flushed.
fn template() -> [World; 2] {
    static TEMPLATE: OnceLock<[MemoryVfs; 2]> = OnceLock::new();
    let media = TEMPLATE.get_or_init(|| {
        let worlds = [World::new(1), World::new(2)];
        let first = builder(&worlds[0]).create().expect("a new store");
        let second = builder(&worlds[1]).create_replica(&first.replica_set()).expect("a replica");
        for number in 0..300u32 {
            first.put(number.to_be_bytes(), number.to_le_bytes()).expect("put");
        }
        assert_eq!(converse(&first, &second, |_, _, _| ()).0.end, End::Complete);
        for number in 0..20u32 {
            first.put((number * 7).to_be_bytes(), b"first").expect("put");
            second.delete((number * 11).to_be_bytes()).expect("delete");
        }
        first.flush().expect("flush");
        second.flush().expect("flush");
        let media = [worlds[0].vfs.kill(), worlds[1].vfs.kill()];
        abandon(&worlds[0], first);
        abandon(&worlds[1], second);
        media
    });
    [World::new(3).with(media[0].kill()), World::new(4).with(media[1].kill())]
}

fn options(nonce: u64) -> Options {
    let mut options = Options::new(nonce);
    options.limits.list_count = 8;
    options
}

/// Runs a session between two stores; each frame passes through `tamper`, with its number among all and among its side's.
fn converse(left: &Db, right: &Db, mut tamper: impl FnMut(u64, u64, &mut Vec<u8>)) -> (Outcome, Outcome) {
    let replicas = [DbReplica::new(left), DbReplica::new(right)];
    let mut pumps = [
        Pump::new(Session::initiator(options(1), Duration::ZERO)),
        Pump::new(Session::responder(options(2), Duration::ZERO)),
    ];
    let mut wires = [VecDeque::new(), VecDeque::new()];
    let mut outcomes = [None, None];
    let (mut frames, mut of_side) = (0, [0; 2]);
    while outcomes.iter().any(Option::is_none) {
        for side in 0..2 {
            while outcomes[side].is_none() {
                let memory = pumps[side].memory_len();
                assert!(memory <= MEMORY_MAX, "a session holds {memory} bytes");
                match pumps[side].step(&replicas[side], Duration::ZERO) {
                    Step::Send(mut frame) => {
                        tamper(frames, of_side[side], &mut frame);
                        of_side[side] += 1;
                        frames += 1;
                        assert!(frames < 100_000, "the session does not end");
                        wires[1 - side].push_back(frame);
                    }
                    Step::Tell(_) => {}
                    Step::Ended(outcome) => outcomes[side] = Some(*outcome),
                    Step::Receive => match wires[side].pop_front() {
                        Some(frame) => pumps[side].handle(Input::Frame(frame), Duration::ZERO),
                        None if outcomes[1 - side].is_some() => {
                            pumps[side].handle(Input::Closed, Duration::ZERO)
                        }
                        None => break,
                    },
                }
            }
            // Both wait: somebody's end of a flight was tampered away. Each would give up in time.
            let waits = wires.iter().all(VecDeque::is_empty) && outcomes.iter().all(Option::is_none);
            if side == 1 && waits {
                pumps.iter_mut().for_each(|pump| pump.handle(Input::Closed, Duration::ZERO));
            }
        }
    }
    let [left, right] = outcomes;
    (left.expect("ended"), right.expect("ended"))
}

/// Makes the length and the checksum of a side's `number`th frame right.
fn seal(frame: &mut [u8], number: u64) {
    let Some((header, payload)) = frame.split_first_chunk_mut::<FRAME_HEADER_LEN>() else { return };
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    // Of an abort, which comes in the place of anything, the number is 0.
    let number = if payload.first() == Some(&18) { 0 } else { number };
    let checksum = xxh3_64_with_seed(payload, u64::from(header[3]) | number << 8) as u32;
    let [d, e, f, g] = checksum.to_le_bytes();
    *header = [a, b, c, header[3], d, e, f, g];
}

fn verify(world: &World, db: Db) {
    let report = db.verify(&mut |_| true).expect("verify is not stopped");
    assert_eq!(report.problems, Vec::<String>::new());
    abandon(world, db);
}

/// Frames of a peer that says anything: one byte chooses the role, then length u16, flags u8, payload.
pub(super) fn frame(data: &[u8]) {
    let Some((role, mut rest)) = data.split_first() else { return };
    let [world, _] = template();
    let db = builder(&world).open().expect("open");
    let replica = DbReplica::new(&db);
    let session = match role % 2 {
        0 => Session::responder(options(1), Duration::ZERO),
        _ => Session::initiator(options(1), Duration::ZERO),
    };
    let mut pump = Pump::new(session);
    let mut number = 0;
    loop {
        assert!(pump.memory_len() <= MEMORY_MAX, "a session holds {} bytes", pump.memory_len());
        match pump.step(&replica, Duration::ZERO) {
            Step::Ended(_) => break,
            Step::Receive => {
                let input = match rest {
                    [a, b, flags, tail @ ..] => {
                        let len = usize::from(u16::from_le_bytes([*a, *b])).min(tail.len());
                        let (payload, tail) = tail.split_at(len);
                        rest = tail;
                        let mut frame = vec![0; FRAME_HEADER_LEN];
                        frame[3] = *flags;
                        frame.extend_from_slice(payload);
                        seal(&mut frame, number);
                        number += 1;
                        Input::Frame(frame)
                    }
                    _ => Input::Closed,
                };
                pump.handle(input, Duration::ZERO);
            }
            Step::Send(_) | Step::Tell(_) => {}
        }
    }
    verify(&world, db);
}

/// An honest session with somebody in the middle who changes frames and makes their checksums right: four bytes a change,
/// number of the frame, place u16, what.
pub(super) fn session(data: &[u8]) {
    let worlds = template();
    let [left, right] = worlds.each_ref().map(|world| builder(world).open().expect("open"));
    let _ = converse(&left, &right, |number, number_of_side, frame| {
        for change in data.chunks_exact(4).filter(|change| u64::from(change[0] % 16) == number) {
            let payload = frame.len() - FRAME_HEADER_LEN;
            let place = usize::from(u16::from_le_bytes([change[1], change[2]])) % (payload + 1);
            let at = FRAME_HEADER_LEN + place;
            match change[0] / 16 {
                0..=9 => frame.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= change[3].max(1)),
                10 | 11 => frame.truncate(at),
                12 | 13 => frame.insert(at, change[3]),
                14 => frame[3] ^= 1,
                _ => {
                    let copy = frame[FRAME_HEADER_LEN..].to_vec();
                    frame.extend_from_slice(&copy);
                    frame.truncate(FRAME_LEN_MAX);
                }
            }
            seal(frame, number_of_side);
        }
    });
    for (world, db) in worlds.iter().zip([left, right]) {
        verify(world, db);
    }
}

/// Writes to two replicas, three bytes each (side and kind, key, value), then a session: both hold the same afterwards.
pub(super) fn two_peers(data: &[u8]) {
    let worlds = template();
    let stores = worlds.each_ref().map(|world| builder(world).open().expect("open"));
    for write in data.chunks_exact(3).take(200) {
        let side = usize::from(write[0] % 2);
        worlds[side].clock.advance(u64::from(write[0] / 32));
        let (db, key) = (&stores[side], u32::from(write[1]).to_be_bytes());
        match write[0] / 2 % 8 {
            0 | 1 => db.delete(key).expect("delete"),
            2 => db.flush().expect("flush"),
            3 => db.put([&key[..], &[write[2]; 200]].concat(), [write[2]]).expect("put"),
            _ => db.put(key, vec![write[2]; usize::from(write[2]) * 9]).expect("put"),
        }
    }
    let [left, right] = &stores;
    let (outcome, other) = converse(left, right, |_, _, _| ());
    assert_eq!((&outcome.end, &other.end), (&End::Complete, &End::Complete));
    assert_eq!(left.root().expect("root"), right.root().expect("root"));
    let contents = |db: &Db| -> Vec<_> {
        db.iter().map(|entry| entry.expect("entry")).map(|entry| (entry.key, entry.value.to_vec())).collect()
    };
    assert_eq!(contents(left), contents(right));
    for (world, db) in worlds.iter().zip(stores) {
        verify(world, db);
    }
}
