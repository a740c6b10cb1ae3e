//! A small crash explorer: every step of a history, killed and cut from power, opened again, worked on, and cut again;
//! and every operation failing once.

use std::io::ErrorKind;

use super::*;
use crate::vfs::{Fault, FaultTarget};

/// How far callers were promised something, when the file system had taken that many steps.
#[derive(Debug, Clone, Copy)]
struct Promise {
    step: usize,
    /// Commits that returned: they survive a kill.
    returned: SeqNo,
    /// Commits that an fsync covers: they survive a power cut.
    durable: SeqNo,
    /// Commits in sealed segments, durable or not.
    sealed: SeqNo,
}

/// The contents that the commits of a history may have: of several lives, each with its seed and its first commit.
#[derive(Debug, Clone)]
struct Lives(Vec<(SeqNo, u64)>);

impl Lives {
    fn content(&self, seqno: SeqNo) -> Content {
        let life = self.0.iter().rev().find(|(first, _)| *first <= seqno);
        Content::new(life.expect("a life begins with commit 1").1, seqno)
    }

    fn check(&self, found: &[Content]) {
        for (seqno, content) in (1..).map(SeqNo).zip(found) {
            assert_eq!(*content, self.content(seqno), "commit {seqno:?} came back changed");
        }
    }
}

/// Commits, syncs and rotates at random until `operations` are done or one fails, and notes what was promised.
struct Life {
    seed: u64,
    random: Random,
    writer: LogWriter,
    next: Option<FreshSegment>,
    /// Whether a segment was being made when something failed.
    is_making_next: bool,
    last: SeqNo,
    durable: SeqNo,
    sealed: SeqNo,
    promises: Vec<Promise>,
}

impl Life {
    fn new(vfs: &MemoryVfs, seed: u64, opened: Opened) -> Life {
        let (last, random) = (opened.contents.last, Random::new(seed));
        let (writer, next, promises) = (opened.writer, None, Vec::new());
        let (durable, sealed, is_making_next) = (last, last, false);
        let mut life = Life { seed, random, writer, next, is_making_next, last, durable, sealed, promises };
        life.promise(vfs);
        life
    }

    fn promise(&mut self, vfs: &MemoryVfs) {
        let step = vfs.step_count();
        self.promises.push(Promise { step, returned: self.last, durable: self.durable, sealed: self.sealed });
    }

    fn run(&mut self, vfs: &MemoryVfs, operations: usize) -> Result<()> {
        for _ in 0..operations {
            match self.random.below(24) {
                0..=1 => match self.next.take() {
                    Some(next) => {
                        self.writer.rotate(next)?;
                        self.sealed = self.last;
                    }
                    None => {
                        self.is_making_next = true;
                        self.next = Some(make_next(vfs, dir(), &self.writer, self.durable)?);
                        self.is_making_next = false;
                    }
                },
                2..=4 => {
                    self.writer.drain()?.sync()?;
                    self.durable = self.last;
                }
                _ => {
                    let seqno = self.last.next();
                    self.writer.append(&Content::new(self.seed, seqno).commit(seqno, self.durable))?;
                    self.last = seqno;
                }
            }
            self.promise(vfs);
        }
        Ok(())
    }
}

/// What was reached. A run that misses a branch proves nothing of it.
#[derive(Debug, Default)]
struct Reached {
    states: u64,
    ring: u64,
    torn: u64,
    copied: u64,
    left_in_place: u64,
    leftovers: u64,
    /// Cut within a sealed segment, so that later ones were left out.
    cut_sealed: u64,
}

/// Opens states, checks what is found, and counts what was reached.
struct Explorer {
    random: Random,
    reached: Reached,
}

impl Explorer {
    fn new(seed: u64) -> Explorer {
        Explorer { random: Random::new(!seed), reached: Reached::default() }
    }

    /// Opens a state, which must succeed, and checks what is found against promise and history.
    fn check(&mut self, vfs: &MemoryVfs, lives: &Lives, least: SeqNo, most: SeqNo) -> Opened {
        let opened = open(vfs).expect("a log without damage opens");
        lives.check(&opened.found);
        let (last, copied) = (opened.contents.last, opened.copied as u64);
        assert!(least <= last, "commits up to {least:?} were promised, those up to {last:?} are there");
        assert!(last <= most, "commits beyond {most:?} were never made");
        self.reached.states += 1;
        self.reached.ring += u64::from(opened.contents.ring_commits > 0);
        self.reached.torn += u64::from(opened.contents.torn_bytes > 0);
        self.reached.copied += u64::from(copied > 0);
        self.reached.left_in_place += u64::from(copied < last.0);
        self.reached.leftovers += u64::from(!opened.contents.leftovers.is_empty());
        opened
    }

