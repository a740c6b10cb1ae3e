//! Frames of a hostile peer against a session on a real store: a typed end, never a panic, memory within the session's
//! limit, and a store that still verifies.
//!
//! Input: one byte chooses the role, then frames: length u16, flags u8, payload. Their checksums are made right, so that
//! the fuzzer reaches what is behind them.
#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sync_proto::driver::{Pump, Step};
use sync_proto::{Input, Options, Session};
use syncline::clock::{ManualClock, SeededEntropy};
use syncline::replica::DbReplica;
use syncline::vfs::MemoryVfs;
use syncline::{Builder, Db, Environment};
use xxhash_rust::xxh3::xxh3_64_with_seed;

fn builder(vfs: &MemoryVfs) -> Builder {
    let environment = Environment {
        vfs: Arc::new(vfs.clone()),
        wall_clock: Arc::new(ManualClock::new(1_700_000_000_000)),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    // Small, for the space that a memtable may need is reserved in memory here.
    Db::builder("/db").environment(environment).background(false).memtable_bytes(64 << 10)
}

/// A store of a few hundred entries, flushed.
fn template() -> &'static MemoryVfs {
    static TEMPLATE: OnceLock<MemoryVfs> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let vfs = MemoryVfs::new();
        let db = builder(&vfs).create().expect("a new store");
        for number in 0..300u32 {
            db.put(number.to_be_bytes(), number.to_le_bytes()).expect("put");
        }
        db.flush().expect("flush");
        vfs.kill()
    })
}

/// A frame with a right header around `payload`.
fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_le_bytes().to_vec();
    frame[3] = flags;
    let checksum = xxh3_64_with_seed(payload, u64::from(flags)) as u32;
    frame.extend_from_slice(&checksum.to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

fuzz_target!(|data: &[u8]| {
    let Some((role, mut rest)) = data.split_first() else { return };
    let db = builder(&template().kill()).open().expect("open");
    let replica = DbReplica::new(&db);
    let session = match role % 2 {
        0 => Session::responder(Options::new(1), Duration::ZERO),
        _ => Session::initiator(Options::new(1), Duration::ZERO),
    };
    let mut pump = Pump::new(session);
    loop {
        assert!(pump.memory_len() <= 8 << 20, "a session took {} bytes", pump.memory_len());
        match pump.step(&replica, Duration::ZERO) {
            Step::Ended(_) => break,
            Step::Receive => {
                let input = match rest {
                    [a, b, flags, tail @ ..] => {
                        let len = usize::from(u16::from_le_bytes([*a, *b])).min(tail.len());
                        let (payload, tail) = tail.split_at(len);
                        rest = tail;
                        Input::Frame(frame(*flags, payload))
                    }
                    _ => Input::Closed,
                };
                pump.handle(input, Duration::ZERO);
            }
            Step::Send(_) | Step::Tell(_) => {}
        }
    }
    let report = db.verify(&mut |_| true).expect("verify is not stopped");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
});
