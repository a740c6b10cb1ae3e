//! When to run a session with which peer: a timetable for a few peers, each visited again and again. No clock, sockets
//! or randomness: time and a seed are arguments, and what is to be done comes out. The driver's service runs it.
//!
//! A visit is due `every` after the end of the last one, give or take the jitter, so that replicas that were started
//! together do not stay in step. Peers that fail are visited less and less often, up to eight times `every`. While the
//! schedule is paused nothing is repaired, but peers are still asked at the same times how far they have diverged.
//!
//! Easy to get wrong: a time that was missed (a long session, a machine that slept) is made up for by one visit, not by
//! all that were missed; and every visit that [`Schedule::poll`] hands out must be [`Schedule::finish`]ed.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// After so many failures in a row the time between visits grows no more: 2^3 times `every`.
const DOUBLINGS_MAX: u32 = 3;

/// What a schedule keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// From the end of one visit of a peer to the beginning of the next.
    pub every: Duration,
    /// By how much of itself, in percent, that time varies in both directions. At most 100.
    pub jitter_percent: u32,
    /// Greatest number of visits at a time. At least 1.
    pub visits_max: usize,
    /// Decides the jitter. Different for each replica.
    pub seed: u64,
}

/// What is to be done with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Run a repair session.
    Repair,
    /// Only compare the roots, for repairs are paused.
    Probe,
}

/// Due and running visits of peers, which are numbered from 0.
#[derive(Debug, Clone)]
pub struct Schedule {
    options: ScheduleOptions,
    peers: Vec<Peer>,
    running: usize,
    paused: bool,
    draws: u64,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    /// When the next visit is due; `None` while one runs.
    due: Option<Duration>,
    failures: u32,
}

impl Schedule {
    /// A schedule of `peer_count` peers, each due for the first time within the jitter from `now`.
    pub fn new(options: ScheduleOptions, peer_count: usize, now: Duration) -> Schedule {
        let jitter_percent = options.jitter_percent.min(100);
        let options = ScheduleOptions { jitter_percent, visits_max: options.visits_max.max(1), ..options };
        let mut schedule = Schedule { options, peers: Vec::new(), running: 0, paused: false, draws: 0 };
        for _ in 0..peer_count {
            let wait = schedule.jitter(schedule.options.every);
            schedule.peers.push(Peer { due: Some(now.saturating_add(wait)), failures: 0 });
        }
        schedule
    }

    /// The peer whose visit is to begin now, if there is one: of those that are due, the one that is so for longest.
    pub fn poll(&mut self, now: Duration) -> Option<(usize, Task)> {
        if self.running >= self.options.visits_max {
            return None;
        }
        let (due, index) = self.next_due()?;
        if due > now {
            return None;
        }
        self.peers.get_mut(index)?.due = None;
        self.running += 1;
        Some((index, if self.paused { Task::Probe } else { Task::Repair }))
    }

    /// The visit of `peer` that [`Schedule::poll`] handed out has ended.
    pub fn finish(&mut self, peer: usize, succeeded: bool, now: Duration) {
        let every = self.options.every;
        let Some(state) = self.peers.get(peer).copied().filter(|state| state.due.is_none()) else { return };
        let failures = if succeeded { 0 } else { state.failures.saturating_add(1) };
        let time = every.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
        let least = time.saturating_sub(time.saturating_mul(self.options.jitter_percent) / 100);
        let wait = least.saturating_add(self.jitter(time.saturating_mul(2)));
        if let Some(state) = self.peers.get_mut(peer) {
            *state = Peer { due: Some(now.saturating_add(wait)), failures };
            self.running = self.running.saturating_sub(1);
        }
    }

    /// Makes the next visit of `peer` due at once, unless one runs: the last one found only half of what is to be done.
    pub fn again(&mut self, peer: usize, now: Duration) {
        if let Some(due) = self.peers.get_mut(peer).and_then(|peer| peer.due.as_mut()) {
            *due = now.min(*due);
        }
    }

    /// When to poll again, if no visit ends before. There is no such time while as many run as may.
    pub fn deadline(&self) -> Option<Duration> {
        if self.running < self.options.visits_max { self.next_due().map(|(due, _)| due) } else { None }
    }

    /// Compares only, until [`Schedule::resume`]. Visits that run are not touched.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Repairs again. Every peer that is not being visited is due at once, for nobody knows what it missed.
    pub fn resume(&mut self, now: Duration) {
        if std::mem::take(&mut self.paused) {
            for due in self.peers.iter_mut().filter_map(|peer| peer.due.as_mut()) {
                *due = now.min(*due);
            }
        }
    }

