//! [`Sim`]: replicas, connections, and the queue of everything that is going to happen to them.
//!
//! Easy to get wrong: `Complete` is a promise about the other side, too, so when one end says it, both stores are looked at
//! as a power cut at that moment would leave them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use sync_proto::{AbortReason, End as Ending, Input};

use super::link::{End, Link};
use super::node::Node;
use super::witness::{self, Witness};
use crate::random::Random;
use crate::run::Run;
use crate::stop::Stop;

/// How much fails, of a thousand frames or events each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Frames after which the connection ends.
    pub cut: u64,
    /// Frames that do not arrive though later ones do.
    pub lost: u64,
    /// Frames that arrive twice.
    pub doubled: u64,
    /// Frames that arrive after later ones.
    pub reordered: u64,
    /// Frames of which a bit is wrong.
    pub damaged: u64,
    /// Events after which a replica is killed or loses its power.
    pub stops: u64,
}

impl Faults {
    /// A network that is as bad as this seed says: one kind of fault, or all.
    pub fn any(random: &mut Random) -> Faults {
        let mut some = || if random.chance(40) { 1 + random.below(60) } else { 0 };
        Faults {
            cut: some(),
            lost: some(),
            doubled: some(),
            reordered: some(),
            damaged: some(),
            stops: some() / 6,
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A frame for one end of a connection.
    Arrives { link: usize, end: usize, frame: Vec<u8> },
    /// The connection ends for one end.
    Closes { link: usize, end: usize },
    /// An end may have waited too long.
    Deadline { link: usize, end: usize },
    /// A client writes to a replica.
    Write { node: usize },
    /// Two replicas begin a session.
    Connect { from: usize, to: usize },
}

/// The world of one seed.
pub struct Sim<'r, 'a> {
    run: &'r mut Run<'a>,
    random: Random,
    nodes: Vec<Node>,
    links: Vec<Link>,
    /// By time, then in the order of being put in.
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    queued: u64,
    time: u64,
    faults: Faults,
    witness: Witness,
    completed: u64,
}

impl<'r, 'a> Sim<'r, 'a> {
    /// A world of two to four empty replicas of one set.
    ///
    /// # Errors
    /// A sentence, if one cannot be made.
    pub fn new(run: &'r mut Run<'a>, seed: u64, faults: Faults) -> Result<Sim<'r, 'a>, String> {
        let mut random = Random::new(seed);
        let count = [2, 2, 3, 4][random.below(4) as usize];
        let first = Node::new(run.world(seed.wrapping_mul(8)), None)?;
        let set = first.db.replica_set();
        let mut nodes = vec![first];
        for index in 1..count {
            nodes.push(Node::new(run.world(seed.wrapping_mul(8) + index), Some(&set))?);
        }
        Ok(Sim {
            run,
            random,
            nodes,
            links: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            time: 0,
            faults,
            witness: Witness::default(),
            completed: 0,
        })
    }

    /// Lets everything fail for a while, then nothing, and demands that the replicas become equal.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn live(&mut self) -> Result<(), String> {
        for node in 0..self.nodes.len() {
            for _ in 0..self.random.below(400) {
                self.nodes[node].write(&mut self.random, &mut self.witness)?;
            }
        }
        for _ in 0..60 {
            let at = self.random.below(3_000);
            let event = match self.random.chance(75) {
                true => Event::Write { node: self.any_node() },
                false => self.any_meeting(),
            };
            self.put(at, event);
        }
        self.drain()?;
        self.faults = Faults::default();
        self.run.reach("sessions complete among faults", self.completed > 0);
        self.converge()
    }

    /// Without faults, every pair meets, twice around: then all are equal, and one more meeting finds that out at once.
    fn converge(&mut self) -> Result<(), String> {
        for _ in 0..2 {
            for from in 0..self.nodes.len() {
                for to in 0..self.nodes.len() {
                    if from != to {
                        self.put(self.time, Event::Connect { from, to });
                        self.drain()?;
                    }
                }
            }
        }
        let roots: Result<Vec<_>, _> = self.nodes.iter().map(|node| node.db.root()).collect();
        let roots = roots.map_err(|error| format!("no root: {error}"))?;
        if roots.iter().any(|root| *root != roots[0]) {
            return Err("faults have stopped, all have met, and roots differ".to_owned());
        }
        let mut tombstones = 0;
        for node in &self.nodes {
            let held = witness::held(&node.db)?;
            self.witness.check(&held)?;
            tombstones = tombstones.max(witness::tombstones(&held));
            let report = node.db.verify(&mut |_| true).map_err(|error| format!("verify failed: {error}"))?;
            if let Some(problem) = report.problems.first() {
                return Err(format!("verify: {problem}"));
            }
        }
        self.run.reach("tombstones", tombstones > 0);
        self.put(self.time, Event::Connect { from: 0, to: 1 });
        self.drain()?;
        let last = self.links.last().and_then(|link| link.ends[0].outcome.as_ref());
        match last {
            Some(outcome) if outcome.end == Ending::Complete && outcome.report.legs == 2 => Ok(()),
            outcome => Err(format!("equal replicas met, and {outcome:?}")),
        }
    }

    fn any_node(&mut self) -> usize {
        self.random.below(self.nodes.len() as u64) as usize
    }

    fn any_meeting(&mut self) -> Event {
        let from = self.any_node();
        let away = 1 + self.random.below(self.nodes.len() as u64 - 1) as usize;
        Event::Connect { from, to: (from + away) % self.nodes.len() }
    }

    fn put(&mut self, time: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((time, self.queued, event)));
    }

