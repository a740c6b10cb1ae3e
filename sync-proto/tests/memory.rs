//! What a session holds at every moment, and not only between frames: while its replica reads and writes, too.

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use common::rng::Rng;
use common::{Model, entry};
use sync_proto::limits::MEMORY_MAX;
use sync_proto::{
    Answer, ApplyRequest, End, Input, Limits, Options, Output, Replica, ReplicaReader, Session, serve_read,
};

const NOW: Duration = Duration::ZERO;

/// One side, and the most that it held whenever somebody could ask.
struct Side<'a> {
    session: Session,
    model: &'a Model,
    pinned: Option<Box<dyn ReplicaReader>>,
    held_max: usize,
    end: Option<End>,
}

impl<'a> Side<'a> {
    fn new(session: Session, model: &'a Model) -> Side<'a> {
        Side { session, model, pinned: None, held_max: 0, end: None }
    }

    /// Goes on until the other side is asked for something; what it is sent.
    fn step(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(output) = self.session.poll_output() {
            // The output is not taken back: the session waits for its answer now.
            self.held_max = self.held_max.max(self.session.memory_len());
            let answer = match output {
                Output::Send(frame) => {
                    frames.push(frame);
                    continue;
                }
                Output::Read(request) => {
                    let pinned = &mut self.pinned;
                    let reader = || match pinned {
                        Some(reader) => Ok(&**reader),
                        none => Ok(&**none.insert(self.model.pin(0)?)),
                    };
                    Answer::Read(serve_read(self.model, reader, request).expect("a model that answers"))
                }
                Output::Apply(ApplyRequest::Entries { entries, origin }) => {
                    Answer::Applied(self.model.apply(entries, origin).expect("a model that takes"))
                }
                Output::Persist => {
                    self.model.persist().expect("a model that persists");
                    Answer::Finished
                }
                Output::Unpin => {
                    self.pinned = None;
                    continue;
                }
                Output::Done(outcome) => {
                    self.end = Some(outcome.end);
                    break;
                }
                Output::Event(_) => continue,
                other => panic!("no value here is long, nothing is lost: {other:?}"),
            };
            self.session.handle(Input::Answer(answer), NOW);
        }
        frames
    }
}

/// Runs a session of each; the most that either held at any moment.
fn held_max(left: &Model, right: &Model, options: Options) -> usize {
    let other = Options { nonce: 99, ..options.clone() };
    let mut sides =
        [Side::new(Session::initiator(options, NOW), left), Side::new(Session::responder(other, NOW), right)];
    let mut on_the_way: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
    loop {
        for (number, side) in sides.iter_mut().enumerate() {
            on_the_way.extend(side.step().into_iter().map(|frame| (1 - number, frame)));
        }
        match on_the_way.pop_front() {
            Some((to, frame)) if sides[to].end.is_none() => {
                sides[to].session.handle(Input::Frame(frame), NOW);
                sides[to].held_max = sides[to].held_max.max(sides[to].session.memory_len());
            }
            Some(_) => {}
            None => break,
        }
    }
    let held = sides.iter().map(|side| side.held_max).max().unwrap_or(0);
    assert!(sides.iter().all(|side| side.end == Some(End::Complete)), "{:?}", sides.map(|side| side.end));
    held
}

#[test]
fn while_a_replica_is_at_work_its_session_holds_no_more_than_it_may() {
    let lists = Limits { sketch_count: 1, ..Limits::default() };
    let sketches = Limits { sketch_count: 1_000, fan_out: 48, ..Limits::default() };
    for (limits, key_len) in [(Limits::default(), 12), (lists, 900), (sketches, 900)] {
        let left = Model::new(1);
        let key = |n: u64| [vec![1], Rng(n).bytes(12), vec![7; key_len - 12]].concat();
        (0..6_000).for_each(|n| left.put(entry(key(n), 100, 1, "old")));
        let right = left.copy(2);
        for n in 0..6_000 {
            match n % 9 {
                0..=1 => left.remove(&key(n)),
                2..=3 => right.remove(&key(n)),
                4 => left.put(entry(key(n), 200, 1, "new")),
                _ => {}
            }
        }
        let held = held_max(&left, &right, Options { limits, ..Options::new(1) });
        assert_eq!(left.root(), right.root());
        assert!(held > 64 << 10, "nothing was counted: {held} bytes, keys of {key_len}");
        assert!(held < MEMORY_MAX, "{held} bytes, keys of {key_len}");
    }
}