    fn next_due(&self) -> Option<(Duration, usize)> {
        self.peers.iter().enumerate().filter_map(|(index, peer)| Some((peer.due?, index))).min()
    }

    /// Any time up to `jitter_percent` of `time`.
    fn jitter(&mut self, time: Duration) -> Duration {
        self.draws += 1;
        let draw = xxh3_64_with_seed(&self.draws.to_le_bytes(), self.options.seed) as u32;
        let most = time.saturating_mul(self.options.jitter_percent) / 100;
        let nanos = (most.as_nanos() * u128::from(draw)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::rng::Rng;

    const EVERY: Duration = Duration::from_secs(30);

    fn options(seed: u64) -> ScheduleOptions {
        ScheduleOptions { every: EVERY, jitter_percent: 10, visits_max: 2, seed }
    }

    #[test]
    fn visits_keep_their_distance_and_no_peer_is_forgotten_whatever_fails() {
        for seed in 0..200 {
            let rng = &mut Rng(seed);
            let peer_count = 1 + rng.below(5) as usize;
            let mut now = Duration::from_secs(rng.below(1000));
            let mut schedule = Schedule::new(options(seed), peer_count, now);
            let mut ended: Vec<Option<(Duration, u32)>> = vec![None; peer_count];
            let mut running: Vec<(usize, Duration)> = Vec::new();
            let mut visits = vec![0; peer_count];
            let end = now + EVERY * 100;
            while now < end {
                while let Some((peer, task)) = schedule.poll(now) {
                    assert_eq!(task, Task::Repair);
                    assert!(running.iter().all(|(other, _)| *other != peer), "seed {seed}: twice at a time");
                    if let Some((at, failures)) = ended[peer] {
                        let least = EVERY * (1 << failures.min(3)) * 9 / 10;
                        assert!(now >= at + least, "seed {seed}: too early");
                    }
                    visits[peer] += 1;
                    running.push((peer, now + Duration::from_millis(rng.below(3000))));
                }
                assert!(running.len() <= 2, "seed {seed}");
                let end_of_visit = running.iter().map(|(_, at)| *at).min();
                now = [schedule.deadline(), end_of_visit]
                    .into_iter()
                    .flatten()
                    .min()
                    .expect("something is due");
                while let Some(index) = running.iter().position(|(_, at)| *at <= now) {
                    let (peer, _) = running.remove(index);
                    let succeeded = !rng.one_in(4);
                    let failures = ended[peer].map_or(0, |(_, failures)| failures);
                    ended[peer] = Some((now, if succeeded { 0 } else { failures + 1 }));
                    schedule.finish(peer, succeeded, now);
                }
            }
            assert!(visits.iter().all(|&count| count > 20), "seed {seed}: {visits:?}");
        }
    }

    #[test]
    fn a_paused_schedule_only_probes_and_a_resumed_one_repairs_at_once() {
        let mut schedule = Schedule::new(options(1), 1, Duration::ZERO);
        schedule.pause();
        let first = schedule.deadline().expect("due");
        assert!(first <= EVERY / 10);
        assert_eq!(schedule.poll(first), Some((0, Task::Probe)));
        schedule.finish(0, true, first);
        assert_eq!(schedule.poll(first), None);
        schedule.resume(first);
        assert_eq!(schedule.poll(first), Some((0, Task::Repair)));
        assert_eq!((schedule.deadline(), schedule.poll(first + EVERY * 100)), (None, None), "it runs");
    }

    #[test]
    fn a_peer_that_healed_is_visited_again_at_once_and_others_are_not() {
        let mut schedule = Schedule::new(options(1), 2, Duration::ZERO);
        let first = schedule.deadline().expect("due") + EVERY;
        let visits = [schedule.poll(first), schedule.poll(first)].map(|visit| visit.expect("due").0);
        visits.iter().for_each(|&peer| schedule.again(peer, first));
        assert_eq!(schedule.poll(first), None, "both run");
        visits.iter().for_each(|&peer| schedule.finish(peer, true, first));
        schedule.again(visits[1], first);
        assert_eq!((schedule.poll(first), schedule.poll(first)), (Some((visits[1], Task::Repair)), None));
    }

    #[test]
    fn replicas_with_other_seeds_do_not_stay_in_step() {
        let due = |seed| Schedule::new(options(seed), 1, Duration::ZERO).deadline();
        let dues: std::collections::BTreeSet<_> = (0..100).map(due).collect();
        assert!(dues.len() > 95, "{}", dues.len());
        assert_eq!(due(7), due(7));
    }
}