    /// Lets happen what is going to, until nothing is.
    fn drain(&mut self) -> Result<(), String> {
        while let Some(Reverse((time, number, event))) = self.queue.pop() {
            self.time = self.time.max(time);
            self.run.runs += 1;
            self.run.at = match &event {
                Event::Arrives { link, end, frame } => {
                    format!("event {number}: {} bytes arrive at end {end} of link {link}", frame.len())
                }
                event => format!("event {number}: {event:?}"),
            };
            self.happen(event)?;
            if self.fails(self.faults.stops) {
                self.stop_one()?;
            }
        }
        Ok(())
    }

    fn fails(&mut self, per_thousand: u64) -> bool {
        self.random.below(1_000) < per_thousand
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Write { node } => self.nodes[node].write(&mut self.random, &mut self.witness),
            Event::Connect { from, to } => self.connect(from, to),
            Event::Arrives { link, end, frame } => self.take(link, end, Input::Frame(frame)),
            Event::Closes { link, end } => self.take(link, end, Input::Closed),
            Event::Deadline { link, end } => self.take(link, end, Input::Tick),
        }
    }

    fn connect(&mut self, from: usize, to: usize) -> Result<(), String> {
        let nonce = self.random.next();
        let end = |index: usize, node: usize| -> Result<End, String> {
            let Node { db, life, .. } = &self.nodes[node];
            let (replica, held) = ((self.run.sessions)(db), witness::held(db)?);
            let nonce = nonce.rotate_left(index as u32 * 32);
            Ok(End::new(index == 0, nonce, self.time, (node, *life), replica, held))
        };
        let ends = [end(0, from)?, end(1, to)?];
        self.links.push(Link { ends, arrival: [self.time; 2], is_cut: false });
        let link = self.links.len() - 1;
        self.work(link, 0)?;
        self.work(link, 1)
    }

    /// Gives an end of a connection what came, if its node still lives, and lets it work.
    fn take(&mut self, link: usize, end: usize, input: Input) -> Result<(), String> {
        let time = self.time;
        let End { node, life, .. } = self.links[link].ends[end];
        if self.nodes[node].life != life || self.links[link].ends[end].outcome.is_some() {
            return Ok(());
        }
        if matches!(input, Input::Tick)
            && self.links[link].ends[end].deadline().is_none_or(|deadline| deadline > time)
        {
            return Ok(());
        }
        self.links[link].ends[end].take(input, time);
        self.work(link, end)
    }

    /// Lets one end work until it waits, sends what it says, and looks at how it ended.
    fn work(&mut self, link: usize, end: usize) -> Result<(), String> {
        let time = self.time;
        for frame in self.links[link].ends[end].work(time)? {
            self.send(link, 1 - end, frame);
        }
        let this = &self.links[link].ends[end];
        match &this.outcome {
            None => {
                let deadline = this.deadline().unwrap_or(time);
                self.put(deadline, Event::Deadline { link, end });
            }
            Some(_) => {
                let at = self.links[link].arrival[1 - end];
                self.put(at + 1, Event::Closes { link, end: 1 - end });
                self.judge(link, end)?;
            }
        }
        Ok(())
    }

    /// Puts a frame on its way to end `to`, or what becomes of it.
    fn send(&mut self, link: usize, to: usize, mut frame: Vec<u8>) {
        let Faults { cut, lost, doubled, reordered, damaged, .. } = self.faults;
        if self.links[link].is_cut || self.fails(lost) {
            return;
        }
        if self.fails(cut) {
            // Somewhere within the frame: what came of it is no frame.
            self.links[link].is_cut = true;
            self.run.reach("a connection cut", true);
            for end in 0..2 {
                let at = self.links[link].arrival[end];
                self.put(at + 1, Event::Closes { link, end });
            }
            return;
        }
        if self.fails(damaged) {
            let bit = self.random.below(frame.len() as u64 * 8) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let mut at = self.links[link].arrival[to].max(self.time) + self.random.below(20);
        self.links[link].arrival[to] = at;
        if self.fails(reordered) {
            at += 30;
        }
        if self.fails(doubled) {
            let frame = frame.clone();
            self.put(at, Event::Arrives { link, end: to, frame });
        }
        self.put(at, Event::Arrives { link, end: to, frame });
    }

    /// Looks at a session that is over on one side.
    fn judge(&mut self, link: usize, end: usize) -> Result<(), String> {
        let Link { ends, .. } = &self.links[link];
        let Some(outcome) = &ends[end].outcome else { return Ok(()) };
        let now = witness::held(&self.nodes[ends[end].node].db)?;
        self.witness.check(&now)?;
        witness::covers(&now, &ends[end].begun)?;
        match &outcome.end {
            Ending::Complete => {
                for side in ends {
                    // One that has died since said what it said before: what it holds is what it held durably then.
                    let durable = self.nodes[side.node].held_durably()?;
                    for other in ends {
                        witness::covers(&durable, &other.begun).map_err(|what| {
                            format!(
                                "node {} said or was told `Complete`, and of what node {} held: {what}",
                                side.node, other.node
                            )
                        })?;
                    }
                }
                self.completed += 1;
                Ok(())
            }
            Ending::Aborted(AbortReason::Replica(error)) => {
                Err(format!("a session ended by its store: {error:?}"))
            }
            Ending::Aborted(_) if self.faults_are_on() => {
                self.run.reach("sessions aborted", true);
                Ok(())
            }
            ending => Err(format!("without faults a session ended {ending:?}")),
        }
    }

    fn faults_are_on(&self) -> bool {
        let Faults { cut, lost, doubled, reordered, damaged, stops } = self.faults;
        cut + lost + doubled + reordered + damaged + stops > 0
    }

    /// A replica dies in one way or another, and its connections with it.
    fn stop_one(&mut self) -> Result<(), String> {
        let node = self.any_node();
        let stop = *self.random.pick(&Stop::ALL);
        self.run.reach("a replica stopped", true);
        self.nodes[node].restart(stop, &mut self.random)?;
        for link in 0..self.links.len() {
            for end in 0..2 {
                let (this, other) = (&self.links[link].ends[end], &self.links[link].ends[1 - end]);
                if this.node == node && this.outcome.is_none() && other.outcome.is_none() {
                    self.put(self.time + 1, Event::Closes { link, end: 1 - end });
                }
            }
        }
        Ok(())
    }
}