    /// Lives a life on `vfs`, and stops it at every step: by a kill, and by power cuts. Of a few of the stopped states the
    /// next life begins. `floor` is what was promised of `vfs` before.
    fn live(&mut self, vfs: &MemoryVfs, past: &Lives, floor: Promise, depth: usize) {
        vfs.record_steps();
        let opened = open(vfs).expect("a log without damage opens");
        let last = opened.contents.last;
        let seed = self.random.below(u64::MAX);
        let mut lives = past.clone();
        lives.0.push((last.next(), seed));
        let mut life = Life::new(vfs, seed, opened);
        life.run(vfs, [30, 12, 8][depth]).expect("nothing fails");
        // Until the opening is done, a kill leaves what was there, and a power cut what had been durable before.
        life.promises
            .insert(0, Promise { step: 0, returned: last, durable: floor.durable, sealed: SeqNo::ZERO });
        let most = life.last.next();
        for (step, state) in vfs.take_steps().iter().enumerate() {
            let promise = life.promises.iter().rev().find(|promise| promise.step <= step);
            let promise = *promise.expect("there is one for step 0");
            for cut in 0..3 {
                let (state, least) = match cut {
                    0 => (state.kill(), promise.returned),
                    _ => (state.power_cut(|n| self.random.below(n)), promise.durable),
                };
                let opened = self.check(&state.kill(), &lives, least, most);
                self.reached.cut_sealed += u64::from(opened.contents.last < promise.sealed);
                let odds =
                    [50, 100, u64::MAX][depth] / if !opened.contents.leftovers.is_empty() { 20 } else { 1 };
                if self.random.below(odds) == 0 {
                    // After a power cut, what is there is durable.
                    let durable = if cut == 0 { promise.durable } else { opened.contents.last };
                    self.live(&state, &lives, Promise { durable, ..promise }, depth + 1);
                }
            }
        }
    }
}

/// Says which seed a failing history had.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}", self.0);
        }
    }
}

#[test]
fn whatever_step_a_stop_hits_the_log_is_a_prefix_with_every_promised_commit() {
    let mut explorer = Explorer::new(0);
    for seed in 0..16 {
        let _named = Named(seed);
        explorer.random = Random::new(!seed);
        let (step, none) = (0, SeqNo::ZERO);
        let nothing = Promise { step, returned: none, durable: none, sealed: none };
        explorer.live(&MemoryVfs::new(), &Lives(Vec::new()), nothing, 0);
    }
    println!("{:?}", explorer.reached);
    let Reached { states, ring, torn, copied, left_in_place, leftovers, cut_sealed } = explorer.reached;
    let rarest = ring.min(torn).min(copied).min(left_in_place).min(leftovers).min(cut_sealed);
    assert!(states > 10_000 && rarest > 100, "rare branches were missed: {:?}", explorer.reached);
}

#[test]
fn whatever_operation_fails_nothing_promised_is_lost_and_nothing_more_is_taken() {
    for seed in 0..6 {
        let _named = Named(seed);
        let mut explorer = Explorer::new(seed);
        for after in 0.. {
            let vfs = MemoryVfs::new();
            let mut life = Life::new(&vfs, seed, open(&vfs).expect("a new log opens"));
            let kind = ErrorKind::StorageFull;
            vfs.inject(Fault { target: FaultTarget::Changes, after, kind, stays: after % 2 == 0 });
            let Err(error) = life.run(&vfs, 60) else { break };
            assert!(matches!(error, Error::Io { .. }), "{error}");
            let seqno = life.last.next();
            if !life.is_making_next {
                let refused = life.writer.append(&Content::new(seed, seqno).commit(seqno, life.durable));
                assert!(matches!(refused, Err(Error::Poisoned { .. })), "the writer took more after {error}");
                assert!(life.writer.drain().is_err());
            }

            let lives = Lives(vec![(SeqNo(1), seed)]);
            // The opening must have made durable again what a failed fsync had dropped.
            let reopened = vfs.kill();
            let found = explorer.check(&reopened, &lives, life.last, seqno).contents.last;
            let cut = reopened.power_cut(|n| explorer.random.below(n));
            explorer.check(&cut, &lives, found, seqno);
            for _ in 0..4 {
                let cut = vfs.power_cut(|n| explorer.random.below(n));
                explorer.check(&cut, &lives, life.durable, seqno);
            }
        }
        assert!(explorer.reached.states > 50, "{:?}", explorer.reached);
    }
}

#[test]
fn whatever_operation_of_an_opening_fails_the_next_one_finds_the_same() {
    for seed in 0..6 {
        let _named = Named(seed);
        let vfs = MemoryVfs::new();
        let mut life = Life::new(&vfs, seed, open(&vfs).expect("a new log opens"));
        life.run(&vfs, 50).expect("nothing fails");
        let found = open(&vfs.kill()).expect("opens").found;
        assert_eq!(found.len() as u64, life.last.0);
        for target in [FaultTarget::Reads, FaultTarget::Changes] {
            for after in 0.. {
                let vfs = vfs.kill();
                vfs.inject(Fault { target, after, kind: ErrorKind::Other, stays: false });
                match open(&vfs) {
                    Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
                    Ok(_) => break,
                }
                assert_eq!(open(&vfs.kill()).expect("opens").found, found, "{target:?} {after}");
            }
        }
    }
}
